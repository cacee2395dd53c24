"""Canonical signature bytes, names in kebab-case, and method ids."""

from __future__ import annotations

import datetime
import enum
import uuid
from typing import Annotated, Any, Literal

import attrs
import msgspec
import pytest
from blake3 import blake3

from roam_trio.codec import args_plan, result_plan, rpc_plan
from roam_trio.hash import kebab, method_id, signature_of
from roam_trio.schema import (
    Array,
    Credit,
    Length,
    Slice,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    shape_of,
    transparent,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)

from .examples import (
    A,
    Add,
    AttrsPage,
    AttrsPoint,
    Color,
    DataPoint,
    Drawing,
    Empty,
    Expr,
    MathError,
    Meters,
    Node,
    Nothing,
    Num,
    Pair,
    Point,
    Private,
    R,
    Renamed,
    Rx,
    Tree,
    Tx,
    UserId,
    Wrapped,
)


def signature(type_: Any) -> str:
    return signature_of(shape_of(type_)).hex(" ").upper()


def method_signature(args: list[Any], ok: Any, error: Any = None) -> bytes:
    names = [f"arg{index}" for index in range(len(args))]
    arguments = args_plan(args, names, "Testbed.method")
    return arguments.signature + result_plan(ok, error, "Testbed.method").signature


@pytest.mark.rule("signature.primitive")
@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (bool, "01"),
        (u8, "02"),
        (u16, "03"),
        (u32, "04"),
        (u64, "05"),
        (u128, "06"),
        (i8, "07"),
        (i16, "08"),
        (i32, "09"),
        (i64, "0A"),
        (int, "0A"),
        (i128, "0B"),
        (f32, "0C"),
        (f64, "0D"),
        (float, "0D"),
        (char, "0E"),
        (str, "0F"),
        (None, "10"),
        (bytes, "11"),
        (memoryview, "11"),
        (usize, "05"),
        (isize, "0A"),
    ],
)
def test_a_primitive_is_one_byte(type_: Any, expected: str) -> None:
    assert signature(type_) == expected


@pytest.mark.rule("signature.container")
@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (list[str], "20 0F"),
        (tuple[u16, ...], "20 03"),
        (u32 | None, "21 04"),
        (Array[u32, Literal[3]], "22 03 04"),
        (Array[u8, Literal[4]], "22 04 02"),
        (Annotated[bytes, Length(16)], "22 10 02"),
        (Array[u8, Literal[300]], "22 AC 02 02"),
        (dict[str, u32], "23 0F 04"),
        (set[str], "24 0F"),
        (frozenset[u8], "24 02"),
        (tuple[u32, str], "25 02 04 0F"),
        (tuple[str], "25 01 0F"),
        (tuple[()], "10"),
        (Tx[i32], "26 09"),
        (Rx[i32], "27 09"),
        (Annotated[Tx[i32], Credit(1000)], "26 09"),
        (Annotated[list[u32], Slice()], "20 04"),
        (list[list[u32]], "20 20 04"),
    ],
)
def test_a_container_is_a_tag_before_its_types(type_: Any, expected: str) -> None:
    assert signature(type_) == expected


@pytest.mark.rule("signature.bytes.equivalence")
def test_a_list_of_u8_is_bytes_but_a_slice_of_it_is_not() -> None:
    assert signature(list[u8]) == signature(bytes) == "11"
    assert signature(list[u8] | None) == "21 11"
    assert signature(Annotated[list[u8], Slice()]) == "20 02"
    assert signature(Annotated[bytes, Slice()]) == "20 02"
    assert signature(list[i8]) == "20 07"


@pytest.mark.rule("signature.struct")
def test_a_struct_is_its_fields_without_its_name() -> None:
    point = "30 02 01 78 09 01 79 09"
    assert signature(Point) == signature(AttrsPoint) == signature(DataPoint) == point
    assert signature(MathError) == "30 02 04 63 6F 64 65 03 07 " + hexed("message") + (
        " 0F"
    )
    assert signature(Pair) == "25 02 02 03"
    assert signature(Wrapped) == "25 01 04"
    assert signature(Nothing) == signature(Empty) == "10"


@pytest.mark.rule("signature.struct")
def test_a_transparent_class_is_its_field() -> None:
    assert signature(Meters) == "0C"
    assert signature(UserId) == "0A"

    @transparent
    class Only(msgspec.Struct):
        point: Point

    assert signature(Only) == signature(Point)


@pytest.mark.rule("signature.struct")
def test_a_field_has_the_name_its_constructor_or_encoder_gives_it() -> None:
    private = f"30 02 06 {hexed('secret')} 0F 04 {hexed('kind')} 02"
    assert signature(Private) == private
    renamed = f"30 02 09 {hexed('firstName')} 0F 05 {hexed('class')} 0E"
    assert signature(Renamed) == renamed


