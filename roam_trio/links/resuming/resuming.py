"""Messages over a sequence of links: the part of a stable conduit that waits.

`Exchange` decides what to send, and what received frames mean. These tasks move the
frames:

    pump, as long as the conduit exists
    └── for each link in turn: the hellos, and then
        ├── the pump of the link
        ├── forward      sends the backlog, starting with the replay
        ├── acknowledge  sends a filler when no message carries the acknowledgement
        ├── superseded   waits for a newer link
        └── idle reader  receives when no other task does, for the acknowledgements

A sending task puts its message on the link directly if there is no backlog, and a
receiving task reads from the link: while a link is up, no task runs in between. A link
that fails is lost, whichever task notices first. The conduit fails only if another link
would not help.
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
from ..permits import PermitTx, QueuedPermit
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
"""The message of the last frame, which announces the end."""

_BORROW_FROM = 2048
"""Size of a message, in bytes, from which it is a view of its frame and not a copy."""


@attrs.frozen
class StableTxStatistics(TxStatistics):
    """Statistics of the sending half of a stable conduit.

    Unsent payloads are those that were not sent on the present link yet.

    Attributes:
        unacknowledged_frames: number of messages that the peer has not acknowledged.
        unacknowledged_bytes: their total length.
        links: number of links that the conduit has used so far.
        is_attached: whether it has a link now.
        full: the field of `StableLimits` that makes senders wait; None if none does.
    """

    unacknowledged_frames: int
    unacknowledged_bytes: int
    links: int
    is_attached: bool
    full: str | None


class Phase(enum.Enum):
    """Phases of a conduit."""

    OPEN = "open"
    CLOSING = "closing"  # this side has sent its goodbye
    CLOSED = "closed"
    FAILED = "failed"


class _LinkRun:
    """One link, while the conduit uses it or does the handshake on it."""

    __slots__ = ("ended", "is_new", "rx", "tx")

    def __init__(self, attachment: Attachment) -> None:
        self.tx: LinkTx = attachment.tx
        self.rx: LinkRx = attachment.rx
        self.ended = trio.Event()
        # Until the first frame arrives, it is unknown whether the peer has received our
        # hello.
        self.is_new = True


class Resuming:
    """State that survives the links: sequence numbers, the phase, and the present link.

    Args:
        source: supplies links.
        filler: the bytes of a message that its receiver ignores; empty if there is
            none.
        limits: bounds.
        keys: the keys that this side issues, if it is the server's side.
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
        self.link: _LinkRun | None = None
        self.links = 0
        self.phase = Phase.OPEN
        self.changed = ParkingLot()
        """Wakes tasks that wait for a link or for the next phase."""
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
        """Send a message now, or as soon as there is a link with room for it."""
        exchange = self.exchange
        replay = exchange.replay
        replay.add(body)
        link = self.link
        if link is None:
            return
        if replay.backlog == 1 and not link.tx.is_full:
            try:
                link.tx.send_nowait(exchange.next_frame())
            except (LinkError, PayloadTooLarge) as error:
                self._sending_failed(link, error)
        else:
            self._backlogged.unpark_all()

    async def _forward(self, link: _LinkRun) -> None:
        """Send the backlog whenever there is one."""
        exchange = self.exchange
        replay = exchange.replay
        try:
            while True:
                if not replay.backlog:
                    await self._backlogged.park()
                permit = await link.tx.reserve()
                if replay.backlog:
                    permit.send(exchange.next_frame())
                else:
                    permit.release()
        except (LinkError, PayloadTooLarge) as error:
            self._sending_failed(link, error)

    def _sending_failed(
        self, link: _LinkRun, error: LinkError | PayloadTooLarge
    ) -> None:
        if isinstance(error, PayloadTooLarge):
            # Another link would refuse it, too.
            self.fail(StableConduitError(f"a link does not take a message: {error}"))
        self.lose(link, error)

    # ------------------------------------------------ receiving

    def receive(self, link: _LinkRun, payload: Backing) -> Backing | None:
        """Return the message of a received frame, or None if it has none.

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
        if link.is_new:
            link.is_new = False
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
                exchange.owed -= (
                    1  # it is a filler, which is not acknowledged by another one
                )
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
        """Send the filler as an acknowledgement, unless the backlog will carry it."""
        is_silent = not self._filler or self._has_said_goodbye
        if not is_silent and not self.exchange.replay.backlog:
            self.push(self._filler)

    async def _acknowledge(self) -> None:
        # Sleep once for all messages that arrive in that time, instead of one timer
        # each.
        while True:
            if not self._is_owing_noted:
                await self._owing.park()
            await trio.sleep(self.limits.acknowledge_seconds)
            self._is_owing_noted = False
            if self.exchange.owed:
                self._answer_owed()

    async def _receive_when_idle(self, link: _LinkRun) -> None:
        """Receive when no other task does, for acknowledgements and the end of the
        link.
        """
        try:
            while True:
                while not self.rx.is_over:
                    await self.changed.park()
                payload = await link.rx.recv()
                if payload is None:
                    self.lose(link, "the peer has closed it")
                    return
                with suppress(StableConduitError):  # there is no peer left to tell
                    self.receive(link, payload)
        except LinkError as error:
            self.lose(link, error)

    # ------------------------------------------------ the links

    @property
    def is_pumped(self) -> bool:
        """True if a task runs the pump."""
        return self._pump is not None

    async def pump(self) -> None:
        """Use one link after another, until the conduit is closed or has failed.

        If cancelled, it drops the present link; if run again, it requests another.

        Raises:
            StableConduitError: the conduit has failed.
            trio.BusyResourceError: another task runs it.
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
            # A peer that has sent its goodbye may be gone, and needs no messages that
            # it has not acknowledged.
            return self.rx.is_at_end or self._is_complete
        return self.phase is not Phase.OPEN

    async def _use(self, attachment: Attachment) -> None:
        link = _LinkRun(attachment)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump_link, link)
                nursery.start_soon(self._watch_source, link)
                nursery.start_soon(self._carry, link, attachment.client_hello)
                await link.ended.wait()
                if self._is_complete:
                    with suppress(LinkError):
                        await link.tx.close()
                nursery.cancel_scope.cancel()
        finally:
            self.lose(link, "it is no longer used")
            await attachment.close()

    async def _pump_link(self, link: _LinkRun) -> None:
        try:
            await link.tx.pump()
        except LinkError as error:
            self.lose(link, error)

    async def _watch_source(self, link: _LinkRun) -> None:
        await self._source.superseded()
        self.lose(link, "there is a newer one")

    async def _carry(self, link: _LinkRun, client_hello: ClientHello | None) -> None:
        agreed = False
        try:
            with trio.move_on_after(self.limits.handshake_seconds):
                if client_hello is None:
                    await self._greet(link)
                    agreed = True
                else:
                    agreed = await self._answer(link, client_hello)
        except LinkError as error:
            self.lose(link, error)
        except StableConduitError as error:
            self.fail(error)
        if not agreed:
            self.lose(link, "its handshake failed or took too long")
            return
        self._source.established()
        self._attach(link)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._forward, link)
            nursery.start_soon(self._acknowledge)
            nursery.start_soon(self._receive_when_idle, link)

    async def _greet(self, link: _LinkRun) -> None:
        """Do the client's handshake; find where to continue (`stable.reconnect`).

        Raises:
            SessionLost: the server no longer knows the session.
            StableHandshakeError, LinkError: as `greet`.
        """
        hello = ClientHello(self._key, self.exchange.last_received)
        answer = await greet(link.tx, link.rx, hello)
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

    async def _answer(self, link: _LinkRun, hello: ClientHello) -> bool:
        """Do the server's handshake; find where to continue, or refuse."""
        why = self.reason_to_refuse(hello)
        if why:
            logger.warning("a client was refused that wants to resume: %s", why)
            await refuse(Attachment(link.tx, link.rx), seconds=math.inf)
            return False
        answer = ServerHello(
            self._keys.issue(hello.resume_key), self.exchange.last_received
        )
        self.exchange.resume(hello.last_received)
        (await link.tx.reserve()).send((answer.encode(),))
        return True

    def reason_to_refuse(self, hello: ClientHello) -> str:
        """Return the reason to refuse a client; empty if there is none."""
        if hello.resume_key is None:
            if self._keys:
                return "it wants a new session on a conduit that is in use"
        elif hello.resume_key not in self._keys:
            return "its key is of no session"
        if not self.exchange.can_resume(hello.last_received):
            return f"it cannot have got {hello.last_received} as the last frame"
        return ""

    def _attach(self, link: _LinkRun) -> None:
        if not link.ended.is_set():
            self.link = link
            self.links += 1
            self.changed.unpark_all()

    def lose(self, link: _LinkRun, why: object) -> None:
        """Stop using a link. Has no effect if it is not in use."""
        if not link.ended.is_set():
            logger.debug("dropped a link: %s", why)
            link.ended.set()
            if link is self.link:
                self.link = None

    def doubt(self) -> bool:
        """See `ConduitTx.doubt`."""
        if self.link is not None:
            self.lose(self.link, "the peer does not answer on it")
        return self.phase in (Phase.OPEN, Phase.CLOSING)

    # ------------------------------------------------ the end

    def say_goodbye(self) -> None:
        """Send the goodbye, after which nothing is sent (`link.tx.close`)."""
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
        """True if the peer has acknowledged everything, including the goodbye."""
        return self._has_said_goodbye and not self.exchange.replay.bodies

    @property
    def _is_complete(self) -> bool:
        return self.is_goodbye_acknowledged and self.rx.is_over

    def look_for_the_end(self) -> None:
        """Close the link if it is done, and wake tasks that wait for the end."""
        if self.is_goodbye_acknowledged:
            self.changed.unpark_all()
            if self.link is not None and self.rx.is_over:
                self.lose(self.link, "both sides have said goodbye")

    def fail(self, error: StableConduitError) -> None:
        """End with an error that another link would not cure. The first counts."""
        if self.phase is Phase.OPEN:
            self.tx.end(type(error), str(error), error.__cause__)
        if self.phase in (Phase.OPEN, Phase.CLOSING):
            self.phase = Phase.FAILED
            strip_tracebacks(error)  # its frames refer to the conduit
            self.failure = error
            self.changed.unpark_all()

    def raise_failure(self) -> None:
        """Raise the failure, if any. Each task gets its own exception."""
        if self.failure is not None:
            raise type(self.failure)(str(self.failure)) from self.failure.__cause__

    async def abort(self) -> None:
        """End at once, without a goodbye. Does not wait."""
        if self.phase in (Phase.OPEN, Phase.CLOSING):
            self.phase = Phase.CLOSED
        self.changed.unpark_all()
        if self._pump is not None:
            self._pump.cancel()
        if self.link is not None:
            link = self.link
            self.lose(link, "the conduit is closed")
            await link.tx.abort()
            await link.rx.close()
        await self._let_go()

    async def _let_go(self) -> None:
        """Release the source and the keys. Does not wait."""
        self._keys.clear()
        await self._source.close()
        if self._pump is None and self.phase in (Phase.CLOSED, Phase.FAILED):
            # Nothing is sent or received any more. The halves refer to this object;
            # drop the references to them, or only the garbage collector would free the
            # cycle.
            with suppress(AttributeError):  # the second time
                del self.tx, self.rx


