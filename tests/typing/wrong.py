"""What mypy and pyright, both strict, have to refuse. Nothing here is run.

Every line that is wrong ends with a comment that silences both checkers, so that this
file passes as the others do. `test_checkers.py` takes the comments away, and compares
the lines with those that the checkers then refuse.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import trio

from roam_trio import (
    BareConduit,
    BareConduitAcceptor,
    Call,
    Caller,
    ConduitAcceptor,
    Driver,
    Link,
    Message,
    MessageFamily,
    Metadata,
    Parity,
    Peer,
    ReplySink,
    RequestCall,
    Rx,
    Session,
    ShapedFamily,
    SinkCall,
    Tx,
    UserError,
    acceptor,
    channel,
    client,
    connect,
    current_call,
    describe,
    dispatcher,
    facet_postcard,
    hash,
    initiator,
    memory_link_pair,
    open_call,
    rpc_plan,
    serve,
    serving,
    stay_connected,
    with_metadata,
)
from roam_trio.contrib import asyncio as on_asyncio
from roam_trio.contrib.numpy import ArrayOf

from .right import Adder, AdderImpl, MathError, Neighbours, Point, answering


async def wrong_calls(adder: Adder) -> None:
    await adder.add("3", 5)  # type: ignore[arg-type]
    await adder.add(3, 5, 7)  # type: ignore[call-arg]
    await adder.add(first=3)  # type: ignore[call-arg]
    await adder.subtract(3, 5)  # type: ignore[attr-defined]
    text: str = await adder.add(3, 5)  # type: ignore[assignment]
    quotient: Point = await adder.divide(3, 5)  # type: ignore[assignment]
    del text, quotient


async def wrong_channels(adder: Adder) -> None:
    tx, rx = channel[int]()
    texts_tx, texts_rx = channel[str]()
    await tx.send("3")  # type: ignore[arg-type]
    await adder.sum(tx)  # type: ignore[arg-type]
    await adder.sum(texts_rx)  # type: ignore[arg-type]
    await adder.fast(texts_tx)  # type: ignore[arg-type]
    number: str = await rx.recv()  # type: ignore[assignment]
    del number


async def wrong_connections() -> None:
    async with connect("tcp://127.0.0.1:1", Adder) as adder:
        await adder.add(None)  # type: ignore[arg-type]
    async with connect("tcp://127.0.0.1:1", Adder, AdderImpl()):  # type: ignore[call-overload]
        pass
    connect(7000, Adder)  # type: ignore[call-overload]
    near, _ = memory_link_pair(8)
    async with initiator(near).open() as session:
        client(Adder, session)  # type: ignore[arg-type]
        await client(Adder, session.caller).add(b"3")  # type: ignore[arg-type]
    await serve("tcp://127.0.0.1:0", AdderImpl())  # type: ignore[arg-type]


class AlmostConduit:
    def into_conduit(self) -> str:
        return "tcp://127.0.0.1:1"


class AcceptsLinks(ConduitAcceptor[Message]):
    async def accept(self) -> Link:  # type: ignore[override]
        return memory_link_pair(8)[0]


async def wrong_acceptors() -> None:
    accepting = BareConduitAcceptor(MessageFamily())
    await serve(3, dispatcher(Adder, AdderImpl()))  # type: ignore[arg-type]
    await serve(memory_link_pair(8)[0], answering)  # type: ignore[arg-type]
    await accepting.attach("tcp://127.0.0.1:1")  # type: ignore[arg-type]


async def wrong_sessions(nursery: trio.Nursery) -> None:
    near, _ = memory_link_pair(8)
    initiator("tcp://127.0.0.1:1")  # type: ignore[arg-type]
    acceptor(AlmostConduit())  # type: ignore[arg-type]
    initiator(BareConduit)  # type: ignore[arg-type]
    initiator(near, spawn=nursery)  # type: ignore[arg-type]
    await acceptor(near).establish(spawn=3)  # type: ignore[arg-type]
    session = await initiator(near).establish(spawn=nursery.start_soon)
    session.root.state.settings = session.root.settings  # type: ignore[misc]
    Driver(session, dispatcher(Adder, AdderImpl()))  # type: ignore[arg-type]
    Driver(session.root, AdderImpl())  # type: ignore[arg-type]
    print(session.root.state.phase)  # type: ignore[attr-defined]


async def wrong_metadata(adder: Adder) -> None:
    await with_metadata(adder.add)("3")  # type: ignore[arg-type]
    await with_metadata(adder.add, "trace-id")(3)  # type: ignore[arg-type]
    text: str = (await with_metadata(adder.add)(3)).value  # type: ignore[assignment]
    Metadata.of({"key": 1.5})  # type: ignore[dict-item]
    del text


async def wrong_replies() -> None:
    call: Call[int, MathError] = current_call()
    await call.ok("3")  # type: ignore[arg-type]
    await call.err(3)  # type: ignore[arg-type]
    await call.reply("3")  # type: ignore[arg-type]
    await call.reply(UserError(MathError.DIVISION_BY_ZERO))


async def wrong_replies_by_hand(call: RequestCall, reply: ReplySink) -> None:
    method = describe(Adder).methods[0]
    answer: SinkCall[int, MathError] = SinkCall(reply, method)
    SinkCall(reply)  # type: ignore[call-arg]
    SinkCall(method, reply)  # type: ignore[arg-type]
    await answer.ok("3")  # type: ignore[arg-type]
    await answer.err("overflow")  # type: ignore[arg-type]
    await answer.refuse(UserError(3))  # type: ignore[arg-type]
    await reply.send_error("no")  # type: ignore[arg-type]
    method.args_plan.decode(call.args)  # type: ignore[arg-type]


async def wrong_borrowing(points: Rx[Point], link: Link) -> None:
    point: Point = await points.recv_borrowed()  # type: ignore[assignment]
    rpc_plan(Point).borrow("text")  # type: ignore[arg-type]
    tx, rx = BareConduit(link, ShapedFamily(Point)).split()
    (await tx.reserve()).send("text")  # type: ignore[arg-type]
    text: str | None = await rx.recv()  # type: ignore[assignment]
    del point, text


async def wrong_streams(adder: Adder, tx: Tx[int], rx: Rx[int]) -> None:
    await tx.send_many(["text"])  # type: ignore[list-item]
    await tx.send_many(3)  # type: ignore[arg-type]
    tx.send_nowait("text")  # type: ignore[arg-type]
    await rx.recv_many("all")  # type: ignore[arg-type]
    texts: list[str] = await rx.recv_many()  # type: ignore[assignment]
    clone: Tx[str] = tx.clone()  # type: ignore[assignment]
    del texts, clone


async def wrong_open_calls(adder: Adder) -> None:
    async with open_call(adder.sum) as summing:
        await summing.tx.send("text")  # type: ignore[arg-type]
        text: str = await summing.result()  # type: ignore[assignment]
        del text
    async with open_call(adder.generate, 3) as generating:
        word: str = await generating.rx.recv()  # type: ignore[assignment]
        await generating.tx.send(3)  # type: ignore[arg-type]
        del word
    open_call(adder.generate, "three")  # type: ignore[arg-type]
    open_call(adder.generate, 3, 4, 5)  # type: ignore[arg-type]
    open_call(adder.add, 1, 2, 3)  # type: ignore[arg-type]
    open_call(adder)  # type: ignore[call-overload]


async def shout(text: str) -> str:
    return text


async def wrong_lasting() -> None:
    stay_connected(3, Adder)  # type: ignore[call-overload]
    stay_connected("tcp://:1", Adder, balance="random")  # type: ignore[call-overload]
    stay_connected("tcp://:1", Adder, wait_for=5)  # type: ignore[call-overload]
    stay_connected("tcp://:1", name="adder")  # type: ignore[call-overload]
    stay_connected("tcp://:1", Adder, reopen=True)  # type: ignore[call-overload]
    async with stay_connected("tcp://:1", Adder) as adder:
        adder.open(Adder)  # type: ignore[attr-defined]
    async with stay_connected("tcp://:1") as session:
        await session.add(3, 5)  # type: ignore[attr-defined]
        session.open("adder")  # type: ignore[arg-type]
        session.open(Adder, reopen="always")  # type: ignore[arg-type]
        session.open(Adder, middleware=[shout])  # type: ignore[list-item]
        async with session.open(Adder, reopen=True) as other:
            await other.add("3", 5)  # type: ignore[arg-type]


def not_async(peer: Peer) -> None: ...


async def wrong_hooks(session: Session) -> None:
    async with serving("tcp://:0", dispatcher(Adder, AdderImpl())) as server:
        server.offer(3, dispatcher(Adder, AdderImpl()))  # type: ignore[arg-type]
        server.offer("adder", AdderImpl())  # type: ignore[arg-type]
    handler = dispatcher(Adder, AdderImpl())
    serving("tcp://:0", handler, on_session=not_async)  # type: ignore[arg-type]
    serving("tcp://:0", handler, on_session=shout)  # type: ignore[arg-type]
    serving("tcp://:0", handler, middleware=[shout])  # type: ignore[list-item]
    serving("tcp://:0", handler, observer=handler)  # type: ignore[arg-type]
    current_call().connection.start_soon(not_async)  # type: ignore[arg-type]
    session.peer.address = 5  # type: ignore[assignment]


async def wrong_ids(session: Session, call: RequestCall, caller: Caller) -> None:
    session.close_connection(3)  # type: ignore[arg-type]
    session.close_connection(call.request_id)  # type: ignore[arg-type]
    await caller.call(0x1234, b"")  # type: ignore[arg-type]
    call.channels = (1, 3)  # type: ignore[assignment]
    call.request_id.has_parity(Parity.ODD)  # type: ignore[call-arg]
    describe(Adder).by_id(call.connection_id)  # type: ignore[arg-type]


async def wrong_from_asyncio() -> None:
    async with on_asyncio.connect("tcp://127.0.0.1:1", Adder) as adder:
        await adder.add("3", 5)  # type: ignore[arg-type]
        _, words = on_asyncio.channel[str]()
        await adder.sum(words)  # type: ignore[arg-type]
        numbers, _ = on_asyncio.channel[int]()
        await numbers.send("3")  # type: ignore[arg-type]
    async with on_asyncio.connect("tcp://127.0.0.1:1") as session:
        await session.add(3, 5)  # type: ignore[attr-defined]
    on_asyncio.connect("tcp://127.0.0.1:1", Adder, grace=1)  # type: ignore[call-overload]
    on_asyncio.serving("tcp://127.0.0.1:0", Adder)  # type: ignore[arg-type]


class NotAsync(AdderImpl):
    def add(self, left: int, right: int = 1) -> int:  # type: ignore[override]
        return left + right


class OtherArgument(AdderImpl):
    async def add(self, left: str, right: int = 1) -> int:  # type: ignore[override]
        return len(left) + right


class OtherItems:
    async def sum(self, numbers: Rx[str]) -> int:
        return 0

    async def generate(self, count: int, output: Tx[int]) -> None: ...


facet_postcard.from_bytes(Point, "text")  # type: ignore[call-overload]
number: int = facet_postcard.from_bytes(Point, b"")  # type: ignore[assignment]
text: str = facet_postcard.to_bytes(Point, Point(1, 2))  # type: ignore[assignment]
hash.method_descriptor("Adder", "add", [int], None)  # type: ignore[arg-type]
unknown_tag = hash.sig.STRUCTURE  # type: ignore[attr-defined]
missing: Adder = OtherItems()  # type: ignore[assignment]
not_async_adder: Adder = NotAsync()  # type: ignore[assignment]
dispatcher(Adder, OtherItems())  # checkers cannot compare the two, hence the line above


async def use_neighbours(neighbours: Neighbours) -> None:
    await neighbours.model(3)  # type: ignore[arg-type]
    await neighbours.scale([1.5])  # type: ignore[arg-type]
    ArrayOf(shape="any")  # type: ignore[arg-type]
