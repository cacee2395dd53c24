"""The names of the Rust crate, used as someone who comes from there would use them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

import roam_trio
from roam_trio import (
    AcceptedConnection,
    Array,
    Backing,
    BareConduit,
    BareConduitError,
    CallCancelled,
    ChannelId,
    ConnectionId,
    ConnectionLost,
    DecodeError,
    EncodeError,
    Fallible,
    Handler,
    InvalidPayload,
    Link,
    MethodDescriptor,
    MethodId,
    Parity,
    Payload,
    RedialingSource,
    ReplySink,
    RequestCall,
    RequestId,
    Rx,
    RxClosed,
    SchemaError,
    SelfRef,
    SessionError,
    ShapedFamily,
    SinkCall,
    StableConduit,
    StreamLink,
    Tx,
    UnknownMethod,
    UserError,
    acceptor,
    channel,
    char,
    describe,
    facet,
    facet_postcard,
    i32,
    i64,
    initiator,
    memory_link_pair,
    rpc_plan,
    service,
    u8,
    u16,
    u32,
    u64,
    u128,
    with_metadata,
)
from roam_trio.codec import ResultKind
from roam_trio.errors import RoamError
from roam_trio.hash import method_descriptor, method_id, sig, signature_of
from roam_trio.session.statistics import ChannelStatistics
from roam_trio.testing import Faults, connected_pair, faulty_stream_pair
from tests.conduits.test_conformance import Comers
from tests.links.views import on_views
from tests.service.services import BedHandler, Locked, MathError, NotFound, Store
from tests.service.services import Testbed as Bed
from tests.test_public_api import PARITY, ROOT

# ------------------------------------------------------------ the reference


def entries(page: Path) -> Iterator[str]:
    """Yield the names in the first columns of the tables of a page."""
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("| `"):
            yield from re.findall(r"`([\w.]+)`", line.split("|")[1])


def test_every_name_of_the_rust_crate_is_in_the_reference() -> None:
    found = set(entries(ROOT / "docs" / "reference.md"))
    wanted = {
        name
        for area, names in PARITY.items()
        for name in names.split()
        if area != "beyond them"
    }
    assert wanted - found == set()


def test_every_name_in_the_reference_exists() -> None:
    for name in entries(ROOT / "docs" / "reference.md"):
        value: Any = roam_trio
        for part in name.split("."):
            value = getattr(value, part)


# ------------------------------------------------------------ a reply by hand


class ByHand:
    """A handler of `Testbed.divide` without a dispatcher."""

    def __init__(self, *, metadata: bool = False) -> None:
        self.seen: list[str] = []
        self._metadata = metadata

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        method = describe(Bed).by_id(call.method_id)
        if method is None or method.name != "divide":
            await reply.send_error(UnknownMethod("not told"))
            return
        dividend, divisor = method.args_plan.decode(roam_trio.joined(call.args))
        answer: SinkCall[int, MathError] = SinkCall(reply, method)
        self.seen.append(repr(answer))
        if self._metadata:
            answer.response_metadata = {"by": "hand"}
        await self.answer_to(answer, dividend, divisor)
        self.seen.append(repr(answer))

    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        if divisor:
            assert await answer.ok(dividend // divisor) == dividend // divisor
        else:
            await answer.err(MathError.DIVISION_BY_ZERO)


async def test_reply_by_hand_arrives_as_one_of_a_dispatcher_does() -> None:
    handler = ByHand()
    async with connected_pair(Bed, handler) as bed:
        assert await bed.divide(7, 2) == 3
        with pytest.raises(UserError) as caught:
            await bed.divide(7, 0)
        assert caught.value.error is MathError.DIVISION_BY_ZERO
        with pytest.raises(UnknownMethod):
            await bed.echo("hello")
    assert handler.seen == 2 * [
        "<SinkCall of Testbed.divide, open>",
        "<SinkCall of Testbed.divide, replied>",
    ]


async def test_metadata_of_a_reply_by_hand_goes_along() -> None:
    async with connected_pair(Bed, ByHand(metadata=True)) as bed:
        parts = await with_metadata(bed.divide)(7, 2)
    assert parts.value == 3
    assert parts.metadata.get("by") == "hand"


class ByResult(ByHand):
    """Answers through `reply`, which takes either result."""

    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        await answer.reply(
            dividend // divisor if divisor else UserError(MathError.DIVISION_BY_ZERO)
        )


async def test_reply_takes_a_value_or_an_error() -> None:
    async with connected_pair(Bed, ByResult()) as bed:
        assert await bed.divide(9, 3) == 3
        with pytest.raises(UserError):
            await bed.divide(9, 0)


class Refusing(ByHand):
    def __init__(self, because: Any) -> None:
        super().__init__(metadata=True)
        self._because = because

    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        await answer.refuse(self._because)


@pytest.mark.rule("rpc.fallible.roam-error")
@pytest.mark.parametrize(
    "because",
    [
        UnknownMethod("not told"),
        InvalidPayload("not told"),
        CallCancelled(text="not told"),
    ],
    ids=lambda because: type(because).__name__,
)
async def test_refused_call_raises_what_it_was_refused_with(because: RoamError) -> None:
    async with connected_pair(Bed, Refusing(because)) as bed:
        with pytest.raises(type(because)) as caught:
            await bed.divide(7, 2)
    assert "not told" not in str(caught.value)


class Silent(ByHand):
    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        pass


async def test_call_that_is_not_replied_to_is_cancelled() -> None:
    async with connected_pair(Bed, Silent()) as bed:
        with pytest.raises(CallCancelled):
            await bed.divide(7, 2)


class Twice(ByHand):
    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        await answer.ok(1)
        with pytest.raises(RuntimeError, match="exactly one"):
            await answer.refuse(CallCancelled())
        with pytest.raises(RuntimeError, match="exactly one"):
            await answer.err(MathError.OVERFLOW)
        self.seen.append("refused twice")


@pytest.mark.rule("rpc.response.one-per-request")
async def test_second_reply_is_refused() -> None:
    handler = Twice()
    async with connected_pair(Bed, handler) as bed:
        assert await bed.divide(7, 2) == 1
    assert "refused twice" in handler.seen


class Wrong(ByHand):
    async def answer_to(self, answer: Any, dividend: int, divisor: int) -> None:
        with pytest.raises(EncodeError):
            await answer.ok("three")
        with pytest.raises(EncodeError):
            await answer.err("no member")
        assert not answer.is_replied
        await answer.ok(5)


async def test_value_of_another_type_is_refused_and_leaves_the_call_open() -> None:
    async with connected_pair(Bed, Wrong()) as bed:
        assert await bed.divide(7, 2) == 5


class SendsError:
    """Answers every call of `Store.by_union` with an error of the method's own."""

    def __init__(self, error: Any, error_type: Any = NotFound | Locked) -> None:
        self.error = error
        self.error_type = error_type
        self.problem: BaseException | None = None

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        try:
            await reply.send_error(self.error, self.error_type)
        except (TypeError, EncodeError) as problem:
            self.problem = problem


