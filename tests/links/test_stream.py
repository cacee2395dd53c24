"""Stream links: what waits, what is written together, and how they break."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from roam_trio.errors import (
    AnnouncedTooLarge,
    LinkClosed,
    LinkError,
    PayloadTooLarge,
    TruncatedPayload,
)
from roam_trio.links.framing import FrameEncoder
from roam_trio.links.stream import StreamLimits, StreamLink, StreamLinkTx
from roam_trio.links.stream_rx import StreamLinkRx

from .test_framing import frame


class RecordingStream(trio.abc.SendStream):
    """Notes every write; a write waits while the stream is stuck, fails when broken."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.stuck: trio.Event | None = None
        self.error: BaseException | None = None
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.writes.append(bytes(data))
        if self.stuck is not None:
            await self.stuck.wait()
        if self.error is not None:
            raise self.error

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


class ScriptedStream(trio.abc.ReceiveStream):
    """Hands out the given chunks, one per read, then an exception or the end."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.chunks = list(chunks)
        self.error = error
        self.reads = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        self.reads += 1
        if not self.chunks:
            if self.error is not None:
                raise self.error
            return b""
        assert max_bytes is not None
        chunk = self.chunks.pop(0)
        if len(chunk) > max_bytes:
            self.chunks.insert(0, chunk[max_bytes:])
        return chunk[:max_bytes]

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def sender(stream: RecordingStream, **limits: int) -> StreamLinkTx:
    link = StreamLink(stream, ScriptedStream(), limits=StreamLimits(**limits))
    return link.split()[0]


def receiver(
    *chunks: bytes, error: Exception | None = None, **limits: int
) -> StreamLinkRx:
    stream = ScriptedStream(*chunks, error=error)
    link = StreamLink(RecordingStream(), stream, limits=StreamLimits(**limits))
    return link.split()[1]


async def send(tx: StreamLinkTx, *pieces: bytes) -> None:
    (await tx.reserve()).send(pieces)


# ---------------------------------------------------------------- writing


@pytest.mark.rule("transport.stream", "zerocopy.send.stream", "link.tx.commit")
async def test_everything_committed_since_the_last_write_goes_out_in_one(
    nursery: trio.Nursery,
) -> None:
    stream = RecordingStream()
    tx = sender(stream)
    nursery.start_soon(tx.pump)
    await wait_all_tasks_blocked()
    for n in range(20):
        nursery.start_soon(send, tx, b"payload", b"%d" % n)
    await wait_all_tasks_blocked()
    assert len(stream.writes) == 1
    assert stream.writes[0].count(b"payload") == 20

    stream.stuck = trio.Event()
    await send(tx, b"first")
    await wait_all_tasks_blocked()
    await send(tx, b"second")
    await send(tx, b"third")
    stream.stuck.set()
    await wait_all_tasks_blocked()
    expected = [frame(b"first"), frame(b"second") + frame(b"third")]
    assert stream.writes[1:] == expected
    await tx.abort()


@pytest.mark.parametrize("by_permit", [True, False])
def test_control_c_leaves_no_part_of_a_payload(
    by_permit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_piece = FrameEncoder._add_piece

    def interrupted(encoder: FrameEncoder, piece: bytes) -> None:
        signal.raise_signal(signal.SIGINT)
        add_piece(encoder, piece)

    async def send_large(tx: StreamLinkTx) -> None:
        monkeypatch.setattr(FrameEncoder, "_add_piece", interrupted)
        if by_permit:
            await send(tx, bytes(40_000))
        else:
            tx.send_nowait([bytes(40_000)])
        await trio.lowlevel.checkpoint()

    async def main() -> None:
        stream = RecordingStream()
        tx = sender(stream)
        with pytest.raises(KeyboardInterrupt):
            await send_large(tx)
        monkeypatch.undo()
        await send(tx, b"next")
        await tx.close()
        written = b"".join(stream.writes)
        assert written == frame(bytes(40_000)) + frame(b"next")
        assert tx.statistics().payloads == 2

    trio.run(main)


@pytest.mark.rule("zerocopy.send.stream", "zerocopy.copies")
async def test_large_piece_is_a_write_of_its_own(nursery: trio.Nursery) -> None:
    stream = RecordingStream()
    tx = sender(stream)
    large = b"l" * 100_000
    await send(tx, b"small")
    await send(tx, b"head", large, b"tail")
    nursery.start_soon(tx.pump)
    await tx.close()
    head = frame(b"small") + (100_008).to_bytes(4, "little") + b"head"
    # A trio stream is given it in parts, so that its progress is seen.
    assert stream.writes == [head, large[: 64 * 1024], large[64 * 1024 :], b"tail"]
    assert tx.statistics().parts == 2


@pytest.mark.rule("link.tx.reserve")
async def test_reserve_waits_while_too_many_bytes_are_unsent(
    nursery: trio.Nursery,
) -> None:
    stream = RecordingStream()
    stream.stuck = trio.Event()
    tx = sender(stream, max_unsent_bytes=1000)
    nursery.start_soon(tx.pump)
    sent = 0

    async def send_many() -> None:
        nonlocal sent
        for _ in range(100):
            await send(tx, bytes(100))
            sent += 1

    nursery.start_soon(send_many)
    await wait_all_tasks_blocked()
    assert sent == 10  # 104 bytes each: the tenth still found room
    assert tx.statistics().unsent_bytes == 1040
    assert tx.statistics().tasks_waiting == 1
    stream.stuck.set()
    await wait_all_tasks_blocked()
    assert sent == 100
    assert b"".join(stream.writes) == frame(bytes(100)) * 100
    assert tx.statistics().unsent_bytes == 0
    await tx.abort()


async def test_waiters_with_large_payloads_do_not_all_get_in_at_once(
    nursery: trio.Nursery,
) -> None:
    stream = RecordingStream()
    stream.stuck = trio.Event()
    tx = sender(stream, max_unsent_bytes=1000)
    nursery.start_soon(tx.pump)
    for _ in range(50):
        nursery.start_soon(send, tx, bytes(1000))
    most = 0
    for _ in range(100):
        await wait_all_tasks_blocked()
        most = max(most, tx.statistics().unsent_bytes)
        stream.stuck, stuck = trio.Event(), stream.stuck
        stuck.set()
    assert most == 1004
    assert b"".join(stream.writes) == frame(bytes(1000)) * 50
    await tx.abort()


@pytest.mark.rule("link.tx.reserve")
async def test_reserve_waits_while_too_many_payloads_are_unsent() -> None:
    tx = sender(RecordingStream(), max_unsent_payloads=3)
    await send(tx, b"")
    await send(tx, b"")
    permit = await tx.reserve()
    with pytest.raises(trio.WouldBlock):
        tx.reserve_nowait()
    permit.release()
    await send(tx, b"")
    with pytest.raises(trio.WouldBlock):
        tx.reserve_nowait()
    await tx.abort()


@pytest.mark.rule("link.tx.alloc.limits")
async def test_payload_over_the_limit_is_not_sent() -> None:
    stream = RecordingStream()
    tx = sender(stream, max_payload=10)
    permit = await tx.reserve()
    with pytest.raises(PayloadTooLarge, match=r"11 bytes.*10.*max_payload"):
        permit.send((b"x" * 6, b"y" * 5))
    permit = await tx.reserve()
    with pytest.raises(PayloadTooLarge):
        permit.alloc(11)
    await send(tx, b"0123456789")
    await tx.close()
    assert stream.writes == [frame(b"0123456789")]


async def test_waiters_get_the_room_of_a_payload_that_was_refused(
    nursery: trio.Nursery,
) -> None:
    tx = sender(RecordingStream(), max_payload=10, max_unsent_payloads=1)
    permit = await tx.reserve()
    nursery.start_soon(send, tx, b"waited")
    await wait_all_tasks_blocked()
    with pytest.raises(PayloadTooLarge):
        permit.send((bytes(11),))
    await wait_all_tasks_blocked()
    assert tx.statistics().unsent_payloads == 1
    await tx.abort()


@pytest.mark.parametrize(
    "error",
    [OSError("cable cut"), trio.BrokenResourceError("reset"), RuntimeError("bug")],
)
async def test_failing_stream_wakes_reservers_and_ends_the_link(
    error: Exception, nursery: trio.Nursery
) -> None:
    stream = RecordingStream()
    tx = sender(stream, max_unsent_payloads=2)
    raised: list[BaseException] = []

    async def note(run: Callable[[], Awaitable[object]]) -> None:
        try:
            await run()
        except Exception as exc:
            raised.append(exc)

    permit = await tx.reserve()
    await send(tx, b"payload")
    nursery.start_soon(note, tx.reserve)
    nursery.start_soon(note, tx.reserve)
    await wait_all_tasks_blocked()
    stream.error = error
    with pytest.raises((LinkError, RuntimeError)) as caught:
        await tx.pump()
    if isinstance(error, RuntimeError):
        assert caught.value is error  # not ours to relabel
    else:
        assert isinstance(caught.value, LinkError)
        assert caught.value.__cause__ is error
    await wait_all_tasks_blocked()
    assert [type(exc) for exc in raised] == [LinkError, LinkError]
    assert raised[0].__cause__ is error
    for attempt in (tx.reserve_nowait, lambda: permit.send((b"",))):
        with pytest.raises(LinkError):
            attempt()
    with pytest.raises(LinkError):
        await tx.pump()
    await tx.close()  # only releases the stream
    assert stream.closed
    assert len(stream.writes) == 1


async def test_pump_cancelled_in_a_write_leaves_the_link_dead(
    nursery: trio.Nursery,
) -> None:
    stream = RecordingStream()
    stream.stuck = trio.Event()
    tx = sender(stream)
    await send(tx, b"torn")
    async with trio.open_nursery() as pumping:
        pumping.start_soon(tx.pump)
        await wait_all_tasks_blocked()
        pumping.cancel_scope.cancel()
    with pytest.raises(LinkError, match="cut short"):
        await tx.reserve()
    with pytest.raises(LinkError, match="cut short"):
        await tx.pump()
    assert "failed" in repr(tx)
    await tx.abort()
    assert len(stream.writes) == 1


async def test_pump_cancelled_while_idle_can_run_again(nursery: trio.Nursery) -> None:
    stream = RecordingStream()
    tx = sender(stream)
    async with trio.open_nursery() as pumping:
        pumping.start_soon(tx.pump)
        await wait_all_tasks_blocked()
        pumping.cancel_scope.cancel()
    await send(tx, b"still")
    nursery.start_soon(tx.pump)
    await tx.close()
    assert stream.writes == [frame(b"still")]


async def test_second_pump_is_refused(nursery: trio.Nursery) -> None:
    tx = sender(RecordingStream())
    nursery.start_soon(tx.pump)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await tx.pump()
    await tx.abort()


# ---------------------------------------------------------------- closing


@pytest.mark.rule("link.tx.close")
async def test_close_waits_until_all_is_written(nursery: trio.Nursery) -> None:
    stream = RecordingStream()
    stream.stuck = trio.Event()
    tx = sender(stream)
    nursery.start_soon(tx.pump)
    await send(tx, b"one")
    await wait_all_tasks_blocked()
    await send(tx, b"two")
    closed = trio.Event()

    async def close() -> None:
        await tx.close()
        closed.set()

    nursery.start_soon(close)
    nursery.start_soon(tx.close)  # closing twice at once is harmless
    await wait_all_tasks_blocked()
    assert not closed.is_set()
    assert "closing" in repr(tx)
    stream.stuck.set()
    await closed.wait()
    assert stream.writes == [frame(b"one"), frame(b"two")]
    assert stream.closed


async def test_close_with_a_stuck_peer_can_be_given_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    stream = RecordingStream()
    stream.stuck = trio.Event()
    tx = sender(stream)
    nursery.start_soon(tx.pump)
    await send(tx, b"never read")
    with trio.move_on_after(5) as scope:
        await tx.close()
    assert scope.cancelled_caught
    await tx.abort()
    assert stream.closed
    assert tx.statistics().unsent_bytes == 0
    await wait_all_tasks_blocked()  # the pump has returned: the nursery can end


async def test_write_that_fails_because_of_abort_is_no_error_of_the_pump(
    nursery: trio.Nursery,
) -> None:
    class Stubborn(RecordingStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            with trio.CancelScope(shield=True):
                await released.wait()
            raise trio.ClosedResourceError

        async def aclose(self) -> None:
            released.set()

    released = trio.Event()
    tx = sender(Stubborn())
    nursery.start_soon(tx.pump)
    await send(tx, b"never written")
    await wait_all_tasks_blocked()
    await tx.abort()
    await wait_all_tasks_blocked()
    with pytest.raises(LinkClosed):
        await tx.reserve()


async def test_abort_lets_go_of_what_it_drops() -> None:
    memory = bytearray(100_000)
    tx = sender(RecordingStream())
    tx.reserve_nowait().send((memoryview(memory),))
    with pytest.raises(BufferError):
        memory.clear()
    await tx.abort()
    memory.clear()


async def test_close_without_a_pump_given_up_in_a_write_leaves_the_link_dead(
    autojump_clock: trio.testing.MockClock,
) -> None:
    stream = RecordingStream()
    stream.stuck = trio.Event()
    tx = sender(stream)
    await send(tx, b"never read")
    with trio.move_on_after(5):
        await tx.close()
    assert "failed" in repr(tx)
    await tx.abort()
    assert stream.closed


async def test_close_tells_if_the_stream_breaks_meanwhile() -> None:
    stream = RecordingStream()
    stream.stuck = trio.Event()
    stream.error = OSError("cable cut")
    tx = sender(stream)
    raised: list[LinkError] = []

    async def note(run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except LinkError as exc:
            raised.append(exc)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(note, tx.pump)
        await send(tx, b"lost")
        await wait_all_tasks_blocked()
        nursery.start_soon(note, tx.close)
        await wait_all_tasks_blocked()
        stream.stuck.set()
    assert [exc.__cause__ for exc in raised] == [stream.error, stream.error]
    assert not any(isinstance(exc, LinkClosed) for exc in raised)
    await tx.close()


async def test_pump_begun_while_closing_waits_for_the_close(
    nursery: trio.Nursery,
) -> None:
    stream = RecordingStream()
    stream.stuck = trio.Event()
    tx = sender(stream)
    await send(tx, b"last")
    nursery.start_soon(tx.close)
    await wait_all_tasks_blocked()
    nursery.start_soon(tx.pump)
    await wait_all_tasks_blocked()
    stream.stuck.set()
    await wait_all_tasks_blocked()
    assert stream.writes == [frame(b"last")]
    assert stream.closed


async def test_close_takes_over_from_a_pump_that_is_being_cancelled() -> None:
    stream = RecordingStream()
    tx = sender(stream)
    async with trio.open_nursery() as pumping:
        pumping.start_soon(tx.pump)
        await wait_all_tasks_blocked()
        pumping.cancel_scope.cancel()
        tx.reserve_nowait().send((b"last",))
        with trio.CancelScope(shield=True):
            await tx.close()
    assert stream.writes == [frame(b"last")]
    assert stream.closed


# ---------------------------------------------------------------- receiving


@pytest.mark.rule("link.rx.recv", "zerocopy.recv.stream")
async def test_one_read_serves_every_payload_it_completed() -> None:
    stream = ScriptedStream(frame(b"one") + frame(b"two") + frame(b"three")[:5])
    _, rx = StreamLink(RecordingStream(), stream).split()
    assert await rx.recv() == b"one"
    assert await rx.recv() == b"two"
    assert stream.reads == 1
    with pytest.raises(trio.WouldBlock):
        rx.recv_nowait()
    await rx.close()


@pytest.mark.rule("link.rx.eof")
async def test_end_between_payloads_is_the_end_for_ever() -> None:
    rx = receiver(frame(b"last") + frame(b""))
    assert await rx.recv() == b"last"
    assert repr(rx) == "<StreamLinkRx open, 1 payloads ready>"
    assert await rx.recv() == b""
    for _ in range(3):
        assert await rx.recv() is None
        assert rx.recv_nowait() is None
    assert "at its end" in repr(rx)


@pytest.mark.rule("link.rx.error")
@pytest.mark.parametrize(
    ("chunks", "error", "expected"),
    [
        ([frame(b"ok") + b"\x01\0"], None, TruncatedPayload),
        ([frame(b"ok") + frame(b"torn")[:-1]], None, TruncatedPayload),
        ([frame(b"ok") + frame(bytes(101)) + frame(b"more")], None, AnnouncedTooLarge),
        ([frame(b"ok")], OSError("reset"), LinkError),
        ([frame(b"ok")], trio.BrokenResourceError("reset"), LinkError),
        ([frame(b"ok")], trio.ClosedResourceError("here"), LinkClosed),
    ],
)
async def test_failure_comes_after_the_good_payloads_and_stays(
    chunks: list[bytes], error: Exception | None, expected: type[LinkError]
) -> None:
    rx = receiver(*chunks, error=error, max_payload=100)
    assert await rx.recv() == b"ok"
    with pytest.raises(expected) as first:
        await rx.recv()
    assert first.value.__cause__ is error
    with pytest.raises(expected) as second:
        await rx.recv()
    with pytest.raises(expected) as third:
        rx.recv_nowait()
    assert first.value is second.value is third.value
    assert expected.__name__ in repr(rx)


async def test_error_that_is_not_the_streams_passes_unchanged() -> None:
    error = RuntimeError("a bug in the stream")
    rx = receiver(error=error)
    with pytest.raises(RuntimeError) as caught:
        await rx.recv()
    assert caught.value is error


@pytest.mark.rule("link.rx.recv")
async def test_recv_yields_at_each_read_and_only_then() -> None:
    chunks = [frame(b"payload") * 3] * 20
    _, rx = StreamLink(RecordingStream(), ScriptedStream(*chunks)).split()
    others_ran = 0

    async def other() -> None:
        nonlocal others_ran
        while True:
            await trio.lowlevel.checkpoint()
            others_ran += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in chunks:
            await rx.recv()
            before = others_ran
            await rx.recv()
            await rx.recv()
            assert others_ran == before
        # Each read lets every other task run; which runs first is left to chance.
        assert others_ran >= len(chunks) - 2
        nursery.cancel_scope.cancel()


async def test_ready_payload_does_not_keep_a_cancelled_task_going() -> None:
    rx = receiver(frame(b"one") + frame(b"two"))
    await rx.recv()
    with trio.CancelScope() as scope:
        scope.cancel()
        await rx.recv()
    assert scope.cancelled_caught
    assert await rx.recv() == b"two"


async def test_second_receiver_is_refused_and_the_first_goes_on(
    nursery: trio.Nursery,
) -> None:
    class Waiting(ScriptedStream):
        """Does not notice by itself that two tasks receive."""

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await ready.wait()
            return await super().receive_some(max_bytes)

    ready = trio.Event()
    stream = Waiting(frame(b"for the first"), frame(b"for the second"))
    _, rx = StreamLink(RecordingStream(), stream).split()
    got: list[bytes | None] = []

    async def receive() -> None:
        got.append(await rx.recv())

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    with pytest.raises(trio.BusyResourceError):
        await rx.recv()
    ready.set()
    await wait_all_tasks_blocked()
    assert got == [b"for the first"]


async def test_payloads_read_as_the_link_is_closed_are_dropped(
    nursery: trio.Nursery,
) -> None:
    left, right = trio.testing.memory_stream_pair()
    _, rx = StreamLink(left).split()
    refused: list[LinkClosed] = []

    async def receive() -> None:
        try:
            await rx.recv()
        except LinkClosed as exc:
            refused.append(exc)

    nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    await right.send_all(frame(b"one") + frame(b"two"))
    await rx.close()  # the reader has its bytes, and has not run yet
    await wait_all_tasks_blocked()
    assert len(refused) == 1
    with pytest.raises(LinkClosed):
        rx.recv_nowait()


async def test_close_drops_what_was_not_taken() -> None:
    rx = receiver(frame(b"one") + frame(b"two"))
    await rx.recv()
    await rx.close()
    with pytest.raises(LinkClosed):
        rx.recv_nowait()


# ---------------------------------------------------------------- streams


@pytest.mark.rule("transport.stream.kinds")
def test_stream_that_only_sends_needs_another_to_receive() -> None:
    with pytest.raises(TypeError, match="receive from"):
        StreamLink(RecordingStream())


@attrs.define
class Pipe(trio.abc.Stream):
    """A two-way stream that cannot be closed by halves, as TLS cannot."""

    sending: trio.testing.MemorySendStream
    receiving: trio.testing.MemoryReceiveStream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.sending.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.receiving.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.sending.aclose()
        await self.receiving.aclose()


async def test_stream_without_halves_is_closed_as_a_whole() -> None:
    left_send, right_receive = trio.testing.memory_stream_one_way_pair()
    right_send, left_receive = trio.testing.memory_stream_one_way_pair()
    tx, rx = StreamLink(Pipe(left_send, left_receive)).split()
    _, peer_rx = StreamLink(Pipe(right_send, right_receive)).split()
    await send(tx, b"last")
    await tx.close()
    assert await peer_rx.recv() == b"last"
    assert await peer_rx.recv() is None
    with pytest.raises(LinkClosed):
        await rx.recv()
    await rx.close()


async def test_half_closed_stream_still_receives(nursery: trio.Nursery) -> None:
    left, right = trio.testing.memory_stream_pair()
    tx, rx = StreamLink(left).split()
    peer_tx, peer_rx = StreamLink(right).split()
    await tx.close()
    assert await peer_rx.recv() is None
    await send(peer_tx, b"answer")
    await peer_tx.close()
    assert await rx.recv() == b"answer"
    await rx.close()
    with pytest.raises(trio.ClosedResourceError):
        await left.receive_some()


async def test_ending_a_stream_whose_peer_is_gone_is_no_error() -> None:
    left, right = trio.testing.lockstep_stream_pair()
    tx, rx = StreamLink(left).split()
    await right.aclose()
    await rx.close()
    await tx.close()


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"max_payload": 2**32}, "max_payload"),
        ({"max_payload": -1}, "max_payload"),
        ({"max_unsent_bytes": 0}, "max_unsent_bytes"),
        ({"max_unsent_payloads": 0}, "max_unsent_payloads"),
    ],
)
def test_senseless_limits_are_refused(limits: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StreamLimits(**limits)
