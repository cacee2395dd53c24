"""The payload of a response: ``Result<T, RoamError<E>>``.

It contains the value of a method, its declared error, or another outcome of the call
(`rpc.fallible.roam-error`).
"""

from __future__ import annotations

import enum
from typing import Any, Final, NamedTuple

from ..errors import (
    CallCancelled,
    DecodeError,
    InvalidPayload,
    RoamError,
    SchemaError,
    UnknownMethod,
    UserError,
)
from ..schema.shape import (
    ConvertedShape,
    Record,
    Shape,
    StructShape,
    TransparentShape,
    UnionShape,
)
from ..schema.signature import FALLIBLE_SIGNATURE
from ..schema.subclasses import lost_fields
from .plan import RpcPlan
from .plans import SharedPlans, part_plan
from .primitives import READERS

__all__ = [
    "CANCELLED",
    "INVALID_PAYLOAD",
    "OK",
    "UNKNOWN_METHOD",
    "Outcome",
    "ResultKind",
    "ResultPlan",
    "encode_error",
    "kind_of",
    "result_plan",
]

UNKNOWN_METHOD: Final = b"\x01\x01"
INVALID_PAYLOAD: Final = b"\x01\x02"
CANCELLED: Final = b"\x01\x03"

OK: Final = b"\x00"
"""First byte of the response of a method that has returned; the value follows."""

_USER_ERROR: Final = b"\x01\x00"


class ResultKind(enum.Enum):
    """Kinds of response."""

    OK = "ok"
    USER = "user error"
    UNKNOWN_METHOD = "unknown method"
    INVALID_PAYLOAD = "invalid payload"
    CANCELLED = "cancelled"


def kind_of(encoded: bytes | bytearray | memoryview) -> ResultKind:
    """Return the kind of an encoded response, without decoding it."""
    if bytes(encoded[:1]) == OK:
        return ResultKind.OK
    found = _PROTOCOL_ERRORS.get(encoded[1]) if len(encoded) > 1 else None
    return ResultKind.USER if found is None else found.kind


class Outcome(NamedTuple):
    """A decoded response.

    Attributes:
        kind: its kind.
        value: the value or the declared error; None for the other kinds.
    """

    kind: ResultKind
    value: Any


_PROTOCOL_ERRORS: Final = {
    UNKNOWN_METHOD[1]: Outcome(ResultKind.UNKNOWN_METHOD, None),
    INVALID_PAYLOAD[1]: Outcome(ResultKind.INVALID_PAYLOAD, None),
    CANCELLED[1]: Outcome(ResultKind.CANCELLED, None),
}


_OUTCOMES: Final = (
    (UnknownMethod, UNKNOWN_METHOD),
    (InvalidPayload, INVALID_PAYLOAD),
    (CallCancelled, CANCELLED),
)


def encode_error(
    error: RoamError, declared: RpcPlan[Any] | None
) -> bytes | list[bytes | memoryview]:
    """Return the response for `error` (`rpc.fallible.roam-error`).

    Args:
        error: an `UnknownMethod`, an `InvalidPayload` or a `CallCancelled`, whose text
            is not sent; or a `UserError`, whose value is.
        declared: the plan of the declared error type, for a `UserError`.

    Raises:
        EncodeError: the value of the `UserError` does not match the declared type.
        TypeError: there is no response for this error, or no error type is declared.
    """
    if isinstance(error, UserError):
        return _encode_user_error(error.error, declared)
    for kind, ret in _OUTCOMES:
        if isinstance(error, kind):
            return ret
    raise TypeError(
        "a response can say UserError, UnknownMethod, InvalidPayload or CallCancelled, "
        f"got {error!r}"
    )


def _encode_user_error(
    value: Any, declared: RpcPlan[Any] | None
) -> list[bytes | memoryview]:
    if declared is None:
        raise TypeError("the method declares no error type")
    pieces: list[bytes | memoryview] = [_USER_ERROR]
    declared.encode_into(value, pieces)
    return pieces


