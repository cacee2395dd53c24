"""Outcomes of calls: the value or the exception of a response."""

from __future__ import annotations

from typing import Any

from ..codec import OK, ResultKind
from ..errors import (
    CallCancelled,
    DecodeError,
    InvalidPayload,
    UnknownMethod,
    UserError,
)
from ..metadata import NO_METADATA, Metadata
from ..rpc.caller import Caller
from ..rpc.failure_metadata import failure_from
from ..wire.messages import RequestResponse, joined
from .descriptor import MethodDescriptor

__all__ = ["metadata_of", "result_of"]


def result_of(
    method: MethodDescriptor, response: RequestResponse, caller: Caller
) -> Any:
    """Return the value of a response.

    Raises:
        Exception: the declared error of the method.
        RoamError: another outcome.
    """
    try:
        ret = response.ret
        if isinstance(ret, list):
            ret = joined(ret)
        if ret[:1] == OK:
            return method.result_plan.ok.decode(ret, 1)
        kind, value = method.result_plan.decode(ret)
    except DecodeError as error:
        raise _undecodable(method, error) from error
    if kind is ResultKind.OK:
        return value
    if kind is ResultKind.USER:
        try:
            raise _declared(value, response.metadata)
        finally:
            del value  # it may be the error, and hold this frame as the frame holds it
    if kind is ResultKind.CANCELLED:
        raise _failure(method, response.metadata, caller)
    raise _not_begun(method, kind)


def metadata_of(error: BaseException) -> Metadata:
    """Return the metadata of the response that raised `error`.

    Args:
        error: an exception of a call: a declared one, or a `CallCancelled`. All others
            have no metadata.
    """
    if isinstance(error, CallCancelled):
        return error.metadata
    metadata = vars(error).get(_ATTRIBUTE, NO_METADATA)
    return metadata if isinstance(metadata, Metadata) else NO_METADATA


_ATTRIBUTE = "__roam_metadata__"


def _declared(value: Any, metadata: Metadata) -> Exception:
    error = value if isinstance(value, Exception) else UserError(value)
    if metadata:
        vars(error)[_ATTRIBUTE] = metadata  # a frozen class refuses it
    return error


def _failure(
    method: MethodDescriptor, metadata: Metadata, caller: Caller
) -> CallCancelled:
    error = failure_from(metadata, str(method))
    kept = caller.kept_failures
    if kept is not None and error.id is not None:
        error.__cause__ = kept.get(error.id)
    return error


def _undecodable(method: MethodDescriptor, error: DecodeError) -> InvalidPayload:
    wrong = InvalidPayload(f"{method}: the answer: {error.without_values}")
    wrong.was_begun = True
    return wrong


def _not_begun(method: MethodDescriptor, kind: ResultKind) -> Exception:
    """Return the error for a response that was not made by a handler."""
    if kind is ResultKind.UNKNOWN_METHOD:
        return UnknownMethod(
            f"{method}: the peer serves no method of this id, {method.id:#018x}, on "
            "this connection: its service, its name or its types differ, or it is one "
            "of several by name, which are not on the root connection, but on "
            "connections of their own: session.open(Service)"
        )
    error = InvalidPayload(f"{method}: the peer could not decode the arguments")
    error.was_begun = False
    return error
