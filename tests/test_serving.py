"""`serving`: a server for the length of a block, and what it offers meanwhile."""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import partial
from inspect import signature
from math import inf
from typing import Any, Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import (
    AcceptedConnection,
    AnyCall,
    BareConduitAcceptor,
    CallCancelled,
    ConduitAcceptor,
    Disconnected,
    MessageFamily,
    Metadata,
    Proceed,
    SessionRejected,
    client,
    connect,
    current_call,
    dispatcher,
    serve,
    service,
    serving,
)
from roam_trio.endpoints.server import Server
from roam_trio.endpoints.serving import _first_of as first_of
from roam_trio.wire.messages import Message


@service
class Adder(Protocol):
    async def add(self, left: int, right: int) -> int: ...
    async def wait(self) -> int: ...


class AdderImpl:
    def __init__(self, more: int = 0) -> None:
        self._more = more
        self.go_on = trio.Event()
        self.cancelled = 0

    async def add(self, left: int, right: int) -> int:
        return left + right + self._more

    async def wait(self) -> int:
        try:
            await self.go_on.wait()
        except trio.Cancelled:
            self.cancelled += 1
            raise
        return 1


ADDER = dispatcher(Adder, AdderImpl())


# ------------------------------------------------------------ the block


def test_serving_takes_the_arguments_of_serve() -> None:
    theirs = dict(signature(serve).parameters)
    ours = dict(signature(serving).parameters)
    del theirs["task_status"], ours["grace"], ours["drain_on"]
    assert ours == theirs


async def test_the_block_has_a_server_that_ends_with_it() -> None:
    async with serving("tcp://127.0.0.1:0", ADDER) as server:
        assert isinstance(server, Server)
        async with connect(server.url, Adder) as adder:
            assert await adder.add(3, 5) == 8
    with pytest.raises(OSError, match="refused"):
        async with connect(server.url):
            pass


async def test_an_exception_of_the_block_comes_out_as_it_is() -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        async with serving("memory://failing", ADDER):
            raise error
    assert caught.value is error


@pytest.mark.parametrize("problem", ["nothing://here", "tcp://127.0.0.1:0"])
async def test_a_server_that_cannot_begin_raises_its_error_by_itself(
    problem: str,
) -> None:
    if problem.startswith("nothing"):
        with pytest.raises(ValueError, match="nothing"):
            async with serving(problem, ADDER):
                raise AssertionError("it runs")
        return
    async with serving(problem, ADDER) as server:
        with pytest.raises(OSError, match="in use"):
            async with serving(server.url, ADDER):
                raise AssertionError("it runs")


class BrokenAcceptor(ConduitAcceptor[Message]):
    """Accepts nobody, and breaks when told to."""

    def __init__(self) -> None:
        self.broken = trio.Event()

    async def accept(self) -> Any:
        await self.broken.wait()
        raise OSError("the acceptor is broken")


async def test_a_server_that_fails_ends_the_block_with_its_error_by_itself() -> None:
    acceptor = BrokenAcceptor()

    async def block() -> None:
        async with serving(acceptor, ADDER):
            acceptor.broken.set()
            await trio.sleep_forever()

    with pytest.raises(OSError, match="the acceptor is broken"):
        await block()


async def test_the_error_of_the_block_counts_when_the_server_fails_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    acceptor = BrokenAcceptor()

    async def block() -> None:
        async with serving(acceptor, ADDER):
            acceptor.broken.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise ValueError("mine") from None

    with pytest.raises(ValueError, match="mine"):
        await block()
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "the acceptor is broken" in (record.exc_text or "")


async def test_cancelling_the_block_ends_the_server_and_comes_out_plainly() -> None:
    with trio.move_on_after(0.01) as scope:
        async with serving("memory://cancelled", ADDER, grace=60) as server:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert "shutting down" in repr(server)


async def test_calls_in_flight_have_the_grace_to_finish() -> None:
    impl = AdderImpl()
    results: list[int] = []

    async def call() -> None:
        async with connect("memory://graceful", Adder) as adder:
            results.append(await adder.wait())

    async with (
        trio.open_nursery() as nursery,
        serving("memory://graceful", dispatcher(Adder, impl), grace=5),
    ):
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        trio.lowlevel.spawn_system_task(partial(_set_later, impl.go_on))
    assert (results, impl.cancelled) == ([1], 0)


async def _set_later(event: trio.Event) -> None:
    await wait_all_tasks_blocked()
    event.set()


