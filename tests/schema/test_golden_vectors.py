"""The reference vectors of the protocol decode, and encode to the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roam_trio.codec import (
    CANCELLED,
    INVALID_PAYLOAD,
    UNKNOWN_METHOD,
    ResultKind,
    result_plan,
    rpc_plan,
)
from roam_trio.codec.interpret import interpret_decode, interpret_encode
from roam_trio.schema import f32, f64, i8, i16, i32, i64, u8, u16, u32, u64

VECTORS = Path(__file__).parent.parent / "data" / "golden-vectors"

INTEGERS: dict[str, tuple[Any, int, int]] = {
    "u8": (u8, 0, 2**8 - 1),
    "u16": (u16, 0, 2**16 - 1),
    "u32": (u32, 0, 2**32 - 1),
    "u64": (u64, 0, 2**64 - 1),
    "i8": (i8, -(2**7), 2**7 - 1),
    "i16": (i16, -(2**15), 2**15 - 1),
    "i32": (i32, -(2**31), 2**31 - 1),
    "i64": (i64, -(2**63), 2**63 - 1),
}

OTHERS: dict[str, tuple[Any, Any]] = {
    "bool_false": (bool, False),
    "bool_true": (bool, True),
    "bytes_deadbeef": (bytes, b"\xde\xad\xbe\xef"),
    "bytes_empty": (bytes, b""),
    "option_none_string": (str | None, None),
    "option_none_u32": (u32 | None, None),
    "option_some_string": (str | None, "hello"),
    "option_some_u32_42": (u32 | None, 42),
    "string_empty": (str, ""),
    "string_hello": (str, "hello world"),
    "string_unicode": (str, "héllo 世界 🦀"),
    "vec_empty_u32": (list[u32], []),
    "vec_i32_neg1_0_1": (list[i32], [-1, 0, 1]),
    "vec_string": (list[str], ["a", "b"]),
    "vec_u32_1_2_3": (list[u32], [1, 2, 3]),
}


def meaning(name: str) -> tuple[Any, Any]:
    """The type and the value that the name of a vector stands for."""
    if name in OTHERS:
        return OTHERS[name]
    kind, _, text = name.partition("_")
    if kind in ("f32", "f64"):
        number = float(text.replace("neg", "-").replace("_", "."))
        return (f32 if kind == "f32" else f64), number
    type_, low, high = INTEGERS[kind]
    bounds = {"min": low, "max": high}
    return type_, bounds[text] if text in bounds else int(text.replace("neg", "-"))


def vectors(folder: str) -> list[Any]:
    files = sorted((VECTORS / folder).glob("*.bin"))
    return [pytest.param(file, id=f"{folder}/{file.stem}") for file in files]


@pytest.mark.rule("zerocopy.framing.value")
@pytest.mark.parametrize("file", vectors("primitives") + vectors("varint"))
def test_vectors_decode_and_encode_to_the_same_bytes(file: Path) -> None:
    type_, value = meaning(file.stem)
    plan = rpc_plan(type_)
    vector = file.read_bytes()
    assert plan.decode(vector) == value
    assert b"".join(plan.encode(value)) == vector
    assert interpret_decode(plan.shape, vector) == value
    assert interpret_encode(plan.shape, value) == vector


RESULTS: dict[str, tuple[Any, Any, ResultKind, Any]] = {
    "ok_string": (str, None, ResultKind.OK, "hello"),
    "ok_u32": (u32, None, ResultKind.OK, 42),
    "err_user_string": (u32, str, ResultKind.USER, "oops"),
    "err_unknown_method": (u32, str, ResultKind.UNKNOWN_METHOD, None),
    "err_invalid_payload": (u32, str, ResultKind.INVALID_PAYLOAD, None),
    "err_cancelled": (u32, str, ResultKind.CANCELLED, None),
}


@pytest.mark.rule("rpc.fallible.roam-error")
@pytest.mark.parametrize("file", vectors("result"))
def test_results_decode_and_encode_to_the_same_bytes(file: Path) -> None:
    ok, error, kind, value = RESULTS[file.stem]
    plan = result_plan(ok, error)
    vector = file.read_bytes()
    assert plan.decode(vector) == (kind, value)
    encoders: dict[ResultKind, Any] = {
        ResultKind.OK: plan.encode_ok,
        ResultKind.USER: plan.encode_user_error,
        ResultKind.UNKNOWN_METHOD: lambda _: [UNKNOWN_METHOD],
        ResultKind.INVALID_PAYLOAD: lambda _: [INVALID_PAYLOAD],
        ResultKind.CANCELLED: lambda _: [CANCELLED],
    }
    assert b"".join(encoders[kind](value)) == vector


def test_all_vectors_are_here() -> None:
    assert len(vectors("primitives")) == 72
    assert len(vectors("varint")) == 11
    assert len(vectors("result")) == 6