class ResultPlan:
    """Encodes and decodes the responses of one method.

    Attributes:
        ok: the plan of the success type.
        error: the plan of the declared error type, or None.
        signature: the part of the result in the signature of the method.
        exceptions: the declared exception classes.
    """

    def __init__(self, ok: RpcPlan[Any], error: RpcPlan[Any] | None) -> None:
        self.ok = ok
        self.error = error
        self.signature = ok.signature if error is None else FALLIBLE_SIGNATURE
        self.exceptions = () if error is None else _exceptions(error.shape)
        self._records = {} if error is None else _records(error.shape)

    def encode_ok(self, value: Any) -> list[bytes | memoryview]:
        """Return the response of a method that has returned.

        Raises:
            EncodeError: the value is not of the declared type.
        """
        pieces: list[bytes | memoryview] = [OK]
        self.ok.encode_into(value, pieces)
        return pieces

    def encode_user_error(self, value: Any) -> list[bytes | memoryview]:
        """Return the response of a method that has failed with its declared error.

        Raises:
            EncodeError: the error does not match the declared type.
            TypeError: the method declares no error type.
        """
        return _encode_user_error(value, self.error)

    def as_declared(self, error: Exception) -> tuple[Exception, list[str]]:
        """Return an exception as an instance of the class that the method declares.

        A handler may raise a derived class, because code that catches the declared
        class catches it as well.

        Returns: The exception, which is a new one if the derived class has additional
        fields, and the names of these fields.
        """
        for cls in type(error).__mro__:
            record = self._records.get(cls)
            if record is not None:
                lost = lost_fields(error, cls)
                return (_base_of(error, record) if lost else error), lost
        return error, []

    def decode(self, buffer: bytes | memoryview, start: int = 0) -> Outcome:
        """Decode a response that extends from `start` to the end of a buffer.

        Raises:
            DecodeError: the bytes are not a response of this method.
        """
        tag, pos = _tag(buffer, start)
        if tag == 0:
            return Outcome(ResultKind.OK, self.ok.decode(buffer, pos))
        if tag != 1:
            raise DecodeError(f"expected a result (00 or 01), got {tag}")
        tag, pos = _tag(buffer, pos)
        if tag == 0:
            return Outcome(ResultKind.USER, self._user_error(buffer, pos))
        if tag not in _PROTOCOL_ERRORS:
            raise DecodeError(f"expected an error of a call (00 to 03), got {tag}")
        if pos < len(buffer):
            raise DecodeError(f"{len(buffer) - pos} bytes are left after the error")
        return _PROTOCOL_ERRORS[tag]

    def _user_error(self, buffer: bytes | memoryview, pos: int) -> Any:
        if self.error is None:
            raise DecodeError(
                "got an error of the method's own, but it declares no error type"
            )
        return self.error.decode(buffer, pos)


def _tag(buffer: bytes | memoryview, pos: int) -> tuple[int, int]:
    """Return the tag at a position, and the position after it."""
    try:
        tag = buffer[pos]
        return (tag, pos + 1) if tag < 0x80 else READERS[32](buffer, pos + 1, tag)
    except (IndexError, ValueError) as cause:
        raise DecodeError("expected the tag of a result") from cause


def _exceptions(shape: Shape) -> tuple[type[Exception], ...]:
    return tuple(cls for cls in _classes(shape) if issubclass(cls, Exception))


def _classes(shape: Shape) -> list[type[Any]]:
    if isinstance(shape, ConvertedShape):
        return [shape.cls]
    return list(_records(shape))


def _records(shape: Shape) -> dict[type[Any], Record]:
    match shape:
        case StructShape(_, record) | TransparentShape(record):
            records = [record]
        case UnionShape(_, variants):
            records = [variant.record for variant in variants]
        case _:
            records = []
    return {record.cls: record for record in records}


def _base_of(error: Exception, record: Record) -> Exception:
    """Return an instance of the class of `record` with the values of `error`."""
    values = {field.keyword: getattr(error, field.attribute) for field in record.fields}
    base: Exception = record.cls(**values)
    return base


def _check_errors(shape: Shape, path: str) -> None:
    """Refuse exception classes that can never reach a caller unchanged.

    Raises:
        SchemaError: one of the errors is such a class.
    """
    for cls in _classes(shape):
        why = _why_it_cannot_arrive(cls)
        if why is not None:
            raise SchemaError(
                f"{cls.__qualname__} cannot be an error of a method: {why}; derive it "
                "from Exception alone",
                path,
            )


def _why_it_cannot_arrive(cls: type[Any]) -> str | None:
    if issubclass(cls, StopIteration | StopAsyncIteration):
        return "Python converts it to another exception when it leaves a coroutine"
    if issubclass(cls, BaseExceptionGroup):
        return "a group is replaced by the errors in it"
    if issubclass(cls, UserError):
        return "a UserError represents the error in it"
    if issubclass(cls, BaseException) and not issubclass(cls, Exception):
        return "it does not derive from Exception, so it would end more than one call"
    return None


def result_plan(
    ok: Any, error: Any | None, path: str = "", plans: SharedPlans | None = None
) -> ResultPlan:
    """Return the plan of a method's responses.

    Args:
        ok: the success type; None for a method that returns nothing.
        error: the declared error type, or None.
        path: the method, with which the paths of errors begin: ``Adder.add``.
        plans: has the plans of types that are in several methods.

    Raises:
        SchemaError: one of the types has no wire form, or contains channels
            (`rpc.channel.placement`), or the error is an exception class that can never
            reach a caller unchanged.
    """
    part = part_plan if plans is None else plans.part
    ok_plan = part(ok, f"{path} -> return", "in a return type")
    if error is None:
        return ResultPlan(ok_plan, None)
    error_path = f"{path} -> error"
    error_plan = part(error, error_path, "in an error type")
    _check_errors(error_plan.shape, error_path)
    return ResultPlan(ok_plan, error_plan)
