"""roam_trio, as a user writes it: a service, a handler, `serve` and `connect`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from typing import Annotated, Any, ClassVar, Final, Protocol, cast

import msgspec
import trio

from roam_trio import (
    AnyCall,
    Credit,
    Limits,
    Proceed,
    Rx,
    Session,
    Tx,
    channel,
    connect,
    dispatcher,
    serve,
    service,
    u32,
    u64,
    with_metadata,
)
from roam_trio.metadata import MetadataLike

from .base import (
    ADDEND,
    IN_FLIGHT,
    TRACE,
    Adapter,
    CallsWith,
    Client,
    Connect,
    Receipt,
    Row,
    Send,
    WrongAnswer,
    check_echo,
    check_sum,
    mix,
    receipt_for,
)
from .loops import run_trio
from .telemetry import telemetry_of, traced

__all__ = [
    "LaterClient",
    "LaterWorkplace",
    "RoamAdapter",
    "RoamBusyAdapter",
    "RoamClient",
    "RoamPureAdapter",
    "RoamRecord",
    "RoamResumingAdapter",
    "Workplace",
    "WorkplaceHandler",
    "do_nothing_around",
]

_MANY = 20_000

_LONG = 60
"""Number of seconds for each call; none takes so long."""

_AT_ONCE = 64
"""Number of items given to each `Tx.send_many`."""

_LIMITS = Limits(
    session_tasks=20_000,
    connections=_MANY,
    channels=_MANY,
    max_payload=128 * 1024 * 1024,
)
"""More than by default, for the works that open many or send what is large."""


class RoamRecord(msgspec.Struct):
    """The five fields."""

    number: u32
    name: str
    score: float
    active: bool
    note: str


@service
class Workplace(Protocol):
    """All the works, with what is sent for each of them."""

    async def add(self, left: u32, right: u32) -> u32: ...

    async def add_or_wait(self, left: u32, right: u32) -> u32: ...

    async def take_16(self, items: Rx[u64]) -> tuple[u64, u64]: ...

    async def take(self, items: Annotated[Rx[u64], Credit(256)]) -> tuple[u64, u64]: ...

    async def take_many(
        self, items: Annotated[Rx[u64], Credit(256)]
    ) -> tuple[u64, u64]: ...

    async def give(
        self, count: u64, items: Annotated[Tx[u64], Credit(256)]
    ) -> None: ...

    async def give_back(
        self,
        items: Annotated[Rx[u64], Credit(256)],
        back: Annotated[Tx[u64], Credit(256)],
    ) -> None: ...

    async def echo(self, data: bytes) -> bytes: ...

    async def swap(self, records: list[RoamRecord]) -> list[RoamRecord]: ...


@service(name="Workplace")
class LaterWorkplace(Protocol):
    """Another version, which a client has."""

    async def add(self, right: u32, left: u32, unit: str) -> u64: ...


class WorkplaceHandler:
    """Does the works."""

    async def add(self, left: int, right: int) -> int:
        return left + right

    async def add_or_wait(self, left: int, right: int) -> int:
        if left < 0:  # never, but that it might wait is why it needs a task
            await trio.sleep_forever()
        return left + right

    async def take_16(self, items: Rx[int]) -> tuple[int, int]:
        return await _receive(items)

    take = take_16

    async def take_many(self, items: Rx[int]) -> tuple[int, int]:
        count = checksum = 0
        with suppress(trio.EndOfChannel):
            while True:
                for item in await items.recv_many():
                    count += 1
                    checksum = mix(checksum, item)
        return Receipt(count, checksum)

    async def give(self, count: int, items: Tx[int]) -> None:
        async with items:
            for number in range(count):
                await items.send(number)

    async def give_back(self, items: Rx[int], back: Tx[int]) -> None:
        async with back:
            async for item in items:
                await back.send(item)

    async def echo(self, data: bytes) -> bytes:
        return data

    async def swap(self, records: list[RoamRecord]) -> list[RoamRecord]:
        return records


async def _receive(items: Rx[int]) -> Receipt:
    count = checksum = 0
    async for item in items:
        count += 1
        checksum = mix(checksum, item)
    return Receipt(count, checksum)


async def do_nothing_around(call: AnyCall, proceed: Proceed) -> Any:
    """Middleware that does nothing."""
    return await proceed()


class RoamClient(Client):
    """Does the works through a client of `Workplace`, or anything like it.

    Args:
        workplace: the client.
        by_name: the URL where the service is offered by name.
        resume: whether sessions there outlive their links.
        others: how to connect for the works that need a session of their own.
    """

    def __init__(
        self,
        workplace: Workplace,
        by_name: str | None = None,
        *,
        resume: bool = False,
        others: Mapping[CallsWith, Connect] | None = None,
    ) -> None:
        self._workplace = workplace
        self._by_name = by_name
        self._resume = resume
        self._others = others or {}

    async def calls(self, count: int, *, can_wait: bool) -> None:
        add = self._workplace.add_or_wait if can_wait else self._workplace.add
        for number in range(count):
            check_sum(await add(number, ADDEND), number)

    async def calls_in_flight(self, count: int, *, can_wait: bool) -> None:
        add = self._workplace.add_or_wait if can_wait else self._workplace.add
        numbers = iter(range(count))

        async def call_and_call_again() -> None:
            for number in numbers:
                check_sum(await add(number, ADDEND), number)

        async with trio.open_nursery() as nursery:
            for _ in range(IN_FLIGHT):
                nursery.start_soon(call_and_call_again)

    def calling_with(self, what: CallsWith) -> AbstractAsyncContextManager[Client]:
        if what in self._others:
            return self._others[what]()
        return nullcontext(_CLIENTS[what](self._workplace))

    async def items(self, count: int, credit: int) -> Receipt:
        take = {16: self._workplace.take_16, 256: self._workplace.take}[credit]
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, tx, count)
            return Receipt(*await take(rx))

    async def items_many(self, count: int, credit: int) -> Receipt:
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_many, tx, count)
            return Receipt(*await self._workplace.take_many(rx))

    async def items_back(self, count: int, credit: int) -> Receipt:
        tx, rx = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._workplace.give, count, tx)
            return await _receive(rx)

    async def items_both(self, count: int, credit: int) -> Receipt:
        tx, rx = channel[int]()
        tx_back, rx_back = channel[int]()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._workplace.give_back, rx, tx_back)
            nursery.start_soon(_send, tx, count)
            return await _receive(rx_back)

    async def echoes(self, blocks: Sequence[bytes], count: int) -> None:
        for turn in range(count):
            block = blocks[turn % len(blocks)]
            check_echo(await self._workplace.echo(block), block, turn)

    def records_of(self, rows: Sequence[Row]) -> list[RoamRecord]:
        return [RoamRecord(*row) for row in rows]

    async def swap(self, records: object) -> list[RoamRecord]:
        assert isinstance(records, list)
        return await self._workplace.swap(records)

    def rows_of(self, answer: object) -> Sequence[Row]:
        assert isinstance(answer, list)
        return [Row(*msgspec.structs.astuple(record)) for record in answer]

    @asynccontextmanager
    async def channels(self, count: int) -> AsyncIterator[Sequence[Send]]:
        sent = [0] * count
        receipts: list[Receipt | None] = [None] * count

        async def take(place: int, rx: Rx[int]) -> None:
            receipts[place] = Receipt(*await self._workplace.take_16(rx))

        def sender(place: int, tx: Tx[int]) -> Send:
            async def send(item: int) -> None:
                await tx.send(item)
                sent[place] += 1

            return send

        async with trio.open_nursery() as nursery:
            pairs = [channel[int]() for _ in range(count)]
            for place, (_, rx) in enumerate(pairs):
                nursery.start_soon(take, place, rx)
            yield [sender(place, tx) for place, (tx, _) in enumerate(pairs)]
            for tx, _ in pairs:
                tx.close()
        if receipts != [receipt_for(number) for number in sent]:
            raise WrongAnswer("items of some channel are not those that were sent")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connect]:
        assert self._by_name is not None, "there is no server for it"
        async with connect(
            self._by_name, limits=_LIMITS, resume=self._resume
        ) as session:
            yield partial(_open_connection, session)


class LaterClient(RoamClient):
    """A client with another version of the service.

    Args:
        later: the client of it.
    """

    def __init__(self, later: LaterWorkplace) -> None:
        super().__init__(cast("Workplace", later))
        self._later = later

    async def calls(self, count: int, *, can_wait: bool) -> None:
        add = self._later.add
        for number in range(count):
            check_sum(await add(ADDEND, number, "none"), number)


class _WithDeadline(RoamClient):
    async def calls(self, count: int, *, can_wait: bool) -> None:
        add = self._workplace.add
        for number in range(count):
            with trio.fail_after(_LONG):
                check_sum(await add(number, ADDEND), number)


class _WithEntry(RoamClient):
    metadata: ClassVar[Mapping[str, str | int]] = {"tenant": "blue"}

    async def calls(self, count: int, *, can_wait: bool) -> None:
        add = with_metadata(self._workplace.add, self.metadata)
        for number in range(count):
            check_sum((await add(number, ADDEND)).value, number)


class _WithEntries(_WithEntry):
    metadata: ClassVar[Mapping[str, str | int]] = {
        "tenant": "blue",
        "trace-id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "attempt": 1,
    }


_CLIENTS: Final = {
    CallsWith.ONE_ENTRY: _WithEntry,
    CallsWith.THREE_ENTRIES: _WithEntries,
    CallsWith.DEADLINE: _WithDeadline,
}


@asynccontextmanager
async def _open_connection(session: Session) -> AsyncIterator[Client]:
    async with session.open(Workplace, name="workplace") as workplace:
        yield RoamClient(workplace)


async def _send(tx: Tx[int], count: int) -> None:
    async with tx:
        for number in range(count):
            await tx.send(number)


async def _send_many(tx: Tx[int], count: int) -> None:
    async with tx:
        for first in range(0, count, _AT_ONCE):
            await tx.send_many(range(first, min(first + _AT_ONCE, count)))


class RoamAdapter(Adapter):
    """roam_trio over TCP on loopback."""

    workplace: ClassVar[Callable[..., Workplace]] = Workplace
    """The class of the client that has the works."""

    name: ClassVar[str] = "roam_trio"
    packages: ClassVar[Sequence[str]] = (
        "roam-trio",
        "trio",
        "msgspec",
        "attrs",
        "cattrs",
    )
    lacks: ClassVar[Mapping[str, str]] = {}
    resume: ClassVar[bool] = False
    busy_poll: ClassVar[float | None] = None

    def serve(self, started: Callable[[str], None]) -> None:
        async def run() -> None:
            handler = dispatcher(Workplace, WorkplaceHandler())
            async with trio.open_nursery() as nursery:
                serve_widely = partial(
                    serve,
                    limits=_LIMITS,
                    resume=self.resume,
                    busy_poll=self.busy_poll,
                )
                server = await nursery.start(serve_widely, "tcp://127.0.0.1:0", handler)
                # The service on connections of its own, beside the one on the root.
                by_name = await nursery.start(
                    partial(serve_widely, max_concurrent_requests=_MANY),
                    "tcp://127.0.0.1:0",
                    {"workplace": handler},
                )
                around = await nursery.start(
                    serve_widely,
                    "tcp://127.0.0.1:0",
                    handler.with_middleware([do_nothing_around]),
                )
                telemetry, _ = telemetry_of(CallsWith.RECORDED)
                traced = await nursery.start(
                    serve_widely,
                    "tcp://127.0.0.1:0",
                    handler.with_middleware([telemetry.server]),
                )
                urls = (server.url, by_name.url, around.url, traced.url)
                started(" ".join(urls))

        trio.run(run)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Client]:
        # A server in Rust has nothing to put around calls.
        at_root, by_name, *around = address.split()
        async with connect(
            at_root,
            self.workplace,
            limits=_LIMITS,
            resume=self.resume,
            busy_poll=self.busy_poll,
        ) as workplace:
            yield RoamClient(
                workplace,
                by_name,
                resume=self.resume,
                others={
                    CallsWith.MIDDLEWARE: partial(self._connect_around, *around[:1]),
                    CallsWith.MIDDLEWARE_ENTRY: partial(
                        self._connect_around, *around[:1], metadata=TRACE
                    ),
                    CallsWith.RECORDED: partial(
                        self._connect_traced, CallsWith.RECORDED, *around[1:]
                    ),
                    CallsWith.UNSAMPLED: partial(
                        self._connect_traced, CallsWith.UNSAMPLED, *around[1:]
                    ),
                    CallsWith.SCOPE: partial(self._connect_without_deadlines, at_root),
                    CallsWith.VERSION: partial(self._connect_later, at_root),
                },
            )

    @asynccontextmanager
    async def _connect_without_deadlines(self, url: str) -> AsyncIterator[Client]:
        async with connect(
            url, Workplace, limits=_LIMITS, resume=self.resume, deadlines=False
        ) as workplace:
            yield _WithDeadline(workplace)

    @asynccontextmanager
    async def _connect_later(self, url: str) -> AsyncIterator[Client]:
        async with connect(
            url, LaterWorkplace, limits=_LIMITS, resume=self.resume
        ) as workplace:
            yield LaterClient(workplace)

    @asynccontextmanager
    async def _connect_around(
        self, url: str, metadata: MetadataLike = ()
    ) -> AsyncIterator[Client]:
        async with connect(
            url,
            Workplace,
            limits=_LIMITS,
            resume=self.resume,
            middleware=[do_nothing_around],
            metadata_for_calls=metadata,
        ) as workplace:
            yield RoamClient(workplace)

    @asynccontextmanager
    async def _connect_traced(self, what: CallsWith, url: str) -> AsyncIterator[Client]:
        async with (
            traced(what) as telemetry,
            connect(
                url,
                Workplace,
                limits=_LIMITS,
                resume=self.resume,
                middleware=[telemetry.client],
            ) as workplace,
        ):
            yield RoamClient(workplace)

    run = staticmethod(run_trio)


class RoamPureAdapter(RoamAdapter):
    """roam_trio without its extension in Rust, as it is without cargo."""

    name: ClassVar[str] = "roam_trio, pure"
    only: ClassVar[Sequence[str] | None] = (
        "call",
        "call-task",
        "in-flight",
        "in-flight-task",
        "items",
        "items-back",
        "items-many",
        "echo",
        "records",
        "connect",
    )


class RoamBusyAdapter(RoamAdapter):
    """roam_trio with sessions that look at their sockets before they wait."""

    name: ClassVar[str] = "roam_trio, busy_poll"
    only: ClassVar[Sequence[str] | None] = ("call", "call-task")
    remarks: ClassVar[Mapping[str, str]] = {
        work: "both sides look at their sockets for 100 us before they wait "
        "(busy_poll), which takes a processor each"
        for work in only or ()
    }
    busy_poll: ClassVar[float | None] = 100e-6


class RoamResumingAdapter(RoamAdapter):
    """roam_trio with sessions that outlive their links."""

    name: ClassVar[str] = "roam_trio, resuming"
    resume: ClassVar[bool] = True