@pytest.mark.rule("signature.enum")
def test_an_enum_is_its_variants_in_order() -> None:
    assert signature(Color) == (
        f"31 03 03 {hexed('Red')} 00 05 {hexed('GREEN')} 00 04 {hexed('blue')} 00"
    )


@pytest.mark.rule("signature.enum")
def test_a_union_of_classes_is_an_enum_with_data() -> None:
    assert signature(Drawing) == " ".join(
        [
            "31 05",
            f"05 {hexed('Empty')} 00",
            f"07 {hexed('Wrapped')} 01 04",
            f"04 {hexed('Pair')} 02 02 01 30 02 01 31 03",
            f"06 {hexed('Circle')} 02 01 06 {hexed('radius')} 0D",
            f"06 {hexed('Square')} 02 02 04 {hexed('side')} 04 05 {hexed('label')} 0F",
        ]
    )


@pytest.mark.rule("signature.enum")
def test_a_tuple_variant_has_fields_with_numbers_for_names() -> None:
    class P(msgspec.Struct, array_like=True):
        a: u8
        b: u16

    class Q(msgspec.Struct, tag="renamed"):
        pass

    assert signature(P | Q) == "31 02 01 50 02 02 01 30 02 01 31 03 07 " + (
        f"{hexed('renamed')} 00"
    )


@pytest.mark.rule("signature.enum")
def test_a_transparent_class_is_a_newtype_variant() -> None:
    assert signature(Meters | Empty) == (
        f"31 02 06 {hexed('Meters')} 01 0C 05 {hexed('Empty')} 00"
    )


@pytest.mark.rule(
    "signature.recursive", "signature.recursive.encoding", "signature.recursive.stack"
)
def test_a_type_that_refers_to_itself_ends_in_a_back_reference() -> None:
    assert signature(Node) == "30 01 04 6E 65 78 74 21 32 00"
    assert signature(A) == "30 01 01 62 21 30 01 01 61 21 32 01"
    assert signature(R) == "30 01 04 70 61 69 72 25 02 02 21 32 01"
    assert signature(Tree) == (
        f"30 02 05 {hexed('value')} 04 08 {hexed('children')} 20 32 00"
    )


@pytest.mark.rule("signature.recursive.stack")
def test_the_union_is_the_level_and_its_variants_are_not() -> None:
    assert signature(Expr) == " ".join(
        [
            "31 03",
            f"03 {hexed('Num')} 02 01 05 {hexed('value')} 09",
            f"03 {hexed('Add')} 02 02 04 {hexed('left')} 32 00",
            f"05 {hexed('right')} 32 00",
            f"03 {hexed('Neg')} 01 32 00",
        ]
    )


@pytest.mark.rule("signature.recursive.stack")
def test_containers_and_channels_are_no_levels() -> None:
    assert signature(list[Node | None]) == "20 21 " + signature(Node)
    assert signature(Tx[Node]) == "26 " + signature(Node)
    # The struct of a variant used on its own is a level within the union.
    assert signature(Add).startswith(f"30 02 04 {hexed('left')} 31 03")
    assert signature(Add).count("32 00") == 6


@pytest.mark.rule("signature.recursive.stack")
def test_a_tuple_is_a_level_and_so_is_the_argument_tuple() -> None:
    assert signature(tuple[u8, Node]) == "25 02 02 " + signature(Node)
    # The type of the field is the tuple it is in.
    inner = f"30 01 04 {hexed('pair')} 32 01"
    assert signature(tuple[u8, R | None]) == f"25 02 02 21 {inner}"
    as_arguments = args_plan([u8, R | None], ["a", "b"], "Testbed.method").signature
    assert as_arguments.hex(" ").upper() == f"25 02 02 21 {inner}"


@pytest.mark.rule("signature.recursive.stack")
def test_each_instance_of_a_generic_is_a_type_of_its_own() -> None:
    page = f"30 02 05 {hexed('items')} 20 04 04 {hexed('next')} 21 32 00"
    assert signature(AttrsPage[u32]) == page
    nested = f"30 02 05 {hexed('items')} 20 {page} 04 {hexed('next')} 21 32 00"
    assert signature(AttrsPage[AttrsPage[u32]]) == nested


def test_a_converted_type_has_the_signature_of_its_wire_type() -> None:
    assert signature(uuid.UUID) == "22 10 02"
    assert signature(datetime.datetime) == "0F"
    assert signature(datetime.timedelta) == "0A"


# ---------------------------------------------------------------- methods


@pytest.mark.rule("signature.method")
@pytest.mark.parametrize(
    ("args", "ok", "error", "expected"),
    [
        ([i32, i32], i64, None, "25 02 09 09 0A"),
        ([], None, None, "10 10"),
        ([None], None, None, "25 01 10 10"),
        ([i64, i64], i64, MathError, "25 02 0A 0A 10"),
        ([str], str, None, "25 01 0F 0F"),
        ([Rx[i32]], i64, None, "25 01 27 09 0A"),
        ([Tx[u8]], list[u8], None, "25 01 26 02 11"),
    ],
)
def test_a_method_is_its_argument_tuple_and_its_result(
    args: list[Any], ok: Any, error: Any, expected: str
) -> None:
    assert method_signature(args, ok, error).hex(" ").upper() == expected


