"""Cancellation arrives at every await of the public API, and leaves nothing behind.

An operation is run again and again. Each time its scope is cancelled one step later: a
step of any task counts, so the operation has just gone to sleep in each of its awaits
at some time, and everything else is at every point it can be at meanwhile.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator
from types import CodeType
from typing import Any, Protocol, TypeAlias

import attrs
import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

import roam_trio
from roam_trio import (
    Fallible,
    OfferedServices,
    Rx,
    Tx,
    channel,
    client,
    dispatcher,
    reserved_services,
    u32,
)
from roam_trio import with_metadata as with_metadata_of
from roam_trio.endpoints.lasting.attempts import Attempts
from roam_trio.endpoints.lasting.client import LastingClient
from roam_trio.endpoints.lasting.finding import Finding
from roam_trio.endpoints.lasting.opening import LastingConnection, Reopening
from roam_trio.endpoints.lasting.pool import Pool
from roam_trio.endpoints.lasting.staying import StayingConnected
from roam_trio.endpoints.proxying import ProxyAcceptor
from roam_trio.errors import CallCancelled, SessionError, UserError
from roam_trio.links.memory import memory_link_pair
from roam_trio.metadata import Metadata
from roam_trio.rpc.caller import ErasedCaller, NoopCaller
from roam_trio.service import current_call, service
from roam_trio.service.client import BaseClient
from roam_trio.service.dynamic import dynamic_client
from roam_trio.service.waiting import can_wait
from roam_trio.session import (
    AcceptedConnection,
    ConnectionHandle,
    DeferredHandler,
    Session,
    SessionKeepaliveConfig,
    acceptor,
    initiator,
)
from roam_trio.session.connection_run import ConnectionRun
from roam_trio.session.connection_tasks import ConnectionTasks
from roam_trio.session.connections import Connections
from roam_trio.session.opening import SERVICE_KEY
from roam_trio.session.port import Port
from roam_trio.session.proxy import proxy_connections
from roam_trio.session.session_run import SessionRun
from roam_trio.wire.ids import ConnectionId
from roam_trio.wire.messages import ConnectionSettings

from .connecting import has_only_the_root
from .running import Streams, caller_of, idle, join, streams

MOST_STEPS = 2000
"""No operation here takes as many; one that seems to never completes."""


class CancelAfter(trio.abc.Instrument):
    """Cancels a scope after so many steps of all tasks, and looks where they sleep."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._left = steps
        self.asleep: set[CodeType] = set()
        """The code of all coroutines that slept as the cancellation came."""

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            root = trio.lowlevel.current_root_task()
            assert root is not None
            for one in tasks_below(root):
                self.asleep.update(codes_of(one.coro))
            self._scope.cancel()


def tasks_below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from tasks_below(child)


def codes_of(awaited: Any) -> Iterator[CodeType]:
    while inspect.iscoroutine(awaited):
        yield awaited.cr_code
        awaited = awaited.cr_await


async def cancelled_at_every_step(
    attempt: Callable[[CancelAfter, trio.CancelScope], Awaitable[None]],
) -> set[CodeType]:
    """Make attempts, each cancelled one step later, until one is not cancelled.

    Returns:
        The code of all coroutines that were cancelled, or slept, at some time.
    """
    asleep: set[CodeType] = set()
    tasks = trio.lowlevel.current_statistics().tasks_living
    for steps in range(1, MOST_STEPS):
        # Tasks that are ready at the same time run in an order that trio draws: it is
        # the same in each attempt, so that no step is missed between two of them.
        trio._core._run._r.seed(7)
        scope = trio.CancelScope()
        cancelling = CancelAfter(scope, steps)
        with trio.fail_after(60):
            await attempt(cancelling, scope)
        asleep |= cancelling.asleep
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        if not scope.cancel_called:
            assert steps > 1
            return asleep
    raise AssertionError(f"not complete after {MOST_STEPS} steps")


async def run_cancelled(
    cancelling: CancelAfter,
    scope: trio.CancelScope,
    operation: Callable[[], Awaitable[object]],
) -> None:
    """Run the operation as one attempt: it completes, or Cancelled comes out of it."""
    with scope:
        trio.lowlevel.add_instrument(cancelling)
        try:
            await operation()
        finally:
            trio.lowlevel.remove_instrument(cancelling)


# ------------------------------------------------------------ a pair of sessions


@attrs.define
class World:
    """Two sessions with each other, on links that hold one payload: all must wait."""

    left: Session
    right: Session
    nursery: trio.Nursery