async def test_without_grace_calls_in_flight_end_at_once() -> None:
    impl = AdderImpl()
    errors: list[Exception] = []

    async def call() -> None:
        async with connect("memory://abrupt", Adder) as adder:
            try:
                await adder.wait()
            except (CallCancelled, Disconnected) as error:
                errors.append(error)

    async with (
        trio.open_nursery() as nursery,
        serving("memory://abrupt", dispatcher(Adder, impl)),
    ):
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
    assert (len(errors), impl.cancelled) == (1, 1)


async def test_a_server_is_entered_once_and_not_awaited() -> None:
    running = serving("memory://once", ADDER)
    async with running:
        with pytest.raises(RuntimeError, match="make another"):
            await running.__aenter__()
    with pytest.raises(TypeError, match="async with serving"):
        await running  # type: ignore[misc]
    with pytest.raises(AttributeError, match="async with serving"):
        _ = running.url  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="grace"):
        serving("memory://once", ADDER, grace=-1)


# ------------------------------------------------------------ what is offered


async def test_a_service_is_offered_and_withdrawn_for_open_sessions_too() -> None:
    async with (
        serving("memory://offer", {"adder": ADDER}) as server,
        connect(server.url) as session,
    ):
        with pytest.raises(SessionRejected, match="services: adder"):
            async with session.open(Adder, "more"):
                pass
        server.offer("more", dispatcher(Adder, AdderImpl(100)))
        async with session.open(Adder, "more") as adder:
            assert await adder.add(1, 2) == 103
            server.withdraw("more")
            assert await adder.add(1, 2) == 103  # open connections stay
        with pytest.raises(SessionRejected, match="services: adder"):
            async with session.open(Adder, "more"):
                pass


async def test_another_handler_takes_the_place_of_one_for_new_connections() -> None:
    async with (
        serving("memory://replace", {"adder": ADDER}) as server,
        connect(server.url) as session,
        session.open(Adder) as before,
    ):
        server.offer("adder", dispatcher(Adder, AdderImpl(100)))
        async with session.open(Adder) as after:
            assert (await before.add(1, 2), await after.add(1, 2)) == (3, 103)


async def test_a_server_of_one_service_can_offer_more_by_name() -> None:
    async with (
        serving("memory://one", ADDER) as server,
        connect(server.url) as session,
    ):
        with pytest.raises(SessionRejected, match="offers no services by name"):
            async with session.open(Adder):
                pass
        server.offer("adder", ADDER)
        async with session.open(Adder) as adder:
            assert await adder.add(1, 2) == 3


async def test_the_mapping_is_read_once() -> None:
    offered = {"adder": ADDER}
    async with serving("memory://mapping", offered) as server:
        offered.clear()
        async with connect(server.url) as session, session.open(Adder) as adder:
            assert await adder.add(1, 2) == 3


async def test_wrong_offers_are_refused_with_what_was_expected() -> None:
    async with serving("memory://wrong-offers", {"adder": ADDER}) as server:
        with pytest.raises(TypeError, match="expected a Handler"):
            server.offer("it", AdderImpl())  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="expected the name of a service"):
            server.offer(5, ADDER)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"offered service \(adder\), got 'it'"):
            server.withdraw("it")
        server.withdraw("adder")
        with pytest.raises(ValueError, match=r"offered service \(none\)"):
            server.withdraw("adder")


# ------------------------------------------------------------ middleware


async def double(call: AnyCall, proceed: Proceed) -> Any:
    assert call.side == "server"
    return 2 * await proceed()


async def plus_one(call: AnyCall, proceed: Proceed) -> Any:
    return 1 + await proceed()


async def test_middleware_of_a_server_is_around_what_it_offers() -> None:
    own = dispatcher(Adder, AdderImpl(), middleware=[plus_one])
    async with serving(
        "memory://around", {"adder": own}, middleware=[double]
    ) as server:
        server.offer("later", ADDER)
        async with connect(server.url) as session:
            async with session.open(Adder) as adder:
                assert await adder.add(1, 2) == 2 * (1 + 3)
            async with session.open(Adder, "later") as adder:
                assert await adder.add(1, 2) == 6
    async with (
        serving("memory://root", ADDER, middleware=[plus_one, double]) as server,
        connect(server.url, Adder) as adder,
    ):
        assert await adder.add(1, 2) == 1 + 2 * 3


class ByHand:
    def handle(self, call: Any, reply: Any) -> None:
        raise AssertionError("nobody calls")


async def test_middleware_needs_handlers_that_it_can_wrap() -> None:
    for handler in (ByHand(), {"adder": ByHand()}):
        with pytest.raises(TypeError, match="with_middleware") as caught:
            async with serving("memory://by-hand", handler, middleware=[double]):
                raise AssertionError("it runs")
        assert "one of type ByHand" in str(caught.value)
    async with serving("memory://by-hand", ADDER, middleware=[double]) as server:
        with pytest.raises(TypeError, match="dispatcher"):
            server.offer("by-hand", ByHand())


