"""Making dispatchers, and the outcome of a call whatever its handler does."""

from __future__ import annotations

import dataclasses
import functools
import logging
import types
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import attrs
import pytest
import trio
import trio.testing

from roam_trio import (
    CallCancelled,
    Dispatcher,
    Fallible,
    HandlerFailed,
    Refused,
    Rx,
    RxReset,
    SchemaError,
    Tx,
    TxReset,
    UnknownMethod,
    UserError,
    acceptor,
    channel,
    client,
    current_call,
    describe,
    dispatcher,
    i32,
    initiator,
    register_wire_type,
    service,
    u8,
)
from roam_trio.codec import rpc_plan
from roam_trio.metadata import NO_METADATA
from roam_trio.rpc.binding import Payload
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelItem,
    RequestCall,
    RequestResponse,
    joined,
)
from tests.peer import link_to_peer
from tests.service.services import (
    BedHandler,
    Denied,
    Failing,
    Locked,
    LockedByAdmin,
    MathError,
    NotFound,
    Point,
    Store,
    connected,
    sessions,
)
from tests.service.services import Testbed as Bed


@service
class Echo(Protocol):
    async def echo(self, message: str) -> str: ...


async def shout(message: str) -> str:
    return message.upper()


class Shouting:
    async def echo(self, message: str) -> str:
        return message.upper()


class Callee:
    """Not a function, yet calling it gives something to await."""

    async def __call__(self, message: str) -> str:
        return message.upper()