@service
class Checks(Protocol):
    async def check(self, number: u32) -> Fallible[None, str]: ...


class Refusing:
    async def check(self, number: int) -> None:
        await wait_all_tasks_blocked()  # all reply at once, and wait for room
        if number % 2:
            await current_call().refuse(CallCancelled())
        else:
            await current_call().reply(UserError(f"{number}"))


class Accepting:
    """Accepts every connection, after some steps."""

    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
    ) -> AcceptedConnection | Metadata:
        await trio.lowlevel.checkpoint()

        if metadata.get(SERVICE_KEY) == "reflection":
            checks = {"checks": dispatcher(Checks, Refusing())}
            return OfferedServices(checks, reserved=reserved_services).choose(metadata)
        if metadata.get(SERVICE_KEY) == "checks":
            return AcceptedConnection(handler=dispatcher(Checks, Refusing()))

        async def set_up(connection: ConnectionHandle) -> None:
            await client(Streams, connection.caller).add(1, 2)
            await connection.closed()

        return AcceptedConnection(handler=answering(), setup=set_up)


async def echo(text: str) -> str:
    """Answers explicitly, and works on."""
    await trio.lowlevel.checkpoint()
    await current_call().ok(text)
    await trio.lowlevel.checkpoint()
    return text


async def both(numbers: Rx[int], output: Tx[int]) -> None:
    async with numbers, output:
        async for number in numbers:
            await output.send(number)


async def add(left: int, right: int) -> int:
    return left + right


async def count(numbers: list[int]) -> int:
    await current_call().reply(len(numbers))
    return len(numbers)


def answering() -> roam_trio.Dispatcher:
    return streams(add=add, echo=echo, both=both, count=count)


Operation: TypeAlias = Callable[[World], Awaitable[object]]


async def a_call(world: World) -> None:
    await caller_of(world.left).echo("x")


async def a_call_of_a_described_service(world: World) -> None:
    caller = dynamic_client(roam_trio.describe(Streams), world.left.caller)
    await caller.call("echo", ["x"])


async def calls_beside_each_other(world: World) -> None:
    """Responses wait for room, since the link to the caller takes one at a time."""
    caller = caller_of(world.left)
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(caller.echo, "x")
            nursery.start_soon(caller.count, [1, 2])


async def calls_that_fail(world: World) -> None:
    async def check(caller: Checks, number: int) -> None:
        with pytest.raises(CallCancelled if number % 2 else UserError):
            await caller.check(number)

    async with world.left.open(Checks) as caller, trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(check, caller, number)


async def a_call_with_metadata(world: World) -> None:
    call = with_metadata_of(caller_of(world.left).echo, {"trace-id": "abc"})
    assert (await call("x")).value == "x"


async def a_call_with_channels(world: World) -> None:
    numbers_tx, numbers_rx = channel[int]()
    output_tx, output_rx = channel[int]()

    async def send() -> None:
        async with numbers_tx:
            for number in range(10):
                await numbers_tx.send(number)
            await numbers_tx.send_many(range(10, 20))

    async def receive() -> None:
        async with output_rx:
            assert await output_rx.recv() == 0
            assert (await output_rx.recv_borrowed()).value == 1
            some = await output_rx.recv_many()
            assert some == list(range(2, 2 + len(some)))
            left = list(range(2 + len(some), 20))
            assert [number async for number in output_rx] == left

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(receive)
            await caller_of(world.left).both(numbers_rx, output_tx)
    finally:
        numbers_tx.close()
        output_rx.reset()


async def an_open_call(world: World) -> None:
    async with roam_trio.open_call(caller_of(world.left).both) as call:
        for number in range(20):
            await call.tx.send(number)
            assert await call.rx.recv() == number
        call.tx.close()
        await call.result()


async def a_call_that_ends_with_its_block(world: World) -> None:
    async with roam_trio.open_call(caller_of(world.left).both) as call:
        await call.tx.send(0)


async def an_end_that_belongs_to_no_call_yet(world: World) -> None:
    tx, rx = channel[int]()
    output_tx, output_rx = channel[int]()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tx.send, 1)
            nursery.start_soon(output_rx.receive)
            await trio.lowlevel.checkpoint()

            async def call() -> None:
                await caller_of(world.left).both(rx, output_tx)

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            await tx.aclose()
            await output_rx.aclose()
    finally:
        tx.close()
        output_rx.reset()


async def a_ping(world: World) -> None:
    assert await world.left.ping() >= 0


