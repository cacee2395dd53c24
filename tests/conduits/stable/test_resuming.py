"""What a stable conduit puts on its links, byte by byte, and makes of what comes."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    EncodeError,
    LinkClosed,
    LinkDead,
    LinkError,
    PayloadTooLarge,
    SessionLost,
    StableConduitError,
    StableHandshakeError,
    StableLimits,
    StableTxStatistics,
)
from roam_trio.links.resuming.conversation import FEWEST_FILLERS
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.links.resuming.replay import STEP
from roam_trio.links.resuming.sequence import read_header

from .lines import FILLER, KEY, Lines, TextsWithoutFiller
from .test_counted import Counting

KEY_2 = b"the second key.."


@pytest.mark.rule(
    "stable.handshake",
    "stable.handshake.client-hello",
    "stable.framing",
    "zerocopy.framing.conduit.stable",
)
async def test_hello_comes_first_and_then_frames(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    tx.send_nowait("early")  # before there is a link at all
    line = await lines.next()
    assert await line.hear() == b"ROCH" + bytes(21)
    await wait_all_tasks_blocked()
    assert line.has_heard() == []  # nothing before the answer
    await line.say(ServerHello(KEY).encode())
    assert await line.hear() == b"\0\0early"
    (await tx.reserve()).send("late")
    assert await line.hear() == b"\1\0late"
    await line.say(b"\0\1\1answer")
    assert await rx.recv() == "answer"
    tx.send_nowait("more")
    assert await line.hear() == b"\2\1\0more"


@pytest.mark.rule(
    "stable.reconnect",
    "stable.reconnect.client-replay",
    "stable.replay-buffer",
    "stable.replay-buffer.order",
    "stable.handshake.server-hello",
    "stable.resume-key",
    "zerocopy.scatter.replay",
)
async def test_what_the_server_lacks_is_sent_again_before_anything_new(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    for text in ("zero", "one", "two", "three"):
        tx.send_nowait(text)
    for seq, text in enumerate(("zero", "one", "two", "three")):
        assert await line.hear_frame() == (seq, None, text)
    await line.say_frame(0, "hello", ack=0)
    assert await rx.recv() == "hello"
    nursery.start_soon(receive_forever, rx)
    await line.break_off()
    tx.send_nowait("meanwhile")
    line = await lines.next()
    assert await line.welcome(1, key=KEY_2) == ClientHello(KEY, 0)
    tx.send_nowait("new")
    for seq, text in ((2, "two"), (3, "three"), (4, "meanwhile"), (5, "new")):
        assert await line.hear_frame() == (seq, 0, text)
    await line.break_off()
    line = await lines.next()
    assert await line.welcome(5) == ClientHello(KEY_2, 0)


@pytest.mark.rule("stable.seq.monotonic", "stable.reconnect.server-replay")
async def test_what_is_replayed_to_this_side_comes_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    _, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    for seq, text in ((0, "a"), (1, "b"), (1, "b"), (0, "a"), (2, "c")):
        await line.say_frame(seq, text)
    assert [await rx.recv() for _ in "abc"] == ["a", "b", "c"]
    await line.break_off()
    nursery.start_soon(rx.recv)
    line = await lines.next()
    assert await line.welcome() == ClientHello(KEY, 2)


@pytest.mark.rule("conduit.permit", "conduit.permit.send")
async def test_permit_is_good_on_the_next_link(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, _rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    permit = await tx.reserve()
    another = await tx.reserve()
    await line.tx.abort()
    await line.rx.close()
    with pytest.raises(trio.WouldBlock):
        _rx.recv_nowait()
    await wait_all_tasks_blocked()
    permit.send("without a link")
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    another.send("on another link")
    assert await line.hear_frame() == (0, None, "without a link")
    assert await line.hear_frame() == (1, None, "on another link")


LITTLE = StableLimits(unacknowledged_frames=2, acknowledge_frames=1000)


@pytest.mark.rule("conduit.permit", "stable.replay-buffer", "stable.ack.trim")
async def test_sender_waits_while_too_much_is_not_acknowledged(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery, LITTLE)
    line = await lines.next()
    await line.welcome()
    tx.send_nowait("a")
    assert tx.has_room()
    permit = await tx.reserve()
    assert not tx.has_room()
    with pytest.raises(trio.WouldBlock):
        tx.send_nowait("no room")
    statistics = tx.statistics()
    assert isinstance(statistics, StableTxStatistics)
    assert statistics.full == "unacknowledged_frames"
    permit.release()
    assert tx.statistics().full is None
    tx.send_nowait("b")
    served: list[str] = []

    async def wait() -> None:
        (await tx.reserve()).send("c")
        served.append("c")

    nursery.start_soon(wait)
    await wait_all_tasks_blocked()
    assert (served, tx.statistics().tasks_waiting) == ([], 1)
    await line.say_frame(0, "thanks", ack=0)
    assert await rx.recv() == "thanks"
    await wait_all_tasks_blocked()
    assert served == ["c"]
    assert tx.statistics().unacknowledged_frames == 2


async def test_bytes_are_bounded_too_but_one_message_always_fits(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    limits = StableLimits(unacknowledged_bytes=10)
    tx, _ = lines.conduit(nursery, limits)
    tx.send_nowait("x" * 50)
    assert not tx.has_room()
    assert tx.statistics().full == "unacknowledged_bytes"
    assert tx.statistics().unacknowledged_bytes == 50


async def test_message_too_long_or_of_no_bytes_is_refused(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, _ = lines.conduit(nursery, StableLimits(max_payload=20))
    with pytest.raises(PayloadTooLarge, match="max_payload"):
        tx.send_nowait("x" * 10)
    with pytest.raises(EncodeError, match="empty message"):
        tx.reserve_nowait().send("")
    tx.send_nowait("x" * 9)
    assert tx.statistics().payloads == 1
    assert tx.statistics().permits == 0


# ---------------------------------------------------------------- acknowledgements


@pytest.mark.rule("stable.ack")
async def test_what_is_not_answered_is_acknowledged_after_a_while(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    _, rx = lines.conduit(nursery, StableLimits(acknowledge_seconds=0.5))
    line = await lines.next()
    await line.welcome()
    await line.say_frame(0, "a")
    await line.say_frame(1, "b")
    assert [await rx.recv(), await rx.recv()] == ["a", "b"]
    start = trio.current_time()
    assert await line.hear_frame() == (0, 1, FILLER)
    assert trio.current_time() - start == pytest.approx(0.5)
    await trio.sleep(100)
    assert line.has_heard() == []  # once is enough


@pytest.mark.rule("stable.ack")
async def test_many_messages_without_answer_are_acknowledged_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    limits = StableLimits(acknowledge_frames=3, acknowledge_bytes=100)
    _, rx = lines.conduit(nursery, limits)
    line = await lines.next()
    await line.welcome()
    for seq in range(3):
        await line.say_frame(seq, "a")
    await line.say_frame(3, "b" * 100)
    start = trio.current_time()
    for _ in range(4):
        await rx.recv()
    assert await line.hear_frame() == (0, 2, FILLER)
    assert await line.hear_frame() == (1, 3, FILLER)
    assert trio.current_time() == start


@pytest.mark.rule("stable.ack")
async def test_peer_that_never_acknowledges_loses_its_session(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    limits = StableLimits(unacknowledged_frames=2, acknowledge_frames=1)
    tx, rx = lines.conduit(nursery, limits)
    line = await lines.next()
    await line.welcome()
    for seq in range(2 + FEWEST_FILLERS):
        await line.say_frame(seq, "a")
        assert await rx.recv() == "a"
        line.has_heard()
    await line.say_frame(2 + FEWEST_FILLERS, "a")
    assert await rx.recv() == "a"
    with (
        trio.fail_after(100),
        pytest.raises(StableConduitError, match="limit: unacknowledged_frames"),
    ):
        await rx.recv()
    assert tx.statistics().unacknowledged_frames == 2 + FEWEST_FILLERS


async def test_acknowledgements_are_not_acknowledged_and_not_received(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    tx.send_nowait("a")
    assert await line.hear_frame() == (0, None, "a")
    await line.say_frame(0, FILLER, ack=0)
    await line.say_frame(1, "b")
    assert await rx.recv() == "b"
    assert tx.statistics().unacknowledged_frames == 0
    assert rx.statistics().payloads == 1
    assert await line.hear_frame() == (1, 1, FILLER)
    await line.say_frame(2, FILLER, ack=1)
    with trio.move_on_after(100):
        await rx.recv()
    assert line.has_heard() == []


async def test_no_message_is_made_for_acknowledgements_if_there_is_none_for_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    limits = StableLimits(acknowledge_frames=1)
    tx, rx = lines.conduit(nursery, limits, TextsWithoutFiller())
    line = await lines.next()
    await line.welcome()
    await line.say_frame(0, FILLER)
    assert await rx.recv() == FILLER  # a message like any other
    await trio.sleep(100)
    assert line.has_heard() == []
    tx.send_nowait("a")
    assert await line.hear_frame() == (0, 0, "a")


# ---------------------------------------------------------------- failures


@pytest.mark.rule("stable.reconnect.failure")
async def test_rejection_is_the_loss_of_the_session(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    tx.send_nowait("lost")
    await line.break_off()
    nursery.start_soon(swallow, rx)
    line = await lines.next()
    assert await line.hear() == ClientHello(KEY).encode()
    await line.say(ServerHello(rejected=True).encode())
    await wait_all_tasks_blocked()
    for _ in range(2):
        with pytest.raises(SessionLost, match="does not know the session"):
            await rx.recv()
        with pytest.raises(SessionLost):
            rx.recv_nowait()
        with pytest.raises(SessionLost):
            await tx.reserve()
        with pytest.raises(SessionLost):
            tx.send_nowait("too late")
        with pytest.raises(SessionLost):
            await tx.close()
    assert isinstance(lines.failure, SessionLost)
    assert lines.is_closed
    assert await line.hear() is None


async def swallow(rx: object) -> None:
    with pytest.raises(StableConduitError):
        await rx.recv()  # type: ignore[attr-defined]


async def test_rejection_of_a_new_session_says_so(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    _, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.say(ServerHello(rejected=True).encode())
    with pytest.raises(SessionLost, match="rejected a new session"):
        await rx.recv()


@pytest.mark.parametrize("claim", [0, 3, 4, None])
async def test_server_that_has_begun_anew_is_noticed(
    claim: int | None, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    for text in "abc":
        tx.send_nowait(text)
        await line.hear()
    await line.say_frame(0, "thanks", ack=1)
    assert await rx.recv() == "thanks"
    await line.break_off()
    nursery.start_soon(swallow, rx)
    line = await lines.next()
    await line.welcome(claim)
    await wait_all_tasks_blocked()
    with pytest.raises(SessionLost, match="has lost the session"):
        await rx.recv()


@pytest.mark.rule("stable.handshake")
@pytest.mark.parametrize(
    "answer", [b"", b"\0\1\1\x40\0", ClientHello().encode(), b"ROSH\x80" + bytes(20)]
)
async def test_server_that_says_something_else_is_refused(
    answer: bytes, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    _, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.hear()
    await line.say(answer)
    with pytest.raises(StableHandshakeError, match="resume=True"):
        await rx.recv()


async def test_silent_server_is_asked_again_on_another_link(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, _ = lines.conduit(nursery, StableLimits(handshake_seconds=2))
    tx.send_nowait("patience")
    line = await lines.next()
    await line.hear()
    assert await line.hear() is None
    assert trio.current_time() == 2
    line = await lines.next()
    await line.welcome()
    assert await line.hear_frame() == (0, None, "patience")


async def test_end_of_the_source_is_the_end_of_the_conduit(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    lines.error = LinkError("no more cables")
    await line.break_off()
    with pytest.raises(LinkDead, match="no more cables") as caught:
        await rx.recv()
    assert caught.value.__cause__ is lines.error
    with pytest.raises(LinkDead):
        await tx.close()
    assert repr(tx) == (
        "<StableConduitTx on <ResumingTx failed, without a link, "
        "0 messages not acknowledged>>"
    )


@pytest.mark.rule("stable.framing")
async def test_long_message_is_sent_again_as_it_was_when_it_was_sent(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    nursery.start_soon(receive_forever, rx)
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    text = bytearray(b"a" * 50_000)
    tx.carrier.send_nowait((b"head ", memoryview(text)))
    expected = "head " + "a" * 50_000
    assert await line.hear_frame() == (0, None, expected)
    text[:] = b"b" * 50_000
    await line.tx.close()
    line = await lines.next()
    await line.welcome()
    assert await line.hear_frame() == (0, None, expected)
    nursery.cancel_scope.cancel()


async def test_what_is_no_frame_is_an_error_and_the_conduit_goes_on(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    for payload in (b"", b"\0", b"\0\2", b"\0\1\5x", b"\0\0\xff", b"\1\0fine"):
        await line.say(payload)
    for complaint in ("ends after 0", "ends after 1", "0 or 1", "was sent", "UTF-8"):
        with pytest.raises(StableConduitError, match=complaint):
            await rx.recv()
    assert await rx.recv() == "fine"
    tx.send_nowait("still here")
    assert await line.hear_frame() == (0, 1, "still here")


# ---------------------------------------------------------------- doubt, and the end


async def test_doubt_gets_another_link(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    assert tx.doubt()  # it has none yet, and has hope
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    nursery.start_soon(receive_forever, rx)
    assert tx.doubt()
    assert await line.hear() is None
    await (await lines.next()).welcome()
    await wait_all_tasks_blocked()
    assert tx.statistics().links == 2
    assert tx.statistics().is_attached
    await tx.abort()
    assert not tx.doubt()


async def receive_forever(rx: object) -> None:
    try:
        while await rx.recv() is not None:  # type: ignore[attr-defined]
            pass
    except (LinkClosed, StableConduitError):
        pass


@pytest.mark.rule("stable", "conduit.stable")
async def test_end_of_a_link_is_not_the_end_of_the_conduit_but_a_goodbye_is(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    await line.tx.close()  # at the boundary of a frame
    nursery.start_soon(line.hear)
    got: list[str | None] = []

    async def receive() -> None:
        got.append(await rx.recv())

    nursery.start_soon(receive)
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    assert got == []
    await line.say(b"\0\0")
    await wait_all_tasks_blocked()
    assert got == [None]
    assert await rx.recv() is None
    assert rx.recv_nowait() is None
    assert await line.hear_frame() == (0, 0, FILLER)
    tx.send_nowait("the other way it is open")
    assert await line.hear_frame() == (1, 0, "the other way it is open")


async def test_close_says_goodbye_and_waits_until_everything_has_arrived(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    nursery.start_soon(receive_forever, rx)
    line = await lines.next()
    await line.welcome()
    tx.send_nowait("last")
    closed = trio.Event()

    async def close() -> None:
        await tx.close()
        closed.set()

    nursery.start_soon(close)
    assert await line.hear_frame() == (0, None, "last")
    assert await line.hear() == b"\1\0"
    await wait_all_tasks_blocked()
    assert not closed.is_set()
    with pytest.raises(LinkClosed):
        await tx.reserve()
    await line.break_off()  # and what of it has arrived is not known
    line = await lines.next()
    await line.welcome(0)
    assert await line.hear() == b"\1\0"
    await line.say(b"\0\1\1")
    await closed.wait()
    assert await line.hear() is None
    await wait_all_tasks_blocked()
    assert lines.is_closed
    await tx.close()
    await tx.abort()


async def test_peer_that_has_said_goodbye_and_gone_is_not_waited_for(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    await line.say(b"\0\0")
    assert await rx.recv() is None
    with trio.fail_after(5):
        async with trio.open_nursery() as closing:
            closing.start_soon(tx.close)
            assert await line.hear_frame() == (0, 0, FILLER)
            assert await line.hear() == b"\1\1\0"
            await line.break_off()


async def test_goodbye_that_comes_after_ours_is_acknowledged_by_ours_again(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines, seconds = Lines(), StableLimits().acknowledge_seconds
    tx, rx = lines.conduit(nursery)
    nursery.start_soon(receive_forever, rx)
    line = await lines.next()
    await line.welcome()
    async with trio.open_nursery() as closing:
        closing.start_soon(tx.close)
        assert await line.hear() == b"\0\0"
        await line.say_frame(0, "still here")  # from before our goodbye arrived
        assert await line.hear() == b"\0\1\0"
        assert trio.current_time() == pytest.approx(seconds)
        await line.say(b"\1\0")
        assert await line.hear() == b"\0\1\1"
        await line.say(b"\1\1\0")  # the same in return
    assert await line.hear() is None
    assert trio.current_time() == pytest.approx(seconds)


async def test_link_that_breaks_with_both_goodbyes_is_not_replaced(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    nursery.start_soon(receive_forever, rx)
    line = await lines.next()
    await line.welcome()
    with trio.fail_after(1):
        async with trio.open_nursery() as closing:
            closing.start_soon(tx.close)
            assert await line.hear() == b"\0\0"
            await line.say(b"\0\0")
            await line.break_off()  # before anything is answered
    assert lines.is_closed


async def test_close_carries_the_rest_itself_if_no_pump_runs(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    outer = trio.open_nursery()
    async with outer as stopped:
        tx, rx = lines.conduit(stopped)
        stopped.cancel_scope.cancel()
    tx.send_nowait("last")
    nursery.start_soon(receive_forever, rx)
    async with trio.open_nursery() as closing:
        closing.start_soon(tx.close)
        line = await lines.next()
        if await line.hear() is None:
            line = await lines.next()
            await line.hear()
        await line.say(ServerHello(KEY).encode())
        assert await line.hear_frame() == (0, None, "last")
        assert await line.hear() == b"\1\0"
        await line.say(b"\0\1\1")


async def test_abort_ends_everything_at_once(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery, LITTLE)
    line = await lines.next()
    await line.welcome()
    tx.send_nowait("a")
    tx.send_nowait("b")
    refused: list[str] = []

    async def note(what: str, work: object) -> None:
        with pytest.raises(LinkClosed):
            await work()  # type: ignore[operator]
        refused.append(what)

    nursery.start_soon(note, "reserve", tx.reserve)
    nursery.start_soon(note, "recv", rx.recv)
    await wait_all_tasks_blocked()
    await tx.abort()
    await wait_all_tasks_blocked()
    assert sorted(refused) == ["recv", "reserve"]
    assert lines.is_closed
    assert line.has_heard() == [b"\0\0a", b"\1\0b"]  # and no goodbye
    assert await line.hear() is None
    await tx.close()


async def test_closed_receiving_half_leaves_the_sending_half_at_work(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery, LITTLE)
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    await rx.close()
    with pytest.raises(LinkClosed):
        await rx.recv()
    with pytest.raises(LinkClosed):
        rx.recv_nowait()
    for seq in range(5):
        (await tx.reserve()).send("still here")
        assert (await line.hear_frame())[2] == "still here"
        await line.say_frame(seq, "dropped", ack=seq)
        await line.say(b"no frame")
    await rx.close()
    await line.break_off()
    await (await lines.next()).welcome(4)


async def test_messages_that_are_dropped_for_want_of_memory_count_as_committed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, _ = lines.conduit(nursery, StableLimits(acknowledge_frames=1))
    tx.count_in(Counting(0))
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    tx.send_nowait(STEP * "a")
    tx.send_nowait("dropped")
    assert tx.send_many_nowait(["dropped", "too"]) == 2
    await line.say_frame(0, "answered with a filler")
    await wait_all_tasks_blocked()
    statistics = tx.statistics()
    assert len(line.has_heard()) == statistics.unacknowledged_frames == 1
    assert statistics.payloads == 4
    assert statistics.payload_bytes == STEP + 17
    tx.forget()
    assert tx.statistics().payloads == 4
    assert tx.statistics().payload_bytes == STEP + 17


@pytest.mark.parametrize("end", ["goodbye", "close"])
async def test_messages_that_nobody_can_receive_do_not_count_as_received(
    end: str, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    _, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    await line.say_frame(0, "one")
    await line.say_frame(1, FILLER)
    assert await rx.recv() == "one"
    if end == "close":
        await wait_all_tasks_blocked()
        await rx.close()
    else:
        await line.say_frame(2, "two")
        await line.say_frame(3, "")
        assert await rx.recv() == "two"
        assert await rx.recv() is None
    received = rx.statistics()
    assert received.payloads == (1 if end == "close" else 2)
    assert received.payload_bytes == 3 * received.payloads
    for seq, text in enumerate(("dropped", FILLER, "dropped", ""), 4):
        await line.say_frame(seq, text)
    await wait_all_tasks_blocked()
    assert read_header(line.has_heard()[-1])[1] == 7  # all have arrived
    assert rx.statistics() == received


async def test_receiving_half_closed_while_it_receives_gets_another_link(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    nursery.start_soon(receive_forever, rx)
    await wait_all_tasks_blocked()
    await rx.close()
    line = await lines.next()
    await line.welcome()
    tx.send_nowait("still here")
    assert await line.hear_frame() == (0, None, "still here")
    assert "closed" in repr(rx)


async def test_cancelled_pump_drops_the_link_and_run_again_gets_another(
    autojump_clock: MockClock,
) -> None:
    lines = Lines()
    async with trio.open_nursery() as nursery:
        tx, _ = lines.conduit(nursery)
        line = await lines.next()
        await line.welcome()
        tx.send_nowait("kept")
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await tx.pump()
        nursery.cancel_scope.cancel()
    assert line.has_heard() == [b"\0\0kept"]
    assert await line.hear() is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lines.pump_of(tx))
        line = await lines.next()
        await line.welcome()
        assert await line.hear_frame() == (0, None, "kept")
        await tx.abort()


async def test_receiving_can_be_cancelled_at_any_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    _, rx = lines.conduit(nursery)
    with trio.move_on_after(0):
        await rx.recv()  # there is no link
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    with trio.move_on_after(0) as scope:
        await rx.recv()
    assert scope.cancelled_caught
    await line.say_frame(0, "not lost")
    with trio.move_on_after(0):
        await rx.recv()
    assert await rx.recv() == "not lost"


async def test_backlog_goes_out_as_the_link_takes_it(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines(buffer=1)
    tx, _ = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    await wait_all_tasks_blocked()
    for number in range(5):
        tx.send_nowait(str(number))
    assert tx.statistics().unsent_payloads == 5
    assert tx.statistics().unsent_bytes >= 5
    for number in range(5):
        assert await line.hear_frame() == (number, None, str(number))


async def test_large_messages_are_not_copied_out_of_their_frames(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    lines = Lines()
    tx, rx = lines.conduit(nursery)
    line = await lines.next()
    await line.welcome()
    await line.say_frame(0, "x" * 5000)
    assert await rx.recv() == "x" * 5000
    assert rx.statistics().payload_bytes == 5000
    assert "1 messages received" in repr(rx)
    assert "open, attached" in repr(tx)
