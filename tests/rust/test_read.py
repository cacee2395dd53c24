"""What is read from Rust, and what is refused, by line and column."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from roam_trio import RoamTrioError, describe, u8
from roam_trio.codegen.rust import RustError, write_python
from roam_trio.codegen.rust.annotate import Annotator
from roam_trio.codegen.rust.model import Boxed, Map, Primitive
from roam_trio.codegen.rust.read import read_rust
from roam_trio.schema import signature

from .importing import module_of, python_of, services_of


def problems(rust: str) -> list[str]:
    with pytest.raises(RustError) as caught:
        read_rust(rust, "shop.rs")
    assert isinstance(caught.value, RoamTrioError)
    lines = str(caught.value).split("\n")
    assert lines == [f"shop.rs:{each}" for each in caught.value.problems]
    return [str(each) for each in caught.value.problems]


def refused(argument: str, *items: str) -> str:
    """What is wrong with a method of this argument, without the place."""
    method = f"async fn probe(&self, argument: {argument});"
    service = f"#[roam::service] trait Probe {{ {method} }}"
    (problem,) = problems("\n".join([service, *items]))
    return problem.split(": ", 1)[1]


def facet(item: str) -> str:
    return f"#[derive(Facet)]\n{item}"


@pytest.mark.parametrize(
    ("argument", "items", "expected"),
    [
        ("Missing", [], "Missing is not known here: it is neither in this file"),
        ("other::Type", [], "other::Type is not in this file"),
        ("Result<u8, u8>", [], "Result: only the return type of a method is"),
        ("Option<Option<u8>>", [], "an option of an option"),
        ("Option<Box<Option<u8>>>", [], "an option of an option"),
        ("Option<()>", [], "an option of ()"),
        ("BTreeSet<BTreeMap<u8, u8>>", [], "a map in the key of a map"),
        ("Vec<Tx<u8>>", [], "a channel cannot be in a collection"),
        ("Rx<Tx<u8>>", [], "a channel cannot be in the items of a channel"),
        ("std::time::Duration", [], "Duration has no signature of its own"),
        ("std::marker::PhantomData<u8>", [], "PhantomData: the crates cannot decode"),
        ("fn(u8) -> u8", [], "fn(u8) -> u8 has no counterpart in Python"),
        ("dyn Thing", [], "dyn Thing has no counterpart in Python"),
        ("Vec<u8, Global>", [], "Vec takes 1 types, not 2"),
        ("[u8; N + 1]", [], "the length of an array must be a whole number of at"),
        ("Tx<u8, 1, 2>", [], "Tx takes a type, and a credit"),
        ("Pair<u8>", ["type Pair<A, B> = (A, B);"], "Pair takes 2 types, not 1"),
        (
            "[u8; N]",
            ["const M: usize = 3;"],
            "the length of an array must be a whole",
        ),
        ("Tx<u8, 4294967296>", [], "the credit of a channel must be a whole number"),
        ("Plain", ["struct Plain { a: u8 }"], "Plain has no derive(Facet)"),
        ("Thing", ["trait Thing {}"], "Thing is neither a struct nor an enum"),
        (
            "Empty",
            [facet("struct Empty {}")],
            "brackets without fields have a signature of their own",
        ),
        ("Bare", [facet("enum Bare {}")], "an enum without variants has no values"),
        (
            "Single",
            [facet("enum Single { Only(u8) }")],
            "an enum with data needs two variants",
        ),
        (
            "Skipping",
            [facet("struct Skipping { #[facet(skip)] a: u8 }")],
            "what #[facet(skip)] does to the bytes is not known here",
        ),
        (
            "Sometimes",
            [facet('struct Sometimes { #[cfg(feature = "x")] a: u8, b: u8 }')],
            "whether this is there depends on how the program is compiled",
        ),
        (
            "Endless",
            [facet("struct Endless { again: Box<Endless> }")],
            "Endless contains itself without end",
        ),
        (
            "Array<3>",
            [facet("struct Array<const N: usize> { a: [u8; N] }")],
            "a const parameter has no counterpart",
        ),
        (
            "Generic<u8, u16>",
            [facet("struct Generic<T> { a: T }")],
            "Generic takes 1 types, not 2",
        ),
        (
            "Generic<Option<u8>>",
            [facet("struct Generic<T> { a: Option<T> }")],
            "an option of an option",
        ),
        (
            "Wide",
            [facet("#[facet(transparent)] struct Wide(u8, u8);")],
            "a transparent struct is a tuple struct of exactly one field",
        ),
        (
            "Field",
            [facet("#[facet(transparent)] struct Field { a: u8 }")],
            "a transparent struct is a tuple struct of exactly one field",
        ),
        ("Loop", ["type Loop = Vec<Loop>;"], "types are nested more than 64 deep"),
        (
            "Link",
            [
                facet("struct Link { next: (Vec<u8>, Option<Box<Link>>) }"),
                "#[roam::service] trait Linked {",
                "async fn link(&self, both: (Vec<u8>, Option<Link>)); }",
            ],
            "its types are recursive in a way that Python does not distinguish",
        ),
    ],
)
def test_type_without_a_counterpart_is_refused(
    argument: str, items: list[str], expected: str
) -> None:
    assert refused(argument, *items).startswith(expected)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("fn probe(&self);", "a service has `async fn` methods"),
        ("async fn probe(&self) {}", "a service has `async fn` methods"),
        ("const N: u8 = 3;", "a service has `async fn` methods"),
        (
            "async fn probe<T>(&self, t: T);",
            "a method cannot be generic",
        ),
        ("async fn probe(a: u8);", "a method of a service takes &self first"),
        ("async fn probe(&self, (a, b): (u8, u8));", "an argument has a plain name"),
        ("async fn _1(&self);", "no public method in Python can be named '1'"),
        ("async fn a(&self); async fn A(&self);", "a second method is named a"),
        ("async fn probe(&self) -> Tx<u8>;", "a channel cannot be in a return type"),
        (
            "async fn probe(&self) -> Result<u8, Rx<u8>>;",
            "a channel cannot be in an error type",
        ),
        ("async fn probe(&self) -> Result<u8>;", "Result: only the return type"),
    ],
)
def test_method_without_a_counterpart_is_refused(body: str, expected: str) -> None:
    (problem,) = problems(f"#[roam::service]\ntrait Probe {{ {body} }}")
    place, text = problem.split(": ", 1)
    assert place.startswith("2:")
    assert text.startswith(expected)


def test_everything_that_is_wrong_is_told_with_its_place() -> None:
    rust = """\
