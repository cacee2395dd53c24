"""What mypy and pyright, both strict, have to accept. Nothing here is run."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, assert_type

import attrs
import cattrs
import msgspec
import numpy as np
import trio
from numpy.typing import NDArray
from pydantic import BaseModel

from roam_trio import (
    AcceptedConnection,
    AnyCall,
    AnySession,
    Array,
    Backing,
    BareConduit,
    BoxSessionFuture,
    Call,
    Caller,
    ChannelId,
    Conduit,
    ConduitAcceptor,
    Connection,
    ConnectionAcceptor,
    ConnectionId,
    ConnectionPhase,
    ConnectionSettings,
    Credit,
    Dispatcher,
    Driver,
    DynamicClient,
    Fallible,
    Handler,
    Health,
    HealthState,
    IntoConduit,
    LastingSession,
    Length,
    Limits,
    Link,
    LinkRx,
    Message,
    MessageFamily,
    Metadata,
    MetadataEntry,
    MetadataFlags,
    MethodDescriptor,
    MethodId,
    Observer,
    Peer,
    Proceed,
    RemoteServices,
    ReplySink,
    RequestCall,
    RequestId,
    Resolver,
    ResponseParts,
    Retry,
    Rx,
    SelfRef,
    Server,
    ServiceDescriptor,
    Session,
    ShapedFamily,
    SinkCall,
    StableConduitAcceptor,
    Tx,
    UnknownMethod,
    UserError,
    acceptor,
    channel,
    client,
    connect,
    current_call,
    describe,
    describe_remote,
    dispatcher,
    dynamic,
    f32,
    facet,
    facet_postcard,
    hash,
    i32,
    i64,
    initiator,
    joined,
    memory_link_pair,
    open_call,
    register_wire_type,
    rpc_plan,
    serve,
    service,
    serving,
    spawn,
    state,
    stay_connected,
    transports,
    u8,
    u32,
    with_metadata,
)
from roam_trio.contrib import asyncio as on_asyncio
from roam_trio.contrib.numpy import ArrayOf
from roam_trio.contrib.pydantic import register_models
from roam_trio.endpoints.lasting.balancing import Phase
from roam_trio.endpoints.lasting.opening import LastingConnection
from roam_trio.endpoints.lasting.staying import LastingState, StayingConnected
from roam_trio.testing import ConnectService


class MathError(enum.Enum):
    DIVISION_BY_ZERO = "DivisionByZero"


@attrs.define
class NotFound(Exception):
    key: str


class Point(msgspec.Struct, frozen=True):
    x: i32
    y: f32


@service
class Adder(Protocol):
    """A service with one method of every kind."""

    async def add(self, left: u32, right: u32 = 1) -> u32: ...
    async def divide(self, a: i64, b: i64) -> Fallible[i64, MathError]: ...
    async def find(self, key: str) -> Fallible[Point, NotFound]: ...
    async def sum(self, numbers: Rx[i32]) -> i64: ...
    async def generate(self, count: u32, output: Tx[i32]) -> None: ...
    async def fast(self, output: Annotated[Tx[Point], Credit(256)]) -> None: ...
    async def digest(self, data: Annotated[bytes, Length(16)]) -> Array[u8, Literal[4]]:
        """A method may be documented below its signature."""
        ...


class AdderImpl:
    """No base class is needed, and the wire types need not be repeated."""

    async def add(self, left: int, right: int = 1) -> int:
        return left + right

    async def divide(self, a: int, b: int) -> int:
        if b == 0:
            raise UserError(MathError.DIVISION_BY_ZERO)
        return a // b

    async def find(self, key: str) -> Point:
        if not key:
            raise NotFound(key)
        return Point(1, 2.5)

    async def sum(self, numbers: Rx[int]) -> int:
        total = 0
        async for number in numbers:
            assert_type(number, int)
            total += number
        return total

    async def generate(self, count: int, output: Tx[int]) -> None:
        async with output:
            for number in range(count):
                await output.send(number)

    async def fast(self, output: Tx[Point]) -> None:
        await output.send(Point(1, 2))

    async def digest(self, data: bytes) -> list[int]:
        return list(data[:4])


class Replying(AdderImpl):
    """Answers explicitly."""

    async def add(self, left: int, right: int = 1) -> int:
        call: Call[int, MathError] = current_call()
        call.response_metadata = {"cache": "hit"}
        assert_type(call.metadata, Metadata)
        return await call.ok(left + right)

    async def divide(self, a: int, b: int) -> int:
        call: Call[int, MathError] = current_call()
        if b == 0:
            await call.err(MathError.DIVISION_BY_ZERO)
            await call.reply(UserError(MathError.DIVISION_BY_ZERO))
        await call.reply(a // b)
        return 0


class Inheriting(Adder):
    """The service can be the base class, too; wire types are plain types."""

    async def add(self, left: u32, right: u32 = 1) -> u32:
        return left + right


# A dispatcher takes any object: annotate the handler to have it checked.
handler: Adder = AdderImpl()
replying: Adder = Replying()
answering = dispatcher(Adder, handler)
assert_type(answering, Dispatcher)
as_handler: Handler = answering


class ByHand:
    async def handle(self, call: object, reply: object) -> None: ...


by_hand: Handler = ByHand()


class Answering:
    """Without a dispatcher."""

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        method = describe(Adder).by_id(call.method_id)
        if method is None:
            await reply.send_error(UnknownMethod())
            return
        a, b = method.args_plan.decode(joined(call.args))
        answer: SinkCall[int, MathError] = SinkCall(reply, method)
        answer.response_metadata = {"by": "hand"}
        if b:
            assert_type(await answer.ok(a // b), int)
        elif a:
            await answer.err(MathError.DIVISION_BY_ZERO)
        else:
            await answer.refuse(UnknownMethod())
            await reply.send_error(UserError(MathError.DIVISION_BY_ZERO), MathError)


answering_by_hand: Handler = Answering()


async def use_server() -> None:
    async with trio.open_nursery() as nursery:
        server: Server = await nursery.start(serve, "tcp://127.0.0.1:0", answering)
        async with connect(server.url, Adder) as adder:
            assert_type(adder, Adder)
            assert_type(await adder.add(3, 5), int)
            assert_type(await adder.add(left=3), int)
            assert_type(await adder.divide(7, 2), int)
            assert_type(await adder.find("key"), Point)
            assert_type(await adder.digest(b"\0" * 16), list[int])
        limits = Limits(max_payload=1024)
        async with connect(server.url, Adder, answering, limits=limits) as adder:
            nursery.start_soon(adder.add, 1, 2)


async def use_several_urls() -> None:
    urls = ["unix:///run/adder.sock", "tcp://127.0.0.1:7000"]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, urls, answering)
        async with connect(urls, Adder, wait_for=1.5) as adder:
            assert_type(adder, Adder)
        async with connect(urls) as session:
            assert_type(session, Session)
        async with spawn(["adder-server"], Adder, grace=1) as adder:
            assert_type(adder, Adder)
        async with spawn(["adder-server"]) as session:
            assert_type(session, Session)
    link: Link = await transports.dialer(urls)()
    del link


async def open_calls(adder: Adder) -> None:
    async with open_call(adder.sum) as summing:
        await summing.tx.send(3)
        await summing.tx.send_many([1, 2])
        assert_type(summing.tx, Tx[int])
        assert_type(await summing.result(), int)
    async with open_call(adder.generate, 3) as generating:
        assert_type(generating.rx, Rx[int])
        async for number in generating.rx:
            assert_type(number, int)
        assert_type(await generating.result(), None)
    async with open_call(adder.fast) as fast:
        assert_type(await fast.rx.recv_many(), list[Point])
    async with open_call(adder.add, 1, right=2) as adding:
        assert_type(await adding.result(), int)
    tx, _ = channel[int]()
    async with open_call(adder.generate, 3, tx) as given:
        assert_type(await given.result(), None)


async def use_lasting(urls: list[str], resolver: Resolver) -> None:
    assert_type(stay_connected(resolver, Adder), StayingConnected[Adder])
    retry = Retry(attempts=2)
    staying = stay_connected(urls, Adder, name="adder", retry=retry, resume=True)
    async with staying as adder:
        assert_type(await adder.add(3, 5), int)
        assert_type(state(adder), LastingState)
    async with stay_connected(urls, balance="least busy", sessions=2) as session:
        assert_type(session, LastingSession)
        assert_type(state(session).endpoints[0].phase, Phase)
        async with session.open(Adder) as adder:
            assert_type(adder, Adder)
        opening = session.open(Adder, "adder", reopen=True, handler=answering)
        assert_type(opening, LastingConnection[Adder])
        async with opening as adder, open_call(adder.generate, 3) as call:
            assert_type(await call.rx.recv(), int)


async def use_channels(adder: Adder) -> None:
    tx, rx = channel[int]()
    assert_type(tx, Tx[int])
    assert_type(rx, Rx[int])
    points_tx, points_rx = channel(Point)
    assert_type(points_rx, Rx[Point])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(adder.fast, points_tx)
        nursery.start_soon(adder.sum, rx)
        async with tx:
            await tx.send(3)
        assert_type(await points_rx.recv(), Point)
        async for point in points_rx:
            assert_type(point.y, float)
    await tx.send_many([1, 2])
    await tx.send_many(number for number in range(3))
    tx.send_nowait(4)
    assert_type(await points_rx.recv_many(), list[Point])
    assert_type(await points_rx.recv_many(10), list[Point])
    assert_type(points_rx.receive_nowait(), Point)
    assert_type(tx.clone(), Tx[int])
    assert_type(points_rx.clone(), Rx[Point])
    assert_type(tx.statistics().credit, int | None)
    sending: trio.abc.SendChannel[int] = tx
    receiving: trio.abc.ReceiveChannel[int] = rx
    del sending, receiving


class OwnRx(LinkRx):
    """Hands out views."""

    async def recv(self) -> memoryview | None:
        return memoryview(b"payload")

    def recv_nowait(self) -> bytes:
        return b"payload"


async def use_borrowing(points: Rx[Point], rx: LinkRx) -> None:
    borrowed = await points.recv_borrowed()
    assert_type(borrowed, SelfRef[Point])
    assert_type(borrowed.map(lambda point: point.y), SelfRef[float])
    assert_type(borrowed.backing, bytes | memoryview)
    payload: Backing | None = await rx.recv()
    if payload is not None:
        assert_type(rpc_plan(Point).borrow(payload).value, Point)


async def use_own_messages(link: Link) -> None:
    family = ShapedFamily(Point)
    assert_type(family, ShapedFamily[Point])
    tx, rx = BareConduit(link, family).split()
    (await tx.reserve()).send(Point(1, 2))
    assert_type(await rx.recv(), Point | None)
    union: ShapedFamily[Point | str] = ShapedFamily(Point | str, filler="")
    assert_type(union.decode(b""), Point | str)


class Accepting:
    """Ids come typed; one who does not care takes numbers."""

    async def accept(
        self,
        connection_id: ConnectionId,
        settings: ConnectionSettings,
        metadata: object,
    ) -> AcceptedConnection:
        assert_type(ConnectionId.has_parity(connection_id, settings.parity), bool)
        assert_type(ConnectionId.is_root(connection_id), bool)
        return AcceptedConnection()


class AcceptingNumbers:
    async def accept(
        self, connection_id: int, settings: ConnectionSettings, metadata: object
    ) -> AcceptedConnection:
        return AcceptedConnection()


accepting: list[ConnectionAcceptor] = [Accepting(), AcceptingNumbers()]


class Watching(Observer):
    def session_opened(self, session: AnySession) -> None:
        assert_type(session.peer, Peer)

    def connection_closed(self, connection: Connection, because: BaseException) -> None:
        assert_type(connection.session.peer.address, str)


async def timed(call: AnyCall, proceed: Proceed) -> Any:
    return await proceed()


async def welcome(peer: Peer) -> Handler | Mapping[str, Handler] | None:
    return None if peer.certificate else {}


async def welcome_all(peer: Peer) -> None:
    peer.identity = peer.metadata.get("user")


async def use_hooks(acceptor: ConnectionAcceptor, handler: Handler) -> None:
    serving_by_name = serving(
        "tcp://:0",
        {"adder": handler},
        on_session=welcome,
        on_connection=acceptor,
        middleware=[timed],
        observer=Watching(),
        grace=1.5,
    )
    async with serving_by_name as server:
        assert_type(server, Server)
        server.offer("other", handler)
        server.withdraw("other")
    async with serving("tcp://:0", handler, on_session=welcome_all):
        pass
    connecting = connect(
        "tcp://:1", Adder, middleware=[timed], metadata_for_calls={"token": "x"}
    )
    async with connecting as adder:
        assert_type(adder, Adder)
    async with connect("tcp://:1", observer=Watching()) as session:
        assert_type(session.peer, Peer)
        async with session.open(Adder, middleware=[timed]) as adder:
            assert_type(adder, Adder)


async def use_connection_of_call() -> None:
    connection = current_call().connection
    assert_type(connection, Connection)
    connection.start_soon(trio.sleep, 1)
    back = client(Adder, connection.caller)
    assert_type(back, Adder)
    async with connection.session.open(Adder) as other:
        assert_type(other, Adder)


async def use_ids(session: Session, call: RequestCall, caller: Caller) -> None:
    assert_type(call.connection_id, ConnectionId)
    assert_type(call.request_id, RequestId)
    assert_type(call.method_id, MethodId)
    assert_type(call.channels, tuple[ChannelId, ...])
    session.close_connection(call.connection_id)
    session.close_connection(ConnectionId(3))
    number: int = call.request_id
    response = await caller.call(describe(Adder).methods[0].id, b"")
    assert_type(response.request_id, RequestId)
    assert_type(ConnectionId.ROOT, ConnectionId)
    assert_type(ChannelId.RESERVED, ChannelId)
    assert_type(hash.method_id("Adder", "add", b""), MethodId)
    del number


async def use_metadata(adder: Adder) -> None:
    parts = await with_metadata(adder.add, {"trace-id": "abc"})(3, right=5)
    assert_type(parts, ResponseParts[int])
    assert_type(parts.value, int)
    assert_type(parts.metadata, Metadata)
    entries = [MetadataEntry("token", b"secret", MetadataFlags.SENSITIVE)]
    found = await with_metadata(adder.find, entries)("key")
    assert_type(found.value, Point)
    assert_type(found.metadata.get("a"), str | bytes | int | None)


async def use_sessions() -> None:
    near, far = memory_link_pair(8)
    link: Link = near
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(far).run, answering)
        async with initiator(link).open() as session:
            assert_type(session, Session)
            caller: Caller = session.caller
            adder = client(Adder, caller)
            assert_type(adder, Adder)
            assert_type(await adder.add(1, 2), int)


class Address:
    """Makes a conduit of itself."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def into_conduit(self) -> Conduit[Message]:
        return BareConduit(self.link, MessageFamily())