@pytest.mark.rule(
    "method.identity.computation",
    "rpc.method-id.algorithm",
    "signature.hash.algorithm",
    "signature.endianness",
    "service-macro.is-source-of-truth",
)
@pytest.mark.parametrize(
    ("name", "args", "ok", "error", "expected"),
    [
        ("echo", [str], str, None, 0x9AABC4BA61FD5DF3),
        ("divide", [i64, i64], i64, Color, 0xC3964CBEE4B1D590),
        ("sum", [Rx[i32]], i64, None, 0x855B3A25D97BFEFD),
        ("echo_point", [Point], Point, None, 0x453FA9BF6932528C),
    ],
)
def test_ids_are_those_of_the_reference_implementation(
    name: str, args: list[Any], ok: Any, error: Any, expected: int
) -> None:
    assert method_id("Testbed", name, method_signature(args, ok, error)) == expected


@pytest.mark.rule("method.identity.computation", "signature.endianness")
def test_the_id_is_the_start_of_a_digest_in_little_endian() -> None:
    signature = bytes.fromhex("25 01 0f 0f")
    digest = blake3(b"some-service.do-it" + blake3(signature).digest()).digest()
    assert method_id("SomeService", "doIt", signature) == int.from_bytes(
        digest[:8], "little"
    )


@pytest.mark.rule("rpc.method-id", "rpc.method-id.no-collisions")
def test_the_service_the_method_and_the_types_each_change_the_id() -> None:
    signatures = [method_signature(args, None) for args in ([], [u8], [u16], [u8, u8])]
    ids = {
        method_id(service, method, signature)
        for service in ("One", "Other")
        for method in ("get", "put")
        for signature in signatures
    }
    assert len(ids) == 2 * 2 * 4


def test_case_alone_does_not_change_the_id() -> None:
    signature = method_signature([], None)
    assert method_id("MyService", "doIt", signature) == method_id(
        "my_service", "do_it", signature
    )


@pytest.mark.rule("rpc.schema-evolution")
def test_what_breaks_a_peer_changes_the_signature() -> None:
    class Swapped(msgspec.Struct):
        y: i32
        x: i32

    class Other(msgspec.Struct):
        x: i32
        z: i32

    class Colors(enum.Enum):
        RED = "Red"
        BLUE = "blue"
        GREEN = 1

    different = [
        *(Point, Swapped, Other, Pair),
        *(Color, Colors),
        *(list[u16], set[u16], tuple[u16], u16 | None),
    ]
    assert len({signature(each) for each in different}) == len(different)
    assert method_signature([u8, str], None) != method_signature([str, u8], None)


@pytest.mark.rule("rpc.schema-evolution")
def test_names_of_types_and_arguments_do_not_change_the_signature() -> None:
    @attrs.define
    class Renamed:
        x: i32
        y: i32

    assert signature(Renamed) == signature(Point)
    one = args_plan([u8], ["one"], "S.m").signature
    assert one == args_plan([u8], ["other"], "S.m").signature


@pytest.mark.rule("signature.varint")
def test_counts_and_lengths_are_varints() -> None:
    long_name = "x" * 200
    cls = msgspec.defstruct("Long", [(long_name, u8)])
    assert signature(cls) == f"30 01 C8 01 {hexed(long_name)} 02"
    wide = tuple[(u8,) * 130]
    assert signature(wide) == "25 82 01" + " 02" * 130


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TemplateHost", "template-host"),
        ("XMLParser", "xml-parser"),
        ("HTTP2Server", "http2-server"),
        ("V2Api", "v2-api"),
        ("Base64Encode", "base64-encode"),
        ("getHTTPSUrl", "get-https-url"),
        ("OAuth2", "o-auth2"),
        ("IDs", "i-ds"),
        ("A1B", "a1b"),
        ("__x__y", "x-y"),
        ("echo_point", "echo-point"),
        ("echo-point", "echo-point"),
        ("a.b c", "a-b-c"),
        ("ABC", "abc"),
        ("aB", "a-b"),
        ("ABc", "a-bc"),
        ("ABcDe", "a-bc-de"),
        ("x", "x"),
        ("", ""),
        ("__", ""),
        ("größeÄndern", "größe-ändern"),
    ],
)
@pytest.mark.rule("method.identity.computation")
def test_names_are_split_into_words(name: str, expected: str) -> None:
    assert kebab(name) == expected


def test_the_signature_of_a_plan_is_that_of_its_shape() -> None:
    assert rpc_plan(Point).signature == signature_of(shape_of(Point))
    assert rpc_plan(Num).signature == signature_of(shape_of(Num))


def hexed(text: str) -> str:
    return text.encode().hex(" ").upper()
