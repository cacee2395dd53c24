"""What a client is, and what its methods return and raise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

import msgspec
import pytest
import trio
import trio.testing

from roam_trio import (
    CallCancelled,
    Caller,
    ConnectionLost,
    DecodeError,
    EncodeError,
    ErasedCaller,
    Fallible,
    InvalidPayload,
    Metadata,
    MetadataEntry,
    MetadataFlags,
    NoopCaller,
    Rx,
    Session,
    Tx,
    UnknownMethod,
    UserError,
    channel,
    client,
    current_call,
    describe,
    dispatcher,
    i32,
    i64,
    initiator,
    service,
    u8,
    u32,
    with_metadata,
)
from roam_trio.service.dynamic import dynamic_client
from roam_trio.wire.messages import RequestCall, RequestResponse, joined
from tests.peer import Peer, link_to_peer
from tests.service.services import (
    BedHandler,
    Denied,
    Point,
    connected,
    sessions,
)
from tests.service.services import Testbed as Bed

T = TypeVar("T")


@service
class Greeter(Protocol):
    """Greets."""

    async def greet(self, name: str, times: u8 = 1, polite: bool = True) -> str:
        """Say hello to `name`."""
        ...

    async def self(self_, self: u32) -> u32: ...
    async def caller(self, call: u32) -> u32: ...
    async def roam_caller(self) -> None: ...


class Greeting:
    async def greet(self, name: str, times: int, polite: bool) -> str:
        return f"{'Dear' if polite else 'Hey'} {name}" * times

    async def self(self_, number: int) -> int:
        return number

    async def caller(self, call: int) -> int:
        return call + 1

    async def roam_caller(self) -> None:
        return None


@pytest.mark.rule("rpc", "rpc.caller", "rpc.handler", "session.symmetry")
async def test_every_kind_of_call_goes_there_and_back(nursery: trio.Nursery) -> None:
    bed = await connected(nursery, Bed, BedHandler())
    assert await bed.echo("héllo") == "héllo"
    assert await bed.divide(-7, 2) == -4
    assert await bed.echo_point(Point(1, -2)) == Point(1, -2)
    tx, rx = channel[int]()

    async def produce() -> None:
        async with tx:
            for number in range(40):
                await tx.send(number)

    nursery.start_soon(produce)
    assert await bed.sum(rx) == sum(range(40))


async def test_keywords_and_defaults_are_those_of_the_service(
    nursery: trio.Nursery,
) -> None:
    greeter = await connected(nursery, Greeter, Greeting())
    assert await greeter.greet("Ann") == "Dear Ann"
    assert await greeter.greet("Ann", 2) == "Dear AnnDear Ann"
    assert await greeter.greet(name="Ann", polite=False) == "Hey Ann"
    assert await greeter.greet("Ann", polite=False, times=2) == "Hey AnnHey Ann"


async def test_no_name_of_a_method_or_argument_is_taken(nursery: trio.Nursery) -> None:
    greeter = await connected(nursery, Greeter, Greeting())
    assert await greeter.self(3) == 3
    assert await greeter.self(self=4) == 4
    assert await greeter.caller(call=3) == 4
    assert await greeter.roam_caller() is None


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "missing a required argument: 'name'"),
        (("a", 1, True, 3), {}, "too many positional arguments"),
        (("a",), {"nmae": "b"}, "unexpected keyword argument 'nmae'"),
        (("a",), {"name": "b"}, "multiple values for argument 'name'"),
    ],
)
async def test_wrong_arguments_are_a_type_error_that_names_the_method(
    nursery: trio.Nursery, args: Any, kwargs: Any, problem: str
) -> None:
    greeter = await connected(nursery, Greeter, Greeting())
    with pytest.raises(TypeError) as caught:
        await greeter.greet(*args, **kwargs)
    assert str(caught.value).startswith("Greeter.greet(name: ")
    assert problem in str(caught.value)
    assert await greeter.greet("Bob") == "Dear Bob"


async def test_an_argument_of_the_wrong_type_is_an_error_that_names_it(
    nursery: trio.Nursery,
) -> None:
    greeter = await connected(nursery, Greeter, Greeting())
    with pytest.raises(EncodeError, match="times") as caught:
        await greeter.greet("Ann", 256)
    assert "256" in caught.value.problem
    bed = await connected(nursery, Bed, BedHandler())
    with pytest.raises(EncodeError, match=r"point\.x|point.*\.x"):
        await bed.echo_point(Point(2**31, 0))
    assert await bed.echo("fine") == "fine"


async def test_a_client_shows_its_service_and_state(nursery: trio.Nursery) -> None:
    session, _ = await sessions(nursery, dispatcher(Greeter, Greeting()))
    greeter = client(Greeter, session.caller)
    assert repr(greeter) == "<GreeterClient connected>"
    await session.shutdown()
    assert repr(greeter) == "<GreeterClient disconnected>"


async def test_a_client_is_documented_as_its_service(nursery: trio.Nursery) -> None:
    greeter = await connected(nursery, Greeter, Greeting())
    assert type(greeter).__doc__ == "Greets."
    assert greeter.greet.__doc__ == "Say hello to `name`."
    assert greeter.greet.__name__ == "greet"
    assert greeter.greet.__qualname__ == "GreeterClient.greet"
    assert list(inspect.signature(greeter.greet).parameters) == [
        "name",
        "times",
        "polite",
    ]


async def test_a_client_needs_a_service(nursery: trio.Nursery) -> None:
    session, _ = await sessions(nursery, dispatcher(Greeter, Greeting()))
    with pytest.raises(TypeError, match=r"decorated with @roam_trio\.service"):
        client(Greeting, session.caller)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (partial(client, Greeter), "client"),
        (partial(dynamic_client, describe(Greeter)), "dynamic_client"),
        (ErasedCaller, "ErasedCaller"),
        (NoopCaller, "NoopCaller"),
    ],
)
async def test_what_makes_calls_is_checked_before_the_first_call(
    nursery: trio.Nursery, make: Callable[[Any], Any], what: str
) -> None:
    session, _ = await sessions(nursery, dispatcher(Greeter, Greeting()))
    start = f"{what}: expected a Caller, got an object of type "
    for given, got in [
        (session, "Session; pass its .caller"),
        (session.root, "ConnectionHandle; pass its .caller"),
        (NoopCaller(session.caller), "NoopCaller"),
    ]:
        with pytest.raises(TypeError) as raised:
            make(given)
        assert str(raised.value) == start + got
    make(session.caller)


async def test_hints_may_carry_what_cannot_be_hashed(nursery: trio.Nursery) -> None:
    @service
    class Annotating(Protocol):
        async def echo(self, message: Annotated[str, ["a note"]]) -> str: ...

    annotating = await connected(nursery, Annotating, BedHandler())
    assert await annotating.echo("hello") == "hello"


async def test_services_of_one_name_have_clients_of_their_own(
    nursery: trio.Nursery,
) -> None:
    def make() -> Any:
        async def echo(self: Any, message: str) -> str: ...

        return service(type("Echo", (), {"echo": echo}))

    session, _ = await sessions(nursery, dispatcher(Bed, BedHandler()))
    first, second = (client(make(), session.caller) for _ in range(2))
    assert type(first) is not type(second)


async def test_an_erased_caller_makes_the_same_calls(nursery: trio.Nursery) -> None:
    session, _ = await sessions(nursery, dispatcher(Bed, BedHandler()))
    erased = ErasedCaller(session.caller)
    bed = client(Bed, erased)
    assert await bed.echo("hidden") == "hidden"
    assert erased.channel_binder is session.caller.channel_binder
    nursery.start_soon(session.shutdown)
    await erased.closed()
    assert not erased.is_connected


async def test_a_noop_caller_knows_the_end_and_makes_no_calls(
    nursery: trio.Nursery,
) -> None:
    session, _ = await sessions(nursery, dispatcher(Bed, BedHandler()))
    noop = NoopCaller(session.caller)
    assert noop.is_connected
    assert not hasattr(noop, "call")
    nursery.start_soon(session.shutdown)
    await noop.closed()
    assert not noop.is_connected


# ---------------------------------------------------------------- metadata

REQUEST = Metadata.of(
    [
        MetadataEntry("trace-id", "abc"),
        MetadataEntry("token", b"\xde\xad", MetadataFlags.SENSITIVE),
        MetadataEntry("hop", 7, MetadataFlags.NO_PROPAGATE | MetadataFlags.SENSITIVE),
        MetadataEntry("trace-id", "def"),
        MetadataEntry("Trace-Id", "other"),
    ]
)


class Reflecting(BedHandler):
    """Sends back the metadata it gets."""

    async def echo(self, message: str) -> str:
        call = current_call()
        call.response_metadata = call.metadata
        return message

    async def divide(self, dividend: int, divisor: int) -> int:
        call = current_call()
        call.response_metadata = {"by": "an explicit reply"}
        await call.ok(dividend)
        call.response_metadata = {"by": "nobody, for it is too late"}
        return 0


@pytest.mark.rule(
    "rpc.metadata",
    "rpc.metadata.value",
    "rpc.metadata.flags",
    "rpc.metadata.keys",
    "rpc.metadata.duplicates",
    "rpc.metadata.unknown",
    "rpc.caller",
)
async def test_metadata_goes_both_ways_with_its_flags_and_order(
    nursery: trio.Nursery,
) -> None:
    bed = await connected(nursery, Bed, Reflecting())
    parts = await with_metadata(bed.echo, REQUEST)("hello")
    assert parts.value == "hello"
    assert parts.metadata == REQUEST
    assert [entry.flags for entry in parts.metadata] == [0, 1, 3, 0, 0]
    assert parts.metadata.get_all("trace-id") == ["abc", "def"]


@pytest.mark.rule("rpc.metadata.flags.sensitive")
async def test_sensitive_values_do_not_show_in_what_was_returned(
    nursery: trio.Nursery,
) -> None:
    bed = await connected(nursery, Bed, Reflecting())
    parts = await with_metadata(bed.echo, REQUEST)("hello")
    assert "token" in repr(parts)
    assert "\\xde" not in repr(parts)


async def test_an_explicit_reply_takes_the_metadata_set_before_it(
    nursery: trio.Nursery,
) -> None:
    bed = await connected(nursery, Bed, Reflecting())
    parts = await with_metadata(bed.divide)(8, 2)
    assert (parts.value, parts.metadata.get("by")) == (8, "an explicit reply")


async def test_calls_carry_no_metadata_unless_it_is_given(
    nursery: trio.Nursery,
) -> None:
    bed = await connected(nursery, Bed, Reflecting())
    assert (await with_metadata(bed.echo)("hello")).metadata == ()


async def test_metadata_may_be_a_mapping_and_the_method_be_called_again(
    nursery: trio.Nursery,
) -> None:
    bed = await connected(nursery, Bed, Reflecting())
    traced = with_metadata(bed.echo, {"trace-id": "abc", "attempt": 2})
    for word in ("once", "twice"):
        parts = await traced(message=word)
        assert parts.value == word
        assert parts.metadata.get("attempt") == 2


async def test_wrong_arguments_with_metadata_name_the_method(
    nursery: trio.Nursery,
) -> None:
    bed: Any = await connected(nursery, Bed, Reflecting())
    with pytest.raises(TypeError, match=r"^Testbed\.echo\(message: str\) -> str: "):
        await with_metadata(bed.echo)()


async def test_errors_are_raised_with_metadata_as_without(
    nursery: trio.Nursery,
) -> None:
    bed = await connected(nursery, Bed, BedHandler())
    with pytest.raises(UserError):
        await with_metadata(bed.divide, {"a": "b"})(1, 0)


def test_metadata_needs_a_method_of_a_client() -> None:
    with pytest.raises(TypeError, match="expected a method of a client"):
        with_metadata(BedHandler().echo)


@pytest.mark.rule("rpc.metadata.flags")
async def test_metadata_is_checked_before_anything_is_sent(
    nursery: trio.Nursery,
) -> None:
    bed = await connected(nursery, Bed, BedHandler())
    with pytest.raises(ValueError, match="reserved bits"):
        with_metadata(bed.echo, [MetadataEntry("key", "value", 4)])
    assert await bed.echo("fine") == "fine"


# ---------------------------------------------------------------- what became of a call


async def with_peer(
    nursery: trio.Nursery,
    service: Callable[..., T],
    max_concurrent_requests: int = 64,
) -> tuple[T, Peer, Session]:
    """A client of a scripted peer."""
    link, peer = link_to_peer()
    nursery.start_soon(peer.accept, max_concurrent_requests)
    session: Session = await nursery.start(initiator(link).run)
    return client(service, session.caller), peer, session


class Outcome:
    """Keeps what a call returns or raises."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: Exception | None = None

    async def of(self, method: Callable[..., Any], *args: Any) -> None:
        try:
            self.value = await method(*args)
        except Exception as error:
            self.error = error