async def waiting_for_the_end_of_a_channel(world: World) -> None:
    async with roam_trio.open_call(caller_of(world.left).both) as call:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.tx.closed)
            await call.tx.send(1)
            assert await call.rx.recv() == 1
            call.tx.close()
        await call.result()


async def descriptions_of_the_peer(world: World) -> None:
    assert list(await roam_trio.describe_remote(world.left)) == ["checks"]


async def a_connection(world: World) -> None:
    async with await world.left.open_connection(answering()) as connection:
        assert await client(Streams, connection.caller).echo("x") == "x"


async def a_client_on_a_connection(world: World) -> None:
    async with world.left.open(Streams, handler=answering()) as caller:
        assert await caller.echo("x") == "x"


async def waiting_for_the_end_of_a_connection(world: World) -> None:
    async with await world.left.open_connection(answering()) as connection:
        caller = connection.caller
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.closed)
            nursery.start_soon(caller.closed)
            nursery.start_soon(ErasedCaller(caller).closed)
            nursery.start_soon(NoopCaller(caller).closed)
            await trio.lowlevel.checkpoint()
            connection.close()


async def a_connection_that_is_served_late(world: World) -> None:
    async with await world.left.open_connection(DeferredHandler()) as connection:
        # The other side calls as soon as the connection is open, and waits.
        await wait_all_tasks_blocked()
        connection.serve(answering())
        assert await client(Streams, connection.caller).echo("x") == "x"


@attrs.frozen
class Case:
    """An operation, and the public functions in which it is to be cancelled."""

    operation: Operation
    covers: tuple[Any, ...]


CASES = [
    Case(a_call, ()),
    Case(a_call_of_a_described_service, (roam_trio.DynamicClient.call,)),
    Case(
        calls_beside_each_other,
        (
            roam_trio.Call.ok,
            roam_trio.Call.reply,
            roam_trio.DriverReplySink.send,
            roam_trio.DriverReplySink.run,
        ),
    ),
    Case(
        calls_that_fail,
        (
            roam_trio.Call.err,
            roam_trio.Call.reply,
            roam_trio.Call.refuse,
            roam_trio.ReplySink.send_error,
        ),
    ),
    Case(a_call_with_metadata, (BaseClient.__roam_call__,)),
    Case(a_ping, (roam_trio.Session.ping,)),
    Case(
        a_call_with_channels,
        (
            roam_trio.Tx.send,
            roam_trio.Tx.send_many,
            roam_trio.Rx.recv,
            roam_trio.Rx.recv_many,
            roam_trio.Rx.recv_borrowed,
            roam_trio.Rx.__anext__,
            roam_trio.DriverChannelSink.send,
            roam_trio.DriverChannelSink.send_many,
            Port.reserve,
        ),
    ),
    Case(waiting_for_the_end_of_a_channel, (roam_trio.Tx.closed,)),
    Case(descriptions_of_the_peer, (roam_trio.describe_remote,)),
    Case(an_open_call, (roam_trio.OpenCall.__aenter__, roam_trio.OpenCall.result)),
    Case(a_call_that_ends_with_its_block, (roam_trio.OpenCall.__aexit__,)),
    Case(
        an_end_that_belongs_to_no_call_yet,
        (
            roam_trio.Tx.send,
            roam_trio.Tx.aclose,
            roam_trio.Rx.recv,
            roam_trio.Rx.aclose,
        ),
    ),
    Case(
        a_connection,
        (roam_trio.Session.open_connection, Accepting.accept),
    ),
    Case(
        a_client_on_a_connection,
        (roam_trio.OpenConnection.__aenter__, Connections.open),
    ),
    Case(
        waiting_for_the_end_of_a_connection,
        (
            roam_trio.ConnectionHandle.closed,
            ConnectionRun.closed,
            roam_trio.DriverCaller.closed,
            roam_trio.ErasedCaller.closed,
            roam_trio.NoopCaller.closed,
        ),
    ),
    Case(a_connection_that_is_served_late, (roam_trio.DeferredHandler.handle,)),
]


def missing(covers: tuple[Any, ...], asleep: set[CodeType]) -> list[str]:
    return [each.__qualname__ for each in covers if each.__code__ not in asleep]


