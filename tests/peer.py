"""A peer that speaks in bare messages: tests script what it says, and read what it
hears. It does no more than encode and decode, so it can also say what no peer should.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import trio
import trio.testing

from roam_trio.links.base import Link
from roam_trio.links.memory import MemoryLink, memory_link_pair
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.wire.envelope import decode_message, encode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    PROTOCOL_VERSION,
    ConnectionSettings,
    Hello,
    HelloYourself,
    Message,
)

__all__ = ["Peer", "link_to_peer"]

M = TypeVar("M", bound=Message)


class Peer:
    """The scripted end of a link."""

    def __init__(self, link: Link) -> None:
        self.tx, self.rx = link.split()

    async def say(self, *messages: Message) -> None:
        """Send messages, one payload each."""
        for message in messages:
            await self.say_bytes(encode_message(message))

    async def say_bytes(self, pieces: bytes | Iterable[bytes | memoryview]) -> None:
        """Send one payload, whatever it is."""
        if isinstance(pieces, bytes):
            pieces = [pieces]
        (await self.tx.reserve()).send(list(pieces))

    async def hear(self, kind: type[M]) -> M:
        """The next message, which has to be of this kind."""
        payload = await self.rx.recv()
        assert payload is not None, f"the link has ended; expected {kind.__name__}"
        message = decode_message(payload)
        assert isinstance(message, kind), f"expected {kind.__name__}, heard {message}"
        return message

    async def hear_end(self) -> None:
        """The end of the link, and nothing before it."""
        payload = await self.rx.recv()
        assert payload is None, f"expected the end, heard {decode_message(payload)}"

    async def heard_nothing_more(self) -> bool:
        """Return True if nothing is there once everybody else waits."""
        await trio.testing.wait_all_tasks_blocked()
        try:
            payload = self.rx.recv_nowait()
        except trio.WouldBlock:
            return True
        assert payload is not None, "the link has ended"
        raise AssertionError(f"heard {decode_message(payload)}")

    async def initiate(
        self,
        max_concurrent_requests: int = 64,
        parity: Parity = Parity.ODD,
        metadata: Metadata = NO_METADATA,
    ) -> HelloYourself:
        """Shake hands as the initiator."""
        settings = ConnectionSettings(parity, max_concurrent_requests)
        await self.say(Hello(0, PROTOCOL_VERSION, settings, metadata))
        return await self.hear(HelloYourself)

    async def accept(
        self, max_concurrent_requests: int = 64, parity: Parity = Parity.EVEN
    ) -> Hello:
        """Shake hands as the acceptor."""
        hello = await self.hear(Hello)
        await self.say(
            HelloYourself(0, ConnectionSettings(parity, max_concurrent_requests))
        )
        return hello

    async def leave(self) -> None:
        """Close both directions."""
        await self.tx.close()
        await self.rx.close()


def link_to_peer(buffer: int = 64) -> tuple[MemoryLink, Peer]:
    """A link for a session under test, and the peer at its other end."""
    ours, theirs = memory_link_pair(buffer)
    return ours, Peer(theirs)
