"""Sessions for tests: one with a scripted peer, or two with each other; and tasks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace, TracebackType
from typing import Annotated, Any, Generic, Protocol, TypeVar

import trio

from roam_trio import Rx, Tx, channel, client, dispatcher, service
from roam_trio.links.base import Link
from roam_trio.links.memory import memory_link_pair
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.rpc.handler import Handler, ReplySink
from roam_trio.schema import Credit, i32, i64, u8, u32
from roam_trio.service import Dispatcher, MethodDescriptor, describe
from roam_trio.session import Session, acceptor, initiator
from roam_trio.session.connection_run import ConnectionRun
from roam_trio.session.connection_table import Phase
from roam_trio.session.connections import Connections
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelItem,
    ConnectionSettings,
    Encoded,
    Hello,
    HelloYourself,
    RequestCall,
    RequestResponse,
    joined,
)
from tests.peer import Peer, link_to_peer

T = TypeVar("T")

OK = b"\x00"
"""The response of a method that returns nothing."""


@service
class Streams(Protocol):
    """Calls, and channels of every initial credit that matters."""

    async def add(self, left: u32, right: u32) -> u32: ...
    async def echo(self, text: str) -> str: ...
    async def count(self, numbers: list[u32]) -> u32: ...
    async def take(self, numbers: Rx[i32]) -> i64: ...
    async def give(self, upto: u32, output: Tx[i32]) -> None: ...
    async def both(self, numbers: Rx[i32], output: Tx[i32]) -> None: ...
    async def take_bytes(self, items: Rx[u8]) -> None: ...
    async def take_text(self, items: Rx[str]) -> None: ...
    async def take_0(self, numbers: Annotated[Rx[i32], Credit(0)]) -> None: ...
    async def take_1(self, numbers: Annotated[Rx[i32], Credit(1)]) -> None: ...
    async def take_2(self, numbers: Annotated[Rx[i32], Credit(2)]) -> None: ...
    async def take_16(self, numbers: Rx[i32]) -> None: ...
    async def take_200(self, numbers: Annotated[Rx[i32], Credit(200)]) -> None: ...
    async def give_0(self, output: Annotated[Tx[i32], Credit(0)]) -> None: ...
    async def give_1(self, output: Annotated[Tx[i32], Credit(1)]) -> None: ...
    async def give_2(self, output: Annotated[Tx[i32], Credit(2)]) -> None: ...
    async def give_200(self, output: Annotated[Tx[i32], Credit(200)]) -> None: ...


METHODS = {method.name: method for method in describe(Streams).methods}


def streams(**methods: Callable[..., Awaitable[Any]]) -> Dispatcher:
    """Answers `Streams` with these functions; the others are not to be called."""

    async def not_called(*args: Any) -> None:
        raise AssertionError(f"called with {args}")

    return dispatcher(
        Streams, SimpleNamespace(**{**dict.fromkeys(METHODS, not_called), **methods})
    )


class Custom:
    """A handler made of one function, which is called as `Handler.handle` is."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        answer: Coroutine[Any, Any, None] | None = self.function(call, reply)
        return answer


def caller_of(session: Session) -> Streams:
    """A client of `Streams`."""
    return client(Streams, session.caller)


def run_of(session: Session) -> ConnectionRun:
    """What runs the root connection, to see what it holds."""
    return session.root.connection_run


def connections_in(session: Session, *phases: Phase) -> set[int]:
    """Return the ids of the connections that are in one of these phases."""
    connections = session._run.connections
    assert isinstance(connections, Connections)
    entries = connections._table._entries._entries
    return {key for key, entry in entries.items() if entry.phase in phases}


def idle(session: Session) -> bool:
    """Return True if the root connection holds no call and no channel."""
    return repr(run_of(session)) == (
        "<ConnectionRun 0: 0 answering, 0 calling, 0 channels>"
    )


