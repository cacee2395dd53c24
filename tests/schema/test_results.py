"""The payload of responses."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from roam_trio import DecodeError, EncodeError
from roam_trio.codec import ResultKind, result_plan
from roam_trio.schema import register_wire_type, transparent, u8, u32

from .examples import Color, Drawing, MathError, Point, hexed


@transparent
@attrs.define
class Code(Exception):
    code: u8


@attrs.define
class Missing(Exception):
    pass


class Foreign(Exception):
    pass


register_wire_type(Foreign, str, unstructure=str, structure=Foreign)


@pytest.mark.rule("rpc.fallible", "rpc.fallible.roam-error")
def test_a_result_is_a_value_or_an_error_of_the_method() -> None:
    plan = result_plan(u32, Color, "Service.method")
    assert hexed(plan.encode_ok(300)) == "00 ac 02"
    assert hexed(plan.encode_user_error(Color.BLUE)) == "01 00 02"
    assert plan.decode(b"\x00\xac\x02") == (ResultKind.OK, 300)
    assert plan.decode(b"\x01\x00\x02") == (ResultKind.USER, Color.BLUE)
    outcome = plan.decode(memoryview(b"..\x01\x00\x01"), 2)
    assert (outcome.kind, outcome.value) == (ResultKind.USER, Color.GREEN)


def test_a_method_that_returns_nothing_answers_with_one_byte() -> None:
    plan = result_plan(None, None)
    assert hexed(plan.encode_ok(None)) == "00"
    assert plan.decode(b"\x00") == (ResultKind.OK, None)


@pytest.mark.rule("rpc.fallible.roam-error")
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (b"\x01\x01", ResultKind.UNKNOWN_METHOD),
        (b"\x01\x02", ResultKind.INVALID_PAYLOAD),
        (b"\x01\x03", ResultKind.CANCELLED),
        (b"\x81\x00\x83\x00", ResultKind.CANCELLED),
    ],
)
def test_a_result_says_what_became_of_the_call(given: bytes, kind: ResultKind) -> None:
    for error in (None, Color):
        assert result_plan(u32, error).decode(given) == (kind, None)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("", "expected the tag of a result"),
        ("80", "expected the tag of a result"),
        ("80 80 80 80 80 01", "expected the tag of a result"),
        ("01", "expected the tag of a result"),
        ("02", "expected a result (00 or 01), got 2"),
        ("01 04", "expected an error of a call (00 to 03), got 4"),
        ("01 03 00", "1 bytes are left after the error"),
        ("01 00 00", "it declares no error type"),
        ("00", "the bytes end early"),
        ("00 01 00", "1 bytes are left after the value"),
    ],
)
def test_a_malformed_result_is_refused(given: str, problem: str) -> None:
    with pytest.raises(DecodeError) as caught:
        result_plan(u32, None).decode(bytes.fromhex(given))
    assert problem in str(caught.value)


def test_a_value_of_another_type_is_not_encoded() -> None:
    plan = result_plan(u32, MathError)
    with pytest.raises(EncodeError, match="expected u32"):
        plan.encode_ok("x")
    with pytest.raises(EncodeError, match="expected MathError"):
        plan.encode_user_error(Color.RED)
    with pytest.raises(TypeError, match="the method declares no error type"):
        result_plan(u32, None).encode_user_error(Color.RED)


@pytest.mark.parametrize(
    ("error", "exceptions"),
    [
        (None, ()),
        (Color, ()),
        (Point, ()),
        (Drawing, ()),
        (str, ()),
        (MathError, (MathError,)),
        (Code, (Code,)),
        (Foreign, (Foreign,)),
        (MathError | Missing, (MathError, Missing)),
        (MathError | Point, (MathError,)),
    ],
)
def test_the_exceptions_a_method_may_raise_are_known(
    error: Any, exceptions: tuple[type[Exception], ...]
) -> None:
    assert result_plan(None, error).exceptions == exceptions


def test_a_union_of_exceptions_tells_them_apart() -> None:
    plan = result_plan(None, MathError | Missing)
    encoded = b"".join(plan.encode_user_error(Missing()))
    assert encoded.hex(" ") == "01 00 01"
    assert isinstance(plan.decode(encoded).value, Missing)