async def use_whatever_makes_a_conduit(link: Link, nursery: trio.Nursery) -> None:
    conduit = BareConduit(link, MessageFamily())
    ones: list[IntoConduit] = [Address(link), conduit]
    initiator(ones[0])
    acceptor(conduit.into_conduit())
    initiator(link)


class Incoming(ConduitAcceptor[Message]):
    """Serves the links of a channel."""

    def __init__(self, links: trio.MemoryReceiveChannel[Link]) -> None:
        self.links = links

    async def accept(self) -> Conduit[Message]:
        return BareConduit(await self.links.receive(), MessageFamily())


async def use_acceptors(
    links: trio.MemoryReceiveChannel[Link], nursery: trio.Nursery
) -> None:
    nursery.start_soon(serve, Incoming(links), answering)
    accepting = StableConduitAcceptor(MessageFamily())
    nursery.start_soon(serve, accepting, answering)
    nursery.start_soon(accepting.attach, await links.receive())
    assert_type(await accepting.accept(), Conduit[Message])


async def use_spawn(link: Link, nursery: trio.Nursery) -> None:
    def start(run: BoxSessionFuture) -> None:
        nursery.start_soon(run)

    session = await initiator(link, spawn=nursery.start_soon).establish(answering)
    assert_type(session, Session)
    await acceptor(link, spawn=start).establish()
    await acceptor(link).establish(spawn=trio.lowlevel.spawn_system_task)
    state = session.root.state
    assert_type(state.id, ConnectionId)
    assert_type(state.settings, ConnectionSettings)
    assert_type(state.peer_settings, ConnectionSettings)
    assert_type(session.root.phase, ConnectionPhase)
    driver = Driver(session.root, answering)
    nursery.start_soon(driver.run)
    assert_type(client(Adder, driver.caller), Adder)


