"""Spans of calls, on both sides."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import attrs
import pytest
import trio
from opentelemetry import baggage, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    AnyCall,
    CallCancelled,
    ChannelError,
    ConnectionLost,
    DeadlineExceeded,
    EncodeError,
    Fallible,
    HandlerFailed,
    Limits,
    Metadata,
    Overloaded,
    Proceed,
    Refused,
    Retry,
    RoamError,
    Rx,
    Tx,
    Unavailable,
    UnknownMethod,
    channel,
    connect,
    current_call,
    describe,
    dispatcher,
    idempotent,
    service,
    serving,
    stay_connected,
    u32,
    with_metadata,
)
from roam_trio.codec import UNKNOWN_METHOD
from roam_trio.contrib.otel import Telemetry

from .recorded import Recorded, about

CLIENT, SERVER = SpanKind.CLIENT, SpanKind.SERVER


@attrs.define
class Overdrawn(Exception):
    """The declared error of a method."""

    by: u32


@service
class Bank(Protocol):
    async def add(self, amount: u32) -> u32: ...

    @idempotent
    async def do(self, what: str) -> Fallible[u32, Overdrawn]: ...

    async def count(self, numbers: Rx[u32], results: Tx[u32]) -> str: ...


class BankImpl:
    """Answers `do` as a function of the test says."""

    def __init__(self) -> None:
        self.doing: Callable[[str], Awaitable[int]] | None = None
        self.seen: list[trace.SpanContext] = []
        self.baggage: list[object] = []

    async def add(self, amount: int) -> int:
        self.seen.append(trace.get_current_span().get_span_context())
        self.baggage.append(baggage.get_baggage("tenant"))
        return amount + 1

    async def do(self, what: str) -> int:
        assert self.doing is not None
        return await self.doing(what)

    async def count(self, numbers: Rx[int], results: Tx[int]) -> str:
        async for number in numbers:
            await results.send(number)
        return "counted"


@asynccontextmanager
async def bank_of(
    recorded: Recorded, impl: BankImpl | None = None, **options: Any
) -> AsyncIterator[Any]:
    """A client and a server that are both recorded."""
    telemetry = recorded.telemetry
    handler = dispatcher(Bank, impl or BankImpl(), middleware=[telemetry.server])
    async with (
        serving("memory://bank", handler, observer=telemetry.observer),
        connect("memory://bank", Bank, middleware=[telemetry.client], **options) as c,
    ):
        yield c


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def context_of(span: ReadableSpan) -> trace.SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found


async def test_a_call_is_a_span_on_each_side_of_one_trace(recorded: Recorded) -> None:
    impl = BankImpl()
    async with bank_of(recorded, impl) as bank:
        assert await bank.add(3) == 4
    client, server = recorded.one(CLIENT), recorded.one(SERVER)
    assert client.name == server.name == "Bank/add"
    assert client.parent is None
    assert parent_of(server) == context_of(client).span_id
    assert context_of(server).trace_id == context_of(client).trace_id
    expected = {
        "rpc.system.name": "roam",
        "rpc.method": "Bank/add",
        "rpc.status_code": "ok",
    }
    assert about(client) == about(server) == expected
    assert client.status.status_code is server.status.status_code is StatusCode.UNSET
    [seen] = impl.seen
    assert seen.span_id == context_of(server).span_id


async def test_spans_tell_the_network_and_the_server(recorded: Recorded) -> None:
    other = Recorded(server="tcp://bank.example:4000")
    handler = dispatcher(Bank, BankImpl(), middleware=[other.telemetry.server])
    async with (
        serving("tcp://127.0.0.1:0", handler) as here,
        connect(here.url, Bank, middleware=[recorded.telemetry.client]) as bank,
    ):
        await bank.add(1)
    port = int(here.url.rpartition(":")[2])
    client, server = about(recorded.one(CLIENT)), about(other.one(SERVER))
    assert client["server.address"] == client["network.peer.address"] == "127.0.0.1"
    assert client["server.port"] == client["network.peer.port"] == port
    assert client["network.transport"] == server["network.transport"] == "tcp"
    assert server["server.address"] == "bank.example"
    assert server["server.port"] == 4000
    assert server["network.peer.address"] == "127.0.0.1"
    assert server["network.peer.port"] != port
    other.close()


async def test_the_span_of_the_caller_is_the_parent_and_baggage_arrives(
    recorded: Recorded,
) -> None:
    impl = BankImpl()
    tracer = recorded.tracers.get_tracer("test")
    async with bank_of(recorded, impl) as bank:
        with tracer.start_as_current_span("at the cash desk") as outer:
            token = attach(baggage.set_baggage("tenant", "blue"))
            await with_metadata(bank.add, {"baggage": "old=1", "desk": "north"})(1)
            detach(token)
    assert parent_of(recorded.one(CLIENT)) == outer.get_span_context().span_id
    assert impl.baggage == ["blue"]


async def test_a_span_around_the_whole_server_is_no_parent(recorded: Recorded) -> None:
    tracer = recorded.tracers.get_tracer("test")
    handler = dispatcher(Bank, BankImpl(), middleware=[recorded.telemetry.server])
    with tracer.start_as_current_span("the program"):
        async with (
            serving("memory://bank", handler),
            connect("memory://bank", Bank) as bank,
        ):
            await bank.add(1)
    assert recorded.one(SERVER).parent is None


async def test_middleware_inside_runs_in_the_context_of_the_span(
    recorded: Recorded,
) -> None:
    inside: list[trace.SpanContext] = []

    async def note(call: AnyCall, proceed: Proceed) -> Any:
        inside.append(trace.get_current_span().get_span_context())
        return await proceed()

    telemetry = recorded.telemetry
    async with (
        serving("memory://bank", dispatcher(Bank, BankImpl())),
        connect("memory://bank", Bank, middleware=[telemetry.client, note]) as bank,
    ):
        await bank.add(1)
    assert [each.span_id for each in inside] == [
        context_of(recorded.one(CLIENT)).span_id
    ]
    assert not trace.get_current_span().get_span_context().is_valid


# ---------------------------------------------------------------- outcomes


async def _raise(error: BaseException) -> int:
    raise error


async def _never(what: str) -> int:
    await trio.sleep_forever()
    raise AssertionError("it never ends by itself")


HERE = __name__


@pytest.mark.parametrize(
    ("raised", "client", "server"),
    [
        (Overdrawn(3), ("user_error", f"{HERE}.Overdrawn"), ("user_error", None)),
        (ValueError("x"), ("failed", "failed"), ("failed", "ValueError")),
        (
            ExceptionGroup("one", [KeyError("x")]),
            ("failed", "failed"),
            ("failed", "KeyError"),
        ),
        (Refused("bank-holiday"), ("refused", "refused"), ("refused", None)),
        (Overloaded(), ("overloaded", "overloaded"), ("overloaded", None)),
        (
            Unavailable(retry_after=1e6),
            ("unavailable", "unavailable"),
            ("unavailable", "unavailable"),
        ),
        (
            DeadlineExceeded(),
            ("deadline", "deadline"),
            ("deadline", "deadline"),
        ),
        (CallCancelled(), ("cancelled", "cancelled"), ("cancelled", None)),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_error_is_a_status_on_each_side(
    recorded: Recorded,
    raised: Exception,
    client: tuple[str, str | None],
    server: tuple[str, str | None],
) -> None:
    logging.getLogger("roam_trio.service").setLevel(logging.CRITICAL)
    impl = BankImpl()
    impl.doing = lambda what: _raise(raised)
    try:
        async with bank_of(recorded, impl) as bank:
            with pytest.raises((RoamError, Overdrawn)):
                await bank.do("x")
    finally:
        logging.getLogger("roam_trio.service").setLevel(logging.NOTSET)
    for kind, (code, error_type) in ((CLIENT, client), (SERVER, server)):
        span = recorded.one(kind)
        told = about(span)
        assert told["rpc.status_code"] == code
        assert told.get("error.type") == error_type
        wanted = StatusCode.UNSET if error_type is None else StatusCode.ERROR
        assert span.status.status_code is wanted
        assert not span.events
        assert "bank-holiday" not in str(dict(told))


async def test_a_cancelled_call_and_one_that_is_late(
    recorded: Recorded, autojump_clock: MockClock
) -> None:
    impl = BankImpl()
    impl.doing = _never
    async with bank_of(recorded, impl) as bank:
        with trio.move_on_after(3):
            await bank.do("x")
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(bank.do, "y")
                await wait_all_tasks_blocked()
                scope.cancel()
        await wait_all_tasks_blocked()
    clients = [about(span) for span in recorded.spans if span.kind is CLIENT]
    servers = [about(span) for span in recorded.spans if span.kind is SERVER]
    assert [each["error.type"] for each in clients] == ["deadline", "cancelled"]
    assert [each["rpc.status_code"] for each in servers] == ["deadline", "cancelled"]
    assert [each.get("error.type") for each in servers] == ["deadline", None]


async def test_a_call_that_fails_before_it_is_sent_has_no_status_code(
    recorded: Recorded,
) -> None:
    async with bank_of(recorded) as bank:
        with pytest.raises(Exception, match="expected"):
            await bank.add("three")
    told = about(recorded.one(CLIENT))
    assert told["error.type"] == "roam_trio.errors.EncodeError"
    assert "rpc.status_code" not in told


async def test_a_caller_that_wants_no_more_items_is_no_error(
    recorded: Recorded,
) -> None:
    async with bank_of(recorded) as bank:
        numbers, given = channel[u32]()
        out, results = channel[u32]()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def stop() -> None:
                await numbers.send(1)
                await results.recv()
                results.reset()
                await wait_all_tasks_blocked()
                with contextlib.suppress(trio.BrokenResourceError):
                    await numbers.send(2)
                    await numbers.send(3)
                numbers.close()

            with pytest.raises(CallCancelled):
                await bank.count(given, out)
    told = about(recorded.one(SERVER))
    assert told["rpc.status_code"] == "cancelled"
    assert "error.type" not in told


# ---------------------------------------------------------------- streams


@service
class Ticker(Protocol):
    async def watch(self, ticks: Tx[u32]) -> str: ...


class TickerImpl:
    """Answers at once, and goes on to send."""

    def __init__(self) -> None:
        self.go_on = trio.Event()

    async def watch(self, ticks: Tx[int]) -> str:
        current_call().connection.start_soon(self._send, ticks)
        return "begun"

    async def _send(self, ticks: Tx[int]) -> None:
        async with ticks:
            await ticks.send(1)
            await self.go_on.wait()
            await ticks.send(2)


async def test_a_span_lasts_until_the_channels_of_its_call_have_ended(
    recorded: Recorded,
) -> None:
    impl, telemetry = TickerImpl(), recorded.telemetry
    handler = dispatcher(Ticker, impl, middleware=[telemetry.server])
    async with (
        serving("memory://ticker", handler),
        connect("memory://ticker", Ticker, middleware=[telemetry.client]) as ticker,
    ):
        tx, rx = channel[u32]()
        assert await ticker.watch(tx) == "begun"
        assert await rx.recv() == 1
        await wait_all_tasks_blocked()
        assert recorded.spans == ()
        impl.go_on.set()
        assert [item async for item in rx] == [2]
        await wait_all_tasks_blocked()
        assert {span.kind for span in recorded.spans} == {CLIENT, SERVER}
    assert {about(span)["rpc.status_code"] for span in recorded.spans} == {"ok"}


async def test_a_recorded_call_does_not_keep_a_dropped_channel_open(
    recorded: Recorded,
) -> None:
    telemetry = recorded.telemetry

    class Dropping:
        async def watch(self, ticks: Tx[int]) -> str:
            return "dropped"

    handler = dispatcher(Ticker, Dropping(), middleware=[telemetry.server])
    async with (
        serving("memory://ticker", handler),
        connect("memory://ticker", Ticker, middleware=[telemetry.client]) as ticker,
    ):
        tx, rx = channel[u32]()
        assert await ticker.watch(tx) == "dropped"
        assert [item async for item in rx] == []
        assert {span.kind for span in recorded.spans} == {CLIENT, SERVER}


async def test_a_stream_that_is_lost_is_an_error_of_the_caller(
    recorded: Recorded,
) -> None:
    impl, telemetry = TickerImpl(), recorded.telemetry
    handler = dispatcher(Ticker, impl, middleware=[telemetry.server])
    async with (
        serving("memory://ticker", handler),
        connect("memory://ticker", Ticker, middleware=[telemetry.client]) as ticker,
    ):
        tx, rx = channel[u32]()
        await ticker.watch(tx)
        clone = rx.clone()
        assert await clone.recv() == 1
    for kind, error_type in ((CLIENT, "connection_lost"), (SERVER, None)):
        told = about(recorded.one(kind))
        assert told["rpc.status_code"] == "connection_lost"
        assert told.get("error.type") == error_type


async def test_a_stream_under_other_middleware_and_through_clones_ends_its_span(
    recorded: Recorded,
) -> None:
    telemetry = recorded.telemetry

    async def pass_on(call: AnyCall, proceed: Proceed) -> Any:
        call.each_item(lambda way, item: item)
        return await proceed()

    class Cloning:
        async def watch(self, ticks: Tx[int]) -> str:
            async with ticks.clone() as other:
                await other.send(1)
            ticks.close()
            return "cloned"

        async def count(self, numbers: Rx[int]) -> str:
            clone = numbers.clone()
            total = len([number async for number in clone])
            numbers.close()
            return str(total)

    @service
    class Both(Protocol):
        async def watch(self, ticks: Tx[u32]) -> str: ...

        async def count(self, numbers: Rx[u32]) -> str: ...

    handler = dispatcher(Both, Cloning(), middleware=[telemetry.server, pass_on])
    middleware = [telemetry.client, pass_on]
    async with (
        serving("memory://both", handler),
        connect("memory://both", Both, middleware=middleware) as both,
    ):
        tx, rx = channel[u32]()
        assert await both.watch(tx) == "cloned"
        assert [item async for item in rx] == [1]
        numbers, given = channel[u32]()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def send() -> None:
                async with numbers:
                    await numbers.send_many([1, 2, 3])

            assert await both.count(given) == "3"
        await wait_all_tasks_blocked()
        assert len(recorded.spans) == 4


async def test_a_call_whose_channels_were_never_bound_ends_its_span(
    recorded: Recorded,
) -> None:
    async with bank_of(recorded) as bank:
        _, given = channel[u32]()
        with pytest.raises(EncodeError):
            await bank.count(given, "no channel")
        out, _ = channel[u32]()
        out.close()
        with pytest.raises(ChannelError):
            await bank.count(given, out)
        _, given = channel[u32]()
        out, _ = channel[u32]()
    with pytest.raises(ConnectionLost):
        await bank.count(given, out)
    assert [about(span)["error.type"] for span in recorded.spans] == [
        "roam_trio.errors.EncodeError",
        "roam_trio.errors.ChannelError",
        "connection_lost",
    ]


async def test_who_wants_to_end_the_program_in_an_exporter_does(
    recorded: Recorded,
) -> None:
    class Ending(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise KeyboardInterrupt

    recorded.tracers.add_span_processor(Ending(InMemorySpanExporter()))
    handler = dispatcher(Bank, BankImpl())
    async with (
        serving("memory://bank", handler),
        connect("memory://bank", Bank, middleware=[recorded.telemetry.client]) as bank,
    ):
        with pytest.raises(KeyboardInterrupt):
            await bank.add(1)


async def test_an_exporter_that_fails_harms_no_stream(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(SimpleSpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("the disk is full")

    recorded.tracers.add_span_processor(Failing(InMemorySpanExporter()))
    async with bank_of(recorded) as bank:
        assert await bank.add(1) == 2
    assert [m.partition(" (")[0] for m in caplog.messages] == [
        "a call was not recorded"
    ] * 2


async def test_a_processor_or_a_propagator_that_fails_harms_no_call(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(SpanProcessor):
        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            raise RuntimeError("no room")

    class Broken(TraceContextTextMapPropagator):
        def inject(self, *args: Any, **kwargs: Any) -> None:
            raise RuntimeError("no header")

        def extract(self, *args: Any, **kwargs: Any) -> Context:
            raise RuntimeError("no header")

    broken = Recorded(propagator=Broken())
    async with bank_of(broken) as bank:
        response = await with_metadata(bank.add, {"trace-parent": "x"})(1)
        assert response.value == 2
    assert [m.partition(" (")[0] for m in caplog.messages] == [
        "the context of a call was not sent, or in part",
        "the context of a call was not read",
    ]
    assert [span.kind for span in broken.spans] == [SERVER, CLIENT]
    broken.close()

    caplog.clear()
    recorded.tracers.add_span_processor(Failing())
    async with bank_of(recorded) as bank:
        assert await bank.add(1) == 2
    assert [m.partition(" (")[0] for m in caplog.messages] == [
        "a call was not recorded"
    ] * 2


@pytest.mark.parametrize("args", [None, (), (1,), (1, 2)])
async def test_arguments_that_a_middleware_has_broken_are_the_error_of_the_call(
    recorded: Recorded, args: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaking(call: AnyCall, proceed: Proceed) -> Any:
        call.args = args
        return await proceed()

    middleware = [recorded.telemetry.server, breaking]
    handler = dispatcher(Bank, BankImpl(), middleware=middleware)
    async with (
        serving("memory://bank", handler),
        connect("memory://bank", Bank) as bank,
    ):
        _, numbers = channel[u32]()
        results, _ = channel[u32]()
        with pytest.raises(HandlerFailed):
            await bank.count(numbers, results)
    [record] = caplog.records
    assert "During handling" not in (record.exc_text or "")
    assert about(recorded.one(SERVER))["rpc.status_code"] == "failed"


# ---------------------------------------------------------------- sampling


class Unsampled(Recorded):
    """The sampler says no, unless the parent was sampled."""

    def __init__(self) -> None:
        super().__init__(ParentBased(ALWAYS_OFF))


async def test_an_unsampled_call_computes_no_attributes_and_tells_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, server, impl = Recorded(ALWAYS_OFF), Recorded(), BankImpl()
    handler = dispatcher(Bank, impl, middleware=[server.telemetry.server])
    asked: list[object] = []
    monkeypatch.setattr(
        "roam_trio.contrib.otel.outcomes.Outcome.attributes", property(asked.append)
    )
    async with (
        serving("memory://bank", handler),
        connect("memory://bank", Bank, middleware=[client.telemetry.client]) as bank,
    ):
        await bank.add(1)
    assert client.spans == server.spans == ()
    [seen] = impl.seen
    assert seen.is_valid
    assert not seen.trace_flags.sampled
    assert len(asked) == 2  # for the measurements, once for each kind of outcome


async def test_calls_of_an_unsampled_trace_make_no_spans_and_pass_it_on() -> None:
    recorded, impl = Unsampled(), BankImpl()
    tracer = recorded.tracers.get_tracer("test")
    async with bank_of(recorded, impl) as bank:
        with tracer.start_as_current_span("unsampled") as outer:
            await bank.add(1)
            await with_metadata(bank.add, {"desk": "north"})(2)
            await bank.add(3)
    about_outer = outer.get_span_context()
    assert {(seen.trace_id, seen.span_id) for seen in impl.seen} == {
        (about_outer.trace_id, about_outer.span_id)
    }
    assert recorded.spans == ()
    recorded.close()


async def test_a_call_that_is_neither_sampled_nor_measured_passes_its_context_on() -> (
    None
):
    recorded, impl = Unsampled(), BankImpl()
    telemetry = Telemetry(tracer_provider=recorded.tracers)
    handler = dispatcher(Bank, impl, middleware=[telemetry.server])
    async with (
        serving("memory://bank", handler),
        connect("memory://bank", Bank, middleware=[telemetry.client]) as bank,
    ):
        tracer = recorded.tracers.get_tracer("test")
        with tracer.start_as_current_span("unsampled") as outer:
            await bank.add(1)
        await bank.add(2)
    first, second = impl.seen
    assert first.span_id == outer.get_span_context().span_id
    assert second.trace_id != first.trace_id
    assert recorded.spans == ()
    recorded.close()


async def test_a_sampler_that_heeds_no_parent_is_asked_for_each_call() -> None:
    unsampled, recorded = Unsampled(), Recorded(ALWAYS_ON)
    tracer = unsampled.tracers.get_tracer("test")
    async with bank_of(recorded) as bank:
        with tracer.start_as_current_span("unsampled"):
            await bank.add(1)
    assert {span.kind for span in recorded.spans} == {CLIENT, SERVER}


async def test_without_an_sdk_the_context_is_passed_on(recorded: Recorded) -> None:
    telemetry, impl = Telemetry(), BankImpl()
    last = dispatcher(Bank, impl, middleware=[recorded.telemetry.server])
    async with (
        serving("memory://last", last),
        connect("memory://last", Bank, middleware=[telemetry.client]) as further,
    ):

        class Relay(BankImpl):
            async def add(self, amount: int) -> int:
                added: int = await further.add(amount)
                return added

        middle = dispatcher(Bank, Relay(), middleware=[telemetry.server])
        async with (
            serving("memory://middle", middle),
            connect(
                "memory://middle", Bank, middleware=[recorded.telemetry.client]
            ) as bank,
        ):
            assert await bank.add(1) == 2
    assert parent_of(recorded.one(SERVER)) == context_of(recorded.one(CLIENT)).span_id


# ---------------------------------------------------------------- calls and peers


@service
class OlderBank(Protocol):
    async def interest(self) -> u32: ...


async def test_a_method_that_is_unknown_here_is_other(recorded: Recorded) -> None:
    telemetry = recorded.telemetry
    handler = dispatcher(Bank, BankImpl(), middleware=[telemetry.server])
    async with (
        serving("memory://bank", handler, observer=telemetry.observer, schemas=False),
        connect("memory://bank", middleware=[telemetry.client]) as session,
    ):
        from roam_trio import client

        old = client(OlderBank, session.caller, middleware=[telemetry.client])
        with pytest.raises(UnknownMethod):
            await old.interest()
    server = recorded.one(SERVER)
    assert server.name == "roam"
    assert about(server) == {
        "rpc.system.name": "roam",
        "rpc.method": "_OTHER",
        "rpc.method_original": "OlderBank/interest",
        "rpc.status_code": "unknown_method",
        "error.type": "unknown_method",
    }
    assert server.status.status_code is StatusCode.ERROR
    client_span = recorded.one(CLIENT)
    assert about(client_span)["rpc.method"] == "OlderBank/interest"
    assert about(client_span)["error.type"] == "unknown_method"
    assert parent_of(server) == context_of(client_span).span_id


async def test_a_refused_call_adds_no_name_that_a_peer_has_chosen(
    recorded: Recorded,
) -> None:
    observer = recorded.telemetry.observer
    async with (
        serving("memory://bank", dispatcher(Bank, BankImpl())),
        connect("memory://bank") as session,
    ):
        for name in ("0x0000000000000001", "0x0000000000000002", "Bank.add"):
            observer.call_turned_away(session.root, name, Metadata(), Overloaded())
    points = recorded.points("rpc.server.call.duration")
    counts = {point.attributes["rpc.method"]: point.count for point in points}
    assert counts == {"_OTHER": 2, "Bank/add": 1}
    assert [span.name for span in recorded.spans] == ["roam", "roam", "Bank/add"]


async def test_arguments_that_cannot_be_decoded_and_an_unsampled_stranger(
    recorded: Recorded,
) -> None:
    telemetry = recorded.telemetry
    handler = dispatcher(Bank, BankImpl(), middleware=[telemetry.server])
    [method] = [each for each in describe(Bank).methods if each.name == "add"]
    async with (
        serving("memory://bank", handler, observer=telemetry.observer),
        connect("memory://bank") as session,
    ):
        await session.caller.call(method.id, b"\xff\xff\xff\xff\xff\xff")
        unsampled = {"trace-parent": f"00-{1:032x}-{1:016x}-00"}
        metadata = Metadata.of(unsampled)
        await session.caller.call(method.id, b"\xff" * 6, metadata=metadata)
    span = recorded.one(SERVER)
    assert span.name == about(span)["rpc.method"] == "Bank/add"
    assert about(span)["rpc.status_code"] == "invalid_payload"
    assert "error.type" not in about(span)
    assert span.status.status_code is StatusCode.UNSET
    # The second is measured, and its caller has decided that it has no span.
    [point] = recorded.points("rpc.server.call.duration")
    assert point.count == 2


async def test_turned_away_calls_without_an_sdk_are_nobodys() -> None:
    telemetry = Telemetry()
    async with (
        serving("memory://bank", {}, observer=telemetry.observer),
        connect("memory://bank") as session,
    ):
        response = await session.caller.call(describe(Bank).methods[0].id, b"")
        assert response.ret == UNKNOWN_METHOD


async def test_a_retry_outside_a_recorded_call_is_noted_nowhere() -> None:
    Telemetry().observer.call_retried("memory://bank", "Bank.do", Unavailable(), 1.0)


async def test_retries_are_events_of_one_span(
    recorded: Recorded, autojump_clock: MockClock
) -> None:
    telemetry, impl = recorded.telemetry, BankImpl()
    tries: list[str] = []

    async def third_time(what: str) -> int:
        tries.append(what)
        if len(tries) < 3:
            raise Unavailable(text="\x1b[2Jnot yet")
        return 7

    impl.doing = third_time
    handler = dispatcher(Bank, impl, middleware=[telemetry.server])
    async with (
        serving("memory://bank", handler, reflection=True),
        stay_connected(
            "memory://bank",
            Bank,
            middleware=[telemetry.client],
            observer=telemetry.observer,
            retry=Retry(attempts=5),
        ) as bank,
    ):
        assert await bank.do("x") == 7
    client = recorded.one(CLIENT)
    assert about(client)["rpc.status_code"] == "ok"
    assert [event.name for event in client.events] == ["retry", "retry"]
    for event in client.events:
        assert dict(event.attributes or {}) == {
            "server.address": "bank",
            "rpc.status_code": "unavailable",
            "error.type": "unavailable",
        }
    servers = [span for span in recorded.spans if span.kind is SERVER]
    assert [parent_of(span) for span in servers] == [context_of(client).span_id] * 3


async def test_a_failed_handler_elsewhere_is_a_failure_here(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    impl = BankImpl()

    async def fail(what: str) -> int:
        raise ValueError("secret")

    impl.doing = fail
    async with bank_of(recorded, impl, limits=Limits(log_records=1)) as bank:
        with pytest.raises(HandlerFailed):
            await bank.do("x")
    for span in recorded.spans:
        assert "secret" not in span.to_json()
