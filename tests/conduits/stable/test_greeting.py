"""The hellos on one link: what each side makes of a peer that is none, or is gone."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from roam_trio import ForeignProtocol, LinkError, StableHandshakeError
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.resuming.handshake import greet, refuse
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.links.resuming.source import Attachment

from .lines import KEY, Line, Lines


async def test_server_that_closes_instead_of_an_answer_is_a_link_error() -> None:
    near, far = memory_link_pair(16)
    await far.split()[0].close()
    with pytest.raises(LinkError, match="closed the link; expected its ServerHello"):
        await greet(*near.split(), ClientHello())


@pytest.mark.parametrize(
    ("hello", "kind"),
    [(ClientHello(), StableHandshakeError), (ClientHello(KEY, 3), ForeignProtocol)],
    ids=["new", "returning"],
)
async def test_server_of_another_protocol_is_final_for_a_new_client_alone(
    hello: ClientHello, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For one that returns, a load balancer may answer while its server restarts."""
    near, _far = memory_link_pair(16)
    tx, rx = near.split()

    async def recv() -> bytes:
        await trio.lowlevel.checkpoint()
        raise ForeignProtocol("the peer speaks HTTP")

    monkeypatch.setattr(type(rx), "recv", staticmethod(recv))
    with pytest.raises(kind, match="the peer speaks HTTP"):
        await greet(tx, rx, hello)


@pytest.mark.parametrize("why", ["no room", "gone"])
async def test_client_that_cannot_be_told_of_its_refusal_is_closed_all_the_same(
    why: str,
) -> None:
    near, far = memory_link_pair(1)
    tx, rx = near.split()
    far_tx, far_rx = far.split()
    if why == "no room":
        tx.reserve_nowait().send((b"x",))
    else:
        await far_rx.close()
    await refuse(Attachment(tx, rx), seconds=5)
    with pytest.raises(LinkError):
        await far_tx.reserve()


async def test_refused_client_is_told() -> None:
    near, far = memory_link_pair(1)
    line = Line(far)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: refuse(Attachment(*near.split()), seconds=5))
        assert await line.hear() == ServerHello(rejected=True).encode()


# ------------------------------------------------------------ between two links


async def test_corking_without_a_link_is_harmless(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, _ = lines.conduit(nursery)
    tx.cork()
    tx.send_nowait("early")
    tx.uncork()
    line = await lines.next()
    await line.welcome()
    assert await line.hear_frame() == (0, None, "early")


async def test_message_sent_on_a_link_that_is_gone_goes_on_the_next(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    await line.say_frame(0, "hello")
    assert await rx.recv() == "hello"
    await line.rx.close()  # only the sender can notice
    tx.send_nowait("again")
    line = await lines.next()
    await line.welcome(None)
    assert (await line.hear_frame())[::2] == (0, "again")
