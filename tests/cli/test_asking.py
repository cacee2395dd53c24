"""`list`, `describe` and `template` against a live server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from roam_trio import describe
from roam_trio.cli.exits import UsageError
from roam_trio.cli.schema_text import method_text, service_text
from roam_trio.cli.templates import Templates
from roam_trio.service.description.model import (
    ArgSchema,
    ArrayType,
    ChannelType,
    EnumSchema,
    FieldSchema,
    ListType,
    MapType,
    MethodSchema,
    NamedType,
    OptionType,
    ServiceSchema,
    StructSchema,
    TupleType,
    VariantSchema,
)
from tests.cli.live import SHOP, invoke, live
from tests.cli.shop import Shop, handlers


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with live(handlers()) as at:
        yield at


def test_list_prints_services_in_json(url: str) -> None:
    result = invoke("list", url, *SHOP)
    assert (result.exit_code, result.stderr) == (0, "")
    (found,) = json.loads(result.stdout)
    assert found["name"] == "shop"
    assert found["methods"][:2] == ["put", "find"]
    assert found["doc"] == "Sells things.\n\nAnd more."


@pytest.mark.usefixtures("terminal")
def test_list_prints_a_table_for_people(url: str) -> None:
    lines = invoke("list", url, *SHOP, NO_COLOR="1").stdout.splitlines()
    assert [line.split() for line in lines[-1:]] == [["shop", "18", "Sells", "things."]]


@pytest.mark.usefixtures("terminal")
def test_json_is_printed_to_a_terminal_if_asked_for(url: str) -> None:
    assert json.loads(invoke("list", url, *SHOP, "--json").stdout)


def test_services_have_the_names_that_the_user_gives(url: str) -> None:
    result = invoke("list", url, "--service", "a.b=tests.cli.shop:Shop")
    assert [each["name"] for each in json.loads(result.stdout)] == ["a.b"]


def test_without_a_description_the_option_is_told(url: str) -> None:
    result = invoke("list", url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--service MODULE:CLASS" in result.stderr


def test_description_of_a_service_can_be_read_again(url: str) -> None:
    from roam_trio.service.description.encoding import schema_from_json

    result = invoke("describe", url, "shop", *SHOP)
    assert schema_from_json(result.stdout) == describe(Shop).schema
    everything = json.loads(invoke("describe", url, *SHOP).stdout)
    assert everything == {"shop": json.loads(result.stdout)}


def test_description_of_a_method_has_its_types(url: str) -> None:
    found = json.loads(invoke("describe", url, "shop.find", *SHOP).stdout)
    assert found["name"] == "find"
    assert [each["name"] for each in found["types"]] == ["User", "Problem"]


@pytest.mark.usefixtures("terminal")
def test_description_for_people_is_as_python_would_write_it(url: str) -> None:
    shown = invoke("describe", url, "shop.put", *SHOP).stdout
    assert shown == (
        "put(user: User, count: u32 = 3) -> u128\n"
        "    Store a user, and return a large number.\n"
        "\n"
        "struct User\n"
        "    Somebody who buys.\n"
        "    name: str\n"
        "    age: u8\n"
        '    photo: bytes = ""\n'
    )


@pytest.mark.usefixtures("terminal")
def test_all_services_are_described_for_people(url: str) -> None:
    shown = invoke("describe", url, *SHOP).stdout
    assert shown.startswith("service shop\n    Sells things.\n\n    And more.\n\n")
    assert "    find(name: str) -> Fallible[User, Problem]\n" in shown
    assert (
        "    sort(\n"
        "        numbers: Rx[u32],\n"
        "        names: Rx[str],\n"
        "        even_numbers: Tx[u32],\n"
        "        odd_numbers: Tx[u32],\n"
        "    ) -> list[str]\n"
    ) in shown
    assert "enum Problem\n    sold out\n    unknown\n" in shown
    assert shown.endswith(
        "enum Pair | Leaf\n"
        "    Pair(left: Pair | Leaf, right: Pair | Leaf)\n"
        "    Leaf(value: u32)\n"
    )


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("shopp", "shopp: there is no such service; did you mean shop?"),
        ("x", "x: there is no such service; there are: shop"),
        ("x.y", "x: there is no such service; there are: shop"),
        ("shop.putt", "putt: there is no such method; did you mean put?"),
        (
            "shop.",
            "shop.: expected a service and a method of it, as in calculator.divide",
        ),
    ],
)
def test_unknown_names_are_told_with_near_ones(
    url: str, what: str, problem: str
) -> None:
    result = invoke("describe", url, what, *SHOP)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"roam-trio describe: {problem}\n"


def test_template_is_a_request(url: str) -> None:
    result = invoke("template", url, "shop.put", *SHOP)
    assert (
        result.stdout == '{"user": {"name": "", "age": 0, "photo": ""}, "count": 3}\n'
    )
    called = invoke("call", url, "shop.put", result.stdout, *SHOP)
    assert json.loads(called.stdout) == 2**100 + 3


def test_template_of_a_type_that_holds_itself_ends(url: str) -> None:
    result = invoke("template", url, "shop.weigh", *SHOP)
    assert json.loads(result.stdout) == {"tree": {"Leaf": {"value": 0}}}


def test_template_tells_the_items_for_standard_input(url: str) -> None:
    result = invoke("template", url, "shop.total", *SHOP)
    assert (result.exit_code, result.stdout) == (0, "{}\n")
    assert result.stderr == (
        "standard input has the items of numbers, a line each: 0\n"
    )


def test_template_tells_the_object_that_has_items_of_several_channels(url: str) -> None:
    result = invoke("template", url, "shop.sort", *SHOP)
    assert result.stderr == (
        "standard input has the items of numbers, names, a line each: "
        '{"numbers": 0, "names": ""}\n'
    )


def test_templates_of_all_methods_are_made(url: str) -> None:
    for method in describe(Shop).schema.methods:
        assert invoke("template", url, f"shop.{method.name}", *SHOP).exit_code == 0


# ---------------------------------------------------------------- descriptions of peers


def a_service(*types: object, arg: object) -> tuple[ServiceSchema, MethodSchema]:
    method = MethodSchema("m", 1, (ArgSchema("a", arg),))  # type: ignore[arg-type]
    return ServiceSchema("S", (method,), types), method  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arg", "value"),
    [
        ("bool", False),
        ("i128", 0),
        ("f64", 0.0),
        ("unit", None),
        (ListType("str"), []),
        (OptionType("str"), None),
        (NamedType("P"), "first"),
        (MapType("str", "u8"), {}),
        (MapType("u8", "u8"), []),
        (TupleType(("str", "char")), ["", "?"]),
        (ArrayType("u8", 3), "AAAA"),
        (ArrayType("u16", 2), [0, 0]),
        (NamedType("E"), {"two": ["", 0]}),
        (NamedType("N"), {"one": {"x": ""}}),
    ],
)
def test_templates_have_empty_values(arg: object, value: object) -> None:
    text, number = FieldSchema("x", "str"), FieldSchema("y", "u8")
    record = StructSchema("R", (text,))
    endless = VariantSchema("zero", (FieldSchema("x", NamedType("E")),))
    schema, method = a_service(
        record,
        EnumSchema("P", (VariantSchema("first"), VariantSchema("second"))),
        EnumSchema("E", (endless, VariantSchema("two", (text, number), True))),
        EnumSchema(
            "N", (VariantSchema("one", (FieldSchema("0", NamedType("R")),), True),)
        ),
        arg=arg,
    )
    assert Templates(schema).arguments(method) == {"a": value}


@pytest.mark.parametrize(
    "arg",
    [
        ArrayType("u16", 2**32),
        ArrayType("u8", 2**32),
        ArrayType(ArrayType(ArrayType("u8", 9000), 1000), 1000),
        NamedType("R"),
        NamedType("E"),
        NamedType("deep 0"),
        TupleType((ChannelType("tx", "u8", 1),)),
    ],
)
def test_template_without_end_is_refused(arg: object) -> None:
    deep = [
        StructSchema(f"deep {each}", (FieldSchema("x", NamedType(f"deep {each + 1}")),))
        for each in range(1000)
    ]
    within = FieldSchema("x", NamedType("E"))
    schema, method = a_service(
        StructSchema("R", (FieldSchema("x", NamedType("R")),)),
        EnumSchema("E", (VariantSchema("a", (within,)), VariantSchema("b", (within,)))),
        *deep,
        arg=arg,
    )
    with pytest.raises(UsageError):
        Templates(schema).arguments(method)


def test_description_of_a_peer_does_no_harm_on_a_terminal() -> None:
    evil = "\x1b[31m\u202e"
    field = FieldSchema(evil, NamedType(evil), default=evil)
    record = StructSchema(evil, (field,), doc=evil)
    choice = EnumSchema(
        "C",
        (VariantSchema(evil, (field,), True, evil), VariantSchema("plain")),
        doc=evil,
    )
    method = MethodSchema(
        evil,
        1,
        (ArgSchema(evil, NamedType("C"), computed=True),),
        NamedType(evil),
        NamedType(evil),
        doc=f"{evil}\n\n{evil}",
    )
    schema = ServiceSchema(evil, (method,), (record, choice), doc=evil)
    for text in (service_text(evil, schema), method_text(schema, method)):
        assert "\\x1b[31m\\u202e" in text
        assert all(line.isprintable() for line in text.splitlines())