async def test_a_handler_by_hand_can_take_middleware_itself() -> None:
    class Wrapping(ByHand):
        def with_middleware(self, middleware: Any) -> Any:
            return ADDER.with_middleware(middleware)

    async with (
        serving("memory://itself", Wrapping(), middleware=[double]) as server,
        connect(server.url, Adder) as adder,
    ):
        assert await adder.add(1, 2) == 6


async def test_middleware_of_a_client_is_around_its_calls_on_every_connection() -> None:
    seen: list[str] = []

    async def look(call: AnyCall, proceed: Proceed) -> Any:
        seen.append(f"{call.side} {call.metadata.get('authorization')}")
        return await proceed()

    options: dict[str, Any] = {
        "middleware": [look],
        "metadata_for_calls": {"authorization": "ada"},
    }
    async with serving("memory://client", {"adder": ADDER}) as server:
        server.offer("twice", ADDER)
        async with connect(server.url, **options) as session:
            async with session.open(Adder) as adder:
                assert await adder.add(1, 2) == 3
            async with session.open(
                Adder,
                "twice",
                middleware=[look, plus_one],
                metadata_for_calls={"authorization": "bob", "trace": "x"},
            ) as adder:
                assert await adder.add(1, 2) == 4
            with pytest.raises(TypeError, match="list of middleware"):
                session.open(Adder, middleware=look)  # type: ignore[arg-type]
    assert seen == ["client ada", "client bob", "client bob"]
    seen.clear()
    async with (
        serving("memory://client-root", ADDER) as server,
        connect(server.url, Adder, **options) as adder,
    ):
        assert await adder.add(1, 2) == 3
    assert seen == ["client ada"]


@pytest.mark.parametrize("make", [serving, connect])
def test_middleware_alone_is_no_list(make: Any) -> None:
    if make is connect:
        with pytest.raises(TypeError, match="expected a list of middleware"):
            connect("memory://x", Adder, middleware=double)  # type: ignore[call-overload]


# ------------------------------------------------------------ on_connection


