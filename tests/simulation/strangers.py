"""Strangers, which begin sessions that resume or guess keys, and are gone."""

from __future__ import annotations

from random import Random

import trio

from roam_trio.links.resuming.hello import ClientHello, ServerHello
from tests.session.wire import RIGHT

from .broken import require
from .hosts import Server
from .network import VirtualLink
from .sessions import Sitting, WatchedFamily
from .stage import Stage

__all__ = ["Stranger"]

_LONGEST = 20.0
"""Number of seconds from the hello of a stranger to the end of its session: more than
`Limits.handshake_seconds` and `Limits.close_seconds`."""


class Stranger:
    """One of them.

    Args:
        stage: what all share.
        server: where it goes.
        where: its host.
        guess: whether it presents a key.
    """

    def __init__(self, stage: Stage, server: Server, where: str, guess: bool) -> None:
        self._stage = stage
        self._server = server
        self._guess = guess
        number = stage.figures["strangers"]
        self._sitting = Sitting(-number, stage, why=["stranger"])
        self._chance = Random(f"{stage.seed} stranger {number}")
        self._link = VirtualLink(
            stage.clockwork,
            self._chance,
            slowest=stage.setup.slowest,
            room=stage.setup.room,
            may_double=True,
            host=where,
            note=lambda what, *args: stage.note(what, "stranger", number, *args),
        )

    async def come_and_go(self) -> None:
        """Say hello, and be gone with the answer."""
        near, far = self._link.ends
        family = WatchedFamily(self._sitting, RIGHT)
        self._stage.nursery.start_soon(self._server.take_again, far, family)
        tx, rx = near.split()
        key = self._chance.randbytes(16) if self._guess else None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.pump)
            (await tx.reserve()).send((ClientHello(key).encode(),))
            payload = await rx.recv()
            nursery.cancel_scope.cancel()
        require(payload is not None, "a stranger gets no answer")
        rejected = ServerHello.decode(payload or b"").rejected
        require(rejected == self._guess, "a stranger gets the wrong answer", rejected)
        self._link.cut()

    async def be_forgotten(self) -> None:
        """See that the server ends its session, which is never set up."""
        await trio.sleep(_LONGEST)
        require(not self._sitting.at_work, "a stranger is not forgotten")