async def answered(nursery: trio.Nursery, method: str, ret: bytes) -> Outcome:
    """What becomes of a call of `Testbed` that the peer answers with these bytes."""
    bed, peer, session = await with_peer(nursery, Bed)
    outcome = Outcome()
    args = {"divide": (1, 2), "echo": ("hi",)}[method]
    async with trio.open_nursery() as calling:
        calling.start_soon(outcome.of, getattr(bed, method), *args)
        call = await peer.hear(RequestCall)
        assert call.method_id == {m.name: m.id for m in describe(Bed).methods}[method]
        await peer.say(RequestResponse(0, call.request_id, (), Metadata(), [ret]))
    assert bed.echo is not None
    assert session.ended_because is None
    await peer.leave()
    return outcome


@pytest.mark.rule("rpc.fallible.roam-error", "rpc.error.scope", "rpc.response")
@pytest.mark.parametrize(
    ("method", "ret", "kind", "text"),
    [
        ("divide", b"\x01\x00\x01", UserError, "OVERFLOW"),
        (
            "divide",
            b"\x01\x01",
            UnknownMethod,
            r"Testbed\.divide: .*0xc3964cbee4b1d590",
        ),
        ("echo", b"\x01\x01", UnknownMethod, "its service, its name or its types"),
        ("echo", b"\x01\x02", InvalidPayload, r"Testbed\.echo: the peer could not"),
        (
            "echo",
            b"\x01\x03",
            CallCancelled,
            r"^Testbed\.echo: the handler failed or was cancelled, or the peer shuts "
            "down and refuses new calls; the log of the peer",
        ),
    ],
)
async def test_each_outcome_is_an_exception_that_names_the_method(
    nursery: trio.Nursery, method: str, ret: bytes, kind: type[Exception], text: str
) -> None:
    outcome = await answered(nursery, method, ret)
    assert type(outcome.error) is kind
    with pytest.raises(kind, match=text):
        raise outcome.error
    assert outcome.error.__cause__ is None


