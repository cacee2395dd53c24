"""Two peers find out by themselves that both know columns, and nobody else minds."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec
import pytest
import trio
import trio.testing

from roam_trio import (
    AcceptedConnection,
    CallCancelled,
    Caller,
    EncodeError,
    Fallible,
    Handler,
    InvalidPayload,
    Metadata,
    MetadataEntry,
    MetadataFlags,
    PayloadTooLarge,
    ProxyAcceptor,
    StreamLimits,
    StreamLink,
    Tx,
    UserError,
    channel,
    client,
    current_call,
    describe,
    dispatcher,
    initiator,
    proxy_connections,
    service,
    u8,
    u32,
    u64,
    with_metadata,
)
from roam_trio.columns.method import _Reply
from roam_trio.metadata import NO_METADATA
from roam_trio.rpc.handler import ReplySink
from roam_trio.wire.messages import Encoded, RequestCall, RequestResponse, joined
from tests.peer import link_to_peer
from tests.service.services import Denied, connected, sessions
from tests.session.running import join

KEY = "roam-trio-columns"


class Row(msgspec.Struct, frozen=True):
    id: u32
    name: str


class Careful(msgspec.Struct, frozen=True):
    """`Row` to a peer."""

    id: u32
    name: str

    def __post_init__(self) -> None:
        if self.id == 666:
            raise ValueError("not this one")


ROWS = [Row(number, f"n{number}") for number in range(20)]
OTHERS = [Row(number, "other") for number in range(15)]


@service
class Table(Protocol):
    async def echo(self, rows: list[Row]) -> list[Row]: ...
    async def find(self, name: str) -> Fallible[list[Row], Denied]: ...
    async def put(self, rows: list[Row], last: u8 = 0) -> u32: ...
    async def stream(self, rows: list[Row], output: Tx[u32]) -> u32: ...
    async def size(self) -> u32: ...


@service(name="Table", columns=False)
class PlainTable(Table, Protocol):
    pass


@service(name="Table")
class CarefulTable(Protocol):
    async def echo(self, rows: list[Careful]) -> list[Careful]: ...


ECHO = describe(Table).methods[0]


class TableHandler:
    def __init__(self) -> None:
        self.seen: list[Metadata] = []

    async def echo(self, rows: list[Row]) -> list[Row]:
        self.seen.append(current_call().metadata)
        return rows

    async def find(self, name: str) -> list[Row]:
        self.seen.append(current_call().metadata)
        if not name:
            raise UserError(Denied("no name"))
        call = current_call()
        call.response_metadata = {"found": name}
        return await call.ok([row for row in ROWS if name in row.name])

    async def put(self, rows: list[Row], last: int) -> int:
        self.seen.append(current_call().metadata)
        return len(rows) + last

    async def stream(self, rows: list[Row], output: Tx[int]) -> int:
        async with output:
            for row in rows:
                await output.send(row.id)
        return len(rows)

    async def size(self) -> int:
        self.seen.append(current_call().metadata)
        return len(ROWS)


class Tap:
    """A handler that writes down what passes to another and back."""

    def __init__(self, inner: Handler) -> None:
        self._inner = inner
        self.calls: list[RequestCall] = []
        self.answers: list[tuple[bytes, Metadata]] = []

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        self.calls.append(call)
        return self._inner.handle(call, _TappedReply(reply, self.answers))

    @property
    def forms(self) -> list[str]:
        """What the arguments of each call, and its answer, were in."""
        return [
            f"{_args_form(call)} {_result_form(ret)}"
            for call, (ret, _) in zip(self.calls, self.answers, strict=True)
        ]


def _args_form(call: RequestCall) -> str:
    said = call.metadata.get(KEY)
    if not isinstance(said, int) or not said & 2:
        return "plain"
    return {0: "marked", 1: "columns"}[joined(call.args)[0]]


def _result_form(ret: bytes) -> str:
    return {0: "plain", 1: "error", 2: "columns"}[ret[0]]


class _TappedReply(ReplySink):
    def __init__(self, reply: ReplySink, to: list[tuple[bytes, Metadata]]) -> None:
        self._reply = reply
        self._to = to

    async def send(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        self._to.append((bytes(joined(ret)), metadata))
        await self._reply.send(ret, metadata)

    def send_nowait(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        self._reply.send_nowait(ret, metadata)
        self._to.append((bytes(joined(ret)), metadata))

    @property
    def is_sent(self) -> bool:
        return self._reply.is_sent

    @property
    def channel_binder(self) -> Any:
        return self._reply.channel_binder


async def tapped(
    nursery: trio.Nursery, handler: object, *, served: Any = Table
) -> tuple[Caller, Tap]:
    tap = Tap(dispatcher(served, handler))
    session, _ = await sessions(nursery, tap)
    return session.caller, tap


def test_response_in_columns_waits_by_the_memory_of_its_session() -> None:
    class Full(_TappedReply):
        def hold(self, ret: Encoded) -> bool:
            return False

    assert ECHO.columns is not None
    inner: Any = None
    reply = _Reply(ECHO.columns, 0, Full(inner, []))
    assert not reply.hold(bytes(1))


# ---------------------------------------------------------------- both know them


async def test_arguments_go_in_columns_once_the_peer_is_known_to_read_them(
    nursery: trio.Nursery,
) -> None:
    caller, tap = await tapped(nursery, TableHandler())
    table = client(Table, caller)
    for _ in range(3):
        assert await table.echo(ROWS) == ROWS
    assert tap.forms == ["plain columns", "columns columns", "columns columns"]


async def test_each_method_finds_out_by_itself(nursery: trio.Nursery) -> None:
    caller, tap = await tapped(nursery, TableHandler())
    table = client(Table, caller)
    assert await table.put(ROWS) == 20
    assert await table.find("n1") == [ROWS[1], *ROWS[10:20]]
    assert await table.put(ROWS, 5) == 25
    assert await table.find("n1") == [ROWS[1], *ROWS[10:20]]
    assert tap.forms == [
        *("plain plain", "plain columns"),
        *("columns plain", "plain columns"),
    ]


async def test_what_is_short_goes_in_postcard(nursery: trio.Nursery) -> None:
    caller, tap = await tapped(nursery, TableHandler())
    table = client(Table, caller)
    assert await table.echo(ROWS) == ROWS
    assert await table.echo(ROWS[:2]) == ROWS[:2]
    assert await table.echo([]) == []
    assert await table.find("n7") == [ROWS[7]]
    assert tap.forms == [
        *("plain columns", "marked plain"),
        *("marked plain", "plain plain"),
    ]


async def test_a_method_without_lists_of_records_says_nothing(
    nursery: trio.Nursery,
) -> None:
    caller, tap = await tapped(nursery, TableHandler())
    assert await client(Table, caller).size() == 20
    tx, rx = channel[int]()
    nursery.start_soon(client(Table, caller).stream, ROWS, tx)
    async with rx:
        assert [number async for number in rx] == list(range(20))
    for call in tap.calls:
        assert describe(Table).by_id(call.method_id) is not None
    assert tap.calls[0].metadata == NO_METADATA
    assert tap.answers[0][1] == NO_METADATA
    assert tap.calls[1].metadata == NO_METADATA  # a channel is in its arguments


async def test_a_result_with_long_fields_comes_in_columns_though_the_error_does_not(
    nursery: trio.Nursery,
) -> None:
    caller, tap = await tapped(nursery, TableHandler())
    table = client(Table, caller)
    with pytest.raises(UserError) as caught:
        await table.find("")
    assert caught.value.error == Denied("no name")
    assert tap.forms == ["plain error"]


@pytest.mark.rule("rpc.metadata.flags.no-propagate", "rpc.metadata.unknown")
async def test_the_entry_is_for_one_hop_and_hidden_from_users(
    nursery: trio.Nursery,
) -> None:
    handler = TableHandler()
    caller, tap = await tapped(nursery, handler)
    table = client(Table, caller)
    sent = Metadata.of({"trace": "abc"})
    for _ in range(2):
        parts = await with_metadata(table.find, sent)("n1")
        assert parts.metadata == Metadata.of({"found": "n1"})
        echoed = await with_metadata(table.echo, sent)(ROWS)
        assert echoed.metadata == NO_METADATA
    assert handler.seen == [sent] * 4
    entries = [call.metadata[-1] for call in tap.calls]
    entries += [metadata[-1] for _, metadata in tap.answers if KEY in repr(metadata)]
    assert {entry.key for entry in entries} == {KEY}
    assert all(entry.flags == MetadataFlags.NO_PROPAGATE for entry in entries)


# ---------------------------------------------------------------- only one does


@pytest.mark.parametrize(
    ("served", "called"), [(PlainTable, Table), (Table, PlainTable)]
)
async def test_either_side_may_switch_them_off(
    nursery: trio.Nursery, served: Any, called: Any
) -> None:
    handler = TableHandler()
    caller, tap = await tapped(nursery, handler, served=served)
    table = client(called, caller)
    for _ in range(2):
        assert await table.echo(ROWS) == ROWS
        assert await table.put(ROWS) == 20
    assert tap.forms == ["plain plain"] * 4
    assert handler.seen == [NO_METADATA] * 4
    if called is PlainTable:
        assert {call.metadata for call in tap.calls} == {NO_METADATA}


@pytest.mark.rule("rpc.metadata.unknown")
async def test_a_peer_that_ignores_the_entry_gets_postcard(
    nursery: trio.Nursery,
) -> None:
    link, peer = link_to_peer()

    async def answer() -> None:
        await peer.accept()
        for _ in range(2):
            call = await peer.hear(RequestCall)
            assert call.metadata.get(KEY) == 1
            assert ECHO.args_plan.decode(joined(call.args)) == (ROWS,)
            ret = ECHO.result_plan.encode_ok(OTHERS)
            await peer.say(RequestResponse(0, call.request_id, (), NO_METADATA, ret))

    nursery.start_soon(answer)
    async with initiator(link).open() as session:
        table = client(Table, session.caller)
        assert await table.echo(ROWS) == OTHERS
        assert await table.echo(ROWS) == OTHERS
        await peer.leave()


async def with_proxy(nursery: trio.Nursery, handler: Handler) -> Table:
    class Offer:
        async def accept(self, *_: object) -> AcceptedConnection:
            return AcceptedConnection(handler=handler)

    upstream, _ = await join(
        nursery, strict=True, accepting={"strict": True, "on_connection": Offer()}
    )
    ours, _ = await join(
        nursery,
        strict=True,
        accepting={"strict": True, "on_connection": ProxyAcceptor(upstream)},
    )
    connection = await ours.open_connection()
    nursery.start_soon(connection.closed)
    return client(Table, connection.caller)


@pytest.mark.rule("rpc.metadata.flags.no-propagate")
async def test_through_a_proxy_both_ends_speak_postcard(nursery: trio.Nursery) -> None:
    handler = TableHandler()
    tap = Tap(dispatcher(Table, handler))
    table = await with_proxy(nursery, tap)
    for _ in range(2):
        assert await table.echo(ROWS) == ROWS
    assert tap.forms == ["plain plain"] * 2
    assert {call.metadata for call in tap.calls} == {NO_METADATA}
    nursery.cancel_scope.cancel()


async def test_who_served_in_columns_and_becomes_a_proxy_is_asked_again_in_postcard(
    nursery: trio.Nursery,
) -> None:
    ours, theirs = await join(nursery, dispatcher(Table, TableHandler()))
    table = client(Table, ours.caller)
    for _ in range(2):
        assert await table.echo(ROWS) == ROWS
    tap = Tap(dispatcher(Table, TableHandler()))
    upstream, _ = await sessions(nursery, tap)
    nursery.start_soon(proxy_connections, theirs.root, upstream.root)
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(2):
        assert await table.echo(ROWS) == ROWS
    assert tap.forms == ["plain plain"] * 2
    nursery.cancel_scope.cancel()


# ---------------------------------------------------------------- what is too large


class Numbers(msgspec.Struct, frozen=True):
    """In columns each has eight bytes if one needs them."""

    first: u64
    second: u64


@service
class Counts(Protocol):
    async def echo(self, numbers: list[Numbers]) -> list[Numbers]: ...
    async def make(self, count: u32) -> list[Numbers]: ...
    async def make_early(self, count: u32) -> list[Numbers]: ...


def numbers(count: int) -> list[Numbers]:
    return [Numbers(2**64 - 1, 2**64 - 1), *[Numbers(1, 2)] * (count - 1)]


class Counting:
    async def echo(self, numbers: list[Numbers]) -> list[Numbers]:
        return numbers

    async def make(self, count: int) -> list[Numbers]:
        return numbers(count)

    async def make_early(self, count: int) -> list[Numbers]:
        return await current_call().ok(numbers(count))


async def narrow(nursery: trio.Nursery) -> tuple[Counts, Tap]:
    """A client, on a link that takes 1000 bytes."""
    left, right = trio.testing.memory_stream_pair()
    limits = StreamLimits(max_payload=1000)
    tap = Tap(dispatcher(Counts, Counting()))
    ours, _ = await join(
        nursery,
        tap,
        links=(StreamLink(left, limits=limits), StreamLink(right, limits=limits)),
    )
    return client(Counts, ours.caller), tap


async def test_what_is_too_large_in_columns_goes_in_postcard(
    nursery: trio.Nursery,
) -> None:
    counts, tap = await narrow(nursery)
    assert await counts.echo(numbers(20)) == numbers(20)
    assert await counts.echo(numbers(20)) == numbers(20)
    assert await counts.echo(numbers(200)) == numbers(200)
    assert await counts.make(200) == numbers(200)
    assert await counts.make_early(200) == numbers(200)
    assert [_args_form(call) for call in tap.calls] == [
        *("plain", "columns", "plain"),
        *("plain", "plain"),
    ]


async def test_what_is_too_large_in_either_is_refused_as_in_postcard(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    counts, _ = await narrow(nursery)
    assert await counts.echo(numbers(20)) == numbers(20)
    with pytest.raises(PayloadTooLarge):
        await counts.echo(numbers(2000))
    for make in (counts.make, counts.make_early):
        with pytest.raises(CallCancelled):
            await make(2000)
        assert "max_payload" in caplog.text
    assert await counts.echo(numbers(20)) == numbers(20)


# ---------------------------------------------------------------- errors


async def test_an_argument_of_the_wrong_type_is_the_same_error_as_in_postcard(
    nursery: trio.Nursery,
) -> None:
    caller, _ = await tapped(nursery, TableHandler())
    table, plain = client(Table, caller), client(PlainTable, caller)
    assert await table.echo(ROWS) == ROWS
    wrong = [*ROWS, Row(2**32, "n")]
    with pytest.raises(EncodeError) as caught:
        await table.echo(wrong)
    with pytest.raises(EncodeError) as expected:
        await plain.echo(wrong)
    assert str(caught.value) == str(expected.value)
    assert caught.value.path == "$.rows[20].id"
    assert await table.echo(ROWS) == ROWS


async def test_a_result_of_the_wrong_type_is_logged_with_its_place(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    class Wrong(TableHandler):
        async def echo(self, rows: list[Row]) -> list[Row]:
            return [*rows, Row(-1, "n")]

    caller, tap = await tapped(nursery, Wrong())
    with caplog.at_level(logging.ERROR), pytest.raises(CallCancelled):
        await client(Table, caller).echo(ROWS)
    assert "[20].id" in caplog.text
    assert tap.forms == ["plain error"]


async def test_arguments_that_a_constructor_refuses_are_an_invalid_payload(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caller, tap = await tapped(nursery, TableHandler(), served=CarefulTable)
    table = client(Table, caller)
    assert await table.echo(ROWS) == ROWS
    with pytest.raises(InvalidPayload, match=r"Table\.echo: the peer could not"):
        await table.echo([*ROWS, Row(666, "n")])
    assert "not this one" in caplog.text
    # Nobody had seen the call, and so it was made again in postcard.
    assert tap.forms == ["plain columns", "columns error", "plain error"]
    assert await table.echo(ROWS) == ROWS


async def test_a_result_that_a_constructor_refuses_is_an_invalid_payload(
    nursery: trio.Nursery,
) -> None:
    caller, _ = await tapped(nursery, TableHandler())
    careful = client(CarefulTable, caller)
    rows = [Careful(number, "n") for number in range(20)]
    assert await careful.echo(rows) == rows

    class Careless(TableHandler):
        async def echo(self, rows: list[Row]) -> list[Row]:
            return [*rows, Row(666, "n")]

    caller, _ = await tapped(nursery, Careless())
    with pytest.raises(InvalidPayload, match=r"the answer: .*not this one"):
        await client(CarefulTable, caller).echo(rows)


async def served_raw(
    nursery: trio.Nursery, method: int, args: bytes, said: object
) -> RequestResponse:
    """What a handler of `Table` answers to a request in so many bytes."""
    session, _ = await sessions(nursery, dispatcher(Table, TableHandler()))
    metadata = Metadata([MetadataEntry(KEY, said, 2)])  # type: ignore[arg-type]
    return await session.caller.call(
        describe(Table).methods[method].id, args, metadata=metadata
    )


@pytest.mark.parametrize(
    ("method", "args"),
    [
        *((0, b""), (0, b"\x02"), (0, b"\x01"), (0, b"\x01\xc0"), (0, b"\xff" * 9)),
        (1, b"\x01\x91\x91\xa1n"),  # it has no arguments in columns
        (4, b"\x01"),
    ],
)
async def test_marked_arguments_that_do_not_decode_are_an_invalid_payload(
    nursery: trio.Nursery, method: int, args: bytes
) -> None:
    response = await served_raw(nursery, method, args, 3)
    assert joined(response.ret) == b"\x01\x02"


@pytest.mark.parametrize("said", [1 << 40, 0, "1", b"\x03"])
async def test_what_nobody_knows_in_the_entry_is_ignored(
    nursery: trio.Nursery, said: object
) -> None:
    args = b"".join(ECHO.args_plan.encode((ROWS,)))
    response = await served_raw(nursery, 0, args, said)
    assert joined(response.ret) == b"".join(ECHO.result_plan.encode_ok(ROWS))


async def test_marked_postcard_is_read_by_every_method(nursery: trio.Nursery) -> None:
    response = await served_raw(nursery, 4, b"\x00", 2)
    assert joined(response.ret) == b"\x00\x14"


@pytest.mark.parametrize("method", ["echo", "put"])
@pytest.mark.parametrize(
    "ret", [b"\x02", b"\x02\xc0", b"\x02" + b"\x91" * 100, b"\x03"]
)
async def test_an_answer_that_is_not_in_columns_is_an_invalid_payload(
    nursery: trio.Nursery, method: str, ret: bytes
) -> None:
    class Raw:
        def handle(self, call: RequestCall, reply: ReplySink) -> None:
            reply.send_nowait(ret)

    session, _ = await sessions(nursery, Raw())
    with pytest.raises(InvalidPayload, match=f"Table.{method}: the answer: "):
        await getattr(client(Table, session.caller), method)(ROWS)


async def test_two_spellings_of_a_type_read_each_other(nursery: trio.Nursery) -> None:
    caller, tap = await tapped(nursery, TableHandler(), served=CarefulTable)
    table = client(Table, caller)
    assert await table.echo(ROWS) == ROWS
    assert await table.echo(ROWS) == ROWS
    assert tap.forms == ["plain columns", "columns columns"]
    assert await connected(nursery, Table, TableHandler()) is not None