#[derive(Facet)]
struct Ä { é: Duration, fine: u8 }

#[roam::service]
trait Probe {
    async fn first(&self, Ä: Ä) -> Missing;
    async fn second(&self, a: Ä);
    async fn third(&self, a: Option<Option<u8>>);
}
"""
    assert [each.split(": ")[0] for each in problems(rust)] == ["2:15", "6:36", "8:30"]


def test_what_is_no_rust_is_refused() -> None:
    (unfinished,) = problems("struct A {\n    a: u8,\n")
    assert unfinished.endswith("; does it compile?")
    (other,) = problems("trait T {}\nservice Adder;\n")
    assert other == "2:9: this is not Rust; does it compile?"


@pytest.mark.parametrize("before", ["", "\n", "\n\n \n"])
def test_columns_count_characters_also_after_an_empty_start(before: str) -> None:
    line = before.count("\n") + 1
    (told,) = problems(f"{before}  /* é\U0001f600 */ service Adder;")
    assert told == f"{line}:20: this is not Rust; does it compile?"


def test_deeply_nested_source_is_refused() -> None:
    nested = f"{'Vec<' * 3000}u8{'>' * 3000}"
    assert refused(nested) == "types are nested more than 64 deep"
    assert refused("u8", f"fn f() -> {nested} {{}}", "(" * 9000)
    modules = f"{'mod a { ' * 3000}{'}' * 3000}"
    assert problems(modules) == ["1:1: it is nested too deeply to be read"]


def test_types_that_no_service_uses_may_be_left_out() -> None:
    rust = """\
#[derive(Facet)]
pub struct Timed { after: Duration }
#[derive(Facet)]
pub struct Holder { timed: Option<Timed> }
#[derive(Facet)]
pub struct Fine { a: u8 }
#[derive(Facet)]
pub struct Endless { again: Box<Endless> }
#[roam::service]
pub trait Probe { async fn probe(&self); }
"""
    reading = read_rust(rust)
    assert [str(each).split("; ")[0] for each in reading.left_out] == [
        "2:27: Duration has no signature of its own in the crate roam, which takes it "
        "for ()",
        "4:1: Holder is made of Timed, which has no counterpart",
        "8:1: Endless contains itself without end",
    ]
    assert list(reading.interface.types) == ["Fine"]
    assert [each.name for each in reading.interface.services] == ["Probe"]


@pytest.mark.parametrize(
    ("rust", "imports", "classes"),
    [
        ("", [], []),
        (facet("enum Side { Left, Right }"), ["import enum"], ["Side"]),
        (
            facet("struct Only { a: bool }"),
            ["import msgspec"],
            ["Only"],
        ),
        (
            "#[roam::service] trait Nothing {}",
            ["from typing import Protocol", "from roam_trio import service"],
            ["Nothing"],
        ),
    ],
    ids=["nothing", "an enum", "a struct", "a service without methods"],
)
def test_source_imports_what_it_uses_and_no_more(
    rust: str, imports: list[str], classes: list[str]
) -> None:
    python = python_of(rust)
    assert re.findall(r"^(?:import|from (?!__future__)).*", python, re.M) == imports
    made = module_of(python)
    assert [n for n, each in vars(made).items() if each in _own(made)] == classes


def _own(module: Any) -> list[Any]:
    return [
        each
        for each in vars(module).values()
        if getattr(each, "__module__", None) == module.__name__
    ]


def test_items_that_are_not_on_the_wire_are_passed_over() -> None:
    rust = """\