@pytest.mark.rule("rpc.fallible.roam-error", "rpc.error.scope")
@pytest.mark.parametrize(
    ("method", "ret"),
    [
        ("echo", b""),
        ("echo", b"\x02"),
        ("echo", b"\x00\x05hi"),
        ("echo", b"\x00\x02hi!"),
        ("echo", b"\x00\x02\xff\xff"),
        ("echo", b"\x01\x00\x01"),
        ("echo", b"\x01\x04"),
        ("echo", b"\x01\x03\x00"),
        ("divide", b"\x01\x00\x02"),
    ],
)
async def test_an_answer_that_does_not_decode_is_an_invalid_payload(
    nursery: trio.Nursery, method: str, ret: bytes
) -> None:
    outcome = await answered(nursery, method, ret)
    assert type(outcome.error) is InvalidPayload
    assert isinstance(outcome.error.__cause__, DecodeError)
    assert str(outcome.error).startswith(f"Testbed.{method}: the answer: ")
    assert str(outcome.error.__cause__) in str(outcome.error)


@pytest.mark.rule("rpc.response")
async def test_ok_answers_are_decoded(nursery: trio.Nursery) -> None:
    assert (await answered(nursery, "echo", b"\x00\x02hi")).value == "hi"
    assert (await answered(nursery, "divide", b"\x00\x05")).value == -3


