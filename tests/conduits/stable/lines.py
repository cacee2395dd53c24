"""A stable conduit, and scripted peers on its links that say every byte themselves."""

from __future__ import annotations

from collections.abc import Callable

import trio

from roam_trio.conduits.stable import StableConduit, StableConduitRx, StableConduitTx
from roam_trio.errors import DecodeError
from roam_trio.links.base import Link, LinkRx, LinkTx
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.links.resuming.limits import StableLimits
from roam_trio.links.resuming.sequence import read_header, write_header
from roam_trio.links.resuming.source import Attachment, LinkSource
from roam_trio.wire.family import MsgFamily

__all__ = ["FILLER", "KEY", "Line", "Lines", "Texts"]

KEY = b"0123456789abcdef"
FILLER = "nothing"
PATIENCE = 10_000
"""Seconds of a clock that jumps as soon as nothing happens."""


class Texts(MsgFamily[str]):
    """Texts, which are never empty."""

    def encode(self, message: str) -> list[bytes | memoryview]:
        return [message.encode()]

    def decode(self, payload: bytes | memoryview) -> str:
        try:
            return str(payload, "utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError("expected UTF-8") from error

    def filler(self) -> str:
        return FILLER


class TextsWithoutFiller(Texts):
    def filler(self) -> None:
        return None


class Line:
    """The other end of one link."""

    def __init__(self, link: Link) -> None:
        self.tx: LinkTx
        self.rx: LinkRx
        self.tx, self.rx = link.split()

    async def say(self, payload: bytes) -> None:
        (await self.tx.reserve()).send((payload,))

    async def hear(self) -> bytes | None:
        with trio.fail_after(PATIENCE):
            return await self.rx.recv()

    async def say_frame(self, seq: int, text: str, ack: int | None = None) -> None:
        await self.say(write_header(seq, ack) + text.encode())

    async def hear_frame(self) -> tuple[int, int | None, str]:
        payload = await self.hear()
        assert payload is not None
        seq, ack, pos = read_header(payload)
        return seq, ack, payload[pos:].decode()

    def has_heard(self) -> list[bytes]:
        """What has come and was not looked at."""
        payloads: list[bytes] = []
        while True:
            try:
                payload = self.rx.recv_nowait()
            except trio.WouldBlock:
                return payloads
            if payload is None:
                return payloads
            payloads.append(payload)

    async def welcome(
        self,
        last_received: int | None = None,
        *,
        key: bytes = KEY,
    ) -> ClientHello:
        """As the server: hear the hello, and answer it."""
        payload = await self.hear()
        assert payload is not None
        hello = ClientHello.decode(payload)
        await self.say(ServerHello(key, last_received).encode())
        return hello

    async def greet(
        self, key: bytes | None = None, last_received: int | None = None
    ) -> ServerHello | None:
        """As the client: say hello, and hear the answer; None if the link is closed."""
        await self.say(ClientHello(key, last_received).encode())
        payload = await self.hear()
        return None if payload is None else ServerHello.decode(payload)

    async def break_off(self) -> None:
        await self.tx.abort()
        await self.rx.close()


class Lines(LinkSource):
    """A source of links in memory, whose other ends the test has.

    ``lines.conduit(nursery)`` makes the conduit of a client and runs its pump;
    ``await lines.next()`` is the other end of the next link that it asks for.
    """

    def __init__(self, buffer: int = 16) -> None:
        self._buffer = buffer
        self._send, self._receive = trio.open_memory_channel[Line](1000)
        self.error: Exception | None = None
        self.is_closed = False

    async def next_link(self) -> Attachment:
        await trio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        ours, theirs = memory_link_pair(self._buffer)
        self._send.send_nowait(Line(theirs))
        return Attachment.to_server(ours)

    async def close(self) -> None:
        self.is_closed = True

    async def next(self) -> Line:
        with trio.fail_after(PATIENCE):
            return await self._receive.receive()

    def conduit(
        self,
        nursery: trio.Nursery,
        limits: StableLimits | None = None,
        family: MsgFamily[str] | None = None,
    ) -> tuple[StableConduitTx[str], StableConduitRx[str]]:
        conduit = StableConduit(
            self, family or Texts(), limits=limits or StableLimits()
        )
        tx, rx = conduit.split()
        nursery.start_soon(self.pump_of(tx))
        return tx, rx

    def pump_of(self, tx: StableConduitTx[str]) -> Callable[[], object]:
        async def pump() -> None:
            try:
                await tx.pump()
            except Exception as error:
                self.failure = error

        return pump