def sync_wrapper(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def async_wrapper(function: Any) -> Any:
    @functools.wraps(function)
    async def wrapper(*args: Any) -> Any:
        result = function(*args)
        return await result if isinstance(result, Awaitable) else result

    return wrapper


class WrappedSync(Shouting):
    echo = sync_wrapper(Shouting.echo)


class WrappedAsync(Shouting):
    echo = async_wrapper(Shouting.echo)


class WrappedPlainFunction:
    @async_wrapper
    def echo(self, message: str) -> str:
        return message.upper()


class Lenient:
    async def echo(self, *anything: Any, **more: Any) -> Any:
        return str(anything[0]).upper()


class WithDefault:
    async def echo(self, text: str, *, loud: bool = True) -> str:
        return text.upper() if loud else text


class ByClass:
    @classmethod
    async def echo(cls, message: str) -> str:
        return message.upper()


class ByStatic:
    @staticmethod
    async def echo(message: str) -> str:
        return message.upper()


class ByPartial:
    echo = staticmethod(functools.partial(shout))


class FromService(Echo):
    async def echo(self, message: str) -> str:
        return message.upper()


@pytest.mark.rule("rpc.handler", "rpc.service")
@pytest.mark.parametrize(
    "handler",
    [
        Shouting(),
        types.SimpleNamespace(echo=shout),
        types.SimpleNamespace(echo=Callee()),
        WrappedSync(),
        WrappedAsync(),
        WrappedPlainFunction(),
        Lenient(),
        WithDefault(),
        ByClass(),
        ByClass,
        ByStatic(),
        ByPartial(),
        FromService(),
    ],
    ids=lambda handler: getattr(handler, "__name__", type(handler).__name__),
)
async def test_any_object_with_the_methods_serves(
    nursery: trio.Nursery, handler: object
) -> None:
    caller = await connected(nursery, Echo, handler)
    assert await caller.echo("hello") == "HELLO"


def refusal(service: Callable[..., Any], handler: object) -> str:
    with pytest.raises(SchemaError) as caught:
        dispatcher(service, handler)
    return str(caught.value)


WANTED = "expected async def echo(message: str) -> str"


def test_a_missing_method_is_refused() -> None:
    assert refusal(Echo, object()) == f"object.echo: {WANTED}, and there is none"


class TooFew:
    async def echo(self) -> str:
        return ""


class TooMany:
    async def echo(self, message: str, times: int) -> str:
        return message * times


class KeywordNeeded:
    async def echo(self, message: str, *, times: int) -> str:
        return message * times


@pytest.mark.parametrize(
    ("handler", "got"),
    [
        (TooFew(), "echo() -> str"),
        (TooMany(), "echo(message: str, times: int) -> str"),
        (KeywordNeeded(), "echo(message: str, *, times: int) -> str"),
    ],
)
def test_other_parameters_are_refused_naming_both_signatures(
    handler: object, got: str
) -> None:
    where = f"{type(handler).__name__}.echo"
    assert refusal(Echo, handler).startswith(f"{where}: {WANTED}, got {got}: ")


def test_a_method_that_is_not_async_is_refused_naming_both_signatures() -> None:
    class Sync:
        def echo(self, message: str) -> str:
            return message

    text = refusal(Echo, Sync())
    assert f"{WANTED}, got one that is not async: echo(message: str)" in text


@pytest.mark.parametrize("attribute", ["text", 3, type, dict.get])
def test_what_is_no_method_is_refused(attribute: object) -> None:
    handler = types.SimpleNamespace(echo=attribute)
    assert WANTED in refusal(Echo, handler)


@pytest.mark.parametrize("handler", [Shouting, Lenient, WrappedAsync, FromService])
def test_the_class_in_place_of_an_object_is_refused(handler: type[Any]) -> None:
    assert refusal(Echo, handler) == (
        "expected an object with the methods of Echo, "
        f"got the class {handler.__name__}; are the () missing?"
    )


@service
class LouderEcho(Echo, Protocol):
    async def echo(self, message: str) -> str: ...


class OnlyTheStub(Echo):
    pass


@pytest.mark.parametrize("served", [Echo, LouderEcho])
def test_the_stub_of_the_service_itself_is_refused(served: Any) -> None:
    text = refusal(served, OnlyTheStub())
    assert text == f"OnlyTheStub.echo: {WANTED}, got only that of the service itself"


def test_a_dispatcher_needs_a_service() -> None:
    with pytest.raises(TypeError, match=r"decorated with @roam_trio\.service"):
        dispatcher(Shouting, Shouting())


def test_a_dispatcher_shows_its_service() -> None:
    answering = dispatcher(Echo, Shouting())
    assert answering.descriptor is describe(Echo)
    assert repr(answering) == "<Dispatcher of Echo>"


# ---------------------------------------------------------------- errors


@pytest.mark.rule("rpc.fallible", "rpc.fallible.roam-error", "rpc.error.scope")
async def test_an_enum_goes_in_a_user_error_and_comes_in_one(
    nursery: trio.Nursery,
) -> None:
    store = await connected(
        nursery, Store, Failing(UserError(MathError.DIVISION_BY_ZERO))
    )
    with pytest.raises(UserError) as caught:
        await store.by_enum()
    assert caught.value.error is MathError.DIVISION_BY_ZERO
    assert await store.by_enum() == "fine"


@pytest.mark.rule("rpc.fallible", "rpc.fallible.roam-error")
async def test_an_error_that_says_no_more_is_none_in_a_user_error(
    nursery: trio.Nursery,
) -> None:
    store = await connected(nursery, Store, Failing(UserError(None)))
    with pytest.raises(UserError) as caught:
        await store.by_none()
    assert caught.value.error is None
    assert await store.by_none() == "fine"


@pytest.mark.rule("rpc.fallible", "rpc.fallible.roam-error")
async def test_a_struct_goes_in_a_user_error_and_comes_in_one(
    nursery: trio.Nursery,
) -> None:
    store = await connected(nursery, Store, Failing(UserError(Denied("no"))))
    with pytest.raises(UserError) as caught:
        await store.by_struct()
    assert caught.value.error == Denied("no")
    assert await store.by_struct() == "fine"


@pytest.mark.rule("rpc.fallible", "rpc.fallible.roam-error", "rpc.error.scope")
async def test_an_exception_class_is_raised_on_both_sides(
    nursery: trio.Nursery,
) -> None:
    store = await connected(nursery, Store, Failing(NotFound("k")))
    with pytest.raises(NotFound) as caught:
        await store.by_exception()
    assert caught.value.key == "k"
    assert caught.value.__context__ is None
    assert await store.by_exception() == "fine"


@pytest.mark.rule("rpc.fallible", "rpc.error.scope")
async def test_a_union_of_exception_classes_raises_the_one_that_was_meant(
    nursery: trio.Nursery,
) -> None:
    store = await connected(
        nursery, Store, Failing(NotFound("a"), Locked("b", 3), NotFound("c"))
    )
    with pytest.raises(NotFound, match="a"):
        await store.by_union("a")
    with pytest.raises(Locked) as caught:
        await store.by_union("b")
    assert (caught.value.key, caught.value.seconds) == ("b", 3)
    with pytest.raises(NotFound, match="c"):
        await store.by_union("c")


async def test_a_subclass_arrives_as_the_declared_class(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    store = await connected(
        nursery,
        Store,
        Failing(LockedByAdmin("k", 5, "audit"), LockedByAdmin("u", 6, "audit")),
    )
    with pytest.raises(Locked) as caught:
        await store.by_base()
    assert type(caught.value) is Locked
    assert (caught.value.key, caught.value.seconds) == ("k", 5)
    with pytest.raises(Locked) as caught:
        await store.by_union("u")
    assert (type(caught.value), caught.value.key) == (Locked, "u")
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 2
    for warning in warnings:
        assert "raised LockedByAdmin, which is sent as Locked" in warning
        assert "its fields 'reason' are lost" in warning
        assert "audit" not in warning


async def test_an_exception_in_a_user_error_is_the_same_as_raising_it(
    nursery: trio.Nursery,
) -> None:
    store = await connected(nursery, Store, Failing(UserError(NotFound("k"))))
    with pytest.raises(NotFound, match="k"):
        await store.by_exception()


@attrs.frozen
class Frozen(Exception):
    code: u8


@service
class RaisesEarly(Protocol):
    async def call(self, arg: u8) -> Fallible[u8, Frozen]: ...


async def test_a_declared_error_of_a_wrapper_that_is_not_async_arrives(
    nursery: trio.Nursery,
) -> None:
    class Guarded:
        async def call(self, arg: int) -> int:
            return arg

    def guarded(self: Guarded, arg: int) -> Any:
        if arg > 9:
            raise Frozen(arg)
        return Guarded.call(self, arg)

    handler = types.SimpleNamespace(
        call=functools.partial(functools.wraps(Guarded.call)(guarded), Guarded())
    )
    handler.call.__wrapped__ = Guarded().call
    caller = await connected(nursery, RaisesEarly, handler)
    with pytest.raises(Frozen) as caught:
        await caller.call(10)
    assert caught.value.code == 10
    assert await caller.call(3) == 3


@dataclasses.dataclass(frozen=True)
class FrozenData(Exception):
    code: u8


@attrs.frozen
class FrozenSlots(Exception):
    code: u8


class Unchangeable(Exception):
    """Refuses whatever is set, by every way that a class has a say in."""

    code: u8

    def __init__(self, code: int) -> None:
        vars(self)["code"] = code

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name} was set")

    def with_traceback(self, tb: object) -> Any:
        raise AttributeError("the traceback was set")


FrozenErrors: TypeAlias = Frozen | FrozenData | FrozenSlots
FROZEN: Any = (Frozen, FrozenData, FrozenSlots)

register_wire_type(
    Unchangeable, u8, unstructure=lambda error: error.code, structure=Unchangeable
)


@service
class Refuses(Protocol):
    """Methods that can wait, that cannot, and with channels."""

    async def at_once(self, which: u8) -> Fallible[None, FrozenErrors]: ...
    async def later(self, which: u8) -> Fallible[None, FrozenErrors]: ...
    async def stream(self, which: u8, out: Tx[u8]) -> Fallible[None, FrozenErrors]: ...
    async def simple(self, out: Tx[u8]) -> Fallible[None, Unchangeable]: ...
    async def undeclared(self, out: Tx[u8]) -> None: ...


class Refusing:
    def __init__(self) -> None:
        self.raised: list[Exception] = []

    def fail(self, which: int) -> None:
        error = FROZEN[which](7)
        self.raised.append(error)
        raise error from Frozen(1)

    async def at_once(self, which: int) -> None:
        self.fail(which)

    async def later(self, which: int) -> None:
        await trio.lowlevel.checkpoint()
        self.fail(which)

    async def stream(self, which: int, out: Tx[int]) -> None:
        self.fail(which)

    async def simple(self, out: Tx[int]) -> None:
        raise Unchangeable(7)

    async def undeclared(self, out: Tx[int]) -> None:
        raise FrozenData(7)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("how", ["at_once", "later", "stream"])
async def test_a_declared_error_that_cannot_be_changed_arrives(
    which: int, how: str, nursery: trio.Nursery
) -> None:
    refusing = Refusing()
    refuses = await connected(nursery, Refuses, refusing)
    ends = channel(int)
    args = ends[:1] if how == "stream" else ()
    with pytest.raises(FROZEN[which]) as caught:
        await getattr(refuses, how)(which, *args)
    assert caught.value.code == 7
    (raised,) = refusing.raised
    if how != "stream":  # where its traceback holds the end of a channel
        assert raised.__traceback__ is not None
    assert isinstance(raised.__cause__, Frozen)


async def test_a_class_with_a_say_in_its_attributes_is_not_asked(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    refuses = await connected(nursery, Refuses, Refusing())
    tx, rx = channel(int)
    with pytest.raises(Unchangeable):
        await refuses.simple(tx)
    with pytest.raises(trio.EndOfChannel):
        await rx.recv()
    tx, rx = channel(int)
    with pytest.raises(CallCancelled):
        await refuses.undeclared(tx)
    assert "the handler raised FrozenData" in caplog.text
    assert "FrozenInstanceError" not in caplog.text


def grouped(error: Exception) -> Exception:
    return ExceptionGroup("outer", [ExceptionGroup("inner", [error])])


@pytest.mark.rule("rpc.fallible", "rpc.error.scope")
async def test_a_declared_error_alone_in_a_group_arrives_as_itself(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    store = await connected(
        nursery,
        Store,
        Failing(
            grouped(NotFound("a")),
            grouped(Locked("b", 3)),
            grouped(UserError(MathError.OVERFLOW)),
        ),
    )
    with pytest.raises(NotFound) as not_found:
        await store.by_exception()
    assert not_found.value.key == "a"
    with pytest.raises(Locked) as locked:
        await store.by_union("key")
    assert locked.value.seconds == 3
    with pytest.raises(UserError) as error:
        await store.by_enum()
    assert error.value.error is MathError.OVERFLOW
    assert failures(caplog) == []


async def test_a_declared_error_of_a_task_of_the_handler_arrives(
    nursery: trio.Nursery,
) -> None:
    class Spreading(BedHandler):
        async def divide(self, dividend: int, divisor: int) -> int:
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever)
                inner.start_soon(super().divide, dividend, divisor)
            raise AssertionError

    bed = await connected(nursery, Bed, Spreading())
    with pytest.raises(UserError) as caught:
        await bed.divide(1, 0)
    assert caught.value.error is MathError.DIVISION_BY_ZERO


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [
        record
        for record in caplog.records
        if record.name.startswith("roam_trio") and record.levelno >= logging.ERROR
    ]


@pytest.mark.rule("rpc.error.scope", "rpc.response.one-per-request")
async def test_an_unexpected_exception_is_logged_and_the_caller_gets_its_id(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    store = await connected(nursery, Store, Failing(KeyError("oops")))
    with pytest.raises(HandlerFailed, match=r"Store\.never: the handler failed") as got:
        await store.never()
    (record,) = failures(caplog)
    assert record.getMessage() == (
        "Store.never: the handler raised KeyError, and the method declares no error; "
        f"its caller gets HandlerFailed, with the id {got.value.id} (this process)"
    )
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)
    assert "in fail" in caplog.text
    assert await store.never() == "fine"


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("never", UserError(MathError.OVERFLOW)),
        ("never", NotFound("k")),
        ("by_exception", Locked("k", 1)),
        ("by_union", ValueError("bad")),
        ("by_enum", UserError("of no such type")),
        ("by_base", Locked("k", 70_000)),
        ("by_exception", ExceptionGroup("several", [NotFound("k"), NotFound("l")])),
        ("by_exception", ExceptionGroup("other", [ValueError("k")])),
        ("never", ExceptionGroup("alone", [NotFound("k")])),
        ("never", ExceptionGroup("alone", [UserError(MathError.OVERFLOW)])),
    ],
)
async def test_an_error_that_is_not_declared_is_logged_and_cancels(
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    method: str,
    error: Exception,
) -> None:
    store: Any = await connected(nursery, Store, Failing(error))
    args = ["key"] if method == "by_union" else []
    with pytest.raises(CallCancelled):
        await getattr(store, method)(*args)
    (record,) = failures(caplog)
    assert record.getMessage().startswith(f"Store.{method}: ")
    assert record.exc_info is not None
    assert await getattr(store, method)(*args) == "fine"