class Blob(msgspec.Struct):
    number: u8
    data: memoryview


@service
class Blobs(Protocol):
    async def view(self, data: memoryview) -> Fallible[memoryview, Denied]: ...
    async def copy(self, data: bytes) -> bytes: ...
    async def wrap(self, blob: Blob) -> None: ...


class Blobbing:
    def __init__(self) -> None:
        self.viewed: list[memoryview] = []

    async def view(self, data: memoryview) -> memoryview:
        self.viewed.append(data)
        if not data:
            raise UserError(Denied("nothing there"))
        return data

    async def copy(self, data: bytes) -> bytes:
        return data

    async def wrap(self, blob: Blob) -> None:
        pass


@pytest.mark.rule(
    "rpc.fallible.caller-signature",
    "zerocopy.framing.pipeline.incoming",
    "zerocopy.recv.selfref",
)
async def test_only_a_memoryview_borrows_from_what_was_received(
    nursery: trio.Nursery,
) -> None:
    blobbing = Blobbing()
    blobs = await connected(nursery, Blobs, blobbing)
    sent = bytes(range(200))
    result = await blobs.view(memoryview(sent))
    assert isinstance(result, memoryview)
    assert result == sent
    (viewed,) = blobbing.viewed
    # The arguments are a part of the very message that the link has received.
    assert isinstance(viewed.obj, bytes)
    assert len(viewed.obj) > len(viewed)
    assert viewed.obj.endswith(sent)
    assert isinstance(result.obj, bytes)
    assert len(result.obj) > len(result)
    assert await blobs.copy(sent) == sent
    assert type(await blobs.copy(sent)) is bytes
    with pytest.raises(UserError) as caught:
        await blobs.view(memoryview(b""))
    assert caught.value.error == Denied("nothing there")


