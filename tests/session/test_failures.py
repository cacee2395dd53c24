"""Whatever users' code raises ends at most its own session, and is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
import trio
import trio.testing

from roam_trio import (
    AcceptedConnection,
    CallCancelled,
    ConnectionSettings,
    InvalidPayload,
    Metadata,
    Rx,
    Server,
    SessionRejected,
    Tx,
    channel,
    connect,
    dispatcher,
    register_wire_type,
    serve,
    service,
    u8,
)
from roam_trio.failures import text_of
from roam_trio.links.memory import memory_link_pair
from roam_trio.logs import Log
from roam_trio.session import acceptor, initiator
from roam_trio.testing import connected_pair
from roam_trio.transports import memory


class Panic(BaseException):
    """As extensions written in Rust raise it."""


class Unspeakable(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise Panic

    __repr__ = __str__


class UnspeakablePanic(Panic):
    def __str__(self) -> str:
        raise Panic

    __repr__ = __str__


class Underivable(BaseExceptionGroup[BaseException]):
    """Cannot be split."""

    def derive(self, excs: Any) -> Any:
        raise Panic


RAISED: dict[str, Callable[[], BaseException]] = {
    "Panic": Panic,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "Unspeakable": Unspeakable,
    "UnspeakablePanic": UnspeakablePanic,
    "group": lambda: BaseExceptionGroup("", [Panic(), ValueError()]),
    "group of one": lambda: BaseExceptionGroup("", [GeneratorExit()]),
    "group in a group": lambda: ExceptionGroup("", [ExceptionGroup("", [OSError()])]),
    "Underivable": lambda: Underivable("", [Panic(), ValueError()]),
}


class Hooked:
    """A value with code of its own in its way."""

    fails_on: str = ""
    error: Callable[[], BaseException] = Panic

    @classmethod
    def maybe_fail(cls, where: str) -> int:
        if where == cls.fails_on:
            raise cls.error()
        return 1


def make_hooked(value: int) -> Hooked:
    Hooked.maybe_fail("decoding")
    return Hooked()


register_wire_type(
    Hooked,
    u8,
    unstructure=lambda hooked: hooked.maybe_fail("encoding"),
    structure=make_hooked,
)


@service
class Work(Protocol):
    async def at_once(self) -> None: ...
    async def later(self) -> None: ...
    async def in_a_task(self) -> None: ...
    async def with_channel(self, out: Tx[u8]) -> None: ...
    async def take(self, hooked: Hooked) -> None: ...
    async def give(self) -> Hooked: ...
    async def items(self, out: Tx[Hooked]) -> None: ...
    async def read(self, items: Rx[Hooked]) -> None: ...
    async def fine(self) -> u8: ...


class Failing:
    def __init__(self, error: Callable[[], BaseException]) -> None:
        self.error = error

    async def at_once(self) -> None:
        raise self.error()

    async def later(self) -> None:
        await trio.lowlevel.checkpoint()
        raise self.error()

    async def in_a_task(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.later)
            nursery.start_soon(trio.sleep_forever)

    async def with_channel(self, out: Tx[int]) -> None:
        raise self.error()

    async def take(self, hooked: Hooked) -> None:
        pass

    async def give(self) -> Hooked:
        return Hooked()

    async def items(self, out: Tx[Hooked]) -> None:
        await out.send(Hooked())

    async def read(self, items: Rx[Hooked]) -> None:
        async for _ in items:
            pass

    async def fine(self) -> int:
        return 1


@pytest.fixture(autouse=True)
def hooks_that_are_fine() -> Iterator[None]:
    yield
    Hooked.fails_on = ""


@pytest.fixture(params=RAISED.values(), ids=RAISED)
def error(request: pytest.FixtureRequest) -> Callable[[], BaseException]:
    made: Callable[[], BaseException] = request.param
    Hooked.error = made
    return made


async def started(nursery: trio.Nursery, handler: Any) -> Server:
    server: Server = await nursery.start(serve, "memory://work", handler)
    return server


async def fails(nursery: trio.Nursery, handler: Any, fail: Any) -> None:
    """One client has something fail; neither it nor another is harmed."""
    await started(nursery, handler)
    async with connect("memory://work", Work) as other:
        async with connect("memory://work", Work) as work:
            with pytest.raises((CallCancelled, InvalidPayload)):
                await fail(work)
            Hooked.fails_on = ""
            assert await work.fine() == 1
        assert await other.fine() == 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("method", ["at_once", "later", "in_a_task"])
async def test_a_handler_ends_its_call(
    method: str,
    error: Callable[[], BaseException],
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if method == "in_a_task" and "Unspeakable" in error.__name__:
        # trio itself fails on the repr of what a task of a nursery raises.
        method = "later"
    handler = dispatcher(Work, Failing(error))
    await fails(nursery, handler, lambda work: getattr(work, method)())
    assert [each.levelname for each in caplog.records] == ["ERROR"]


async def test_a_handler_with_channels_ends_its_call_and_them(
    error: Callable[[], BaseException],
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(work: Work) -> None:
        tx, rx = channel(int)
        try:
            await work.with_channel(tx)
        finally:
            with pytest.raises(trio.EndOfChannel):
                await rx.recv()

    await fails(nursery, dispatcher(Work, Failing(error)), fail)
    assert [each.levelname for each in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("where", ["take", "give", "items", "read"])
async def test_code_of_a_value_ends_its_call(
    where: str,
    error: Callable[[], BaseException],
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(work: Work) -> None:
        hooked = Hooked()
        if where == "take":
            Hooked.fails_on = "decoding"
            await work.take(hooked)
        elif where == "give":
            Hooked.fails_on = "encoding"
            await work.give()
        elif where == "items":
            tx, _rx = channel(Hooked)
            Hooked.fails_on = "encoding"
            await work.items(tx)
        else:
            tx, rx = channel(Hooked)
            nursery.start_soon(tx.send, hooked)
            Hooked.fails_on = "decoding"
            await work.read(rx)

    await fails(nursery, dispatcher(Work, Failing(error)), fail)
    assert {each.levelname for each in caplog.records} & {"ERROR", "WARNING"}


class Raw:
    """A `Handler` of its own kind."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle


