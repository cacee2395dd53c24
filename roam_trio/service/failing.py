"""Answers for handlers that raise: to the caller, and to the log.

An error that the method declares is sent. A `CallCancelled` that this program has made
refuses the call. Any other exception is a failure: it is logged, and a `FailurePolicy`
determines what the caller is told.
"""

from __future__ import annotations

from typing import Any, cast

from ..codec import CANCELLED
from ..errors import CallCancelled, EncodeError, TxReset, UserError
from ..failures import alone
from ..kept_errors import strip_tracebacks
from ..logs import Log
from ..rpc.failure_metadata import failed_handler, failure_metadata
from ..wire.messages import Encoded
from .call import Call, add_response_metadata
from .descriptor import MethodDescriptor
from .signatures import show_annotation

__all__ = ["Failing"]

logger = Log("roam_trio.service")


class Failing:
    """Makes the responses of a method whose handler raises.

    Args:
        method: the method.
    """

    __slots__ = ("_method",)

    def __init__(self, method: MethodDescriptor) -> None:
        self._method = method

    def answer_to(self, error: BaseException, call: Call[Any, Any]) -> Encoded:
        """Return the response to a call whose handler has raised `error`."""
        one = alone(error)
        try:
            if self._declares(one):
                return self._declared(one, call)
            if isinstance(one, CallCancelled) and not one.by_peer:
                self._refuse(one, call)
            elif self._sends_items() and _is_only_reset(error):
                logger.debug(
                    "%s: the handler ended as the receiver of a channel wants no more",
                    self._method,
                    method=self._method,
                    connection=call.connection_id,
                )
            else:
                self._fail(error, one, call)
        except EncodeError as unsendable:
            return self.cannot_be_sent(unsendable, call, "raised")
        finally:
            if self._method.args_plan.has_channels:
                strip_tracebacks(error)
        return CANCELLED

    def cannot_be_sent(
        self, error: EncodeError, call: Call[Any, Any], what: str
    ) -> Encoded:
        """Return the response to a call whose outcome does not match its type."""
        told, number, error_id = self._tell(error, call)
        logger.error(
            "%s: the handler %s what cannot be sent; its caller gets %s%s",
            self._method,
            what,
            told,
            number,
            exc_info=error,
            method=self._method,
            connection=call.connection_id,
            error_id=error_id,
        )
        return CANCELLED

    # ------------------------------------------------------------ declared errors

    def _declares(self, error: BaseException) -> bool:
        """Return True if `error` is a declared error of the method."""
        return self._method.error_type is not None and isinstance(
            error, (UserError, *self._method.result_plan.exceptions)
        )

    def _declared(self, error: BaseException, call: Call[Any, Any]) -> Encoded:
        if call.is_replied:
            return CANCELLED
        declared = self._as_declared(error, call)
        return self._method.result_plan.encode_user_error(declared)

    def _as_declared(self, error: BaseException, call: Call[Any, Any]) -> Any:
        """Return the error to send; log the fields that are lost."""
        given = error.error if isinstance(error, UserError) else error
        if not isinstance(given, Exception):
            return given
        declared, lost = self._method.result_plan.as_declared(given)
        if lost:
            logger.warning(
                "%s: the handler raised %s, which is sent as %s: its fields %s are "
                "lost; declare it to send them",
                self._method,
                type(given).__qualname__,
                type(declared).__qualname__,
                ", ".join(map(repr, lost)),
                method=self._method,
                connection=call.connection_id,
            )
        return declared

    # ------------------------------------------------------------ refusals

    def _refuse(self, error: CallCancelled, call: Call[Any, Any]) -> None:
        if error.was_begun is None:
            error.was_begun = True
        policy = call.failure_policy
        if policy is not None and not call.is_replied:
            add_response_metadata(call, failure_metadata(error, policy.tell))
        logger.debug(
            "%s: the handler has refused the call: %s",
            self._method,
            error,
            method=self._method,
            connection=call.connection_id,
        )

    # ------------------------------------------------------------ failures

    def _fail(
        self, error: BaseException, alone: BaseException, call: Call[Any, Any]
    ) -> None:
        told, number, error_id = self._tell(alone, call)
        logger.error(
            "%s: the handler raised %s, and the method declares %s; its caller %s%s",
            self._method,
            _error_type(alone).__qualname__,
            self._declared_besides(alone),
            "has its answer" if call.is_replied else f"gets {told}",
            number,
            exc_info=error,
            method=self._method,
            connection=call.connection_id,
            error_id=error_id,
        )

    def _tell(
        self, error: BaseException, call: Call[Any, Any]
    ) -> tuple[str, str, str | None]:
        """Make a response that says that the handler has failed.

        Returns:
            A description of the response, one of the id of the failure, and the id, for
            the log.
        """
        policy = call.failure_policy
        if policy is None or call.is_replied:
            return "Cancelled", "", None
        failure = failed_handler(error, policy)
        add_response_metadata(call, failure_metadata(failure, policy.tell))
        return "HandlerFailed", f", with the id {failure.id}", failure.id

    def _sends_items(self) -> bool:
        channels = self._method.args_plan.channels
        return any(each.channel.direction == "tx" for each in channels)

    def _declared_besides(self, error: BaseException) -> str:
        if self._method.error_type is not None:
            return show_annotation(self._method.error_type)
        if not isinstance(error, Exception) or not _may_be_for_the_caller(error):
            return "no error"
        ok = show_annotation(self._method.return_type)
        wanted = _error_type(error).__qualname__
        return f"no error (write Fallible[{ok}, {wanted}] to send it)"


def _is_only_reset(error: BaseException) -> bool:
    if isinstance(error, ExceptionGroup):
        return cast("ExceptionGroup[Exception]", error).split(TxReset)[1] is None
    return isinstance(error, TxReset)


def _error_type(error: BaseException) -> type[Any]:
    """Return the error type that a method would have to declare to send this error."""
    sent: object = error.error if isinstance(error, UserError) else error
    return type(sent)


def _may_be_for_the_caller(error: Exception) -> bool:
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, UserError) or package not in _NEVER_DECLARED


_NEVER_DECLARED = ("builtins", "roam_trio", "trio")