#[derive(Facet)]
struct Fine { a: [u8; N] }
impl Fine { fn f() {} }
static S: u8 = 3;
const N: usize = 0x1_0usize;
trait Sized { const N: usize; }
macro_rules! m { () => {} }
#[roam::service]
trait Probe { async fn probe(&self, argument: Fine); }
"""
    reading = read_rust(rust)
    assert reading.left_out == ()
    assert list(reading.interface.types) == ["Fine"]
    assert "Annotated[bytes, Length(16)]" in write_python(reading.interface)


@pytest.mark.parametrize(("length", "expected"), [("010", 10), ("0b11", 3)])
def test_number_is_read_as_rust_reads_it(length: str, expected: int) -> None:
    rust = f"""\
#[roam::service]
trait Probe {{ async fn probe(&self, argument: [u8; {length}]); }}
"""
    assert f"Length({expected})" in python_of(rust)


@pytest.mark.parametrize(
    "constants",
    [["const A: usize = B;", "const B: usize = A;"], ["const A: usize;"]],
    ids=["one that names itself", "one without a value"],
)
def test_constant_that_comes_to_no_number_is_refused(constants: list[str]) -> None:
    assert "must be a whole number" in refused("[u8; A]", *constants)


def test_derive_counts_where_it_stands_by_itself() -> None:
    assert "Odd has no derive(Facet)" in refused(
        "Odd", "#[derive(other Facet)] struct Odd { a: u8 }"
    )
    (service,) = services_of(
        "#[roam::service] trait Probe { async fn probe(&self, argument: Fine); }\n"
        "#[derive(other one, Facet,)] struct Fine { a: u8 }"
    )
    assert describe(service).name == "Probe"


def test_lifetimes_of_a_type_are_passed_over() -> None:
    python = python_of(
        "#[roam::service] trait Probe { async fn probe(&self, argument: G<u8>); }\n"
        + facet("struct G<'a, T> { item: Option<Box<T>> }")
    )
    assert "class G(msgspec.Struct, Generic[T]):\n    item: T | None\n" in python


def test_type_made_of_too_many_types_is_refused() -> None:
    names = [f"S{n}" for n in range(1001)]
    fields = ", ".join(f"{name.lower()}: {name}" for name in names)
    items = [facet(f"struct {name} {{ a: u8 }}") for name in names]
    problem = refused("Wide", facet(f"struct Wide {{ {fields} }}"), *items)
    assert problem.startswith("it is made of more than 1000 types")


def test_long_name_on_the_wire_has_a_line_of_its_own() -> None:
    name = "n" * 60
    (service,) = services_of(
        rust := "#[roam::service] trait Probe { async fn probe(&self, a: Long); }\n"
        + facet(f"struct Long {{ __{name}: u8 }}")
    )
    line = f'    {name}: u8 = msgspec.field(\n        name="__{name}"\n    )\n'
    assert line in python_of(rust)
    assert describe(service).methods


def test_doc_that_just_does_not_fit_on_one_line_ends_on_the_next() -> None:
    fits, fits_not = "x" * 74, "x" * 75
    python = python_of(
        "#[roam::service]\n"
        f"trait Probe {{\n/// {fits}\nasync fn a(&self);\n"
        f"/// {fits_not}\nasync fn b(&self);\n}}"
    )
    assert f'        """{fits}"""\n' in python
    assert f'        """{fits_not}\n        """\n' in python


def test_names_are_found_through_modules_and_uses() -> None:
    rust = """\