@pytest.mark.rule(
    "zerocopy.send",
    "zerocopy.send.borrowed",
    "zerocopy.send.borrowed-in-struct",
    "zerocopy.payload.borrowed",
)
async def test_what_is_sent_is_what_was_there_when_there_was_room(
    nursery: trio.Nursery,
) -> None:
    blobs, peer, _ = await with_peer(nursery, Blobs, max_concurrent_requests=1)
    outcome, later = Outcome(), Outcome()
    buffer = bytearray(b"before")
    nursery.start_soon(outcome.of, blobs.copy, b"the first")
    first = await peer.hear(RequestCall)
    nursery.start_soon(later.of, blobs.wrap, Blob(7, memoryview(buffer)))
    await trio.testing.wait_all_tasks_blocked()
    buffer[:] = b"after!"
    await peer.say(RequestResponse(0, first.request_id, (), Metadata(), [b"\x00\x00"]))
    second = await peer.hear(RequestCall)
    assert bytes(joined(second.args)) == b"\x07\x06after!"
    await peer.leave()


@pytest.mark.rule("rpc.request")
async def test_a_call_is_the_bytes_that_the_protocol_says(
    nursery: trio.Nursery,
) -> None:
    bed, peer, _ = await with_peer(nursery, Bed)
    outcome = Outcome()
    nursery.start_soon(outcome.of, bed.echo, "hello")
    payload = await peer.rx.recv()
    assert payload is not None
    assert bytes(payload).hex(" ") == (
        "00 07 01 00 f3 bb f5 8f a6 97 f1 d5 9a 01 00 00 05 68 65 6c 6c 6f"
    )
    await peer.say_bytes(bytes.fromhex("00 07 01 01 00 00 00 05 68 65 6c 6c 6f"))
    await trio.testing.wait_all_tasks_blocked()
    assert outcome.value == "hello"
    await peer.leave()