@pytest.mark.rule("rpc.cancel", "link.tx.cancel-safe")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.operation.__name__)
async def test_cancelled_at_every_await_it_leaves_the_session_as_before(
    case: Case,
) -> None:
    async def attempt(cancelling: CancelAfter, scope: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:
            left, right = await join(
                nursery,
                answering(),
                of_initiator=answering(),
                buffer=1,
                accepting={
                    "on_connection": Accepting(),
                    "max_concurrent_requests": 6,
                },
            )
            world = World(left, right, nursery)
            await run_cancelled(cancelling, scope, lambda: case.operation(world))
            await wait_all_tasks_blocked()
            for session in (left, right):
                assert await caller_of(session).add(20, 22) == 42
                assert session.ended_because is None
                assert idle(session)
                await has_only_the_root(session)
            nursery.cancel_scope.cancel()

    asleep = await cancelled_at_every_step(attempt)
    assert missing(case.covers, asleep) == []


# ------------------------------------------------------------ the ends of sessions


async def a_session_and_its_end(nursery: trio.Nursery) -> None:
    left, right = memory_link_pair(1)

    async def serve() -> None:
        builder = acceptor(right, on_connection=Accepting())
        async with builder.open(answering()) as session:
            await session.closed()

    nursery.start_soon(ignoring_a_lost_handshake, serve)
    keepalive = SessionKeepaliveConfig(ping_interval=1000)
    async with initiator(left, keepalive=keepalive).open(answering()) as session:
        assert await caller_of(session).echo("x") == "x"
        async with session.open(Streams) as caller:
            await caller.add(1, 2)
        await session.shutdown(grace=1000)
        await session.closed()


async def a_session_in_a_nursery(nursery: trio.Nursery) -> None:
    left, right = memory_link_pair(1)
    nursery.start_soon(ignoring_a_lost_handshake, acceptor(right).run, answering())
    async with trio.open_nursery() as inner:
        session: Session = await inner.start(initiator(left).run, answering())
        await caller_of(session).echo("x")
        inner.start_soon(session.closed)
        await session.shutdown()


async def ignoring_a_lost_handshake(run: Callable[..., Any], *args: Any) -> None:
    try:
        await run(*args)
    except SessionError as error:
        assert "closed" in str(error)  # noqa: PT017


async def a_server_and_its_end(nursery: trio.Nursery) -> None:
    async with trio.open_nursery() as serving:
        server = await serving.start(
            roam_trio.serve, "tcp://127.0.0.1:0", {"streams": answering()}
        )
        async with roam_trio.connect(server.url) as session:
            async with session.open(Streams) as caller:
                assert await caller.echo("x") == "x"
            await server.shutdown(grace=1000)


async def a_lasting_client(nursery: trio.Nursery) -> None:
    async with trio.open_nursery() as serving:
        server = await serving.start(roam_trio.serve, "memory://lasting", answering())
        soon = roam_trio.Retry(backoff=roam_trio.Backoff(initial=1e-6))
        staying = roam_trio.stay_connected(server.url, Streams, retry=soon)
        async with staying as caller:
            assert await caller.echo("x") == "x"
            call = with_metadata_of(caller.echo, {"trace-id": "abc"})
            assert (await call("y")).value == "y"
            # Until the client waits for a change of its target.
            await wait_all_tasks_blocked()
        serving.cancel_scope.cancel()


async def clients_of_a_lasting_session(nursery: trio.Nursery) -> None:
    async with trio.open_nursery() as serving:
        offered = {"streams": answering()}
        server = await serving.start(roam_trio.serve, "memory://features", offered)
        soon = roam_trio.Retry(backoff=roam_trio.Backoff(initial=1e-6))
        async with (
            roam_trio.stay_connected(server.url, retry=soon) as session,
            session.open(Streams) as staying,
            session.open(Streams, reopen=True) as moving,
        ):
            assert await staying.echo("x") == "x"
            assert await moving.echo("x") == "x"
            await server.sessions[0].shutdown()
            # On a connection of the next session, once the first attempt has failed.
            assert await moving.echo("y") == "y"
        serving.cancel_scope.cancel()


async def a_proxy(nursery: trio.Nursery) -> None:
    """Three sessions in a chain; the operation is the middle and its user."""
    near_left, near_right = memory_link_pair(1)
    far_left, far_right = memory_link_pair(1)

    async def serve() -> None:
        builder = acceptor(far_right, on_connection=Accepting())
        async with builder.open(answering()) as session:
            await session.closed()

    nursery.start_soon(ignoring_a_lost_handshake, serve)
    async with initiator(far_left).open() as upstream:
        proxying = acceptor(near_right, on_connection=_Passing(ProxyAcceptor(upstream)))

        async def pass_on() -> None:
            async with proxying.open() as session:
                await session.closed()

        async with trio.open_nursery() as inner:
            inner.start_soon(ignoring_a_lost_handshake, pass_on)
            async with (
                initiator(near_left).open() as session,
                session.open(Streams, handler=answering()) as caller,
            ):
                assert await caller.echo("x") == "x"


class _Passing:
    """An acceptor of a program that leaves the decision to another one."""

    def __init__(self, other: ProxyAcceptor) -> None:
        self._other = other

    async def accept(
        self, connection_id: ConnectionId, settings: ConnectionSettings, told: Metadata
    ) -> AcceptedConnection | Metadata:
        return await self._other.accept(connection_id, settings, told)


async def two_connections_joined_by_hand(nursery: trio.Nursery) -> None:
    accepting = {"on_connection": Accepting()}
    try:
        one, _ = await join(nursery, accepting=accepting)
        other, _ = await join(nursery, accepting=accepting)
        # Both are opened here; the peers call as soon as they can, through the proxy.
        first = await one.open_connection(DeferredHandler())
        second = await other.open_connection(DeferredHandler())
        async with trio.open_nursery() as joining:
            joining.start_soon(proxy_connections, first, second)
            await wait_all_tasks_blocked()
            first.close()
    finally:
        nursery.cancel_scope.cancel()


ENDS: list[tuple[Callable[[trio.Nursery], Awaitable[None]], tuple[Any, ...]]] = [
    (
        a_session_and_its_end,
        (
            roam_trio.OpenSession.__aenter__,
            roam_trio.OpenSession.__aexit__,
            SessionRun.run,
            roam_trio.Session.shutdown,
            roam_trio.Session.closed,
            ConnectionTasks.run,
        ),
    ),
    (
        a_session_in_a_nursery,
        (
            roam_trio.SessionInitiatorBuilder.run,
            SessionRun.run,
            roam_trio.Session.closed,
        ),
    ),
    (
        a_server_and_its_end,
        (
            roam_trio.serve,
            roam_trio.Server.shutdown,
            roam_trio.Connecting.__aenter__,
            roam_trio.Connecting.__aexit__,
        ),
    ),
    (
        a_lasting_client,
        (
            StayingConnected.__aexit__,
            LastingClient.__roam_call__,
            Attempts.call,
            Pool.run,
            Finding.run,
            roam_trio.Resolver.changed,
        ),
    ),
    (
        clients_of_a_lasting_session,
        (
            StayingConnected.__aexit__,
            LastingConnection.__aenter__,
            Reopening.ready,
            Attempts.call,
            Pool.ready,
        ),
    ),
    (
        a_proxy,
        (
            proxy_connections,
            roam_trio.ProxyAcceptor.accept,
            roam_trio.ProxyAcceptor.relay,
        ),
    ),
    (two_connections_joined_by_hand, (proxy_connections,)),
]


@pytest.mark.parametrize(
    ("operation", "covers"),
    ENDS,
    ids=lambda value: value.__name__ if callable(value) else None,
)
async def test_cancelled_at_every_await_it_ends_with_all_its_tasks(
    operation: Callable[[trio.Nursery], Awaitable[None]], covers: tuple[Any, ...]
) -> None:
    async def attempt(cancelling: CancelAfter, scope: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:
            await run_cancelled(cancelling, scope, lambda: operation(nursery))

    asleep = await cancelled_at_every_step(attempt)
    assert missing(covers, asleep) == []


# ------------------------------------------------------------ all of them

BY_THE_CONFORMANCE_KITS = ("roam_trio.links", "roam_trio.conduits")
"""Where cancellation at every await is a part of what each link and conduit passes."""


def public_coroutine_functions() -> Iterator[Any]:
    for name in roam_trio.__all__:
        value = getattr(roam_trio, name)
        members = [value]
        if inspect.isclass(value) and not issubclass(value, Exception):
            members = [
                inspect.getattr_static(value, member)
                for member in dir(value)
                if not member.startswith("_") or member.startswith("__")
            ]
        for member in members:
            if (
                inspect.iscoroutinefunction(member)
                and not getattr(member, "__isabstractmethod__", False)
                and member.__module__.startswith("roam_trio")
                and not member.__module__.startswith(BY_THE_CONFORMANCE_KITS)
                and can_wait(member)
            ):
                yield member


def test_every_public_function_that_waits_is_cancelled_here() -> None:
    covered = {
        function.__code__
        for covers in [*(case.covers for case in CASES), *(more for _, more in ENDS)]
        for function in covers
    }
    left = {f for f in public_coroutine_functions() if f.__code__ not in covered}
    assert sorted(function.__qualname__ for function in left) == []