mod a {
    pub mod b {
        #[derive(Facet)] pub struct Thing { x: u8 }
        pub type Things<T> = super::super::Many<T, Thing>;
    }
    pub use b::*;
}
pub use std::collections::HashMap as Table;
type Many<A, B> = Table<A, Vec<B>>;
use a::{b::{self, Thing as Other}, *};
#[derive(Facet)] struct Thing { y: crate::a::b::Thing }
#[service]
trait Probe {
    async fn probe(&self, a: Thing, b: Other, c: b::Things<u8>, d: self::Thing);
}
"""
    (service,) = services_of(rust)
    (method,) = describe(service).methods
    first, second, third, fourth = (each.type for each in method.args)
    assert (first.__name__, second.__name__) == ("Thing", "BThing")
    assert third == dict[u8, list[second]]
    assert fourth is first


def test_a_type_may_name_itself_and_its_lengths() -> None:
    rust = """\
#![allow(dead_code)]
mod tests;
const N: usize = M;
const M: usize = 0x10_usize;
#[derive(Debug, ::facet::Facet, Other(a b),)]
struct Tree { leaf: [u8; { N }], next: Option<Box<Self>> }
#[roam::service]
trait Probe { async fn probe(&self, tree: Tree); }
"""
    (service,) = services_of(rust)
    (method,) = describe(service).methods
    tree = method.args[0].type
    value = tree(bytes(16), tree(b"x" * 16, None))
    payload = b"".join(method.args_plan.encode((value,)))
    assert payload == bytes(16) + b"\x01" + b"x" * 16 + b"\x00"
    assert method.args_plan.decode(payload) == (value,)


def test_docs_come_from_comments_and_attributes() -> None:
    rust = """\
/** Asks
  * twice. */
#[doc = "caf\\u{e9}, \\"\\t\\x41\\"\\
"]
#[doc = r#" and raw "#]
#[doc(hidden)]
#[roam::service]
trait Probe { async fn probe(&self); }
"""
    (service,) = services_of(rust)
    assert service.__doc__.split() == [
        "Asks",
        "twice.",
        "café,",
        '"',
        'A"',
        "and",
        "raw",
    ]


def test_what_a_module_imports_wholly_is_found_there() -> None:
    rust = """\