@pytest.mark.parametrize(
    ("method", "error", "text"),
    [
        (
            "never",
            NotFound("k"),
            "NotFound, and the method declares no error "
            "(write Fallible[str, NotFound] to send it)",
        ),
        (
            "never",
            UserError(MathError.OVERFLOW),
            "MathError, and the method declares no error "
            "(write Fallible[str, MathError] to send it)",
        ),
        (
            "never",
            UserError("why"),
            "str, and the method declares no error "
            "(write Fallible[str, str] to send it)",
        ),
        ("never", RxReset("gone"), "RxReset, and the method declares no error"),
        (
            "never",
            grouped(NotFound("k")),
            "NotFound, and the method declares no error "
            "(write Fallible[str, NotFound] to send it)",
        ),
        ("by_exception", Locked("k", 1), "Locked, and the method declares NotFound"),
        (
            "by_union",
            ValueError(),
            "ValueError, and the method declares NotFound | Locked",
        ),
        (
            "by_enum",
            ExceptionGroup("two", [KeyError(), KeyError()]),
            "ExceptionGroup, and the method declares MathError",
        ),
    ],
)
async def test_the_log_tells_what_was_raised_and_what_is_declared(
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    method: str,
    error: Exception,
    text: str,
) -> None:
    store: Any = await connected(nursery, Store, Failing(error))
    args = ["key"] if method == "by_union" else []
    with pytest.raises(HandlerFailed) as caught:
        await getattr(store, method)(*args)
    (record,) = failures(caplog)
    assert record.getMessage() == (
        f"Store.{method}: the handler raised {text}; "
        f"its caller gets HandlerFailed, with the id {caught.value.id} (this process)"
    )


