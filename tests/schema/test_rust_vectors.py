"""The bytes and the method ids of the Rust crates, without Rust; see
`tests/interop/vectors.py`."""

from __future__ import annotations

import math
from typing import Any, Literal

import pytest

from roam_trio import (
    Array,
    Fallible,
    MethodDescriptor,
    char,
    describe,
    f32,
    f64,
    facet_postcard,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)
from roam_trio.codec import ResultKind, result_plan, rpc_plan
from roam_trio.codec.interpret import interpret_decode, interpret_encode
from roam_trio.hash import method_descriptor

from ..interop import services, signatures
from ..interop.vectors import kept
from ..interop.wire_types import (
    CONTAINERS,
    EXPR,
    FIGURES,
    HIGHEST,
    LOWEST,
    PAGE,
    SCALARS,
    TREE,
    Chain,
    Closed,
    Colour,
    Containers,
    Expr,
    Figure,
    Integers,
    Labelled,
    Marker,
    Metres,
    NotOne,
    Page,
    Point,
    Refusal,
    Scalars,
    Single,
    Spaced,
    TooMany,
    Tree,
    chain,
)


def integers() -> dict[str, tuple[Any, int]]:
    """The ends of every type, and both sides of where its varint grows."""
    types = {"u": (u8, u16, u32, u64, u128), "i": (i8, i16, i32, i64, i128)}
    found: dict[str, tuple[Any, int]] = {}
    for sign, of_sign in types.items():
        for width, type_ in zip((8, 16, 32, 64, 128), of_sign, strict=True):
            high = 2 ** (width - (sign == "i")) - 1
            found[f"{sign}{width}_min"] = type_, -high - 1 if sign == "i" else 0
            found[f"{sign}{width}_max"] = type_, high
            for shift in range(6, width, 7):
                found[f"{sign}{width}_2^{shift}"] = type_, 2**shift
                found[f"{sign}{width}_2^{shift}-1"] = type_, 2**shift - 1
    return found


TENTH_32 = 13421773 / 2**27
LARGEST_32 = (2 - 2**-23) * 2.0**127

VALUES: dict[str, tuple[Any, Any]] = {
    **integers(),
    "usize_max": (usize, 2**64 - 1),
    "isize_min": (isize, -(2**63)),
    "bool_false": (bool, False),
    "bool_true": (bool, True),
    "f32_zero": (f32, 0.0),
    "f32_minus_zero": (f32, -0.0),
    "f32_tenth": (f32, TENTH_32),
    "f32_largest": (f32, LARGEST_32),
    "f32_smallest": (f32, 2.0**-126),
    "f32_infinity": (f32, math.inf),
    "f32_minus_infinity": (f32, -math.inf),
    "f64_zero": (f64, 0.0),
    "f64_minus_zero": (f64, -0.0),
    "f64_tenth": (f64, 0.1),
    "f64_largest": (f64, (2 - 2**-52) * 2.0**1023),
    "f64_smallest": (f64, 2.0**-1022),
    "f64_infinity": (f64, math.inf),
    "f64_minus_infinity": (f64, -math.inf),
    "char_ascii": (char, "a"),
    "char_nul": (char, "\0"),
    "char_two_bytes": (char, "é"),
    "char_three_bytes": (char, "世"),
    "char_four_bytes": (char, "🦀"),
    "string_empty": (str, ""),
    "string_unicode": (str, "héllo 世界 🦀"),
    "string_long": (str, "x" * 300),
    "unit": (None, None),
    "bytes_empty": (bytes, b""),
    "bytes": (bytes, bytes([0, 127, 128, 255])),
    "bytes_long": (bytes, bytes([7] * 200)),
    "list_empty": (list[u32], []),
    "list": (list[i32], [-1, 0, 300]),
    "list_long": (list[u16], list(range(130))),
    "lists": (list[list[str]], [["a"], []]),
    "list_of_i8": (list[i8], [-1, 1]),
    "list_of_units": (list[None], [None, None]),
    "option_none": (u32 | None, None),
    "option_some": (u32 | None, 300),
    "option_of_list": (list[u8 | None] | None, [1, None]),
    "array": (Array[u32, Literal[3]], [1, 2, 300]),
    "array_of_bytes": (Array[u8, Literal[4]], [0xDE, 0xAD, 0xBE, 0xEF]),
    "array_empty": (Array[u32, Literal[0]], []),
    "array_of_arrays": (
        Array[Array[bool, Literal[2]], Literal[2]],
        [[True, False], [False, True]],
    ),
    "map": (dict[str, i64], {"a": -1, "b": 2}),
    "map_empty": (dict[u8, u8], {}),
    "hash_map": (dict[char, list[f32]], {"k": [1.5]}),
    "set": (set[u16], {1, 2, 300}),
    "set_of_strings": (set[str], {"", "s"}),
    "tuple_of_one": (tuple[u64], (5,)),
    "tuple": (tuple[u8, str, f64], (1, "two", 3.0)),
    "tuple_of_tuples": (
        tuple[tuple[bool, i16], tuple[char, None, u128]],
        ((True, -300), ("c", None, 4)),
    ),
    "integers_lowest": (Integers, LOWEST),
    "integers_highest": (Integers, HIGHEST),
    "scalars": (Scalars, SCALARS),
    "containers": (Containers, CONTAINERS),
    "point": (Point, Point(-1, 300)),
    "labelled": (Labelled, Labelled(7, "seven")),
    "single": (Single, Single(300)),
    "metres": (Metres, Metres(-0.5)),
    "marker": (Marker, Marker()),
    "colours": (list[Colour], list(Colour)),
    "spaced": (list[Spaced], list(Spaced)),
    "figures": (list[Figure], FIGURES),
    "tree": (Tree, TREE),
    "chain": (Chain, chain(3)),
    "expr": (Expr, EXPR),
    "page": (Page[Point], PAGE),
    "cow": (str, "borrowed"),
}