class ResumingTx(PermitTx):
    """The sending half: as that of a link, but with the errors of a conduit."""

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

    def _new_permit(self) -> QueuedPermit:
        return QueuedPermit(self)

    def _check_length(self, length: int) -> None:
        if length > self._longest:
            raise PayloadTooLarge(length, self._longest)
        if not length:
            raise EncodeError(
                "a message of no bytes cannot be sent on a stable conduit, where it "
                "would say goodbye"
            )

    def _publish(self, pieces: Sequence[Buffer]) -> None:
        # This is the only copy, and none is made of an encoding in one piece.
        body = b"".join(pieces)
        length = len(body)
        if not 0 < length <= self._longest:
            self._check_length(length)
        self._last_length = length
        self._sent_payloads += 1
        self._sent_bytes += length
        self._life.push(body)

    def was_acknowledged(self) -> None:
        """Wake senders if there is room; called after every received frame."""
        if self.is_full:
            self._grant_permits()

    def end(
        self, error: type[RoamTrioError], why: str, cause: BaseException | None
    ) -> None:
        """Refuse every further message."""
        self._end(error, why, cause)

    def cork(self) -> None:
        if self._life.link is not None:
            self._life.link.tx.cork()

    def uncork(self, *, prompt: bool = False) -> None:
        if self._life.link is not None:
            self._life.link.tx.uncork(prompt=prompt)

    # ------------------------------------------------ carrying and closing

    def doubt(self) -> bool:
        """See `ConduitTx.doubt`."""
        return self._life.doubt()

    async def pump(self) -> None:
        """See `Resuming.pump`."""
        await self._life.pump()

    async def close(self) -> None:
        """Send the goodbye, and wait until the peer has received everything before it.

        The acknowledgement arrives only while a task receives. A checkpoint.

        Raises:
            StableConduitError: the conduit failed first.
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
        """End at once; see `LinkTx.abort`. The peer may then wait for another link."""
        self._end(LinkClosed, _CLOSED_HERE, None)
        await self._life.abort()

    # ------------------------------------------------ looking

    @property
    def _full(self) -> str | None:
        if len(self._replay.bodies) + self._permits >= self._most_frames:
            return "unacknowledged_frames"
        return None if self._has_room() else "unacknowledged_bytes"

    def statistics(self) -> StableTxStatistics:
        replay, link = self._replay, self._life.link
        on_link = None if link is None else link.tx.statistics()
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
            is_attached=link is not None,
            full=self._full,
        )

    def __repr__(self) -> str:
        life = self._life
        attached = "attached" if life.link is not None else "without a link"
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
        """True if the peer has sent its goodbye."""

    @property
    def is_over(self) -> bool:
        """True if no task will receive any more."""
        return self.is_at_end or self._is_closed

    async def recv(self) -> Backing | None:
        """See `LinkRx.recv`."""
        await checkpoint_if_cancelled()
        life = self._life
        while not self._is_at_end_or_raises():
            link = life.link
            if link is None:
                await life.changed.park()
                continue
            self._is_reading = True
            try:
                payload = await link.rx.recv()
            except LinkError as error:
                life.lose(link, error)
            else:
                message = self._message_of(link, payload)
                if message is not None:
                    return message
            finally:
                self._is_reading = False
        return None

    def recv_nowait(self) -> Backing | None:
        """See `LinkRx.recv_nowait`."""
        life = self._life
        while not self._is_at_end_or_raises():
            link = life.link
            if link is None:
                raise trio.WouldBlock
            try:
                payload = link.rx.recv_nowait()
            except LinkError as error:
                life.lose(link, error)
            else:
                message = self._message_of(link, payload)
                if message is not None:
                    return message
        return None

    async def recv_batch(self) -> Iterable[bytes | memoryview]:
        """See `LinkRx.recv_batch`.

        All but the first are received during iteration, which raises what `recv` would
        raise."""
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

    def _message_of(self, link: _LinkRun, payload: Backing | None) -> Backing | None:
        life = self._life
        if payload is None:
            life.lose(link, "the peer has closed it")
            return None
        if link is not life.link:
            return None  # the peer was told, on another link, that it is missing
        message = life.receive(link, payload)
        if message is not None:
            self._payloads += 1
            self._payload_bytes += len(message)
        return message

    def statistics(self) -> RxStatistics:
        """Return the totals received, without the frame headers."""
        return RxStatistics(self._payloads, self._payload_bytes)

    async def close(self) -> None:
        """Stop receiving; see `LinkRx.close`. Later messages are dropped."""
        self._is_closed = True
        life = self._life
        if self._is_reading and life.link is not None:
            life.lose(life.link, "its reader was told to stop")
        life.look_for_the_end()
        life.changed.unpark_all()

    def __repr__(self) -> str:
        state = (
            "closed" if self._is_closed else "at its end" if self.is_at_end else "open"
        )
        return f"<ResumingRx {state}, {self._payloads} messages received>"


_CLOSED_HERE = "this side has closed the sending half of the conduit"