@pytest.mark.rule("rpc.fallible.roam-error")
async def test_error_of_the_methods_own_is_sent_as_its_declared_type() -> None:
    handler: Handler = SendsError(UserError(Locked("door", 5)))
    async with connected_pair(Store, handler) as store:
        with pytest.raises(Locked) as caught:
            await store.by_union("door")
    assert (caught.value.key, caught.value.seconds) == ("door", 5)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (SendsError(UserError(1)), "expected"),
        (SendsError(UserError(NotFound("a")), None), "no error type"),
        (
            SendsError(ConnectionLost("gone")),
            "response can say .*got Connec",
        ),
    ],
)
async def test_error_that_cannot_be_sent_is_refused_and_the_call_cancelled(
    handler: SendsError, expected: str
) -> None:
    async with connected_pair(Store, handler) as store:
        with pytest.raises(CallCancelled):
            await store.by_union("door")
    assert re.search(expected, str(handler.problem))


# ------------------------------------------------------------ without a class

DIVIDE = method_descriptor(
    "Testbed",
    "divide",
    {"dividend": i64, "divisor": i64},
    Fallible[i64, MathError],
    doc="""Divide,
        and round down.""",
)


def test_descriptor_without_a_class_says_what_one_of_a_class_does() -> None:
    (of_class,) = (each for each in describe(Bed).methods if each.name == "divide")
    assert DIVIDE.id == of_class.id
    assert DIVIDE.args == of_class.args
    assert DIVIDE.return_type == of_class.return_type
    assert DIVIDE.error_type is of_class.error_type is MathError
    assert DIVIDE.signature.bind(1, divisor=2).args == (1, 2)
    assert DIVIDE.doc == "Divide,\nand round down."
    assert str(DIVIDE) == "Testbed.divide"