def call_of(
    method: str, request_id: int, *args: Any, channels: tuple[int, ...] = ()
) -> RequestCall:
    """A request of a method of `Streams`, as a peer makes it; for its channels, which
    come last, only the ids are given."""
    descriptor: MethodDescriptor = METHODS[method]
    tx, rx = channel[Any]()
    args += tuple(
        tx if a.name == "output" else rx for a in descriptor.args[len(args) :]
    )
    return RequestCall(
        0,
        request_id,
        descriptor.id,
        channels,
        NO_METADATA,
        b"".join(descriptor.args_plan.encode(args)),
    )


def response(request_id: int, ret: Encoded = OK) -> RequestResponse:
    """A response, as a peer makes it."""
    return RequestResponse(0, request_id, (), NO_METADATA, ret)


def item(channel_id: int, number: int) -> ChannelItem:
    """An item of a channel of `i32`, for numbers from -64 to 63."""
    return ChannelItem(
        0, channel_id, bytes([number * 2 if number >= 0 else -2 * number - 1])
    )


def number_in(message: ChannelItem) -> int:
    """What `item` was made of."""
    (byte,) = bytes(joined(message.item))
    return byte // 2 if byte % 2 == 0 else -(byte + 1) // 2


class WithPeer:
    """``async with WithPeer() as (session, peer):`` an initiator and a scripted peer.

    The peer leaves at the end of the block, and so the session ends without a wait.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        most: int = 64,
        buffer: int = 64,
        told: Metadata = NO_METADATA,
        **options: Any,
    ) -> None:
        self._link, self.peer = link_to_peer(buffer)
        self._most = most
        self._told = told
        self._opening = initiator(self._link, **options).open(handler)

    async def __aenter__(self) -> tuple[Session, Peer]:
        settings = ConnectionSettings(Parity.EVEN, self._most)
        await self.peer.say(HelloYourself(0, settings, self._told))
        session = await self._opening.__aenter__()
        await self.peer.hear(Hello)
        return session, self.peer

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.peer.leave()
        await self._opening.__aexit__(exc_type, exc, traceback)


async def join(
    nursery: trio.Nursery,
    handler: Handler | None = None,
    *,
    of_initiator: Handler | None = None,
    links: tuple[Link, Link] | None = None,
    buffer: int = 64,
    accepting: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Session, Session]:
    """Two sessions with each other: the initiator, and the acceptor with `handler`."""
    left, right = links or memory_link_pair(buffer)
    sessions: dict[str, Session] = {}

    async def start(name: str, run: Callable[..., Awaitable[None]], *args: Any) -> None:
        sessions[name] = await nursery.start(run, *args)

    async with trio.open_nursery() as starting:
        starting.start_soon(start, "left", initiator(left, **options).run, of_initiator)
        builder = acceptor(right, **(accepting or {}))
        starting.start_soon(start, "right", builder.run, handler)
    return sessions["left"], sessions["right"]


class Task(Generic[T]):
    """A function in a task of its own, which can be cancelled and asked how it went."""

    def __init__(
        self,
        nursery: trio.Nursery,
        function: Callable[..., Awaitable[T]],
        *args: Any,
    ) -> None:
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._results: list[T] = []
        self.error: BaseException | None = None
        nursery.start_soon(self._run, function, args)

    async def _run(
        self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]
    ) -> None:
        try:
            with self._scope:
                awaitable = function(*args)
                del args
                self._results.append(await awaitable)
        except Exception as error:
            self.error = error
        finally:
            self._ended.set()

    @property
    def is_done(self) -> bool:
        return self._ended.is_set()

    @property
    def was_cancelled(self) -> bool:
        return self._scope.cancelled_caught

    def cancel(self) -> None:
        self._scope.cancel()

    async def result(self) -> T:
        """Wait for what the function returns or raises."""
        await self._ended.wait()
        if self.error is not None:
            raise self.error
        assert self._results, "the task was cancelled"
        return self._results[0]