mod shapes { #[derive(Facet)] pub struct Square { side: u8 } }
use shapes::*;
#[roam::service]
trait Probe { async fn probe(&self, square: Square); }
"""
    (service,) = services_of(rust)
    assert describe(service).methods[0].args[0].type.__name__ == "Square"


def test_order_of_type_parameters_is_kept() -> None:
    rust = """\
#[derive(Facet)] #[repr(u8)] enum Either<L, R> { Right(R), Left(L) }
#[roam::service]
trait Probe { async fn probe(&self, either: Either<u8, String>); }
"""
    (service,) = services_of(rust)
    (method,) = describe(service).methods
    left = b"\x01\x07"
    (value,) = method.args_plan.decode(left)
    assert value == type(value)(7)


def test_source_cannot_become_code() -> None:
    rust = '''\
/// """
/// import os; os.abort() \\
#[roam::service]
pub trait Probe {
    /// ""\\" + os.abort() + r"\\N{bell}
    /// {x} %s \\u0022\\u0022\\u0022
    #[doc = "\\u{22}\\u{22}\\u{22}\\n os.abort()\\u{5c}"]
    async fn probe(&self);
}
'''
    (service,) = services_of(rust)
    descriptor = describe(service)
    assert descriptor.doc == '"""\nimport os; os.abort() \\'
    assert descriptor.methods[0].doc == (
        '""\\" + os.abort() + r"\\N{bell}\n{x} %s \\u0022\\u0022\\u0022\n'
        '"""\n os.abort()\\'
    )


def test_ids_of_identifiers_in_other_scripts_are_the_same() -> None:
    rust = """\
#[derive(Facet)] struct Größe { straße: u8, ﬁx: u8 }
#[roam::service]
trait Probe { async fn größe(&self, größe: Größe); }
"""
    module = module_of(python_of(rust))
    fields = msgspec.structs.fields(module.Größe)
    assert [each.encode_name for each in fields] == ["straße", "ﬁx"]
    assert [each.name for each in fields] == ["straße", "fix"]


SERVICE = """
#[roam::service]
trait Keeper { async fn keep(&self, kept: Kept); }
"""

REFUSED = [
    *("skip", "skip_serializing", "skip_deserializing", "skip_serializing_if"),
    *("skip_unless_truthy", "skip_all_unless_truthy", "flatten", "tag", "content"),
    *("untagged", "opaque", "proxy", "other", "cow", "child", "trailing"),
    *("metadata_container", "metadata", "alias", "is_numeric"),
]


@pytest.mark.parametrize("attribute", REFUSED)
@pytest.mark.parametrize(
    "item",
    [
        "#[derive(Facet)] #[facet({})] struct Kept {{ a: u8 }}",
        "#[derive(Facet)] struct Kept {{ #[facet({})] a: u8 }}",
        "#[derive(Facet)] enum Kept {{ #[facet({})] A, B }}",
        "#[derive(Facet)] enum Kept {{ A {{ #[facet({})] a: u8 }}, B }}",
    ],
    ids=["struct", "field", "variant", "field of a variant"],
)
def test_attribute_that_may_change_the_bytes_is_refused(
    attribute: str, item: str
) -> None:
    for written in (attribute, f'{attribute} = "x"', f"sensitive, {attribute}"):
        with pytest.raises(RustError, match=rf"what #\[facet\({attribute}\)\] does"):
            read_rust(SERVICE + item.format(written))


@pytest.mark.parametrize(
    "item",
    [
        '#[derive(Facet)] #[facet(rename_all = "camelCase")] struct Kept { a_b: u8 }',
        '#[derive(Facet)] struct Kept { #[facet(default, rename = "b")] a_b: u8 }',
        '#[derive(Facet)] enum Kept { #[facet(rename = "b")] First, Other }',
        '#[derive(Facet)] enum Kept { A { #[facet(rename = "b")] first: u8 }, Other }',
        '#[derive(Facet)] #[serde(rename = "b")] struct Kept { first_name: u8 }',
        "#[derive(Facet)] struct Kept { #[serde(skip)] first_name: u8 }",
    ],
)
def test_attribute_that_names_things_for_other_formats_is_noted(item: str) -> None:
    reading = read_rust(SERVICE + item)
    (note,) = reading.notes
    assert "on the wire" in note.text
    assert note.line == 4
    without = re.sub(r"#\[(facet|serde)\(.*?\)\] ", "", item)
    assert read_rust(SERVICE + without).interface == reading.interface
    assert read_rust(SERVICE + without).notes == ()


def test_condition_on_an_argument_is_refused() -> None:
    source = "#[roam::service] trait A { async fn b(&self, #[cfg(unix)] c: u8); }"
    with pytest.raises(RustError, match="depends on how the program is compiled"):
        read_rust(source)


def test_aliases_that_double_are_refused_where_they_grow_too_large() -> None:
    for count in (18, 40):
        aliases = [f"type A{n} = (A{n - 1}, A{n - 1});" for n in range(1, count + 1)]
        problem = refused(f"A{count}", "type A0 = u8;", *aliases)
        assert "grow to more than 4096 types" in problem or "64 deep" in problem
    aliases = [f"type A{n} = (A{n - 1}, A{n - 1});" for n in range(1, 6)]
    service = "#[roam::service] trait Probe { async fn probe(&self, argument: A5); }"
    assert read_rust("\n".join([service, "type A0 = u8;", *aliases])).interface.services


def structs(count: int, each: Callable[[int], str]) -> list[str]:
    return [f"#[derive(Facet)] struct C{n} {{ {each(n)} }}" for n in range(count)]


def test_structs_that_lead_to_one_another_take_no_longer_than_their_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ladder(n: int) -> str:
        return f"a: C{n - 1}, b: C{n - 1}" if n else "a: u8"

    service = "#[roam::service] trait Probe { async fn probe(&self, argument: C17); }"
    read = read_rust("\n".join([service, *structs(18, ladder)]))
    assert len(read.interface.types) == 18
    assert "hold one another more than once" in refused("C39", *structs(40, ladder))
    monkeypatch.setattr(signature, "MAX_SIGNATURE", 100_000)
    fields = ", ".join(f"f{n}: Option<Box<C{n}>>" for n in range(8))
    problem = refused("C0", *structs(8, lambda _: fields))
    assert "types refer to one another" in problem
    service = service.replace("C17", "C0")
    fields = ", ".join(f"f{n}: Option<Box<C{n}>>" for n in range(7))
    assert read_rust("\n".join([service, *structs(7, lambda _: fields)]))


def test_generics_that_grow_are_refused() -> None:
    for inner in ("(T, T)", "Vec<T>", "Option<(T, T)>"):
        definition = f"struct G<T> {{ x: T, next: Option<Box<G<{inner}>>> }}"
        with pytest.raises(RustError, match="uses of themselves without end"):
            read_rust(
                "#[roam::service] trait Probe { async fn probe(&self, a: G<u8>); }"
                f"#[derive(Facet)] {definition}"
            )


def test_pointers_are_not_seen_in_annotations() -> None:
    boxed = Map(Boxed(Primitive("String")), Boxed(Primitive("u8")))
    assert Annotator({}).text(boxed) == "dict[str, u8]"
