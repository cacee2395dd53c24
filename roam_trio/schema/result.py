"""The payload of a response: ``Result<T, RoamError<E>>``.

A method's value, an error of its own, or what became of the call instead
(`rpc.fallible.roam-error`).
"""

from __future__ import annotations

import enum
from typing import Any, Final, NamedTuple

from ..errors import DecodeError
from .derive import shape_of
from .plan import RpcPlan
from .shape import ConvertedShape, Shape, StructShape, TransparentShape, UnionShape
from .signature import FALLIBLE_SIGNATURE

__all__ = [
    "CANCELLED",
    "INVALID_PAYLOAD",
    "UNKNOWN_METHOD",
    "Outcome",
    "ResultKind",
    "ResultPlan",
    "result_plan",
]

UNKNOWN_METHOD: Final = b"\x01\x01"
INVALID_PAYLOAD: Final = b"\x01\x02"
CANCELLED: Final = b"\x01\x03"

_OK: Final = b"\x00"
_USER_ERROR: Final = b"\x01\x00"


class ResultKind(enum.Enum):
    """What a response says."""

    OK = "ok"
    USER = "user error"
    UNKNOWN_METHOD = "unknown method"
    INVALID_PAYLOAD = "invalid payload"
    CANCELLED = "cancelled"


class Outcome(NamedTuple):
    """A decoded response.

    Attributes:
        kind: what it says.
        value: the method's value or its own error; None for the other kinds.
    """

    kind: ResultKind
    value: Any


_PROTOCOL_OUTCOMES: Final = {
    UNKNOWN_METHOD: Outcome(ResultKind.UNKNOWN_METHOD, None),
    INVALID_PAYLOAD: Outcome(ResultKind.INVALID_PAYLOAD, None),
    CANCELLED: Outcome(ResultKind.CANCELLED, None),
}


class ResultPlan:
    """Encodes and decodes the responses of one method.

    Attributes:
        ok: the plan of the success type.
        error: the plan of the method's own error type, or None if it cannot fail.
        signature: the result's part in the signature of the method.
        exceptions: the exception classes that are errors of the method's own.
    """

    def __init__(self, ok: RpcPlan[Any], error: RpcPlan[Any] | None) -> None:
        self.ok = ok
        self.error = error
        self.signature = ok.signature if error is None else FALLIBLE_SIGNATURE
        self.exceptions = () if error is None else _exceptions(error.shape)

    def encode_ok(self, value: Any) -> list[bytes | memoryview]:
        """The response of a method that has returned.

        Raises:
            EncodeError: the value is not of the declared type.
        """
        pieces: list[bytes | memoryview] = [_OK]
        self.ok.encode_into(value, pieces)
        return pieces

    def encode_user_error(self, value: Any) -> list[bytes | memoryview]:
        """The response of a method that has failed with an error of its own.

        Raises:
            EncodeError: the error is not of the declared type.
            TypeError: the method has no error type.
        """
        if self.error is None:
            raise TypeError("the method declares no error type")
        pieces: list[bytes | memoryview] = [_USER_ERROR]
        self.error.encode_into(value, pieces)
        return pieces

    def decode(self, buffer: bytes | memoryview, start: int = 0) -> Outcome:
        """Decode a response that extends from `start` to the end of a buffer.

        Raises:
            DecodeError: the bytes are no response of this method.
        """
        head = bytes(buffer[start : start + 2])
        if head[:1] == _OK:
            return Outcome(ResultKind.OK, self.ok.decode(buffer, start + 1))
        if head == _USER_ERROR and self.error is not None:
            error = self.error.decode(buffer, start + 2)
            return Outcome(ResultKind.USER, error)
        outcome = _PROTOCOL_OUTCOMES.get(head)
        if outcome is None or len(buffer) > start + 2:
            raise DecodeError(self._problem(head, len(buffer) - start))
        return outcome

    def _problem(self, head: bytes, size: int) -> str:
        if head == _USER_ERROR:
            return "got an error of the method's own, but it declares no error type"
        got = f"{head.hex(' ')} and {size - len(head)} more bytes"
        return f"expected a result (00 …, 01 00 …, 01 01, 01 02 or 01 03), got {got}"


def _exceptions(shape: Shape) -> tuple[type[Exception], ...]:
    match shape:
        case StructShape(_, record) | TransparentShape(record):
            classes = [record.cls]
        case UnionShape(_, variants):
            classes = [variant.record.cls for variant in variants]
        case ConvertedShape(cls):
            classes = [cls]
        case _:
            classes = []
    return tuple(cls for cls in classes if issubclass(cls, Exception))


def result_plan(ok: Any, error: Any | None, path: str = "") -> ResultPlan:
    """The plan of a method's responses.

    Args:
        ok: the success type; None for a method that returns nothing.
        error: the method's own error type, or None if it cannot fail.
        path: the method, to begin the paths of errors with: ``Adder.add``.

    Raises:
        SchemaError: one of the types cannot go on the wire, or holds channels
            (`rpc.channel.placement`).
    """
    ok_shape = shape_of(ok, f"{path} -> return", no_channels="in a return type")
    ok_plan: RpcPlan[Any] = RpcPlan(ok, ok_shape)
    if error is None:
        return ResultPlan(ok_plan, None)
    error_shape = shape_of(error, f"{path} -> error", no_channels="in an error type")
    return ResultPlan(ok_plan, RpcPlan(error, error_shape))