async def test_calls_in_flight_and_later_ones_fail_when_the_connection_is_lost(
    nursery: trio.Nursery,
) -> None:
    bed, peer, session = await with_peer(nursery, Bed)
    outcome = Outcome()
    async with trio.open_nursery() as calling:
        calling.start_soon(outcome.of, bed.echo, "hi")
        await peer.hear(RequestCall)
        await peer.leave()
    for error in (outcome.error, (await failing(bed)).error):
        assert type(error) is ConnectionLost
        assert "the peer has closed the link" in str(error)
        assert error.__cause__ is session.ended_because


async def failing(bed: Bed) -> Outcome:
    outcome = Outcome()
    await outcome.of(bed.echo, "too late")
    return outcome


async def test_a_call_after_shutdown_fails_at_once(nursery: trio.Nursery) -> None:
    session, _ = await sessions(nursery, dispatcher(Bed, BedHandler()))
    bed = client(Bed, session.caller)
    await session.shutdown()
    with pytest.raises(ConnectionLost, match="this side has shut the session down"):
        await bed.echo("late")


# ---------------------------------------------------------------- both ways


@service
class Callback(Protocol):
    async def progress(self, percent: u8) -> bool: ...


@service
class Worker(Protocol):
    async def work(self, steps: u32) -> u32: ...


class Working:
    """Reports to its client while it works."""

    def __init__(self) -> None:
        self.caller: Caller | None = None

    async def work(self, steps: int) -> int:
        assert self.caller is not None
        callback = client(Callback, self.caller)
        for step in range(steps):
            if not await callback.progress(step):
                return step
        return steps


class Watching:
    def __init__(self, enough: int) -> None:
        self.enough = enough
        self.seen: list[int] = []

    async def progress(self, percent: int) -> bool:
        self.seen.append(percent)
        return percent < self.enough


@pytest.mark.rule("session.symmetry", "rpc.session-setup", "rpc.pipelining")
async def test_a_server_calls_its_client_while_it_answers(
    nursery: trio.Nursery,
) -> None:
    working, watching = Working(), Watching(enough=2)
    near, far = await sessions(
        nursery, dispatcher(Worker, working), dispatcher(Callback, watching)
    )
    working.caller = far.caller
    assert await client(Worker, near.caller).work(10) == 2
    assert watching.seen == [0, 1, 2]


@pytest.mark.rule("rpc.one-service-per-connection", "rpc.unknown-method")
async def test_without_a_handler_every_method_is_unknown(
    nursery: trio.Nursery,
) -> None:
    _, far = await sessions(nursery, dispatcher(Worker, Working()))
    with pytest.raises(UnknownMethod):
        await client(Callback, far.caller).progress(1)


@service
class Streams(Protocol):
    async def double(self, numbers: Rx[i32], output: Tx[i64]) -> u32: ...


class Doubling:
    async def double(self, numbers: Rx[int], output: Tx[int]) -> int:
        count = 0
        async for number in numbers:
            await output.send(2 * number)
            count += 1
        return count


@pytest.mark.rule("rpc.channel.direction", "rpc.channel.binding.caller-args")
async def test_channels_go_both_ways_at_once(nursery: trio.Nursery) -> None:
    streams = await connected(nursery, Streams, Doubling())
    numbers_tx, numbers_rx = channel[int]()
    output_tx, output_rx = channel[int]()
    received: list[int] = []
    counts: list[int] = []

    async def produce() -> None:
        async with numbers_tx:
            for number in range(50):
                await numbers_tx.send(number)

    async def consume() -> None:
        received.extend([number async for number in output_rx])

    async def call() -> None:
        counts.append(await streams.double(numbers_rx, output_tx))

    async with trio.open_nursery() as working:
        working.start_soon(produce)
        working.start_soon(consume)
        working.start_soon(call)
    assert received == [2 * number for number in range(50)]
    assert counts == [50]