class Celsius:
    def __init__(self, degrees: float) -> None:
        self.degrees = degrees


def warmth(value: Celsius) -> float:
    return value.degrees


register_wire_type(Celsius, f32, unstructure=warmth, structure=Celsius)
register_wire_type(Celsius, f32, converter=cattrs.Converter())


async def look_around(session: Session) -> None:
    remote = await describe_remote(session, most_bytes=1024)
    assert_type(remote, RemoteServices)
    assert_type(remote["shop"], ServiceDescriptor)
    async with dynamic(session, "shop", remote) as shop:
        assert_type(shop, DynamicClient)
    async with session.open(Health) as health:
        assert_type(await health.state(""), HealthState)
        async with open_call(health.watch, "shop") as call:
            assert_type(await call.rx.recv(), HealthState)


encoded: Sequence[bytes | memoryview] = rpc_plan(Point).encode(Point(1, 2))
assert_type(rpc_plan(Point).decode(b""), Point)
assert_type(facet_postcard.from_bytes(Point, b""), Point)
assert_type(facet_postcard.to_bytes(Point, Point(1, 2)), bytes)
assert_type(facet_postcard.to_bytes(Annotated[int, Length(1)], 1), bytes)
assert_type(facet.shape_of(Point), facet.Shape)
assert_type(describe(Adder), ServiceDescriptor)
by_name = hash.method_descriptor("Adder", "add", {"left": u32}, Fallible[u32, Point])
assert_type(by_name, MethodDescriptor)
assert_type(by_name.args_plan.encode((3,)), list[bytes | memoryview])
tag: int = hash.sig.STRUCT


