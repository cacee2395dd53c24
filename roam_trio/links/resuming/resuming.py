"""Messages on one link after the other: the part of a stable conduit that waits.

`Exchange` decides what is sent, and what that which comes means. Here is who moves it:

    pump, for as long as the conduit lives
    └── for each link, one after the other: the hellos, and then
        ├── the link's own pump
        ├── forward      sends what could not be sent at once, the replay first of all
        ├── acknowledge  where no message is sent that could take the answer along
        ├── superseded   waits for a better link
        └── attend       receives when nobody else does, for the answers

Whoever sends puts a message on the link at once if nothing is before it, and whoever
receives reads from the link itself: while a link holds, no task stands in between.

A link that fails is lost, whoever notices first. Only what no other link could mend
fails the conduit.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import attrs
import trio
from trio.lowlevel import ParkingLot, checkpoint, checkpoint_if_cancelled

from ...errors import (
    DecodeError,
    EncodeError,
    LinkClosed,
    LinkDead,
    LinkError,
    PayloadTooLarge,
    RoamTrioError,
    SessionLost,
    StableConduitError,
)
from ...kept_errors import strip_tracebacks
from ...logs import Log
from ...wire.backing import Backing
from ..base import Buffer, LinkRx, LinkTx, RxStatistics, TxStatistics
from ..permits import AdmittedPermit, AdmittingTx
from .exchange import DUPLICATE, Exchange
from .handshake import greet, refuse
from .hello import ClientHello, ServerHello
from .keys import KeyRing
from .limits import StableLimits
from .sequence import LONGEST_HEADER
from .source import Attachment, LinkSource

__all__ = ["Phase", "Resuming", "ResumingRx", "ResumingTx", "StableTxStatistics"]

logger = Log("roam_trio.conduits")

_GOODBYE = b""
"""The message of the last frame: nothing more comes."""

_BORROW_FROM = 2048
"""Messages from this size on are not copied out of the frame that brought them."""


@attrs.frozen
class StableTxStatistics(TxStatistics):
    """Statistics of the sending half of a stable conduit.

    Unsent is here what the present link has not carried yet.

    Attributes:
        unacknowledged_frames: how many messages the peer has not acknowledged.
        unacknowledged_bytes: their length in all.
        links: how many links have carried the conduit so far.
        is_attached: whether one does now.
        full: the field of `StableLimits` that makes senders wait; None if none does.
    """

    unacknowledged_frames: int
    unacknowledged_bytes: int
    links: int
    is_attached: bool
    full: str | None


class Phase(enum.Enum):
    """Phases in the life of a conduit."""

    OPEN = "open"
    CLOSING = "closing"  # this side has said goodbye
    CLOSED = "closed"
    FAILED = "failed"


class _Line:
    """One link, while it carries the conduit or is about to."""

    __slots__ = ("ended", "is_new", "rx", "tx")

    def __init__(self, attachment: Attachment) -> None:
        self.tx: LinkTx = attachment.tx
        self.rx: LinkRx = attachment.rx
        self.ended = trio.Event()
        # Until something comes, nobody knows whether the peer has got our hello.
        self.is_new = True


class Resuming:
    """State that outlives the links: the numbers, the phase, and any present link.

    Args:
        source: where links come from.
        filler: the bytes of a message that means nothing; none if there is no such.
        limits: bounds.
        keys: those that this side makes, if it turns out to be the server's.
    """

    def __init__(
        self,
        source: LinkSource,
        filler: bytes,
        limits: StableLimits,
        keys: KeyRing[Any],
    ) -> None:
        self.limits = limits
        self.exchange = Exchange()
        self.line: _Line | None = None
        self.links = 0
        self.phase = Phase.OPEN
        self.changed = ParkingLot()
        """Wakes who waits for a link, or for a step to the end."""
        self.failure: StableConduitError | None = None
        self.tx = ResumingTx(self)
        self.rx = ResumingRx(self)
        self._source = source
        self._filler = filler
        self._keys = keys
        self._key: bytes | None = None
        self._pump: trio.CancelScope | None = None
        self._has_said_goodbye = False
        self._backlogged = ParkingLot()
        self._owing = ParkingLot()
        self._is_owing_noted = False

    # ------------------------------------------------ sending

    def push(self, body: bytes) -> None:
        """Send a message, now or as soon as there is a link with room for it."""
        exchange = self.exchange
        replay = exchange.replay
        replay.add(body)
        line = self.line
        if line is None:
            return
        if replay.backlog == 1 and not line.tx.is_full:
            try:
                line.tx.send_nowait(exchange.next_frame())
            except (LinkError, PayloadTooLarge) as error:
                self._sending_failed(line, error)
        else:
            self._backlogged.unpark_all()

    async def _forward(self, line: _Line) -> None:
        """Send the backlog, whenever there is one."""
        exchange = self.exchange
        replay = exchange.replay
        try:
            while True:
                if not replay.backlog:
                    await self._backlogged.park()
                permit = await line.tx.reserve()
                if replay.backlog:
                    permit.send(exchange.next_frame())
                else:
                    permit.release()
        except (LinkError, PayloadTooLarge) as error:
            self._sending_failed(line, error)

    def _sending_failed(self, line: _Line, error: LinkError | PayloadTooLarge) -> None:
        if isinstance(error, PayloadTooLarge):
            # No other link would take it either.
            self.fail(StableConduitError(f"a link does not take a message: {error}"))
        self.lose(line, error)

    # ------------------------------------------------ receiving

    def receive(self, line: _Line, payload: Backing) -> Backing | None:
        """Return the message that a frame has brought, or None if it has brought none.

        Raises:
            StableConduitError: it is not a frame.
        """
        exchange = self.exchange
        try:
            pos = exchange.receive(payload)
        except DecodeError as error:
            raise StableConduitError(
                f"a payload of {len(payload)} bytes is not a frame: {error}"
            ) from error
        if line.is_new:
            line.is_new = False
            self._keys.prove()
        self.tx.was_acknowledged()
        if self._has_said_goodbye:
            self.look_for_the_end()
        if pos == DUPLICATE:
            return None
        length = len(payload) - pos
        if not length:
            self._peer_has_said_goodbye()
            return None
        if self._filler:
            if length == len(self._filler) and payload[pos:] == self._filler:
                exchange.owed -= 1  # it is an answer itself, and gets none
                return None
            self._see_to_answering()
        return payload[pos:] if length < _BORROW_FROM else memoryview(payload)[pos:]

    def _see_to_answering(self) -> None:
        exchange, limits = self.exchange, self.limits
        if (
            exchange.owed >= limits.acknowledge_frames
            or exchange.owed_bytes >= limits.acknowledge_bytes
        ):
            self._answer_owed()
        elif not self._is_owing_noted:
            self._is_owing_noted = True
            self._owing.unpark_all()

    def _answer_owed(self) -> None:
        """Acknowledge with a message that means nothing, unless others are about to be
        sent, which will do it."""
        is_silent = not self._filler or self._has_said_goodbye
        if not is_silent and not self.exchange.replay.backlog:
            self.push(self._filler)

    async def _acknowledge(self) -> None:
        # One look at the clock for all that comes meanwhile, not a timer for each.
        while True:
            if not self._is_owing_noted:
                await self._owing.park()
            await trio.sleep(self.limits.acknowledge_seconds)
            self._is_owing_noted = False
            if self.exchange.owed:
                self._answer_owed()

    async def _attend(self, line: _Line) -> None:
        """Receive when nobody else does, so that answers come and an end is noticed."""
        try:
            while True:
                while not self.rx.is_over:
                    await self.changed.park()
                payload = await line.rx.recv()
                if payload is None:
                    self.lose(line, "the peer has closed it")
                    return
                with suppress(StableConduitError):  # nobody is there to be told
                    self.receive(line, payload)
        except LinkError as error:
            self.lose(line, error)

    # ------------------------------------------------ the links

    @property
    def is_pumped(self) -> bool:
        """True if a task runs the pump."""
        return self._pump is not None

    async def pump(self) -> None:
        """Take one link after the other, until the conduit is closed or has failed.

        Cancelled, it drops the link that it has; run again, it asks for another.

        Raises:
            StableConduitError: it has failed.
            trio.BusyResourceError: another task runs it already.
        """
        if self._pump is not None:
            raise trio.BusyResourceError("another task runs the pump of this conduit")
        try:
            with trio.CancelScope() as self._pump:  # cancelled by abort
                await self._go_through_links()
        finally:
            self._pump = None
            if self.phase is not Phase.OPEN:
                await self._let_go()
            self.changed.unpark_all()
        self.raise_failure()

    async def _go_through_links(self) -> None:
        while not self._needs_no_link():
            try:
                attachment = await self._source.next_link()
            except StableConduitError as error:
                self.fail(error)
            except (OSError, LinkError) as error:
                dead = LinkDead(f"the link is gone, and there is no other: {error}")
                dead.__cause__ = error
                self.fail(dead)
            else:
                await self._use(attachment)
        if self.phase is Phase.CLOSING:
            self.phase = Phase.CLOSED

    def _needs_no_link(self) -> bool:
        if self.phase is Phase.CLOSING:
            # A peer that has said goodbye may be gone: what it has not acknowledged
            # by then it wants no more.
            return self.rx.is_at_end or self._is_complete
        return self.phase is not Phase.OPEN

    async def _use(self, attachment: Attachment) -> None:
        line = _Line(attachment)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump_line, line)
                nursery.start_soon(self._watch_source, line)
                nursery.start_soon(self._carry, line, attachment.client_hello)
                await line.ended.wait()
                if self._is_complete:
                    with suppress(LinkError):
                        await line.tx.close()
                nursery.cancel_scope.cancel()
        finally:
            self.lose(line, "it is given up")
            await attachment.close()

    async def _pump_line(self, line: _Line) -> None:
        try:
            await line.tx.pump()
        except LinkError as error:
            self.lose(line, error)

    async def _watch_source(self, line: _Line) -> None:
        await self._source.superseded()
        self.lose(line, "there is a better one")

    async def _carry(self, line: _Line, client_hello: ClientHello | None) -> None:
        agreed = False
        try:
            with trio.move_on_after(self.limits.handshake_seconds):
                if client_hello is None:
                    await self._greet(line)
                    agreed = True
                else:
                    agreed = await self._answer(line, client_hello)
        except LinkError as error:
            self.lose(line, error)
        except StableConduitError as error:
            self.fail(error)
        if not agreed:
            self.lose(line, "there was no agreement on it in time, or at all")
            return
        self._source.established()
        self._attach(line)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._forward, line)
            nursery.start_soon(self._acknowledge)
            nursery.start_soon(self._attend, line)

    async def _greet(self, line: _Line) -> None:
        """As the client: agree on where to go on (`stable.reconnect`).

        Raises:
            SessionLost: the server does not know the session any more.
            StableHandshakeError, LinkError: as `greet`.
        """
        hello = ClientHello(self._key, self.exchange.last_received)
        answer = await greet(line.tx, line.rx, hello)
        if answer.rejected:
            raise SessionLost(
                "the server does not know the session any more: it was started anew, "
                "or has given it up, or this is another server, as behind a balancer "
                "that does not lead a client back to the same one"
                if self._key
                else "the server has rejected a new session; it may have as many as it "
                "accepts (limit: max_sessions)"
            )
        self._key = answer.resume_key
        if not self.exchange.can_resume(answer.last_received):
            raise SessionLost(
                "the server has lost the session: it says that it has got "
                f"{answer.last_received} as the last frame, which cannot be"
            )
        self.exchange.resume(answer.last_received)

    async def _answer(self, line: _Line, hello: ClientHello) -> bool:
        """As the server: agree on where to go on, or refuse to."""
        why = self.reason_to_refuse(hello)
        if why:
            logger.warning("a client was refused that wants to resume: %s", why)
            await refuse(Attachment(line.tx, line.rx), seconds=math.inf)
            return False
        answer = ServerHello(
            self._keys.issue(hello.resume_key), self.exchange.last_received
        )
        self.exchange.resume(hello.last_received)
        (await line.tx.reserve()).send((answer.encode(),))
        return True

    def reason_to_refuse(self, hello: ClientHello) -> str:
        """Return why a client with this hello cannot be let in; empty if it can."""
        if hello.resume_key is None:
            if self._keys:
                return "it wants a new session on a conduit that is in use"
        elif hello.resume_key not in self._keys:
            return "its key is of no session"
        if not self.exchange.can_resume(hello.last_received):
            return f"it cannot have got {hello.last_received} as the last frame"
        return ""

    def _attach(self, line: _Line) -> None:
        if not line.ended.is_set():
            self.line = line
            self.links += 1
            self.changed.unpark_all()

    def lose(self, line: _Line, why: object) -> None:
        """Use a link no more; harmless if it is not used already."""
        if not line.ended.is_set():
            logger.debug("a link is dropped: %s", why)
            line.ended.set()
            if line is self.line:
                self.line = None

    def doubt(self) -> bool:
        """See `ConduitTx.doubt`."""
        if self.line is not None:
            self.lose(self.line, "the peer does not answer on it")
        return self.phase in (Phase.OPEN, Phase.CLOSING)

    # ------------------------------------------------ the end

    def say_goodbye(self) -> None:
        """Nothing more will be sent (`link.tx.close`)."""
        self.phase = Phase.CLOSING
        self._has_said_goodbye = True
        self.push(_GOODBYE)

    def _peer_has_said_goodbye(self) -> None:
        self.rx.is_at_end = True
        self._answer_owed()
        self.look_for_the_end()
        self.changed.unpark_all()

    @property
    def is_goodbye_acknowledged(self) -> bool:
        """True if everything has arrived, including the goodbye, which is the last."""
        return self._has_said_goodbye and not self.exchange.replay.bodies

    @property
    def _is_complete(self) -> bool:
        return self.is_goodbye_acknowledged and self.rx.is_over

    def look_for_the_end(self) -> None:
        """See whether the link can go, and who waits for the end."""
        if self.is_goodbye_acknowledged:
            self.changed.unpark_all()
            if self.line is not None and self.rx.is_over:
                self.lose(self.line, "everything is said")

    def fail(self, error: StableConduitError) -> None:
        """End, since no other link would help. The first reason counts."""
        if self.phase is Phase.OPEN:
            self.tx.end(type(error), str(error), error.__cause__)
        if self.phase in (Phase.OPEN, Phase.CLOSING):
            self.phase = Phase.FAILED
            strip_tracebacks(error)  # in whose frames is the conduit
            self.failure = error
            self.changed.unpark_all()

    def raise_failure(self) -> None:
        """Raise why it has failed, if it has. Everybody gets an exception of theirs."""
        if self.failure is not None:
            raise type(self.failure)(str(self.failure)) from self.failure.__cause__

    async def abort(self) -> None:
        """End at once, without a word to the peer. Does not wait."""
        if self.phase in (Phase.OPEN, Phase.CLOSING):
            self.phase = Phase.CLOSED
        self.changed.unpark_all()
        if self._pump is not None:
            self._pump.cancel()
        if self.line is not None:
            line = self.line
            self.lose(line, "the conduit is closed")
            await line.tx.abort()
            await line.rx.close()
        await self._let_go()

    async def _let_go(self) -> None:
        """Let go of everything that would bring a link. Does not wait."""
        self._keys.clear()
        await self._source.close()
        if self._pump is None and self.phase in (Phase.CLOSED, Phase.FAILED):
            # Nothing is sent or received any more. The halves hold this; it lets go of
            # them, or they would have to wait for the garbage collector.
            with suppress(AttributeError):  # the second time
                del self.tx, self.rx


class ResumingTx(AdmittingTx):
    """The sending half: as that of a link, but its errors are those of a conduit."""

    def __init__(self, life: Resuming) -> None:
        super().__init__()
        self._life = life
        self._replay = life.exchange.replay
        self._most_frames = life.limits.unacknowledged_frames
        self._most_bytes = life.limits.unacknowledged_bytes
        self._longest = life.limits.max_payload - LONGEST_HEADER
        self._last_length = 0

    # ------------------------------------------------ committing

    def _has_room(self) -> bool:
        replay, permits = self._replay, self._permits
        return (
            len(replay.bodies) + permits < self._most_frames
            and replay.size + permits * self._last_length < self._most_bytes
        )

    def _new_permit(self) -> AdmittedPermit:
        return AdmittedPermit(self)

    def _check_length(self, length: int) -> None:
        if length > self._longest:
            raise PayloadTooLarge(length, self._longest)
        if not length:
            raise EncodeError(
                "a message of no bytes cannot be sent on a stable conduit, where it "
                "would say goodbye"
            )

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        # The one copy that is kept, unless there is nothing to copy.
        body = b"".join(pieces)
        length = len(body)
        if not 0 < length <= self._longest:
            self._check_length(length)
        self._last_length = length
        self._sent_payloads += 1
        self._sent_bytes += length
        self._life.push(body)

    def was_acknowledged(self) -> None:
        """There may be room now; called after every frame that has come."""
        if self.is_full:
            self._admit()

    def end(
        self, error: type[RoamTrioError], why: str, cause: BaseException | None
    ) -> None:
        """Refuse every message from now on."""
        self._end(error, why, cause)

    def cork(self) -> None:
        if self._life.line is not None:
            self._life.line.tx.cork()

    def uncork(self, *, prompt: bool = False) -> None:
        if self._life.line is not None:
            self._life.line.tx.uncork(prompt=prompt)

    # ------------------------------------------------ carrying and closing

    def doubt(self) -> bool:
        """See `ConduitTx.doubt`."""
        return self._life.doubt()

    async def pump(self) -> None:
        """See `Resuming.pump`."""
        await self._life.pump()

    async def close(self) -> None:
        """Say goodbye, and wait until the peer has got everything before it.

        The answer comes only while somebody receives. A checkpoint.

        Raises:
            StableConduitError: the conduit failed before that, or had already.
        """
        life = self._life
        if life.phase is Phase.OPEN:
            self._end(LinkClosed, _CLOSED_HERE, None)
            life.say_goodbye()
        await checkpoint()
        if life.is_pumped:
            await self._wait_for_the_answer()
        elif life.phase is Phase.CLOSING:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump_for_the_answer)
                await self._wait_for_the_answer()
                nursery.cancel_scope.cancel()
        life.raise_failure()

    async def _wait_for_the_answer(self) -> None:
        life = self._life
        while life.phase is Phase.CLOSING and not life.is_goodbye_acknowledged:
            await life.changed.park()

    async def _pump_for_the_answer(self) -> None:
        with suppress(StableConduitError):  # `close` raises it
            await self._life.pump()

    async def abort(self) -> None:
        """End at once; see `LinkTx.abort`. The peer may wait for another link."""
        self._end(LinkClosed, _CLOSED_HERE, None)
        await self._life.abort()

    # ------------------------------------------------ looking

    @property
    def _full(self) -> str | None:
        if len(self._replay.bodies) + self._permits >= self._most_frames:
            return "unacknowledged_frames"
        return None if self._has_room() else "unacknowledged_bytes"

    def statistics(self) -> StableTxStatistics:
        replay, line = self._replay, self._life.line
        on_link = None if line is None else line.tx.statistics()
        return StableTxStatistics(
            payloads=self._sent_payloads,
            payload_bytes=self._sent_bytes,
            permits=self._permits,
            unsent_payloads=replay.backlog
            + (on_link.unsent_payloads if on_link else 0),
            unsent_bytes=replay.backlog_size + (on_link.unsent_bytes if on_link else 0),
            tasks_waiting=len(self._waiting),
            unacknowledged_frames=len(replay.bodies),
            unacknowledged_bytes=replay.size,
            links=self._life.links,
            is_attached=line is not None,
            full=self._full,
        )

    def __repr__(self) -> str:
        life = self._life
        attached = "attached" if life.line is not None else "without a link"
        return (
            f"<ResumingTx {life.phase.value}, {attached}, "
            f"{len(self._replay.bodies)} messages not acknowledged>"
        )


class ResumingRx:
    """The receiving half: as that of a link, but a large message is a memoryview."""

    def __init__(self, life: Resuming) -> None:
        self._life = life
        self._is_reading = False
        self._is_closed = False
        self._payloads = 0
        self._payload_bytes = 0
        self.is_at_end = False
        """True if the peer has said goodbye."""

    @property
    def is_over(self) -> bool:
        """True if nobody will receive any more."""
        return self.is_at_end or self._is_closed

    async def recv(self) -> Backing | None:
        """See `LinkRx.recv`."""
        await checkpoint_if_cancelled()
        life = self._life
        while not self._is_at_end_or_raises():
            line = life.line
            if line is None:
                await life.changed.park()
                continue
            self._is_reading = True
            try:
                payload = await line.rx.recv()
            except LinkError as error:
                life.lose(line, error)
            else:
                message = self._message_of(line, payload)
                if message is not None:
                    return message
            finally:
                self._is_reading = False
        return None

    def recv_nowait(self) -> Backing | None:
        """See `LinkRx.recv_nowait`."""
        life = self._life
        while not self._is_at_end_or_raises():
            line = life.line
            if line is None:
                raise trio.WouldBlock
            try:
                payload = line.rx.recv_nowait()
            except LinkError as error:
                life.lose(line, error)
            else:
                message = self._message_of(line, payload)
                if message is not None:
                    return message
        return None

    async def recv_batch(self) -> Iterable[bytes | memoryview]:
        """See `LinkRx.recv_batch`. All but the first are received as they are taken
        out, which raises what `recv` would have."""
        first = await self.recv()
        return () if first is None else self._with_the_others(first)

    def _with_the_others(
        self, first: bytes | memoryview
    ) -> Iterator[bytes | memoryview]:
        yield first
        with suppress(trio.WouldBlock):
            while (message := self.recv_nowait()) is not None:
                yield message

    def _is_at_end_or_raises(self) -> bool:
        life = self._life
        if self._is_closed or (life.phase is Phase.CLOSED and not self.is_at_end):
            raise LinkClosed("this side has closed the receiving half of the conduit")
        if life.failure is not None:
            life.raise_failure()
        return self.is_at_end

    def _message_of(self, line: _Line, payload: Backing | None) -> Backing | None:
        life = self._life
        if payload is None:
            life.lose(line, "the peer has closed it")
            return None
        if line is not life.line:
            return None  # the peer has been told, on another link, that it is missing
        message = life.receive(line, payload)
        if message is not None:
            self._payloads += 1
            self._payload_bytes += len(message)
        return message

    def statistics(self) -> RxStatistics:
        """Return what it has received: messages, without what numbers them."""
        return RxStatistics(self._payloads, self._payload_bytes)

    async def close(self) -> None:
        """Stop receiving; see `LinkRx.close`. What comes from now on is dropped."""
        self._is_closed = True
        life = self._life
        if self._is_reading and life.line is not None:
            life.lose(life.line, "its reader was told to stop")
        life.look_for_the_end()
        life.changed.unpark_all()

    def __repr__(self) -> str:
        state = (
            "closed" if self._is_closed else "at its end" if self.is_at_end else "open"
        )
        return f"<ResumingRx {state}, {self._payloads} messages received>"


_CLOSED_HERE = "this side has closed the sending half of the conduit"
