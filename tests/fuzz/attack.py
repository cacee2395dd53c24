"""What a peer does in a live session, as an input says.

The first byte of an input has flags, and the rest are parts (see `parts_of`). A part is
a payload; or, if it is empty, a pause in which the session may react; or it begins with
255, and the next byte says what to do.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio.wire.messages import Hello, HelloYourself

from .parts import parts_of
from .wire import encoded
from .wires import GONE, Resuming, Wire

__all__ = ["Attack", "Flag"]


class Flag(enum.IntFlag):
    """What an input chooses besides what is sent.

    NO_HELLO leaves the handshake of the session out, and BARE also those below it.
    HONEST adds an honest client. STAYS leaves the link open when the server ends. NAMED
    offers services by name; or, for a client, lets it resume.
    """

    STRICT = 1
    TIGHT = 2
    NO_HELLO = 4
    HONEST = 8
    STAYS = 16
    NAMED = 32
    BARE = 64


_RAW, _END, _RENEW, _SLEEP = range(4)
"""What the byte after 255 says."""


@attrs.define
class Attack:
    """Sends what an input says.

    Attributes:
        wire: what it is sent on.
        another: makes another link, to resume; None without resuming.
        flags: see `Flag`.
    """

    wire: Wire
    another: Callable[[], Awaitable[Wire]] | None
    flags: Flag

    async def run(self, hello: Hello | HelloYourself, parts: bytes) -> None:
        """Shake hands, if the flags say so, and send all parts."""
        if isinstance(self.wire, Resuming):
            await self.wire.greet(None)
        if not self.flags & (Flag.NO_HELLO | Flag.BARE):
            await self.wire.send(encoded(hello))
            await self._pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            with suppress(*GONE):
                for part in parts_of(parts):
                    await self._do(part)
            await self._pause()
            nursery.cancel_scope.cancel()

    async def _do(self, part: bytes) -> None:
        if not part:
            await self._pause()
        elif part[0] != 255:
            await self.wire.send(part)
        elif part[1:2] == bytes((_RAW,)):
            await self.wire.send_raw(part[2:])
        elif part[1:2] == bytes((_END,)):
            await self.wire.end_sending()
        elif part[1:2] == bytes((_RENEW,)):
            await self._renew(part[2:])
        elif part[1:2] == bytes((_SLEEP,)):
            await trio.sleep(0.002)
        else:
            await self.wire.send(part)

    async def _renew(self, claim: bytes) -> None:
        if isinstance(self.wire, Resuming) and self.another is not None:
            last = int.from_bytes(claim[:4], "little") if claim else None
            await self.wire.renew(await self.another(), last)

    async def _pause(self) -> None:
        await wait_all_tasks_blocked()

    async def _read(self) -> None:
        """Read without end, so that the session need not wait."""
        with suppress(*GONE, trio.BusyResourceError):  # both halves of `renew`
            while await self.wire.read() is not None:
                pass
