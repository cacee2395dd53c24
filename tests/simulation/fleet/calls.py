"""Calls of lasting clients, and what may become of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from roam_trio import (
    CallCancelled,
    ConnectionLost,
    DeadlineExceeded,
    Fallible,
    HandlerFailed,
    Overloaded,
    Refused,
    RoamError,
    RxConnectionLost,
    RxReset,
    Tx,
    TxConnectionLost,
    TxReset,
    Unavailable,
    idempotent,
    open_call,
    service,
    u32,
)

from ..broken import require
from ..progress import Planned
from .script import Plan

__all__ = ["Bank", "BankImpl", "Declared", "MadeCall", "Troubles"]

ITEMS = 3
"""Number of items of a call with a channel."""


@attrs.define
class Declared(Exception):
    """The error that the methods declare."""

    key: u32


@service
class Bank(Protocol):
    @idempotent
    async def read(self, key: u32) -> Fallible[u32, Declared]: ...
    async def write(self, key: u32) -> Fallible[u32, Declared]: ...
    @idempotent
    async def follow(self, key: u32, out: Tx[u32]) -> Fallible[u32, Declared]: ...


class Troubles(Protocol):
    """What was done that may end the calls of a client."""

    def explain_loss(self, call: MadeCall) -> bool:
        """Return True if a session may have ended that the call was on."""
        ...

    def explain_refusal(self, call: MadeCall) -> bool:
        """Return True if a server may have refused the call or the client."""
        ...


@attrs.define(eq=False)
class Handling:
    """A handler of a call.

    Attributes:
        server: the server, as it is named in the log.
        ended: how; ``"cancelled"`` as long as it has not.
        is_over: whether it has ended.
    """

    server: str
    ended: str = "cancelled"
    is_over: bool = False


@attrs.define(eq=False)
class MadeCall:
    """A call, and what has become of it.

    Attributes:
        key: its number.
        client: the number of its client.
        plan: the plan.
        attempts: how often it may be made.
        granted: number of attempts that the budget of its client has granted.
        was_denied: whether that budget has denied one.
        handlings: its handlers.
        outcome: how it has ended for its caller.
        began: when it was made.
        to_end_at: when it is cancelled.
    """

    key: int
    client: int
    plan: Plan
    attempts: int
    granted: int = 0
    was_denied: bool = False
    handlings: list[Handling] = attrs.Factory(list[Handling])
    outcome: str = ""
    began: float = math.inf
    to_end_at: float = math.inf
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)

    def __str__(self) -> str:
        handlings = [f"{one.server}: {one.ended}" for one in self.handlings]
        denied = ", denied" if self.was_denied else ""
        return (
            f"call {self.key} of client {self.client}, {self.plan.kind}: outcome "
            f"{self.outcome or 'none'}, handlers {handlings}, {self.granted} granted"
            f"{denied}"
        )

    def cancel(self) -> None:
        """Cancel it, as its caller."""
        self.to_end_at = min(self.to_end_at, trio.current_time())
        self.scope.cancel()

    async def make(self, bank: Bank, troubles: Troubles) -> None:
        """Make the call, and check how it ends.

        Raises:
            Broken: nothing explains how it has ended.
        """
        self.began = trio.current_time()
        if self.plan.deadline is not None:
            self.to_end_at = min(self.to_end_at, self.began + self.plan.deadline)
        outcome, was_begun = "cancelled", None
        with self.scope, trio.CancelScope(deadline=self.to_end_at):
            try:
                value = await self._result(bank)
                require(value == self.key + 1, "the result of another call", self)
                outcome = "value"
            except Declared as error:
                require(error.key == self.key, "the error of another call", self)
                outcome = "Declared"
            except RoamError as error:
                outcome, was_begun = type(error).__name__, error.was_begun
        self.outcome = outcome
        require(
            was_begun is not False or not self.handlings or self.plan.kind == "read",
            "a call was handled of which the error says that it was not",
            self,
        )
        self._check_count()
        require(
            self._is_explained(was_begun, troubles),
            "a call has ended as nothing explains",
            f"{self} (begun: {was_begun})",
        )

    async def _result(self, bank: Bank) -> int:
        if self.plan.kind != "follow":
            method = bank.read if self.plan.kind == "read" else bank.write
            return await method(self.key)
        async with open_call(bank.follow, self.key) as call:
            try:
                items = [each async for each in call.rx]
            except (RxConnectionLost, RxReset):
                items = None
            result = await call.result()
        require(
            items == list(range(ITEMS)), "a call has returned without its items", self
        )
        return result

    # ------------------------------------------------ what has to hold

    def _check_count(self) -> None:
        most = self.attempts if self.plan.kind == "read" else 1
        require(
            len(self.handlings) <= most,
            "a call was handled too often",
            self,
        )

    def _is_explained(self, was_begun: bool | None, troubles: Troubles) -> bool:
        last = self.handlings[-1].ended if self.handlings else ""
        match self.outcome:
            case "value":
                return last == "return"
            case "Declared":
                return last == "error"
            case HandlerFailed.__name__:
                return last == "fail"
            case "cancelled":
                return trio.current_time() >= self.to_end_at
            case DeadlineExceeded.__name__:
                return self.plan.deadline is not None
            case Refused.__name__:
                return last == "refuse" or troubles.explain_refusal(self)
            case Overloaded.__name__ if last == "overload":
                return True
            case Overloaded.__name__:
                return self._is_out_of_attempts and troubles.explain_refusal(self)
            case ConnectionLost.__name__ | Unavailable.__name__:
                if self.plan.kind == "follow" and was_begun is False:
                    # It is made once, since its channel ends with it.
                    return troubles.explain_refusal(self) or troubles.explain_loss(self)
                return self._may_be_lost(was_begun) and troubles.explain_loss(self)
            case CallCancelled.__name__ | _:
                return False

    def _may_be_lost(self, was_begun: bool | None) -> bool:
        is_out = self._is_out_of_attempts or self.plan.kind != "read"
        return was_begun is not False and is_out

    @property
    def _is_out_of_attempts(self) -> bool:
        # Those with channels have one.
        is_last = self.granted + 1 >= self.attempts or self.plan.kind == "follow"
        # Or its deadline is before the end of the next pause.
        return is_last or self.was_denied or self.plan.deadline is not None


class BankImpl:
    """The handlers of a server.

    Args:
        name: that of the server.
        call_of: returns a call by its number.
        slower_by: returns the seconds that handlers take longer.
        note: called with each event.
        may_be_cancelled: returns True if something explains that the handler of a call
            is cancelled.
    """

    def __init__(
        self,
        name: str,
        call_of: Callable[[int], MadeCall],
        slower_by: Callable[[], float],
        note: Callable[..., None],
        may_be_cancelled: Callable[[MadeCall], bool],
    ) -> None:
        self._name = name
        self._call_of = call_of
        self._slower_by = slower_by
        self._note = note
        self._may_be_cancelled = may_be_cancelled

    async def read(self, key: int) -> int:
        return await self._handle(key)

    async def write(self, key: int) -> int:
        return await self._handle(key)

    async def follow(self, key: int, out: Tx[int]) -> int:
        return await self._handle(key, out)

    async def _handle(self, key: int, out: Tx[int] | None = None) -> int:
        call = self._call_of(key)
        handling = Handling(self._name)
        call.handlings.append(handling)
        self._note("handler starts", key, self._name)
        call._check_count()
        try:
            if out is not None:
                await _send_all(out)
            await trio.sleep(call.plan.seconds + self._slower_by())
            handling.ended = call.plan.how
        except trio.Cancelled:
            require(
                self._may_be_cancelled(call), "a handler is cancelled for nothing", call
            )
            raise
        finally:
            handling.is_over = True
            self._note("handler ends", key, handling.ended)
        match call.plan.how:
            case "error":
                raise Declared(key)
            case "fail":
                raise Planned(f"call {key} is to fail")
            case "refuse":
                raise Refused("denied", "as planned")
            case "overload":
                raise Overloaded(text="as planned", retry_after=0.5)
            case _:
                return key + 1


async def _send_all(out: Tx[int]) -> None:
    try:
        for number in range(ITEMS):
            await out.send(number)
        out.close()
    except (TxReset, TxConnectionLost):
        pass
