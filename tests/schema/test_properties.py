"""What holds for every type and every value.

The types are random too: classes of each kind, nested, with the names of fields that
generated source could trip over.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio import DecodeError
from roam_trio.codec import RpcPlan, rpc_plan
from roam_trio.codec.interpret import interpret_decode, interpret_encode

from .examples import (
    AttrsPage,
    Color,
    Drawing,
    Expr,
    MathError,
    Private,
    Tree,
)
from .strategies import Spec, specs


def draw_value(data: st.DataObject, spec: Spec) -> tuple[RpcPlan[Any], Any, bytes]:
    plan = rpc_plan(spec.annotation)
    value = data.draw(spec.values)
    return plan, value, b"".join(plan.encode(value))


@pytest.mark.rule("zerocopy.framing.value", "conduit.typeplan")
@given(specs(), st.data())
def test_a_decoded_value_is_the_one_that_was_encoded(
    spec: Spec, data: st.DataObject
) -> None:
    plan, value, encoded = draw_value(data, spec)
    assert plan.decode(encoded) == value
    assert plan.decode(memoryview(b"..." + encoded), 3) == value


@given(specs(), st.data())
def test_the_compiled_codec_agrees_with_the_interpreter(
    spec: Spec, data: st.DataObject
) -> None:
    plan, value, encoded = draw_value(data, spec)
    assert interpret_encode(plan.shape, value) == encoded
    assert interpret_decode(plan.shape, encoded) == value


@given(specs(), st.data())
def test_a_truncated_value_is_refused(spec: Spec, data: st.DataObject) -> None:
    plan, _, encoded = draw_value(data, spec)
    for size in range(len(encoded)):
        with pytest.raises(DecodeError):
            plan.decode(encoded[:size])
        with pytest.raises(DecodeError):
            interpret_decode(plan.shape, encoded[:size])


@given(specs(), st.data())
def test_a_corrupted_value_is_decoded_or_refused(
    spec: Spec, data: st.DataObject
) -> None:
    plan, _, encoded = draw_value(data, spec)
    masks = data.draw(st.sets(st.integers(1, 255), min_size=1, max_size=3))
    for position in range(min(len(encoded), 60)):
        for mask in {0x01, 0x80, 0xFF, *masks}:
            corrupted = bytearray(encoded)
            corrupted[position] ^= mask
            check_agreement(plan, bytes(corrupted))


@given(specs(), st.binary(max_size=40))
def test_random_bytes_are_decoded_or_refused(spec: Spec, given_: bytes) -> None:
    check_agreement(rpc_plan(spec.annotation), given_)


@given(specs(), specs(), st.data())
def test_a_value_of_another_type_is_encoded_alike_or_refused(
    spec: Spec, other: Spec, data: st.DataObject
) -> None:
    plan = rpc_plan(spec.annotation)
    value = data.draw(other.values)
    assert outcome(lambda: b"".join(plan.encode(value))) == outcome(
        lambda: interpret_encode(plan.shape, value)
    )


EXAMPLES: list[tuple[Any, str]] = [
    (Expr, "01 00 02 02 00 81 01"),
    (Tree, "01 02 02 00 83 01 01 04 00"),
    (Drawing, "04 80 01 02 c3 a9"),
    (AttrsPage[Color | None], "03 00 01 00 01 02 01 00 00"),
    (Private, "03 61 62 63 ff"),
    (dict[str, list[bool]], "02 01 61 02 00 01 00 00"),
    (list[float], "01 00 00 00 00 00 00 f0 3f"),
]


@pytest.mark.parametrize(("type_", "given_"), EXAMPLES)
def test_every_corruption_of_a_byte_is_decoded_or_refused(
    type_: Any, given_: str
) -> None:
    plan = rpc_plan(type_)
    encoded = bytes.fromhex(given_)
    plan.decode(encoded)
    for position in range(len(encoded)):
        for byte in range(256):
            corrupted = bytearray(encoded)
            corrupted[position] = byte
            check_agreement(plan, bytes(corrupted))


def test_an_exception_class_refuses_what_a_struct_refuses() -> None:
    plan = rpc_plan(MathError)
    for encoded in (b"", b"\x01", b"\x01\x01", b"\x01\x01\xff", b"\x01\x00\x00"):
        check_agreement(plan, encoded)


def check_agreement(plan: RpcPlan[Any], encoded: bytes) -> None:
    """Codec and interpreter decode alike, or both raise the same `DecodeError`."""
    compiled = outcome(lambda: plan.decode(encoded))
    interpreted = outcome(lambda: interpret_decode(plan.shape, encoded))
    if isinstance(compiled, str) or isinstance(interpreted, str):
        assert compiled == interpreted
    else:
        # By their bytes, since NaN differs from itself.
        assert plan.encode(compiled[0]) == plan.encode(interpreted[0])


def outcome(run: Any) -> Any:
    try:
        result = run()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return (result,)
