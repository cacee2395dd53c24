"""Messages over a sequence of links: the part of a resuming link that waits.

`Conversation` decides what to send, and what received frames mean. These tasks move the
frames:

    pump, as long as the resuming link exists
    └── for each link in turn: the hellos, and then
        ├── the pump of the link
        ├── forwarding   sends the backlog, starting with the replay
        ├── acknowledge  sends a filler when no message carries the acknowledgement
        ├── superseded   waits for a newer link
        └── idle reader  receives when no other task does, for the acknowledgements

A receiving task reads from the link, and what it sends meanwhile goes to the link when
it is done, without a task in between; see `forwarding`. A link that fails is lost,
whichever task notices first. The resuming link fails only if another link would not
help.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import trio
from trio.lowlevel import ParkingLot

from ...errors import LinkDead, LinkError, PayloadTooLarge, StableConduitError
from ...logs import Log
from ...peer_identity import proof_of
from ...peers import Peer
from ...wire.backing import Backing
from .conversation import GOODBYE, Conversation, Due, Phase
from .forwarding import Forwarding
from .handshake import greet, refuse
from .hello import ClientHello
from .keys import KeyRing
from .limits import StableLimits
from .link_run import LinkRun
from .rx import ResumingRx
from .source import Attachment, LinkSource
from .tx import ResumingTx

__all__ = ["Resuming"]

logger = Log("roam_trio.links")

_NOTHING, _SOON = Due.NOTHING, Due.ACKNOWLEDGE_SOON  # not looked up each time


class Watcher(Protocol):
    """The interface of what watches the links of a conversation."""

    def link_lost(self, because: Exception) -> None:
        """Note that the link is lost, and that another one is needed."""
        ...

    def link_resumed(self) -> None:
        """Note that the conversation continues on another link."""
        ...


class Resuming:
    """The tasks that carry a conversation over one link after another.

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
        self.conversation = Conversation(filler, limits, keys)
        self.limits = limits
        self.link: LinkRun | None = None
        self.links = 0
        self.peer = Peer("other", "a peer that has no link yet")
        """The peer of the current link, or of the last one."""
        self.watcher: Watcher | None = None
        """Is told when a link is lost, and when another takes its place."""
        self.changed = ParkingLot()
        """Wakes tasks that wait for a link or for the next phase."""
        self.forwarding = Forwarding(self.conversation.exchange, self)
        """Puts messages on the link."""
        self.tx = ResumingTx(self)
        self.rx = ResumingRx(self)
        self._source = source
        self._pump: trio.CancelScope | None = None
        self._owing = ParkingLot()
        self._is_owing_noted = False

    # ------------------------------------------------ sending

    def sending_failed(self, link: LinkRun, error: LinkError | PayloadTooLarge) -> None:
        """Note that a link did not take a frame."""
        if isinstance(error, PayloadTooLarge):
            # Another link would refuse it, too.
            self.fail(StableConduitError(f"a link does not take a message: {error}"))
        self.lose(link, error)

    # ------------------------------------------------ receiving

    def receive(self, link: LinkRun, payloads: Sequence[Backing]) -> Sequence[Backing]:
        """Return the messages of what one read of a link has brought, if any."""
        if link is not self.link:
            return ()  # the peer was told, on another link, that they are missing
        if not payloads:
            self.lose(link, "the peer has closed it")
            return ()
        conversation = self.conversation
        messages, due = conversation.receive(payloads)
        if link.is_new:
            link.is_new = False
            conversation.prove_key()
        if self.tx.is_full:
            self.tx.was_acknowledged()
        if conversation.has_said_goodbye:
            self.look_for_the_end()
        if due is _SOON:
            if not self._is_owing_noted:
                self._is_owing_noted = True
                self._owing.unpark_all()
        elif due is not _NOTHING:
            self._send_acknowledgement()
            if due is Due.END:
                self.look_for_the_end()
                self.changed.unpark_all()
        return messages

    def _send_acknowledgement(self) -> None:
        link, conversation = self.link, self.conversation
        try:
            filler = conversation.filler_to_send()
            if filler is not None:
                self.forwarding.push_now(filler)
            elif (
                conversation.must_repeat_goodbye
                and link is not None
                and not link.tx.is_full
            ):
                link.tx.send_nowait(conversation.exchange.last_frame())
        except (StableConduitError, LinkError) as error:
            if isinstance(error, StableConduitError):
                self.fail(error)
            if link is not None:
                self.lose(link, error)

    async def _acknowledge(self) -> None:
        # Sleep once for all messages that arrive in that time, instead of one timer
        # each.
        while True:
            if not self._is_owing_noted:
                await self._owing.park()
            await trio.sleep(self.limits.acknowledge_seconds)
            self._is_owing_noted = False
            if self.conversation.exchange.owed:
                self._send_acknowledgement()

    async def _receive_when_idle(self, link: LinkRun) -> None:
        """Receive when no other task does, for acknowledgements and the end of the
        link.
        """
        try:
            while True:
                while not self.conversation.receives_no_more:
                    await self.changed.park()
                payloads = await link.rx.recv_batch()
                self.receive(link, payloads)
                if not payloads:
                    return
        except LinkError as error:
            self.lose(link, error)

    # ------------------------------------------------ the links

    @property
    def is_pumped(self) -> bool:
        """True if a task runs the pump."""
        return self._pump is not None

    async def pump(self) -> None:
        """Use one link after another, until the end.

        If cancelled, it drops the present link; if run again, it requests another.

        Raises:
            StableConduitError: the resuming link has failed.
            trio.BusyResourceError: another task runs it.
        """
        if self._pump is not None:
            raise trio.BusyResourceError(
                "another task runs the pump of this resuming link"
            )
        try:
            with trio.CancelScope() as self._pump:  # cancelled by abort
                await self._go_through_links()
        finally:
            self._pump = None
            if self.conversation.phase is not Phase.OPEN:
                await self._let_go()
            self.changed.unpark_all()
        self.conversation.raise_failure()

    async def _go_through_links(self) -> None:
        while not self.conversation.needs_no_link:
            try:
                attachment = await self._source.next_link()
            except StableConduitError as error:
                self.fail(error)
            except (OSError, LinkError) as error:
                dead = LinkDead(f"the link is lost, and there is no other: {error}")
                dead.__cause__ = error
                self.fail(dead)
            else:
                await self._use(attachment)
        self.conversation.finish()

    async def _use(self, attachment: Attachment) -> None:
        link = LinkRun(attachment)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump_link, link)
                nursery.start_soon(self._watch_source, link)
                nursery.start_soon(self._carry, link, attachment.client_hello)
                await link.ended.wait()
                if self.conversation.is_complete:
                    with suppress(LinkError):
                        await link.tx.close()
                nursery.cancel_scope.cancel()
        finally:
            self.lose(link, "it is no longer used")
            await attachment.close()

    async def _pump_link(self, link: LinkRun) -> None:
        try:
            await link.tx.pump()
        except LinkError as error:
            self.lose(link, error)

    async def _watch_source(self, link: LinkRun) -> None:
        await self._source.superseded()
        self.lose(link, "there is a newer one")

    async def _carry(self, link: LinkRun, client_hello: ClientHello | None) -> None:
        agreed = False
        try:
            with trio.move_on_after(self.limits.handshake_seconds):
                agreed = await self._agree(link, client_hello)
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
            nursery.start_soon(self.forwarding.run, link)
            nursery.start_soon(self._acknowledge)
            nursery.start_soon(self._receive_when_idle, link)

    async def _agree(self, link: LinkRun, client_hello: ClientHello | None) -> bool:
        """Do the handshake, as the client if the peer has sent no hello.

        Raises:
            SessionLost: the server no longer knows the session.
            StableHandshakeError, LinkError: as `greet`.
        """
        conversation = self.conversation
        if client_hello is None:
            hello = conversation.client_hello()
            conversation.take_server_hello(await greet(link.tx, link.rx, hello))
            return True
        proof = proof_of(link.peer)
        why = conversation.reason_to_refuse(client_hello, proof)
        if why:
            logger.warning("a client was refused that wants to resume: %s", why)
            await refuse(Attachment(link.tx, link.rx), seconds=math.inf)
            return False
        answer = conversation.take_client_hello(client_hello, proof)
        (await link.tx.reserve()).send((answer.encode(),))
        return True

    def _attach(self, link: LinkRun) -> None:
        if not link.ended.is_set():
            self.link = link
            self.links += 1
            if link.peer is not None:
                self.peer.follow(link.peer)
            self.changed.unpark_all()
            if self.links > 1 and self.watcher is not None:
                self.watcher.link_resumed()

    def lose(self, link: LinkRun, why: object) -> None:
        """Stop using a link. Has no effect if it is not in use."""
        if not link.ended.is_set():
            logger.debug("dropped a link: %s", why)
            link.ended.set()
            if link is self.link:
                self.link = None
                # Unless the link is lost because all is over.
                if self.watcher is not None and not self.conversation.is_ending:
                    error = why if isinstance(why, Exception) else LinkError(str(why))
                    self.watcher.link_lost(error)

    def doubt(self) -> bool:
        """See `ConduitTx.doubt`."""
        if self.link is not None:
            self.lose(self.link, "the peer does not answer on it")
        return self.conversation.is_live

    # ------------------------------------------------ the end

    def say_goodbye(self) -> None:
        """Send the goodbye, after which nothing is sent (`link.tx.close`)."""
        self.conversation.say_goodbye()
        self.forwarding.push(GOODBYE)

    def look_for_the_end(self) -> None:
        """Close the link if it is done, and wake tasks that wait for the end."""
        conversation = self.conversation
        if conversation.is_goodbye_acknowledged:
            self.changed.unpark_all()
            if self.link is not None and conversation.is_complete:
                self.lose(self.link, "both sides have said goodbye")

    def fail(self, error: StableConduitError) -> None:
        """End with an error that another link would not cure. The first counts."""
        if self.conversation.phase is Phase.OPEN:
            self.tx.end(type(error), str(error), error.__cause__)
        if self.conversation.fail(error):
            self.changed.unpark_all()

    async def abort(self) -> None:
        """End at once, without a goodbye. Does not wait."""
        self.conversation.close()
        self.changed.unpark_all()
        if self._pump is not None:
            self._pump.cancel()
        if self.link is not None:
            link = self.link
            self.lose(link, "this side has closed the resuming link")
            await link.tx.abort()
            await link.rx.close()
        await self._let_go()

    async def _let_go(self) -> None:
        """Release the source and the keys. Does not wait."""
        conversation = self.conversation
        self.watcher = None
        conversation.forget_keys()
        await self._source.close()
        if self._pump is None and not conversation.is_live:
            # Nothing is sent or received any more. The halves refer to this object;
            # drop the references to them, or only the garbage collector would free the
            # cycle.
            with suppress(AttributeError):  # the second time
                del self.tx, self.rx, self.forwarding