@pytest.mark.parametrize("how", ["on arrival", "in its task"])
async def test_a_raw_handler_ends_its_call(
    how: str,
    error: Callable[[], BaseException],
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answering = dispatcher(Work, Failing(error))
    calls = 0

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise error()

    def handle(call: Any, reply: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            return answering.handle(call, reply)
        if how == "on arrival":
            raise error()
        return fail()

    await fails(nursery, Raw(handle), lambda work: work.fine())
    assert [each.levelname for each in caplog.records] == ["ERROR"]


@pytest.mark.parametrize("where", ["accept", "setup"])
async def test_a_hook_of_a_connection_ends_no_more_than_that(
    where: str,
    error: Callable[[], BaseException],
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = dispatcher(Work, Failing(error))

    class Acceptor:
        async def accept(
            self, connection_id: int, settings: ConnectionSettings, metadata: Metadata
        ) -> AcceptedConnection | Metadata:
            if where == "accept":
                raise error()
            return AcceptedConnection(handler=handler, setup=self.setup)

        async def setup(self, connection: object) -> None:
            raise error()

    near, far = memory_link_pair(16)
    nursery.start_soon(acceptor(far, on_connection=Acceptor()).run, handler)
    async with initiator(near).open() as session:
        if where == "accept":
            with pytest.raises(SessionRejected, match="the acceptor failed"):
                await session.open_connection()
        else:
            async with session.open(Work) as work:
                assert await work.fine() == 1
                await trio.testing.wait_all_tasks_blocked()
        assert session.ended_because is None
    assert [each.levelname for each in caplog.records] == ["ERROR"]


async def test_a_transport_of_others_ends_no_more_than_its_session(
    error: Callable[[], BaseException],
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await started(nursery, dispatcher(Work, Failing(error)))
    async with connect(server.url, Work) as other:
        pair = memory.memory_link_pair

        def broken_pair(buffer: int) -> Any:
            near, far = pair(buffer)

            def fail() -> Any:
                raise error()

            monkeypatch.setattr(far, "split", fail)
            return near, far

        with monkeypatch.context() as patch:
            patch.setattr(memory, "memory_link_pair", broken_pair)
            with trio.move_on_after(1):
                async with connect(server.url, Work):
                    pass
        assert await other.fine() == 1
    assert "a session has failed; the others go on" in caplog.text
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("method", ["at_once", "later"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_ends_programs_goes_through(
    method: str, kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async def end() -> None:
        async with trio.open_nursery() as serving:
            await started(serving, dispatcher(Work, Failing(kind)))
            async with connect("memory://work", Work) as work:
                await getattr(work, method)()

    with pytest.raises(BaseExceptionGroup) as caught:
        await end()
    assert caught.value.subgroup(kind) is not None


async def test_what_ends_programs_goes_through_without_what_came_beside_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def both() -> BaseException:
        return BaseExceptionGroup("", [KeyboardInterrupt(), Panic()])

    async def end() -> None:
        async with connected_pair(Work, Failing(both)) as work:
            await work.later()

    with pytest.raises(BaseExceptionGroup) as caught:
        await end()
    assert caught.value.subgroup(KeyboardInterrupt) is not None
    assert caught.value.subgroup(Panic) is None
    assert "Panic" in caplog.text


async def test_what_a_cancelled_handler_raises_beside_is_logged(
    error: Callable[[], BaseException],
    autojump_clock: trio.testing.MockClock,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stubborn(Failing):
        async def later(self) -> None:
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                group = [cancelled, error()]
                raise BaseExceptionGroup("", group) from None

    await started(nursery, dispatcher(Work, Stubborn(error)))
    async with connect("memory://work", Work) as work:
        with trio.move_on_after(1):
            await work.later()
        await trio.testing.wait_all_tasks_blocked()
        assert await work.fine() == 1
    assert [each.levelname for each in caplog.records] == ["ERROR"]
    nursery.cancel_scope.cancel()


# ------------------------------------------------------------ the log


class BadHandler(logging.Handler):
    """A handler of the log that fails."""

    def __init__(self, error: Callable[[], BaseException]) -> None:
        super().__init__()
        self.error = error

    def handle(self, record: logging.LogRecord) -> bool:
        raise self.error()


@pytest.fixture
def bad_log(error: Callable[[], BaseException]) -> Iterator[None]:
    logger = logging.getLogger("roam_trio")
    handler = BadHandler(error)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@pytest.mark.usefixtures("bad_log")
@pytest.mark.parametrize("method", ["at_once", "later"])
async def test_a_log_that_fails_harms_nobody(
    method: str, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = dispatcher(Work, Failing(ValueError))
    await fails(nursery, handler, lambda work: getattr(work, method)())


def test_a_log_that_fails_is_told_on_standard_error(
    error: Callable[[], BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("roam_trio.tests.failing")
    logger.addHandler(BadHandler(error))
    Log(logger.name).error("what is lost")
    assert "roam_trio could not log: " in capsys.readouterr().err


def test_a_log_lets_through_what_ends_programs() -> None:
    logger = logging.getLogger("roam_trio.tests.ending")
    logger.addHandler(BadHandler(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        Log(logger.name).error("not lost")


def test_records_name_the_place_they_come_from(
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = Log("roam_trio.tests.place")
    logger.warning("here")
    logger.error("here")
    try:
        raise ValueError
    except ValueError as caught:
        logger.exception("here")
        logger.failure(caught, "here")
    assert {each.filename for each in caplog.records} == {"test_failures.py"}
    assert {each.funcName for each in caplog.records} == {
        "test_records_name_the_place_they_come_from"
    }


def test_the_text_of_an_error_can_always_be_had() -> None:
    assert text_of(ValueError("why")) == "why"
    assert text_of(ValueError()) == "ValueError"
    assert text_of(Unspeakable()) == "Unspeakable, whose __str__ raises"
    assert text_of(UnspeakablePanic()) == "UnspeakablePanic, whose __str__ raises"