class Accepting:
    """Accepts connections that are for nothing that is offered."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def accept(
        self, connection_id: int, settings: Any, metadata: Metadata
    ) -> AcceptedConnection | Metadata:
        self.asked.append(metadata.get("service"))
        return AcceptedConnection(handler=dispatcher(Adder, AdderImpl(1000)))


@pytest.mark.parametrize("handler", [ADDER, {"adder": ADDER}])
async def test_on_connection_decides_on_what_is_not_offered(handler: Any) -> None:
    accepting = Accepting()
    async with (
        serving("memory://other", handler, on_connection=accepting) as server,
        connect(server.url) as session,
    ):
        async with session.open(Adder, "other") as adder:
            assert await adder.add(1, 2) == 1003
        if isinstance(handler, dict):
            async with session.open(Adder) as adder:
                assert await adder.add(1, 2) == 3
    assert accepting.asked == ["other"]


async def test_a_client_has_an_acceptor_of_connections_too() -> None:
    accepting = Accepting()
    async with (
        serving("memory://back", ADDER) as server,
        connect(server.url, on_connection=accepting),
    ):
        (session,) = server.sessions
        async with session.open(Adder, "back") as adder:
            assert await adder.add(1, 2) == 1003
    assert accepting.asked == ["back"]


async def test_what_is_no_acceptor_is_refused() -> None:
    with pytest.raises(TypeError, match="on_connection: expected a ConnectionAcceptor"):
        connect("memory://x", on_connection=5)  # type: ignore[call-overload]


async def test_conduits_are_served_for_the_length_of_a_block() -> None:
    acceptor = BareConduitAcceptor[Message](MessageFamily())
    async with serving(acceptor, ADDER) as server:
        assert server.urls == ()


def test_of_several_errors_the_one_that_ends_programs_is_raised_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    later, end = ValueError("later"), KeyboardInterrupt()
    group = BaseExceptionGroup("", [later, BaseExceptionGroup("", [end])])

    assert first_of(group) is end
    assert "a server has failed in another way too" in caplog.text
    assert "later" in caplog.text


# ------------------------------------------------------------ ends of the block


@pytest.mark.parametrize("error", [None, ValueError("mine")], ids=repr)
async def test_a_block_that_is_cancelled_in_its_grace_ends_as_it_was_ending(
    error: Exception | None, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def call() -> None:
        with suppress(CallCancelled, Disconnected):
            async with connect("memory://draining", Adder) as adder:
                await adder.wait()

    async def block() -> None:
        handler = dispatcher(Adder, AdderImpl())
        async with serving("memory://draining", handler, grace=60):
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            if error is not None:
                raise error

    caught: list[Exception] = []
    with trio.move_on_after(10) as scope:
        try:
            await block()
        except ValueError as came:
            caught.append(came)
    assert trio.current_time() == pytest.approx(10)
    assert (scope.cancelled_caught, caught) == (
        (True, []) if error is None else (False, [error])
    )


class Fatal(SystemExit):
    """What ends programs."""


@pytest.mark.parametrize("error", [None, ValueError("mine")], ids=repr)
async def test_what_ends_programs_comes_out_of_the_grace_of_a_server(
    error: Exception | None, nursery: trio.Nursery
) -> None:
    class Ending(AdderImpl):
        async def wait(self) -> int:
            await self.go_on.wait()
            raise Fatal

    impl = Ending()

    async def call() -> None:
        with suppress(CallCancelled, Disconnected):
            async with connect("memory://fatal", Adder) as adder:
                await adder.wait()

    async def block() -> None:
        async with serving("memory://fatal", dispatcher(Adder, impl), grace=5):
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            trio.lowlevel.spawn_system_task(partial(_set_later, impl.go_on))
            if error is not None:
                raise error

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - of two kinds
        await block()
    if error is None:
        assert type(caught.value) is Fatal
    else:
        assert isinstance(caught.value, BaseExceptionGroup)
        assert caught.value.exceptions[0] is error
        assert caught.value.subgroup(Fatal) is not None


async def test_of_several_errors_a_cancellation_comes_last_and_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cancelled: list[BaseException] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            cancelled.append(error)
            raise
    error = ValueError("it")
    assert first_of(BaseExceptionGroup("", [*cancelled, error])) is error
    assert caplog.records == []


async def test_options_of_a_server_are_refused_with_what_was_expected() -> None:
    with pytest.raises(ValueError, match="tell_failures: expected"):
        async with serving("memory://loud", ADDER, tell_failures="loud"):
            raise AssertionError("it runs")
    with pytest.raises(ValueError, match="cancel_grace: expected a finite number"):
        async with serving("memory://loud", ADDER, cancel_grace=-1):
            raise AssertionError("it runs")
    with pytest.raises(ValueError, match="cancel_grace: expected a finite number"):
        async with connect("memory://loud", cancel_grace=-1):
            raise AssertionError("it is connected")


async def test_a_block_that_is_cancelled_as_it_ends_is_cancelled_plainly() -> None:
    with trio.CancelScope() as scope:
        async with serving("memory://late", ADDER, grace=60):
            scope.cancel()
    assert scope.cancelled_caught


# ------------------------------------------------------------ calls of the server


@service
class Display(Protocol):
    async def show(self) -> float: ...


class Stubborn:
    """Tells how much time a call has left, and does not stop when it is cancelled."""

    async def show(self) -> float:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)
        return current_call().deadline - trio.current_time()


@service
class Asking(Protocol):
    async def ask(self, seconds: float) -> float: ...


class AskingImpl:
    """Calls the caller back, and returns how long that took it."""

    def __init__(self) -> None:
        self.left: list[float] = []

    async def ask(self, seconds: float) -> float:
        display = client(Display, current_call().connection.caller)
        began = trio.current_time()
        with trio.move_on_after(seconds):
            self.left.append(await display.show())
        return trio.current_time() - began


async def test_cancelled_call_of_a_server_waits_for_its_own_grace(
    autojump_clock: MockClock,
) -> None:
    handler = dispatcher(Asking, AskingImpl())
    shown = dispatcher(Display, Stubborn())
    async with (
        serving("memory://asking", handler, cancel_grace=7) as server,
        connect(server.url, Asking, handler=shown, cancel_grace=3) as asking,
    ):
        assert await asking.ask(2) == pytest.approx(2 + 7)


@pytest.mark.parametrize("deadlines", [True, False])
async def test_server_tells_the_time_that_is_left_for_its_calls_if_it_is_to(
    deadlines: bool, autojump_clock: MockClock
) -> None:
    impl = AskingImpl()
    shown = dispatcher(Display, Stubborn())
    async with (
        serving(
            "memory://telling", dispatcher(Asking, impl), deadlines=deadlines
        ) as server,
        connect(server.url, Asking, handler=shown) as asking,
    ):
        await asking.ask(100)
    assert impl.left == [pytest.approx(40) if deadlines else inf]