async def test_call_without_a_class_reaches_the_method() -> None:
    async with connected_pair(Bed, BedHandler()) as bed:
        caller = bed.__roam_caller__  # type: ignore[attr-defined]
        for args, expected in (
            ((7, 2), (ResultKind.OK, 3)),
            ((7, 0), (ResultKind.USER, MathError.DIVISION_BY_ZERO)),
        ):
            sent = Payload(DIVIDE.args_plan, args)
            response = await caller.call(DIVIDE.id, sent)
            got = DIVIDE.result_plan.decode(roam_trio.joined(response.ret))
            assert got == expected


async def test_reply_by_hand_needs_no_class() -> None:
    class Answers:
        async def handle(self, call: RequestCall, reply: ReplySink) -> None:
            assert call.method_id == DIVIDE.id
            await SinkCall[int, MathError](reply, DIVIDE).ok(42)

    async with connected_pair(Bed, Answers()) as bed:
        assert await bed.divide(7, 2) == 42


@pytest.mark.parametrize(
    ("args", "returned", "expected"),
    [
        ({"a": object}, None, r"Bed.get\(a\)"),
        ({}, object, r"Bed.get -> return"),
        ({}, Rx[i32], r"Bed.get -> return.*channel"),
        ({"two words": i32}, None, "Bed.get.*expected a name .* got 'two words'"),
        ({"class": i32}, None, "Bed.get.*expected a name .* got 'class'"),
    ],
)
@pytest.mark.rule("rpc.channel.placement")
def test_what_no_method_can_be_is_refused_with_its_place(
    args: dict[str, Any], returned: Any, expected: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        method_descriptor("Bed", "get", args, returned)
    assert re.search(expected, str(caught.value))


class Node(msgspec.Struct):
    value: u8
    following: Node | None


@pytest.mark.parametrize(
    ("type_", "tag"),
    [
        (bool, sig.BOOL),
        (u8, sig.U8),
        (u128, sig.U128),
        (i32, sig.I32),
        (float, sig.F64),
        (char, sig.CHAR),
        (str, sig.STRING),
        (None, sig.UNIT),
        (bytes, sig.BYTES),
        (list[u16], sig.LIST),
        (u8 | None, sig.OPTION),
        (Array[u16, Literal[4]], sig.ARRAY),
        (dict[u8, u16], sig.MAP),
        (frozenset[u8], sig.SET),
        (tuple[u8, u16], sig.TUPLE),
        (Tx[u8], sig.TX),
        (Rx[u8], sig.RX),
        (Node, sig.STRUCT),
        (MathError, sig.ENUM),
    ],
)
@pytest.mark.rule("signature.primitive", "signature.container")
def test_signature_begins_with_the_tag_of_its_type(type_: Any, tag: int) -> None:
    assert signature_of(facet.shape_of(type_))[0] == tag


@pytest.mark.rule("signature.struct", "signature.enum", "signature.recursive")
def test_signature_can_be_read_by_the_tags() -> None:
    assert signature_of(facet.shape_of(Node)) == (
        bytes([sig.STRUCT, 2, 5, *b"value", sig.U8, 9, *b"following"])
        + bytes([sig.OPTION, sig.BACKREF, 0])
    )
    assert signature_of(facet.shape_of(MathError)) == (
        bytes([sig.ENUM, 2, 14, *b"DivisionByZero", sig.VARIANT_UNIT])
        + bytes([8, *b"Overflow", sig.VARIANT_UNIT])
    )


# ------------------------------------------------------------ shapes and values


def fields(shape: facet.Shape) -> dict[str, facet.Shape]:
    """As Rust code walks a struct, for a form or a table."""
    assert isinstance(shape, facet.StructShape)
    return {each.name: each.shape for each in shape.record.fields}


def test_shape_tells_the_fields_of_a_class() -> None:
    value, following = fields(facet.shape_of(Node)).values()
    assert value == facet.IntShape("u8", 8, False)
    assert isinstance(following, facet.OptionShape)
    assert isinstance(following.inner, facet.RefShape)
    assert following.inner.name == "Node"


def test_shapes_can_be_walked() -> None:
    shape = facet.shape_of(dict[str, list[Node]])
    assert [type(each).__name__ for each in facet.children(shape)] == [
        "StrShape",
        "ListShape",
    ]
    assert facet.IntShape("u8", 8, False) in list(facet.walked(shape))
    assert not facet.has_channels(shape)
    assert facet.has_channels(facet.shape_of(Tx[u8]))


def test_value_is_the_same_after_a_way_through_bytes() -> None:
    chain = Node(1, Node(2, None))
    data = facet_postcard.to_bytes(Node, chain)
    assert data == b"\1\1\2\0"
    assert facet_postcard.from_bytes(Node, data) == chain
    assert facet_postcard.from_bytes(Node, memoryview(b"x" + data)[1:]) == chain


def test_bytes_that_are_no_value_are_refused_with_the_place() -> None:
    with pytest.raises(DecodeError, match=r"\$\.following"):
        facet_postcard.from_bytes(Node, b"\1\7")
    with pytest.raises(DecodeError, match="1 bytes are left"):
        facet_postcard.from_bytes(Node, b"\1\0\0")
    with pytest.raises(EncodeError, match=r"\$\.value"):
        facet_postcard.to_bytes(Node, Node(256, None))


class Watching(msgspec.Struct):
    path: str
    events: Tx[str]


@pytest.mark.parametrize("type_", [Tx[u8], Watching])
def test_channels_are_no_values(type_: Any) -> None:
    with pytest.raises(SchemaError, match="a channel is not a value"):
        facet_postcard.to_bytes(type_, [])
    with pytest.raises(SchemaError, match="a channel is not a value"):
        facet_postcard.from_bytes(type_, b"")


# ------------------------------------------------------------ values that borrow


class Chunk(msgspec.Struct):
    number: u32
    data: memoryview


@service
class Files(Protocol):
    async def read(self, count: u32, size: u32, output: Tx[Chunk]) -> bytes: ...


class FilesImpl:
    async def read(self, count: int, size: int, output: Tx[Chunk]) -> bytes:
        for number in range(count):
            await output.send(Chunk(number, memoryview(bytes([number]) * size)))
        return b"done" * size


Links = Callable[[], tuple[Link, Link]]


def links_of_views() -> tuple[Link, Link]:
    left, right = memory_link_pair(8)
    return on_views(left), on_views(right)


def links_of_bytes() -> tuple[Link, Link]:
    return memory_link_pair(8)


@pytest.mark.rule("zerocopy.recv.selfref", "zerocopy.backing")
@pytest.mark.parametrize("links", [links_of_bytes, links_of_views])
@pytest.mark.parametrize("size", [3, 5000])
async def test_item_is_received_with_the_buffer_that_it_borrows_from(
    links: Links, size: int, nursery: trio.Nursery
) -> None:
    tx, rx = channel[Chunk]()
    async with connected_pair(Files, FilesImpl(), links=links()) as files:
        nursery.start_soon(files.read, 3, size, tx)
        for number in range(3):
            chunk: SelfRef[Chunk] = await rx.recv_borrowed()
            assert (chunk.value.number, chunk.value.data) == (
                number,
                bytes([number]) * size,
            )
            backing: Backing = chunk.backing
            assert len(backing) == size + (2 if size < 128 else 3)
            assert chunk.value.data.obj is memoryview(backing).obj
            assert b"".join(rpc_plan(Chunk).encode(chunk.value)) == backing
        with pytest.raises(trio.EndOfChannel):
            await rx.recv_borrowed()


async def test_borrowing_waits_until_a_call_binds_the_pair(
    nursery: trio.Nursery,
) -> None:
    tx, rx = channel[Chunk]()
    numbers: list[int] = []

    async def receive() -> None:
        numbers.append((await rx.recv_borrowed()).value.number)

    async with connected_pair(Files, FilesImpl()) as files:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        await files.read(1, 1, tx)
        await wait_all_tasks_blocked()
    assert numbers == [0]


async def test_borrowing_from_a_channel_that_is_reset_raises_as_receiving_does() -> (
    None
):
    tx, rx = channel[Chunk]()
    rx.reset()
    with pytest.raises(RxClosed):
        await rx.recv_borrowed()
    del tx


def test_part_of_a_borrowed_value_keeps_its_buffer() -> None:
    plan = rpc_plan(Chunk)
    backing = b"".join(plan.encode(Chunk(1, memoryview(b"12345"))))
    part = plan.borrow(backing).map(lambda chunk: chunk.data[1:3])
    assert part == SelfRef(memoryview(b"23"), backing)
    assert part.value.obj is part.backing is backing
    in_a_view = memoryview(b"<%b>" % backing)[1:-1]
    assert plan.borrow(in_a_view).map(lambda chunk: chunk.number).value == 1


@pytest.mark.rule("zerocopy.backing")
async def test_session_runs_on_a_link_that_hands_out_views(
    nursery: trio.Nursery,
) -> None:
    links = links_of_views()
    async with connected_pair(Bed, BedHandler(), links=links) as bed:
        assert await bed.echo("x" * 5000) == "x" * 5000
        assert await bed.divide(7, 2) == 3
        with pytest.raises(UserError):
            await bed.divide(7, 0)
        parts = await with_metadata(bed.echo, {"a": b"1", "b": 2})("hello")
        assert parts.value == "hello"
        tx, rx = channel[int]()
        nursery.start_soon(send_all, tx, range(100))
        assert await bed.sum(rx) == 4950


async def send_all(tx: Tx[int], numbers: Iterable[int]) -> None:
    async with tx:
        for number in numbers:
            await tx.send(number)


async def test_hello_of_a_stable_conduit_in_a_view_is_known(
    autojump_clock: trio.testing.MockClock,
) -> None:
    left, right = links_of_views()
    tx, _ = left.split()
    (await tx.reserve()).send([b"ROCH" + bytes(21)])
    with pytest.raises(SessionError, match="the client connects with resume=True"):
        async with acceptor(right).open():
            pass


# ------------------------------------------------------------ messages of one's own


class Moved(msgspec.Struct, frozen=True):
    x: i32
    y: i32


class Said(msgspec.Struct, frozen=True):
    text: str


GAME: ShapedFamily[Moved | Said] = ShapedFamily(Moved | Said, filler=Said(""))
SENT: list[Moved | Said] = [Moved(1, -1), Said("hello"), Said("x" * 5000)]


@pytest.mark.rule("conduit.typeplan", "conduit.bare")
@pytest.mark.parametrize("links", [links_of_bytes, links_of_views])
async def test_conduit_carries_messages_of_a_type_of_ones_own(links: Links) -> None:
    left, right = links()
    tx, _ = BareConduit(left, GAME).split()
    _, rx = BareConduit(right, GAME).split()
    for message in SENT:
        (await tx.reserve()).send(message)
    assert [await rx.recv() for _ in SENT] == SENT


@pytest.mark.rule("conduit.stable")
async def test_stable_conduit_carries_them_over_a_link_that_is_cut(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    comers = Comers()
    cuts = iter((200, 400))

    async def dial() -> Link:
        await trio.lowlevel.checkpoint()
        faults = Faults(cut_after=next(cuts, math.inf))
        left, right = faulty_stream_pair(sending=faults, receiving=faults)
        comers.come(StreamLink(right))
        return StreamLink(left)

    tx, near = StableConduit(RedialingSource(dial), GAME).split()
    far, rx = StableConduit(comers, GAME).split()
    for half in (tx, far):
        nursery.start_soon(half.pump)
    nursery.start_soon(near.recv)
    sent = [Moved(number, -number) for number in range(100)]
    got: list[Moved | Said | None] = []

    async def receive() -> None:
        while len(got) < len(sent):
            got.append(await rx.recv())

    async with trio.open_nursery() as receiving:
        receiving.start_soon(receive)
        for message in sent:
            (await tx.reserve()).send(message)
    assert got == sent
    assert next(cuts, None) is None
    nursery.cancel_scope.cancel()


async def test_message_of_another_type_is_refused_with_the_place() -> None:
    left, right = links_of_bytes()
    wrong: Any = ShapedFamily(Moved)
    tx, _ = BareConduit(left, wrong).split()
    _, rx = BareConduit(right, ShapedFamily(Said)).split()
    with pytest.raises(EncodeError, match=r"\$\.x"):
        (await tx.reserve()).send(Moved(2**40, 0))
    (await tx.reserve()).send(Moved(60, 1))
    with pytest.raises(BareConduitError, match=r"not a message.*\$\.text"):
        await rx.recv()


def test_family_tells_its_shape_and_its_filler() -> None:
    assert GAME.shape == facet.shape_of(Moved | Said)
    assert GAME.filler() == Said("")
    assert ShapedFamily(Moved).filler() is None
    assert repr(GAME) == "<ShapedFamily of Moved | Said>"


def test_family_of_what_cannot_travel_is_refused() -> None:
    with pytest.raises(SchemaError, match="message of a conduit"):
        ShapedFamily(Watching)
    with pytest.raises(SchemaError):
        ShapedFamily(object)
    with pytest.raises(EncodeError):
        ShapedFamily(Moved, filler=Moved(2**40, 0))


# ------------------------------------------------------------ ids


class Ids:
    """A handler that notes the ids of what it gets, in the types that they have."""

    def __init__(self) -> None:
        self.seen: list[tuple[ConnectionId, RequestId, MethodId]] = []
        self.channels: list[ChannelId] = []

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        self.seen.append((call.connection_id, call.request_id, call.method_id))
        self.channels += call.channels
        await reply.send_error(UnknownMethod())


@pytest.mark.rule("session.parity")
async def test_ids_of_a_call_tell_who_made_it_and_where() -> None:
    handler = Ids()
    tx, rx = channel[int]()
    async with connected_pair(Bed, handler) as bed:
        with pytest.raises(UnknownMethod):
            await bed.sum(rx)
        with pytest.raises(UnknownMethod):
            await bed.divide(1, 2)
    tx.close()
    methods = {each.name: each.id for each in describe(Bed).methods}
    assert [method for _, _, method in handler.seen] == [
        methods["sum"],
        methods["divide"],
    ]
    for connection, request, _ in handler.seen:
        assert connection == ConnectionId.ROOT
        assert ConnectionId.is_root(connection)
        assert RequestId.has_parity(request, Parity.ODD)  # it is the initiator's
    (of_the_channel,) = handler.channels
    assert of_the_channel != ChannelId.RESERVED
    assert ChannelId.has_parity(of_the_channel, Parity.ODD)


@pytest.mark.rule("session.parity")
@pytest.mark.parametrize("kind", [ConnectionId, RequestId, ChannelId, MethodId])
def test_every_number_has_one_parity(
    kind: type[ConnectionId | RequestId | ChannelId | MethodId],
) -> None:
    for number in range(4):
        assert kind.has_parity(kind(number), Parity.ODD) == (number in (1, 3))
        assert kind.has_parity(kind(number), Parity.EVEN) == (number in (0, 2))


@pytest.mark.parametrize("kind", [ConnectionId, RequestId, ChannelId, MethodId])
def test_ids_are_plain_numbers_which_cost_nothing(kind: type[int]) -> None:
    number = 2**40
    assert kind(number) is number
    assert type(ConnectionId.ROOT) is type(ChannelId.RESERVED) is int
    assert (ConnectionId.ROOT, ChannelId.RESERVED) == (0, 0)
    assert not ConnectionId.is_root(ConnectionId(1))


@pytest.mark.parametrize("kind", [ConnectionId, RequestId, ChannelId, MethodId])
def test_ids_travel_as_u64(kind: type[int]) -> None:
    assert facet.shape_of(kind) == facet.shape_of(u64)
    data = facet_postcard.to_bytes(kind, kind(2**64 - 1))
    assert data == facet_postcard.to_bytes(u64, 2**64 - 1)
    assert facet_postcard.from_bytes(kind, data) == 2**64 - 1
    with pytest.raises(EncodeError):
        facet_postcard.to_bytes(kind, kind(-1))


def test_statistics_of_a_connection_can_be_sent() -> None:
    statistics = ChannelStatistics(ChannelId(3), "out", 16, 0)
    data = facet_postcard.to_bytes(ChannelStatistics, statistics)
    assert facet_postcard.from_bytes(ChannelStatistics, data) == statistics


async def test_virtual_connection_is_closed_by_its_id(nursery: trio.Nursery) -> None:
    left, right = memory_link_pair(8)
    nursery.start_soon(acceptor(right, on_connection=AcceptsAll()).run)
    async with initiator(left).open() as near:
        handle = await near.open_connection()
        number: ConnectionId = handle.connection_id
        assert not ConnectionId.is_root(number)
        assert ConnectionId.has_parity(number, Parity.ODD)
        near.close_connection(number)
        await handle.closed()


class AcceptsAll:
    async def accept(
        self, connection_id: ConnectionId, settings: Any, metadata: Any
    ) -> AcceptedConnection:
        return AcceptedConnection()


def test_descriptor_finds_its_methods_by_their_ids() -> None:
    service_of = describe(Bed)
    for method in service_of.methods:
        assert service_of.by_id(method.id) is method
    assert service_of.by_id(MethodId(0)) is None
    signature = DIVIDE.args_plan.signature + DIVIDE.result_plan.signature
    assert method_id("testbed", "Divide", signature) == DIVIDE.id


# ------------------------------------------------------------ refusing a call


async def test_handler_of_a_dispatcher_can_refuse_its_call() -> None:
    class Refuses:
        async def divide(self, dividend: int, divisor: int) -> int:
            call: roam_trio.Call[int, MathError] = roam_trio.current_call()
            assert isinstance(call, SinkCall)
            assert isinstance(call.method, MethodDescriptor)
            await call.refuse(InvalidPayload())
            return 0

        async def echo(self, message: str) -> str:
            return message

        async def sum(self, numbers: Any) -> int:
            return 0

        async def echo_point(self, point: Any) -> Any:
            return point

    async with connected_pair(Bed, Refuses()) as bed:
        with pytest.raises(InvalidPayload):
            await bed.divide(7, 2)