async def use_from_asyncio(impl: AdderImpl) -> None:
    handler = on_asyncio.dispatcher(Adder, impl)
    async with on_asyncio.serving("tcp://127.0.0.1:0", handler, grace=1) as server:
        assert_type(server, on_asyncio.Server)
        async with on_asyncio.connect(server.url, Adder, cancel_grace=1) as adder:
            assert_type(adder, Adder)
            assert_type(await adder.add(3, 5), int)
            tx, rx = on_asyncio.channel[int]()
            assert_type(tx, on_asyncio.Tx[int])
            assert_type(await rx.recv(), int)
            async for number in rx:
                assert_type(number, int)
            await tx.send_many([1, 2])
        adder = await on_asyncio.connect(server.url, Adder)
        assert_type(adder, Adder)
        await on_asyncio.aclose(adder)
        async with on_asyncio.stay_connected(server.url, Adder, sessions=2) as lasting:
            assert_type(lasting, Adder)
        session = await on_asyncio.connect(server.url)
        assert_type(session, on_asyncio.Session)
        async with session.open(Adder) as adder:
            assert_type(adder, Adder)
        assert_type(await on_asyncio.in_trio(session.ping), float)


class Model(BaseModel):
    number: u32


@service
class Neighbours(Protocol):
    async def model(self, model: Model) -> Fallible[Model, NotFound]: ...
    async def scale(
        self, array: Annotated[NDArray[np.float32], ArrayOf(shape=(None, 3))]
    ) -> Annotated[NDArray[np.float64], ArrayOf("f8")]: ...


async def use_neighbours(connect_service: ConnectService, handler: object) -> None:
    register_models()
    neighbours = await connect_service(Neighbours, handler, identity="ada")
    assert_type(neighbours, Neighbours)
    assert_type(await neighbours.model(Model(number=3)), Model)
    array = np.zeros((2, 3), np.float32)
    assert_type(await neighbours.scale(array), NDArray[np.float64])
