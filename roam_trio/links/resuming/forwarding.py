"""The way of messages from the replay buffer to the present link.

`write_policy` decides when, as it does for what a stream link writes: with `cork` and
`uncork`, or with the next turn of the task here, several messages become frames and go
to the link in one step; a message that most likely comes alone goes at once.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

import trio
from trio.lowlevel import enable_ki_protection

from ...errors import LinkError, PayloadTooLarge
from ..write_policy import Mode, Write
from .exchange import Exchange
from .link_run import LinkRun
from .replay import Body

__all__ = ["Forwarding"]

_MOST_AT_ONCE: Final = 256
"""Number of frames that are made before the link takes them."""

_WAKE, _NOW = Write.WAKE, Write.NOW  # not looked up for every message


class Owner(Protocol):
    """The interface of a resuming link here.

    Attributes:
        link: the present link; None if there is none.
    """

    link: LinkRun | None

    def sending_failed(self, link: LinkRun, error: LinkError | PayloadTooLarge) -> None:
        """Note that a link did not take a frame."""
        ...


class Forwarding:
    """Puts messages on the present link.

    Args:
        exchange: numbers and keeps the messages.
        owner: has the link.
    """

    __slots__ = (
        "_exchange",
        "_idle",
        "_mode",
        "_owner",
        "_replay",
        "filler_bytes",
        "fillers",
    )

    def __init__(self, exchange: Exchange, owner: Owner) -> None:
        self._exchange = exchange
        self._replay = exchange.replay
        self._owner = owner
        self._mode = Mode.COMMIT
        self.fillers = 0
        """Number of messages that `push_now` has sent."""
        self.filler_bytes = 0
        """Their size."""
        self._idle: trio.lowlevel.Task | None = None  # the task, if it waits

    # Control-C in between would leave a message that is not counted.
    @enable_ki_protection
    def push(self, body: Body) -> None:
        """Send a message soon, or as soon as there is a link with room for it."""
        self._replay.add(body)
        # As in `push_all`: a call of one method for both would be 2 % of the steps of
        # an item.
        self._mode, write = self._mode.on_commit
        if write is _NOW:
            self._forward_now()
        elif write is _WAKE and self._idle is not None:
            self._wake()

    @enable_ki_protection  # as for `push`
    def push_all(self, bodies: list[bytes], size: int) -> None:
        """As `push`, for several messages, of `size` bytes in all."""
        self._replay.add_all(bodies, size)
        self._mode, write = self._mode.on_commit
        if write is _NOW:
            self._forward_now()
        elif write is _WAKE and self._idle is not None:
            self._wake()

    @enable_ki_protection  # as for `push`
    def push_now(self, body: bytes) -> None:
        """Send a filler now, if there is a link with room for it."""
        self.fillers += 1
        self.filler_bytes += len(body)
        self._replay.add(body)
        self._forward_now()

    def cork(self) -> None:
        """See `LinkTx.cork`."""
        self._mode, _ = self._mode.on_cork

    def uncork(self, *, prompt: bool = False) -> None:
        """See `LinkTx.uncork`."""
        if self._replay.backlog:
            self._mode, _ = self._mode.on_uncork
            self._forward_now()
        elif prompt:
            self._mode, _ = self._mode.on_uncork_prompt
        else:
            self._mode, _ = self._mode.on_uncork_idle

    async def run(self, link: LinkRun) -> None:
        """Send the backlog whenever there is one, while this is the present link."""
        replay = self._replay
        try:
            while True:
                if not replay.backlog:
                    await self._wait_for_backlog()
                self._forward(link)
                if replay.backlog:
                    (await link.tx.reserve()).release()  # wait for room
        except (LinkError, PayloadTooLarge) as error:
            self._owner.sending_failed(link, error)

    # Control-C after the link is full would leave a task that does not wait for room.
    @enable_ki_protection
    def _forward_now(self) -> None:
        link = self._owner.link
        if link is None:
            return
        tx = link.tx
        try:
            self._forward(link)
        except (LinkError, PayloadTooLarge) as error:
            self._owner.sending_failed(link, error)
        if tx.is_full:
            self._wake()

    # Control-C after a message is taken from the buffer and before the link has it
    # would lose the message: it would count as sent, and the acknowledgement of the
    # next one would remove it.
    @enable_ki_protection
    def _forward(self, link: LinkRun) -> None:
        """Send what there is room for."""
        exchange, tx = self._exchange, link.tx
        backlog = self._replay.backlog
        if backlog == 1:
            if not tx.is_full:
                tx.uncork(prompt=True)
                if tx.takes_frames:
                    # Which the type of a link in general does not say.
                    tx.send_nowait(cast("Any", exchange.next_frame_with_length()))
                else:
                    tx.send_nowait(exchange.next_frame())
            return
        tx.cork()
        try:
            while backlog and not tx.is_full:
                sent = tx.send_many_nowait(exchange.next_frames(_MOST_AT_ONCE))
                exchange.were_sent(sent)
                backlog -= sent
        finally:
            tx.uncork()

    # Control-C in between would leave a record of a waiting task that does not wait.
    @enable_ki_protection
    async def _wait_for_backlog(self) -> None:
        self._idle = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._idle = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        # It then runs after all tasks that are ready now, and finds all their messages.
        if self._idle is not None:
            task, self._idle = self._idle, None
            trio.lowlevel.reschedule(task)

    def __repr__(self) -> str:
        return f"<Forwarding {self._mode.name}, {self._replay!r}>"