async def test_a_value_that_cannot_be_sent_is_logged_and_cancels(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(BedHandler):
        async def echo_point(self, point: Point) -> Point:
            return "no point"  # type: ignore[return-value]

    bed = await connected(nursery, Bed, Wrong())
    with pytest.raises(CallCancelled):
        await bed.echo_point(Point(1, 2))
    (record,) = failures(caplog)
    assert "Testbed.echo_point: the handler returned what cannot" in record.getMessage()
    assert "expected" in caplog.text
    assert await bed.echo("on we go") == "on we go"


@pytest.mark.rule("rpc.unknown-method", "rpc.one-service-per-connection")
async def test_a_method_of_another_service_is_unknown(nursery: trio.Nursery) -> None:
    session, _ = await sessions(nursery, dispatcher(Bed, BedHandler()))
    with pytest.raises(UnknownMethod, match=r"Store\.never"):
        await client(Store, session.caller).never()
    assert await client(Bed, session.caller).echo("still here") == "still here"


@pytest.mark.rule("rpc.fallible.roam-error", "rpc.error.scope")
async def test_arguments_that_do_not_decode_are_answered_with_invalid_payload(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    session, _ = await sessions(nursery, dispatcher(Bed, BedHandler()))
    echo = describe(Bed).methods[0]
    response = await session.caller.call(echo.id, b"\x05hi")
    assert bytes(joined(response.ret)) == b"\x01\x02"
    assert "Testbed.echo: undecodable arguments" in caplog.text
    assert await client(Bed, session.caller).echo("fine") == "fine"


# ---------------------------------------------------------------- explicit replies


class Replying(BedHandler):
    """Answers explicitly, and goes on."""

    def __init__(self, then: Callable[[], Any] | None = None) -> None:
        self.done = trio.Event()
        self.then = then
        self.went_on = trio.Event()

    async def echo(self, message: str) -> str:
        call = current_call()
        assert not call.is_replied
        await call.ok(message + "!")
        assert call.is_replied
        await self.go_on()
        return "disregarded"

    async def divide(self, dividend: int, divisor: int) -> int:
        call = current_call()
        if divisor:
            await call.reply(dividend // divisor)
        elif dividend:
            await call.err(MathError.DIVISION_BY_ZERO)
        else:
            await call.reply(UserError(MathError.OVERFLOW))
        await self.go_on()
        return 0

    async def go_on(self) -> None:
        await self.done.wait()
        self.went_on.set()
        if self.then is not None:
            raise self.then()


@pytest.mark.rule("rpc.service.methods", "rpc.response.one-per-request")
async def test_a_handler_that_has_answered_goes_on(nursery: trio.Nursery) -> None:
    handler = Replying()
    bed = await connected(nursery, Bed, handler)
    assert await bed.echo("now") == "now!"
    assert await bed.divide(7, 2) == 3
    with pytest.raises(UserError) as caught:
        await bed.divide(7, 0)
    assert caught.value.error is MathError.DIVISION_BY_ZERO
    with pytest.raises(UserError) as caught:
        await bed.divide(0, 0)
    assert caught.value.error is MathError.OVERFLOW
    assert not handler.went_on.is_set()
    handler.done.set()
    await handler.went_on.wait()


async def test_what_a_handler_raises_after_its_answer_is_only_logged(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Replying(then=lambda: KeyError("late"))
    handler.done.set()
    bed = await connected(nursery, Bed, handler)
    assert await bed.echo("now") == "now!"
    await trio.testing.wait_all_tasks_blocked()
    (record,) = failures(caplog)
    assert "its caller has its answer" in record.getMessage()
    assert "gets Cancelled" not in record.getMessage()
    assert await bed.echo("again") == "again!"


@pytest.mark.parametrize("error", [Refused("denied"), UserError(MathError.OVERFLOW)])
async def test_what_a_handler_may_raise_counts_for_nothing_after_its_answer(
    error: Exception, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Replying(then=lambda: error)
    handler.done.set()
    bed = await connected(nursery, Bed, handler)
    assert await bed.divide(7, 2) == 3
    await trio.testing.wait_all_tasks_blocked()
    assert handler.went_on.is_set()
    assert failures(caplog) == []
    assert await bed.divide(8, 2) == 4


@pytest.mark.rule("rpc.response.one-per-request")
async def test_a_second_answer_is_a_mistake_of_the_handler(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    class Twice(BedHandler):
        async def echo(self, message: str) -> str:
            await current_call().ok("first")
            return str(await current_call().ok("second"))

    bed = await connected(nursery, Bed, Twice())
    assert await bed.echo("") == "first"
    await trio.testing.wait_all_tasks_blocked()
    assert "every request gets exactly one" in caplog.text
    assert await bed.divide(4, 2) == 2


async def test_an_answer_of_the_wrong_type_leaves_the_call_open(
    nursery: trio.Nursery,
) -> None:
    class Careless(BedHandler):
        async def echo(self, message: str) -> str:
            call = current_call()
            with pytest.raises(Exception, match="expected"):
                await call.ok(3)
            with pytest.raises(TypeError, match="declares no error type"):
                await call.err("error")
            assert not call.is_replied
            return message

    bed = await connected(nursery, Bed, Careless())
    assert await bed.echo("fine") == "fine"


async def test_a_call_shows_its_method_and_state(nursery: trio.Nursery) -> None:
    shown: list[str] = []

    class Showing(BedHandler):
        async def echo(self, message: str) -> str:
            call = current_call()
            shown.append(repr(call))
            await call.ok(message)
            shown.append(repr(call))
            assert (call.connection_id, call.request_id) == (0, 1)
            assert call.method is describe(Bed).methods[0]
            return message

    bed = await connected(nursery, Bed, Showing())
    await bed.echo("")
    assert shown == [
        "<Call 1 of Testbed.echo, open>",
        "<Call 1 of Testbed.echo, replied>",
    ]


def test_a_task_that_answers_no_call_has_no_current_call() -> None:
    with pytest.raises(LookupError, match="answers no call"):
        current_call()


async def test_tasks_of_a_handler_know_its_call(nursery: trio.Nursery) -> None:
    class Spreading(BedHandler):
        async def echo(self, message: str) -> str:
            async with trio.open_nursery() as inner:
                inner.start_soon(self.answer, message)
            return "disregarded"

        async def answer(self, message: str) -> None:
            await current_call().ok(message + " from a task")

    bed = await connected(nursery, Bed, Spreading())
    assert await bed.echo("hello") == "hello from a task"


# ---------------------------------------------------------------- channels


@service
class Emitter(Protocol):
    async def emit(self, output: Tx[i32]) -> Fallible[None, NotFound]: ...


async def do_nothing(output: Tx[int]) -> None:
    pass


async def fail_without_waiting(output: Tx[int]) -> None:
    raise KeyError("oops")


async def keep_nothing(output: Tx[int]) -> None:
    await output.send(1)


async def fail_declared(output: Tx[int]) -> None:
    await output.send(1)
    raise NotFound("k")


async def fail_chained(output: Tx[int]) -> None:
    try:
        await fail_declared(output)
    except NotFound as error:
        raise KeyError("other") from error


async def fail_in_a_group(output: Tx[int]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_declared, output)


def fail_at_once(output: Tx[int]) -> Any:
    raise NotFound("k")


fail_at_once.__wrapped__ = keep_nothing  # type: ignore[attr-defined]


@pytest.mark.rule("rpc.channel.close")
@pytest.mark.parametrize(
    ("emit", "items"),
    [
        (do_nothing, []),
        (fail_without_waiting, []),
        (keep_nothing, [1]),
        (fail_declared, [1]),
        (fail_chained, [1]),
        (fail_in_a_group, [1]),
        (fail_at_once, []),
    ],
)
async def test_channels_that_a_handler_lets_go_of_are_closed_before_its_response(
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    emit: Any,
    items: list[int],
) -> None:
    # The log keeps the exception, and with it the frames it went through.
    link, peer = link_to_peer()
    handler = types.SimpleNamespace(emit=emit)
    nursery.start_soon(acceptor(link).run, dispatcher(Emitter, handler))
    await peer.initiate()
    (method,) = describe(Emitter).methods
    await peer.say(RequestCall(0, 1, method.id, (1,), NO_METADATA, []))
    for _ in items:
        await peer.hear(ChannelItem)
    await peer.hear(ChannelClose)
    await peer.hear(RequestResponse)
    await peer.leave()


async def count(output: Tx[int]) -> None:
    number = 0
    while True:
        await output.send(number)
        number += 1


async def count_in_tasks(output: Tx[int]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count, output)
        nursery.start_soon(count, output)


async def fail_after_reset(output: Tx[int]) -> None:
    try:
        await count(output)
    except TxReset as error:
        raise KeyError("other") from error


async def fail_beside_reset(output: Tx[int]) -> None:
    try:
        await count(output)
    except TxReset as error:
        raise ExceptionGroup("two", [error, KeyError("other")]) from None


@pytest.mark.rule("rpc.channel.reset", "rpc.response.one-per-request")
@pytest.mark.parametrize(
    ("emit", "errors"),
    [(count, 0), (count_in_tasks, 0), (fail_after_reset, 1), (fail_beside_reset, 1)],
)
async def test_a_handler_that_ends_as_its_caller_wants_no_more_has_not_failed(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, emit: Any, errors: int
) -> None:
    caplog.set_level(logging.DEBUG, "roam_trio.service")
    emitter = await connected(nursery, Emitter, types.SimpleNamespace(emit=emit))
    tx, rx = channel[int]()

    async def stop_early() -> None:
        async with rx:
            await rx.recv()

    nursery.start_soon(stop_early)
    with pytest.raises(CallCancelled):
        await emitter.emit(tx)
    assert len(failures(caplog)) == errors
    quiet = "Emitter.emit: the handler ended as the receiver of a channel wants no more"
    assert (f"{quiet} (this process)" in caplog.messages) is (errors == 0)


async def test_a_reset_of_a_channel_of_another_call_is_a_failure(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    store = await connected(nursery, Store, Failing(TxReset("no more")))
    with pytest.raises(CallCancelled):
        await store.never()
    assert len(failures(caplog)) == 1


async def test_channels_beyond_the_ids_of_a_call_are_unbound(
    nursery: trio.Nursery,
) -> None:
    caught: list[str] = []

    class Summing(BedHandler):
        async def sum(self, numbers: Rx[int]) -> int:
            try:
                return await super().sum(numbers)
            except Exception as error:
                caught.append(type(error).__name__)
                return -1

    session, _ = await sessions(nursery, dispatcher(Bed, Summing()))
    total = describe(Bed).methods[2]
    response = await session.caller.call(total.id, b"", channels=())
    assert total.result_plan.decode(joined(response.ret)).value == -1
    assert caught == ["RxUnbound"]


# ---------------------------------------------------------------- other handlers


@pytest.mark.rule("rpc.handler", "rpc.session-setup")
async def test_anything_with_a_handle_method_serves(nursery: trio.Nursery) -> None:
    class ByHand:
        async def handle(self, call: Any, reply: Any) -> None:
            assert call.method_id == 77
            await reply.send(b"\x00" + bytes(joined(call.args)))

    session, _ = await sessions(nursery, ByHand())
    payload = Payload(rpc_plan(tuple[str]), ("hi",))
    response = await session.caller.call(77, payload)
    assert bytes(joined(response.ret)) == b"\x00\x02hi"


@pytest.mark.parametrize("wrong", [Shouting(), object(), Dispatcher, "handler"])
@pytest.mark.parametrize("side", [initiator, acceptor])
async def test_what_has_no_handle_method_is_refused_before_the_session(
    side: Callable[..., Any], wrong: Any
) -> None:
    link, _ = link_to_peer()
    remedy = (
        r"^expected a Handler, got .*; dispatcher\(Adder, AdderImpl\(\)\) makes one"
    )
    with pytest.raises(TypeError, match=remedy):
        side(link).open(wrong)
    with pytest.raises(TypeError, match=remedy):
        await side(link).run(wrong)
