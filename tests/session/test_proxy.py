"""Two connections joined by a proxy are as good as one, and harm no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from roam_trio import (
    AcceptedConnection,
    ConnectionClosed,
    ConnectionLost,
    DeferredHandler,
    Limits,
    Metadata,
    MetadataEntry,
    ProxyAcceptor,
    Refused,
    Rx,
    StreamLimits,
    StreamLink,
    Tx,
    TxConnectionLost,
    Unavailable,
    acceptor,
    channel,
    client,
    proxy_connections,
)
from roam_trio.rpc.failure_metadata import failure_from
from roam_trio.session import ConnectionHandle, Session
from roam_trio.session.requests_out import RequestsOut
from roam_trio.session.session_end import ALL_IS_ANSWERED
from roam_trio.wire.envelope import decode_message
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Message,
    Ping,
    Pong,
    RequestCall,
    RequestResponse,
)
from tests.peer import link_to_peer
from tests.session.joined import METHOD, Joined, Side
from tests.session.running import Streams, Task, join, streams

USER_ERROR = b"\x01\x00\x07"
UNKNOWN_METHOD = b"\x01\x01"
INVALID_PAYLOAD = b"\x01\x02"
CANCELLED = b"\x01\x03"

TRAVELS = [
    MetadataEntry("key", "first", 0),
    MetadataEntry("key", b"second", 1),
    MetadataEntry("key", "first", 0),
    MetadataEntry("count", 2**64 - 1, 0xFFFF_FF00),
]
STAYS = MetadataEntry("secret", "here", 2), MetadataEntry("key", "there", 0xF3)
MIXED = Metadata([TRAVELS[0], STAYS[0], *TRAVELS[1:], STAYS[1]])
PROPAGATED = Metadata(TRAVELS)


# ------------------------------------------------------------ requests and responses


class TestCalls:
    @pytest.mark.parametrize(
        "ret", [b"\x00", b"\x00" + bytes(range(256)), USER_ERROR, CANCELLED, b""]
    )
    @pytest.mark.rule("rpc.error.scope", "rpc.response")
    async def test_bytes_pass_as_they_are(self, ret: bytes) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, b"\xffargs"))
            await far.hears(far.call(1, b"\xffargs"))
            await far.say(far.response(1, ret))
            await near.hears(near.response(2, ret))

    async def test_the_far_peer_calls_as_well(self) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            await far.say(far.call(2, b"back", channels=(2, 4)))
            await near.hears(near.call(1, b"back", channels=(1, 3)))
            await near.say(near.item(3, b"up"), near.response(1, b"\x00up"))
            await far.hears(far.item(4, b"up"), far.response(2, b"\x00up"))
            await far.say(far.close(4), far.grant(2, 5))
            await near.hears(near.close(3), near.grant(1, 5))
            await near.say(near.reset(1))
            await far.hears(far.reset(2))
            assert joined.relayed == (0, 0)

    async def test_responses_come_in_any_order(self) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            for request_id in (2, 4, 6):
                await near.say(near.call(request_id))
                await far.hears(far.call(request_id - 1))
            for request_id in (6, 2, 4):
                await far.say(far.response(request_id - 1, bytes([request_id])))
                await near.hears(near.response(request_id, bytes([request_id])))

    @pytest.mark.rule(
        "rpc.metadata.flags.no-propagate",
        "rpc.metadata.duplicates",
        "rpc.metadata.unknown",
    )
    async def test_metadata_passes_without_what_is_not_to_propagate(self) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2, 4), metadata=MIXED))
            await far.hears(far.call(1, channels=(1, 3), metadata=PROPAGATED))
            await far.say(far.response(1, metadata=MIXED))
            await near.hears(near.response(2, metadata=PROPAGATED))
            await near.say(near.close(2, MIXED))
            await far.hears(far.close(1, PROPAGATED))
            await far.say(far.reset(3, MIXED))
            await near.hears(near.reset(4, PROPAGATED))


class TestCancellation:
    @pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request")
    async def test_a_call_cancelled_in_the_same_breath_has_one_response(self) -> None:
        async with Joined() as joined:
            near = joined.near
            await near.say(near.call(2), near.cancel(2))
            await near.hears(near.response(2, CANCELLED))
            await near.hears_nothing_more()

    @pytest.mark.rule("rpc.cancel", "rpc.response.one-per-request")
    async def test_the_late_response_of_a_cancelled_call_is_dropped(self) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2))
            await far.hears(far.call(1))
            await near.say(near.cancel(2))
            await far.hears(far.cancel(1))
            await near.hears(near.response(2, CANCELLED))
            await far.say(far.response(1, b"\x00late"))
            await near.hears_nothing_more()
            await near.say(near.call(2))
            await far.hears(far.call(3))

    async def test_a_cancelled_call_keeps_its_slot_until_its_response(self) -> None:
        async with Joined(far_most=1, near_accepts=64) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2))
            await far.hears(far.call(1))
            await near.say(near.cancel(2))
            await near.hears(near.response(2, CANCELLED))
            await near.say(near.call(4))
            await far.hears(far.cancel(1))
            await far.hears_nothing_more()
            await far.say(far.response(1, CANCELLED))
            await far.hears(far.call(3))

    @pytest.mark.rule("rpc.cancel.channels")
    async def test_the_channels_of_a_cancelled_call_live_on(self) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            await near.say(near.cancel(2), near.item(2, b"still"))
            await near.hears(near.response(2, CANCELLED))
            await far.hears(far.cancel(1), far.item(1, b"still"))
            await near.say(near.close(2))
            await far.hears(far.close(1))
            assert joined.relayed == (0, 0)

    async def test_a_call_cancelled_while_it_waits_is_never_made(self) -> None:
        async with Joined(far_most=1, near_accepts=64) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2))
            await far.hears(far.call(1))
            await near.say(near.call(4, channels=(2,)), near.item(2, b"early"))
            await trio.testing.wait_all_tasks_blocked()
            assert joined.relayed == (1, 0)
            await near.say(near.cancel(4))
            await near.hears(near.response(4, CANCELLED))
            assert joined.relayed == (0, 0)
            await near.say(near.item(2, b"late"), near.close(2))
            await far.say(far.response(1))
            await far.hears_nothing_more()
            await near.hears(near.response(2))


class TestLimits:
    @pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
    async def test_callers_wait_for_a_slot_of_the_far_side(self) -> None:
        async with Joined(far_most=2, near_accepts=64) as joined:
            near, far = joined.near, joined.far
            for request_id in (2, 4, 6, 8):
                await near.say(near.call(request_id, bytes([request_id])))
                await trio.testing.wait_all_tasks_blocked()
            await far.hears(far.call(1, b"\x02"), far.call(3, b"\x04"))
            await far.hears_nothing_more()
            await far.say(far.response(3))
            await near.hears(near.response(4))
            await far.hears(far.call(5, b"\x06"))
            await far.hears_nothing_more()

    @pytest.mark.parametrize("channels", [(), (2,)], ids=["plain", "with a channel"])
    async def test_call_to_a_far_side_that_accepts_none_is_answered_with_the_reason(
        self, channels: tuple[int, ...], caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Joined(far_most=0, near_accepts=64) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=channels))
            answer = await near.peer.hear(RequestResponse)
            assert (answer.request_id, answer.ret) == (2, CANCELLED)
            why = str(answer.metadata.get("error"))
            assert why.startswith("on the far side of a proxy, ")
            await far.hears_nothing_more()
            assert joined.relayed == (0, 0)
        assert "a proxy cannot make a call: " in caplog.text

    async def test_peer_that_knows_extensions_is_told_that_no_handler_saw_a_call(
        self,
    ) -> None:
        knows = Metadata([MetadataEntry("roam-trio", 1, 2)])
        async with Joined(far_most=0, near_accepts=64, near_metadata=knows) as joined:
            near = joined.near
            await near.say(near.call(2))
            answer = await near.peer.hear(RequestResponse)
            error = failure_from(answer.metadata, "a call")
            assert isinstance(error, Refused)
            assert error.was_begun is False
            assert error.text.startswith("on the far side of a proxy, ")

    async def test_caller_is_told_that_a_far_side_that_leaves_has_not_begun_its_call(
        self,
    ) -> None:
        knows = Metadata([MetadataEntry("roam-trio", 1, 2)])
        async with Joined(near_metadata=knows) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2))
            await far.hears(far.call(1))
            await far.say(ALL_IS_ANSWERED)
            answer = await near.peer.hear(RequestResponse)
            error = failure_from(answer.metadata, "a call")
            assert isinstance(error, Unavailable)
            assert error.was_begun is False
            await near.peer.hear(ConnectionClose)

    @pytest.mark.parametrize("channels", [(), (2,)], ids=["plain", "with a channel"])
    async def test_call_that_meets_a_bug_of_a_proxy_ends_with_its_channels(
        self,
        channels: tuple[int, ...],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def fail(*_: object) -> None:
            raise LookupError("a bug")

        monkeypatch.setattr(RequestsOut, "take", fail)
        async with Joined(far_most=0, near_accepts=64) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=channels))
            answer = await near.peer.hear(RequestResponse)
            assert (answer.request_id, answer.ret) == (2, CANCELLED)
            await far.hears_nothing_more()
            assert joined.relayed == (0, 0)
        assert "LookupError: a bug" in caplog.text

    async def test_items_of_running_calls_pass_while_others_wait(self) -> None:
        async with Joined(far_most=1, near_accepts=64) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2, 4)))
            await far.hears(far.call(1, channels=(1, 3)))
            await near.say(near.call(4), near.item(2, b"a"), near.close(2))
            await far.hears(far.item(1, b"a"), far.close(1))
            await far.say(far.item(3, b"b"), far.close(3), far.response(1))
            await near.hears(near.item(4, b"b"), near.close(4), near.response(2))
            await far.hears(far.call(3))

    async def test_what_comes_before_the_slot_follows_the_request_in_order(
        self,
    ) -> None:
        async with Joined(far_most=1, near_accepts=64) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2))
            await far.hears(far.call(1))
            await near.say(
                near.call(4, channels=(2, 4)),
                near.item(2, b"1"),
                near.grant(4, 9),
                near.item(2, b"2"),
                near.close(2),
            )
            await far.hears_nothing_more()
            await far.say(far.response(1))
            await far.hears(
                far.call(3, channels=(1, 3)),
                far.item(1, b"1"),
                far.grant(3, 9),
                far.item(1, b"2"),
                far.close(1),
            )
            assert joined.relayed == (1, 1)

    async def test_the_limits_of_either_side_are_told_to_the_other(self) -> None:
        async with Joined(near_most=3, far_most=5):
            pass  # entering it has heard them


# ------------------------------------------------------------ channels


class TestChannels:
    @pytest.mark.rule("rpc.channel.item", "rpc.channel.close")
    async def test_both_directions_at_once_each_in_order(self) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2, 4)))
            await far.hears(far.call(1, channels=(1, 3)))
            for number in range(20):
                await near.say(near.item(2, bytes([number])))
                await far.say(far.item(3, bytes([number + 100])))
            await near.say(near.close(2))
            await far.say(far.close(3))
            for number in range(20):
                await far.hears(far.item(1, bytes([number])))
                await near.hears(near.item(4, bytes([number + 100])))
            await far.hears(far.close(1))
            await near.hears(near.close(4))
            assert joined.relayed == (0, 0)

    async def test_late_grants_go_nowhere(self) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)), near.close(2))
            await far.hears(far.call(1, channels=(1,)), far.close(1))
            await far.say(far.grant(1, 5), far.reset(1), far.response(1))
            await near.hears(near.response(2))
            await far.say(far.grant(1, 5))
            await near.hears_nothing_more()

    @pytest.mark.parametrize("ret", [UNKNOWN_METHOD, INVALID_PAYLOAD])
    async def test_channels_that_were_never_taken_up_are_dropped(
        self, ret: bytes
    ) -> None:
        async with Joined() as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2, 4)), near.item(2, b"x"))
            await far.hears(far.call(1, channels=(1, 3)), far.item(1, b"x"))
            await far.say(far.response(1, ret))
            await near.hears(near.response(2, ret))
            assert joined.relayed == (0, 0)
            await near.say(near.item(2, b"late"), near.grant(4, 1), near.close(2))
            await near.say(near.call(4))
            await far.hears(far.call(3))

    async def test_a_response_does_not_overtake_items(self) -> None:
        async with Joined(near=2) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            items = [bytes([number]) for number in range(10)]
            await far.say(*(far.item(1, item) for item in items))
            await far.say(far.close(1), far.response(1))
            await trio.testing.wait_all_tasks_blocked()
            await near.hears(*(near.item(2, item) for item in items))
            await near.hears(near.close(2), near.response(2))

    async def test_a_response_is_not_kept_back_by_items_after_it(self) -> None:
        async with Joined(near=1) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            await near.say(near.call(4))
            await far.hears(far.call(3))
            await far.say(*(far.item(1, b"before") for _ in range(5)))
            await far.say(far.response(3))
            await trio.testing.wait_all_tasks_blocked()
            heard = []
            for _ in range(9):
                await far.say(far.item(1, b"after"))
                await trio.testing.wait_all_tasks_blocked()
                payload = await near.peer.rx.recv()
                assert payload is not None
                heard.append(payload)
            assert any(b"before" not in p and b"after" not in p for p in heard)

    async def test_a_reset_drops_what_is_held(self) -> None:
        async with Joined(far=1) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2, 4)))
            await far.hears(far.call(1, channels=(1, 3)))
            await near.say(*(near.item(2, bytes([number])) for number in range(9)))
            await near.say(near.item(4, b"other"))
            await trio.testing.wait_all_tasks_blocked()
            await far.say(far.reset(1))
            await near.hears(near.reset(2))
            await far.hears(far.item(1, b"\x00"), far.item(3, b"other"))

    @pytest.mark.parametrize("most", [0, 1, 2, 16, 200])
    @pytest.mark.rule("rpc.flow-control.credit")
    async def test_a_producer_stops_after_exactly_its_credit(
        self, most: int, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        never = trio.Event()

        async def take(numbers: Rx[int]) -> None:
            await never.wait()

        method = "take" if most == 16 else f"take_{most}"
        sessions, caller = await chain(nursery, **{method: take})
        sent = 0

        async def produce(tx: Tx[int]) -> None:
            nonlocal sent
            while True:
                await tx.send(1)
                sent += 1

        tx, rx = channel[int]()
        nursery.start_soon(getattr(caller, method), rx)
        nursery.start_soon(produce, tx)
        await trio.testing.wait_all_tasks_blocked()
        assert sent == most
        end_all(sessions, nursery)


# ------------------------------------------------------------ both ends


def closed_with(near: Side, why: str) -> ConnectionClose:
    return ConnectionClose(near.id, Metadata.of({"error": why}))


GONE = "the session on the far side of a proxy has ended"


class TestEnds:
    @pytest.mark.parametrize("which", ["near", "far"])
    @pytest.mark.rule("connection.close.semantics")
    async def test_when_either_is_closed_so_is_the_other(self, which: str) -> None:
        async with Joined() as joined:
            ends = joined.near, joined.far
            one, other = ends if which == "near" else ends[::-1]
            await joined.near.say(joined.near.call(2))
            await joined.far.hears(joined.far.call(1))
            await one.say(ConnectionClose(one.id, MIXED))
            if which == "near":
                await other.hears(other.cancel(1))
            await other.hears(ConnectionClose(other.id, PROPAGATED))
            await other.hears_nothing_more()
            await one.hears_nothing_more()
            for session in (joined.near_session, joined.far_session):
                assert len(session.statistics().connections) == 1

    @pytest.mark.parametrize("which", ["near", "far"])
    async def test_when_the_session_of_one_ends_the_other_is_closed(
        self, which: str
    ) -> None:
        async with Joined() as joined:
            ends = joined.near, joined.far
            one, other = ends if which == "near" else ends[::-1]
            await one.peer.leave()
            await other.hears(closed_with(other, GONE))
            await other.say(Ping(0, 1))
            await other.hears(Pong(0, 1))

    async def test_a_call_in_flight_is_not_answered_when_the_far_side_ends(
        self,
    ) -> None:
        async with Joined() as joined:
            await joined.near.say(joined.near.call(2))
            await joined.far.hears(joined.far.call(1))
            await joined.far.peer.leave()
            await joined.near.hears(closed_with(joined.near, GONE))

    async def test_what_was_sent_before_the_end_is_delivered(self) -> None:
        async with Joined(near=1) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            await near.say(near.call(4))
            await far.hears(far.call(3))
            await far.say(*(far.item(1, bytes([number])) for number in range(5)))
            await far.say(far.close(1), far.response(3), ConnectionClose(far.id))
            await trio.testing.wait_all_tasks_blocked()
            await near.hears(*(near.item(2, bytes([number])) for number in range(5)))
            await near.hears(near.close(2), near.response(4), ConnectionClose(near.id))

    async def test_a_response_that_waits_for_room_is_delivered_too(self) -> None:
        async with Joined(near=1) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2))
            await far.hears(far.call(1))
            await near.say(Ping(0, 1), Ping(0, 2), Ping(0, 3))
            await trio.testing.wait_all_tasks_blocked()
            await far.say(far.response(1), ConnectionClose(far.id))
            await trio.testing.wait_all_tasks_blocked()
            await near.hears(Pong(0, 1), Pong(0, 2), Pong(0, 3))
            await near.hears(near.response(2), ConnectionClose(near.id))

    async def test_when_both_have_ended_there_is_nothing_to_deliver(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with Joined(near=1) as joined, trio.open_nursery() as nursery:
            handles = await open_two(joined, nursery)
            proxy = Task(nursery, proxy_connections, *handles)
            near, far = Side(joined.near.peer, 2), Side(joined.far.peer, 3)
            await trio.testing.wait_all_tasks_blocked()
            await near.say(near.call(1, channels=(1,)))
            await far.hears(far.call(1, channels=(1,)))
            await far.say(*(far.item(1, b"stuck") for _ in range(5)))
            await far.say(ConnectionClose(3))
            await trio.testing.wait_all_tasks_blocked()
            done = [proxy.is_done]
            await near.say(ConnectionClose(2))
            await trio.testing.wait_all_tasks_blocked()
            assert [*done, proxy.is_done] == [False, True]
            assert trio.current_time() == 0

    async def test_delivering_takes_close_seconds_at_most(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        limits = {"limits": Limits(close_seconds=3)}
        async with Joined(near=1, near_options=limits) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            await far.say(*(far.item(1, bytes([number])) for number in range(5)))
            await far.say(ConnectionClose(far.id))
            await trio.sleep(2.9)
            assert len(joined.near_session.statistics().connections) == 2
            await trio.sleep(0.2)
            assert len(joined.near_session.statistics().connections) == 1

    async def test_cancelled_it_closes_both(self) -> None:
        async with (
            Joined() as joined,
            trio.open_nursery() as nursery,
        ):
            handles = await open_two(joined, nursery)
            task = Task(nursery, proxy_connections, *handles)
            await trio.testing.wait_all_tasks_blocked()
            task.cancel()
            await joined.near.hears(ConnectionClose(2))
            await joined.far.hears(ConnectionClose(3))
            assert task.error is None

    async def test_one_that_is_closed_already_closes_the_other(self) -> None:
        async with Joined() as joined, trio.open_nursery() as nursery:
            near, far = await open_two(joined, nursery)
            near.close()
            await proxy_connections(near, far)
            await joined.near.hears(ConnectionClose(2))
            await joined.far.hears(ConnectionClose(3))

    async def test_a_connection_cannot_be_joined_to_itself(self) -> None:
        async with Joined() as joined:
            root = joined.near_session.root
            with pytest.raises(ValueError, match="cannot be joined to itself"):
                await proxy_connections(root, root)


async def open_two(
    joined: Joined, nursery: trio.Nursery
) -> tuple[ConnectionHandle, ConnectionHandle]:
    """A connection more on each session, opened by it."""
    near = Task(nursery, joined.near_session.open_connection)
    await joined.near.peer.hear(ConnectionOpen)
    await joined.near.say(ConnectionAccept(2, ConnectionSettings(Parity.ODD)))
    far = Task(nursery, joined.far_session.open_connection)
    await joined.far.peer.hear(ConnectionOpen)
    await joined.far.say(ConnectionAccept(3, ConnectionSettings(Parity.EVEN)))
    return await near.result(), await far.result()


class TestRoots:
    """Root connections can be joined, and not closed."""

    async def test_when_the_far_side_ends_channels_are_reset(self) -> None:
        async with Joined() as joined, trio.open_nursery() as nursery:
            near, far = Side(joined.near.peer, 0), Side(joined.far.peer, 0)
            nursery.start_soon(
                proxy_connections,
                joined.near_session.root,
                joined.far_session.root,
            )
            await trio.testing.wait_all_tasks_blocked()
            await near.say(near.call(1, b"root", channels=(1,)))
            await far.hears(far.call(1, b"root", channels=(1,)))
            await near.say(near.call(3))
            await far.hears(far.call(3))
            await far.say(far.response(1))
            await near.hears(near.response(1))
            await far.peer.leave()
            heard = {type(m): m for m in [await hear_any(near) for _ in range(3)]}
            assert heard[type(near.reset(1))] == near.reset(1)
            assert heard[type(near.response(3))] == near.response(3, CANCELLED)
            assert ConnectionClose in heard  # of the virtual one
            await near.say(near.call(5))
            await near.hears(near.response(5, UNKNOWN_METHOD))


async def hear_any(side: Side) -> Message:
    payload = await side.peer.rx.recv()
    assert payload is not None
    return decode_message(payload)


# ------------------------------------------------------------ what is held


class TestStalling:
    async def test_a_far_side_that_does_not_read_stalls_no_other_connection(
        self,
    ) -> None:
        async with Joined(far=1) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            for number in range(100):
                await near.say(near.item(2, bytes([number])))
            await near.say(Ping(0, 7), RequestCall(0, 1, METHOD, (), Metadata(), b""))
            await near.hears(Pong(0, 7), Side(near.peer, 0).response(1, UNKNOWN_METHOD))
            for number in range(100):
                await far.hears(far.item(1, bytes([number])))

    @pytest.mark.parametrize(
        ("limits", "limit", "count"),
        [
            (Limits(proxied_items=5), "(limit: proxied_items)", 7),
            (Limits(proxied_bytes=75), "(limit: proxied_bytes)", 7),
        ],
    )
    async def test_too_much_for_one_side_closes_these_two_only(
        self, limits: Limits, limit: str, count: int
    ) -> None:
        async with Joined(far=1, far_options={"limits": limits}) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            await near.say(*(near.item(2, bytes(10)) for _ in range(count - 1)))
            await near.hears_nothing_more()
            await near.say(near.item(2, bytes(10)))
            close = await near.peer.hear(ConnectionClose)
            assert close.connection_id == near.id
            assert str(close.metadata.get("error")).endswith(limit)
            await far.hears(far.item(1, bytes(10)))
            await far.hears(far.cancel(1), ConnectionClose(far.id, close.metadata))
            for side in (near, far):
                await side.say(Ping(0, 1))
                await side.hears(Pong(0, 1))

    async def test_items_that_wait_with_their_request_count_too(self) -> None:
        limits = {"limits": Limits(proxied_items=5)}
        async with Joined(far_most=1, near_accepts=64, far_options=limits) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2))
            await far.hears(far.call(1))
            await near.say(near.call(4, channels=(2,)))
            await near.say(*(near.item(2, b"") for _ in range(5)))
            await near.hears_nothing_more()
            await near.say(near.item(2, b""))
            close = await near.peer.hear(ConnectionClose)
            assert str(close.metadata.get("error")).endswith("(limit: proxied_items)")
            await far.hears(far.cancel(1), ConnectionClose(far.id, close.metadata))

    async def test_what_has_been_sent_counts_no_longer(self) -> None:
        options = {"limits": Limits(proxied_items=5, proxied_bytes=75)}
        async with Joined(
            far=1, far_most=1, near_accepts=64, far_options=options
        ) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            await near.say(near.call(4, channels=(4,)))
            for _ in range(10):
                await near.say(*(near.item(2, bytes(5)) for _ in range(4)))
                await trio.testing.wait_all_tasks_blocked()
                await far.hears(*(far.item(1, bytes(5)) for _ in range(4)))
            await near.say(*(near.item(4, bytes(5)) for _ in range(4)))
            await near.hears_nothing_more()
            await near.say(near.cancel(4))
            await near.hears(near.response(4, CANCELLED))
            await near.say(*(near.item(2, bytes(5)) for _ in range(5)))
            await near.hears_nothing_more()
            await far.hears(*(far.item(1, bytes(5)) for _ in range(5)))

    async def test_grants_without_end_are_bounded(self) -> None:
        limits = {"limits": Limits(proxied_items=5)}
        async with Joined(far=1, far_options=limits) as joined:
            near, far = joined.near, joined.far
            await near.say(near.call(2, channels=(2,)))
            await far.hears(far.call(1, channels=(1,)))
            await near.say(*(near.grant(2, 1) for _ in range(9)))
            await near.peer.hear(ConnectionClose)


# ------------------------------------------------------------ opening


class TestOpening:
    async def test_requests_of_the_far_peer_wait_until_it_is_joined(self) -> None:
        async with Joined() as joined:
            near, far = Side(joined.near.peer, 11), Side(joined.far.peer, 3)
            settings = ConnectionSettings(Parity.ODD)
            await near.say(ConnectionOpen(11, settings))
            await far.peer.hear(ConnectionOpen)
            await far.say(
                ConnectionAccept(3, ConnectionSettings(Parity.EVEN)),
                far.call(2, b"at once", channels=(2,)),
                far.item(2, b"item"),
            )
            await near.peer.hear(ConnectionAccept)
            await near.hears(near.call(2, b"at once", channels=(2,)))
            await near.hears(near.item(2, b"item"))

    async def test_a_request_right_after_the_accept_is_forwarded(self) -> None:
        async with Joined() as joined:
            near, far = Side(joined.near.peer, 11), Side(joined.far.peer, 3)
            await near.say(ConnectionOpen(11, ConnectionSettings(Parity.ODD)))
            await far.peer.hear(ConnectionOpen)
            await far.say(ConnectionAccept(3, ConnectionSettings(Parity.EVEN)))
            await near.peer.hear(ConnectionAccept)
            await near.say(near.call(1))
            await far.hears(far.call(1))

    @pytest.mark.rule("connection.open.rejection")
    async def test_a_rejection_passes_on(self) -> None:
        async with Joined() as joined:
            await joined.near.say(
                ConnectionOpen(11, ConnectionSettings(Parity.ODD), MIXED)
            )
            opened = await joined.far.peer.hear(ConnectionOpen)
            assert opened.metadata == PROPAGATED
            await joined.far.say(ConnectionReject(3, MIXED))
            await joined.near.hears(ConnectionReject(11, PROPAGATED))

    async def test_without_a_far_session_connections_are_rejected(self) -> None:
        async with Joined() as joined:
            await joined.far.peer.leave()
            await joined.near.peer.hear(ConnectionClose)
            await joined.near.say(ConnectionOpen(11, ConnectionSettings(Parity.ODD)))
            rejected = await joined.near.peer.hear(ConnectionReject)
            assert str(rejected.metadata.get("error")).startswith(
                "the far side cannot be reached"
            )

    async def test_an_opening_that_is_given_up_leaves_nothing_open(self) -> None:
        async with Joined() as joined:
            await joined.near.say(ConnectionOpen(11, ConnectionSettings(Parity.ODD)))
            await joined.far.peer.hear(ConnectionOpen)
            await joined.near.say(ConnectionClose(11))
            await joined.far.hears(ConnectionClose(3))

    async def test_what_is_accepted_and_never_joined_is_closed(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with Joined() as joined, trio.open_nursery() as nursery:
            near, far = joined.near, joined.far
            await near.say(near.call(2))
            await far.hears(far.call(1))
            await near.say(ConnectionOpen(11, ConnectionSettings(Parity.ODD)))
            await far.peer.hear(ConnectionOpen)
            nursery.start_soon(joined.near_session.shutdown, 5)
            await trio.testing.wait_all_tasks_blocked()
            await far.say(ConnectionAccept(3, ConnectionSettings(Parity.EVEN)))
            await near.peer.hear(ConnectionReject)
            await far.hears(ConnectionClose(3))

    async def test_what_until_served_holds_is_answered_by_whoever_serves(self) -> None:
        link, peer = link_to_peer()
        handles: list[ConnectionHandle] = []

        class Accept:
            async def accept(self, *_: object) -> AcceptedConnection:
                async def keep(handle: ConnectionHandle) -> None:
                    handles.append(handle)

                return AcceptedConnection(handler=DeferredHandler(), setup=keep)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(acceptor(link, on_connection=Accept()).run)
            await peer.initiate()
            side = Side(peer, 1)
            await peer.say(
                ConnectionOpen(1, ConnectionSettings(Parity.ODD)),
            )
            await peer.hear(ConnectionAccept)
            await peer.say(side.call(1), side.call(3), side.cancel(3))
            await side.hears(side.response(3, CANCELLED))
            await side.hears_nothing_more()
            handles[0].serve(None)
            await side.hears(side.response(1, UNKNOWN_METHOD))
            await peer.say(side.call(5))
            await side.hears(side.response(5, UNKNOWN_METHOD))
            await peer.leave()


# ------------------------------------------------------------ with real sessions


async def chain(
    nursery: trio.Nursery, **methods: Callable[..., Any]
) -> tuple[tuple[Session, ...], Streams]:
    """A client, a proxy and a server of `Streams` with these methods."""

    class Offer:
        async def accept(self, *_: object) -> AcceptedConnection:
            return AcceptedConnection(handler=streams(**methods))

    # Strict, so that whatever the proxy does wrong ends a session.
    upstream, server = await join(
        nursery, strict=True, accepting={"strict": True, "on_connection": Offer()}
    )
    ours, near = await join(
        nursery,
        strict=True,
        accepting={"strict": True, "on_connection": ProxyAcceptor(upstream)},
    )
    connection = await ours.open_connection()
    return (ours, near, upstream, server), client(Streams, connection.caller)


def end_all(sessions: tuple[Session, ...], nursery: trio.Nursery) -> None:
    nursery.cancel_scope.cancel()


class TestSizes:
    """What one link carries can be too large for the other."""

    async def narrow(self, nursery: trio.Nursery, take: Any) -> Streams:
        """As `chain`, with a link to the server that takes 1000 bytes at most."""

        class Offer:
            async def accept(self, *_: object) -> AcceptedConnection:
                return AcceptedConnection(handler=streams(echo=echo, take_text=take))

        left, right = trio.testing.memory_stream_pair()
        limits = StreamLimits(max_payload=1000)
        upstream, _ = await join(
            nursery,
            links=(StreamLink(left, limits=limits), StreamLink(right)),
            accepting={"on_connection": Offer()},
        )
        ours, _ = await join(
            nursery, accepting={"on_connection": ProxyAcceptor(upstream)}
        )
        self.connection = await ours.open_connection()
        return client(Streams, self.connection.caller)

    async def test_a_request_that_is_too_large_fails_alone(
        self,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caller = await self.narrow(nursery, echo)
        with pytest.raises(Refused, match="on the far side of a proxy, ") as caught:
            await caller.echo("x" * 2000)
        assert caught.value.was_begun is False
        assert "limit: max_payload" in caught.value.text
        assert "a proxy cannot make a call: " in caplog.text
        assert await caller.echo("small") == "small"
        nursery.cancel_scope.cancel()

    async def test_an_item_that_is_too_large_closes_the_two(
        self,
        nursery: trio.Nursery,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        async def take(items: Rx[str]) -> None:
            async for _ in items:
                pass

        caller = await self.narrow(nursery, take)
        tx, rx = channel[str]()
        call = Task(nursery, caller.take_text, rx)
        await trio.testing.wait_all_tasks_blocked()
        await tx.send("x" * 2000)
        with pytest.raises(ConnectionLost):
            await call.result()
        because = self.connection.ended_because
        assert isinstance(because, ConnectionClosed)
        why = str(because.metadata.get("error"))
        assert why.startswith("an item cannot pass: ")
        assert why.endswith("(limit: max_payload)")
        nursery.cancel_scope.cancel()


async def echo(text: str) -> str:
    return text


class TestChain:
    async def test_calls_while_a_proxy_shuts_the_far_session_down_are_refused(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def echo(text: str) -> str:
            await trio.sleep(5)
            return text

        sessions, caller = await chain(nursery, echo=echo)
        running = Task(nursery, caller.echo, "before")
        await trio.testing.wait_all_tasks_blocked()
        _, _, upstream, _ = sessions
        nursery.start_soon(upstream.shutdown, 10.0)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unavailable) as caught:
            await caller.echo("after")
        assert caught.value.was_begun is False
        tx, rx = channel[int]()
        with pytest.raises(Unavailable):
            await caller.take(rx)
        with pytest.raises(TxConnectionLost):
            await tx.send(1)
        assert await running.result() == "before"
        end_all(sessions, nursery)

    async def test_calls_errors_and_streams_pass(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def add(left: int, right: int) -> int:
            return left + right

        async def both(numbers: Rx[int], output: Tx[int]) -> None:
            async with output:
                async for number in numbers:
                    await output.send(-number)

        sessions, caller = await chain(nursery, add=add, both=both)
        assert await caller.add(3, 4) == 7
        to, numbers = channel[int]()
        output, back = channel[int]()
        received: list[int] = []

        async def feed() -> None:
            async with to:
                for number in range(1000):
                    await to.send(number)

        async def drain() -> None:
            async for number in back:
                received.append(number)

        async with trio.open_nursery() as calling:
            calling.start_soon(feed)
            calling.start_soon(drain)
            calling.start_soon(caller.both, numbers, output)
        assert received == [-number for number in range(1000)]
        end_all(sessions, nursery)

    @pytest.mark.rule("rpc.cancel")
    async def test_cancelling_reaches_the_handler(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        cancelled = trio.Event()

        async def echo(text: str) -> str:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled.set()
                raise
            raise AssertionError

        sessions, caller = await chain(nursery, echo=echo)
        with trio.move_on_after(1):
            await caller.echo("x")
        await cancelled.wait()
        await trio.testing.wait_all_tasks_blocked()
        for session in sessions:
            for connection in session.statistics().connections:
                assert not connection.calling
                assert not connection.answering
        end_all(sessions, nursery)

    async def test_a_shutdown_with_grace_lets_proxied_calls_finish(
        self, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def give(upto: int, output: Tx[int]) -> None:
            async with output:
                for number in range(upto):
                    await trio.sleep(0.1)
                    await output.send(number)

        sessions, caller = await chain(nursery, give=give)
        output, back = channel[int]()
        received: list[int] = []

        async def drain() -> None:
            async for number in back:
                received.append(number)

        async with trio.open_nursery() as calling:
            calling.start_soon(drain)
            calling.start_soon(caller.give, 20, output)
            await trio.sleep(0.55)
            for session in sessions:
                calling.start_soon(session.shutdown, 10.0)
        assert received == list(range(20))
        assert trio.current_time() < 5
        with pytest.raises(ConnectionLost):
            await caller.add(1, 2)
        end_all(sessions, nursery)