RESULTS: dict[str, tuple[Any, Any, ResultKind, Any]] = {
    "result_ok": (u32, str, ResultKind.OK, 300),
    "result_user": (u32, str, ResultKind.USER, "oops"),
    "result_unknown_method": (u32, str, ResultKind.UNKNOWN_METHOD, None),
    "result_invalid_payload": (u32, str, ResultKind.INVALID_PAYLOAD, None),
    "result_cancelled": (u32, str, ResultKind.CANCELLED, None),
    "result_closed": (None, Refusal, ResultKind.USER, Closed()),
    "result_too_many": (None, Refusal, ResultKind.USER, TooMany(300)),
    "result_not_one": (None, Refusal, ResultKind.USER, NotOne("no")),
}

NOT_EQUAL_TO_ITSELF = {"f32_nan": f32, "f64_nan": f64}

UNORDERED = {"set", "set_of_strings", "containers"}
"""Those with a set of several items, whose order is Python's own."""


def test_there_is_a_value_for_each_vector() -> None:
    assert kept().values.keys() == {*VALUES, *RESULTS, *NOT_EQUAL_TO_ITSELF}


@pytest.mark.rule("zerocopy.framing.value")
@pytest.mark.parametrize("name", VALUES)
def test_values_have_the_bytes_that_they_have_in_rust(name: str) -> None:
    type_, value = VALUES[name]
    check_value(type_, value, kept().values[name], ordered=name not in UNORDERED)


def check_value(type_: Any, value: Any, hexed: str, *, ordered: bool = True) -> None:
    plan, vector = rpc_plan(type_), bytes.fromhex(hexed)
    assert plan.decode(vector) == value
    assert interpret_decode(plan.shape, vector) == value
    encoded = b"".join(plan.encode(value))
    assert encoded == interpret_encode(plan.shape, value)
    if ordered:
        assert encoded == vector
    else:
        assert sorted(encoded) == sorted(vector)
        assert plan.decode(encoded) == value


@pytest.mark.parametrize("name", NOT_EQUAL_TO_ITSELF)
def test_no_number_is_none_in_rust_too(name: str) -> None:
    plan, vector = rpc_plan(NOT_EQUAL_TO_ITSELF[name]), kept().values[name]
    assert math.isnan(plan.decode(bytes.fromhex(vector)))
    assert b"".join(plan.encode(math.nan)).hex() == vector


@pytest.mark.rule("rpc.fallible.roam-error")
@pytest.mark.parametrize("name", RESULTS)
def test_results_mean_what_they_mean_in_rust(name: str) -> None:
    ok, error, kind, value = RESULTS[name]
    plan = result_plan(ok, error)
    decoded = plan.decode(bytes.fromhex(kept().values[name]))
    assert decoded.kind is kind
    if isinstance(value, TooMany):
        assert decoded.value.limit == value.limit
    else:
        assert decoded.value == value


GENERATED = signatures.generated_values()


def test_there_is_a_vector_for_each_value_made_up() -> None:
    assert kept().generated_values.keys() == GENERATED.keys()
    assert len(GENERATED) > 200


@pytest.mark.rule("zerocopy.framing.value")
@pytest.mark.parametrize("name", GENERATED)
def test_values_made_up_have_the_bytes_that_they_have_in_rust(name: str) -> None:
    check_value(*GENERATED[name], kept().generated_values[name])


def methods() -> dict[str, MethodDescriptor]:
    made_up = vars(signatures.python_module())
    found = [
        *(getattr(services, name) for name in services.__all__),
        *(made_up[name] for name in signatures.GENERATED_SERVICES),
    ]
    return {
        f"{each.__name__}.{method.name}": method
        for each in found
        for method in describe(each).methods
    }


@pytest.mark.rule("rpc.method-id.algorithm", "signature.method")
def test_methods_have_the_ids_that_they_have_in_rust() -> None:
    ids = {name: f"{method.id:016x}" for name, method in methods().items()}
    assert len(ids) > 250
    assert ids == kept().method_ids


@pytest.mark.rule("rpc.method-id.algorithm", "signature.method")
def test_methods_that_no_class_describes_have_the_ids_that_they_have_in_rust() -> None:
    ids: dict[str, str] = {}
    for name, method in methods().items():
        returned = method.return_type
        if method.error_type is not None:
            returned = Fallible[returned, method.error_type]  # type: ignore[misc]
        described = method_descriptor(
            method.service, method.name, {a.name: a.type for a in method.args}, returned
        )
        ids[name] = f"{described.id:016x}"
    assert ids == kept().method_ids


@pytest.mark.parametrize("name", [name for name in VALUES if name not in UNORDERED])
def test_values_outside_of_calls_have_the_bytes_that_they_have_in_rust(
    name: str,
) -> None:
    type_, value = VALUES[name]
    data = bytes.fromhex(kept().values[name])
    assert facet_postcard.to_bytes(type_, value) == data
    assert facet_postcard.from_bytes(type_, data) == value
