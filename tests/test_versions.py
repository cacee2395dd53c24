"""Peers with different versions of a service find that out when a connection opens."""

from __future__ import annotations

import inspect
import random
import sys
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Protocol, TypeAlias

import msgspec
import pytest
import trio
import trio.testing

from roam_trio import (
    AnyCall,
    ConnectionLost,
    IncompatibleService,
    Metadata,
    MetadataEntry,
    Peer,
    Proceed,
    ProxyAcceptor,
    Refused,
    Session,
    Tx,
    connect,
    describe,
    dispatcher,
    initiator,
    open_call,
    service,
    serving,
    u16,
    with_metadata,
)
from roam_trio.endpoints.fetching import fetch_schema
from roam_trio.metadata import MetadataFlags
from roam_trio.rpc import method_names
from roam_trio.rpc.expected_service import (
    DescribedHandler,
    Expected,
    OfferedSchema,
    expected_in,
    offering,
    without_schemas,
)
from roam_trio.rpc.handler import NoService
from roam_trio.schema.scalars import MARKED
from roam_trio.schema.types import Wire
from roam_trio.service import translation
from roam_trio.service.description.encoding import schema_to_wire
from roam_trio.service.description.fingerprints import fingerprint
from roam_trio.service.description.model import MethodSchema, ServiceSchema
from roam_trio.service.reserved.classes import Reflection
from roam_trio.session import AcceptedConnection
from roam_trio.wire.ids import ConnectionId, MethodId, Parity
from roam_trio.wire.messages import (
    ConnectionOpen,
    ConnectionSettings,
    Hello,
    HelloYourself,
)

from .peer import link_to_peer
from .versions import (
    NewProblem,
    NewShop,
    NewUser,
    OldProblem,
    OldShop,
    OldUser,
    new_shop,
    old_shop,
)

HERE = "memory://here"
ODD = ConnectionSettings(Parity.ODD, 64)
EVEN = ConnectionSettings(Parity.EVEN, 64)
SAID = MetadataEntry("roam-trio", 1, MetadataFlags.NO_PROPAGATE.value)

Shops: TypeAlias = AbstractAsyncContextManager[Any]
Open: TypeAlias = Callable[..., Shops]


@asynccontextmanager
async def by_root(service: Any, handler: Any, **options: Any) -> AsyncIterator[Any]:
    async with (
        serving(HERE, handler, **options),
        connect(HERE, service) as client,
    ):
        yield client


@asynccontextmanager
async def by_name(service: Any, handler: Any, **options: Any) -> AsyncIterator[Any]:
    async with (
        serving(HERE, {"shop": handler}, **options),
        connect(HERE) as session,
        session.open(service) as client,
    ):
        yield client


@asynccontextmanager
async def backwards(service: Any, handler: Any) -> AsyncIterator[Any]:
    """A client offers the service, and the server calls it."""
    async with (
        serving(HERE, {}) as server,
        connect(HERE, None, {"shop": handler}),
        only_session(server).open(service) as client,
    ):
        yield client


def only_session(server: Any) -> Session:
    (session,) = server.sessions
    assert isinstance(session, Session)
    return session


OPENS = pytest.mark.parametrize("opened", [by_root, by_name, backwards])


@OPENS
async def test_an_old_client_calls_a_new_server(opened: Open) -> None:
    handler, shop = new_shop()
    async with opened(OldShop, handler) as client:
        answer = await client.put(OldUser("ada", 5), note="hi")
        assert answer == OldUser("ADA", 3)
        assert shop.got == [NewUser("here", "ada"), "hi", 7]


@OPENS
async def test_a_new_client_calls_an_old_server(opened: Open) -> None:
    handler, shop = old_shop()
    async with opened(NewShop, handler) as client:
        answer = await client.put("hi", NewUser("there", "ada"))
        assert answer == NewUser("here", "ADA")
        assert shop.got == [OldUser("ada", 3), "hi"]


async def test_fields_swapped_inside_of_an_error_are_not_read_as_each_other() -> None:
    assert describe(OldShop).by_id(describe(NewShop).methods[2].id) is not None
    async with by_root(OldShop, new_shop()[0]) as client:
        with pytest.raises(OldProblem) as old:
            await client.fail(4)
    async with by_root(NewShop, old_shop()[0]) as client:
        with pytest.raises(NewProblem) as new:
            await client.fail(4)
    assert (old.value.code, old.value.limit) == (4, 9)
    assert (new.value.code, new.value.limit, new.value.hint) == (4, 9, "none")


@pytest.mark.parametrize(
    ("client_of", "user", "handler_of"),
    [(OldShop, OldUser, new_shop), (NewShop, NewUser, old_shop)],
)
async def test_both_sides_begin_with_the_credit_of_the_callee(
    client_of: Any, user: Any, handler_of: Any
) -> None:
    handler, shop = handler_of()
    credit = 64 if handler_of is new_shop else 16
    async with by_root(client_of, handler) as client:
        async with open_call(client.store) as call:
            await call.tx.send(user(name="0"))
            assert call.tx.statistics().credit == credit - 1
            for index in range(1, 100):
                await call.tx.send(user(name=str(index)))
        assert await call.result() == 100
        assert [each.name for each in shop.got] == [*map(str, range(100))]
        async with open_call(client.watch, count=100) as call:
            names = [each.name async for each in call.rx]
        assert names == [*map(str, range(100))]


async def test_middleware_and_metadata_go_with_translated_calls() -> None:
    seen: list[Any] = []

    async def note(call: AnyCall, proceed: Proceed) -> Any:
        seen.append((str(call.method), call.args))
        return await proceed()

    async with (
        serving(HERE, new_shop()[0]),
        connect(HERE, OldShop, middleware=[note]) as client,
    ):
        parts = await with_metadata(client.put, {"a": 1})(OldUser("ada"), "hi")
    assert parts.value == OldUser("ADA", 3)
    assert seen == [("Shop.put", (OldUser("ada", 3), "hi"))]


async def test_a_translated_call_takes_about_the_steps_of_any_other() -> None:
    async def calls_of(client: Any, *args: Any) -> int:
        calls = 0

        def note(frame: object, event: str, arg: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        await client.put(*args)
        sys.setprofile(note)
        try:
            await client.put(*args)
        finally:
            sys.setprofile(None)
        return calls

    async with (
        serving(HERE, {"shop": new_shop()[0]}),
        connect(HERE) as session,
        session.open(OldShop) as translated,
        session.open(NewShop) as plain,
    ):
        as_before = await calls_of(plain, "", NewUser("here", "ada"), 7)
        assert await calls_of(translated, OldUser("ada"), "") < 1.2 * as_before


# ---------------------------------------------------------------- refused


@service(name="Shop")
class OtherShop(Protocol):
    async def put(self, user: OldUser, note: u16) -> OldUser: ...


@pytest.mark.parametrize("opened", [by_root, by_name])
async def test_what_cannot_be_translated_is_refused_at_the_open(opened: Open) -> None:
    with pytest.raises(IncompatibleService) as caught:
        async with opened(OtherShop, new_shop()[0]):
            raise AssertionError("it was opened")
    assert caught.value.where == "Shop.put(note)"
    assert str(caught.value) == (
        "Shop.put(note): calls cannot be translated for the peer, which offers another "
        "version of the service: it is written as u16 and read as str, which does not "
        "have a value for each"
    )


@pytest.mark.parametrize("opened", [by_root, by_name])
async def test_a_server_that_sends_no_schemas_is_refused_by_other_versions(
    opened: Open,
) -> None:
    handler = new_shop()[0]
    async with opened(NewShop, handler, schemas=False) as client:
        assert await client.put("hi", NewUser(name="ada")) == NewUser("there", "ADA")
    with pytest.raises(IncompatibleService, match="Shop: the peer offers another"):
        async with opened(OldShop, handler, schemas=False):
            raise AssertionError("it was opened")


async def test_a_session_goes_on_without_the_connection_that_was_refused() -> None:
    async with (
        serving(HERE, {"shop": new_shop()[0]}) as server,
        connect(HERE) as session,
    ):
        with pytest.raises(IncompatibleService):
            async with session.open(OtherShop, "shop"):
                raise AssertionError("it was opened")
        assert len(session.statistics().connections) == 1
        async with session.open(OldShop) as client:
            assert await client.put(OldUser("ada"), "") == OldUser("ADA", 3)
        assert len(server.sessions) == 1


class Telling(DescribedHandler):
    """A handler that tells what it likes about its service."""

    fingerprint = b"\1" * 16
    deflated_schema: bytes | None = None

    def __init__(self, fingerprint: bytes, deflated: bytes | None) -> None:
        self.fingerprint = fingerprint  # type: ignore[misc]
        self.deflated_schema = deflated  # type: ignore[misc]

    def handle(self, call: Any, reply: Any) -> Any:
        return NoService().handle(call, reply)


NEW = describe(NewShop)
LYING = msgspec.structs.replace(
    NEW.schema,
    methods=tuple(
        msgspec.structs.replace(each, id=each.id ^ 1) for each in NEW.schema.methods
    ),
)


def wire_of(schema: ServiceSchema) -> tuple[bytes, bytes | None]:
    return fingerprint(schema), schema_to_wire(schema)


WRONG = {
    "too long for metadata": ((b"\1" * 16, None), "has not sent its schema"),
    "no schema": ((b"\1" * 16, b"nonsense"), "expected deflated JSON"),
    "no JSON": ((b"\1" * 16, zlib.compress(b"[")), "expected a schema in JSON"),
    "bomb": (
        (b"\1" * 16, zlib.compress(b" " * 2**21)),
        r"more than most_bytes \(1048576\)",
    ),
    "of another service": (
        (b"\1" * 16, NEW.deflated_schema),
        "not that of its fingerprint",
    ),
    "with wrong ids": (wire_of(LYING), "so one of the two is wrong"),
    "without methods": (wire_of(ServiceSchema("Shop")), "does not have the method"),
    "with control characters": (
        wire_of(ServiceSchema("Shop", (MethodSchema("\x1b[2J", 1),))),
        "no control characters",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_schema_of_a_peer_is_one_error_of_the_caller(what: str) -> None:
    told, text = WRONG[what]
    with pytest.raises(IncompatibleService, match=text) as caught:
        async with by_root(OldShop, Telling(*told)):
            raise AssertionError("it was opened")
    assert str(caught.value).isprintable()


# ---------------------------------------------------------------- too long


class _More(NewShop, Protocol):
    async def more(self) -> None: ...


_More.more.__doc__ = random.Random(1).randbytes(80_000).hex()
LongShop = service(name="Shop")(_More)


def long_shop() -> Any:
    """Return a handler of the new version, whose schema is too long for metadata."""
    shop = new_shop()[1]

    async def more() -> None: ...

    shop.more = more  # type: ignore[attr-defined]
    return dispatcher(LongShop, shop)


@pytest.mark.parametrize("opened", [by_root, by_name])
async def test_a_schema_that_is_too_long_is_asked_for(opened: Open) -> None:
    assert describe(LongShop).deflated_schema is None
    with pytest.raises(IncompatibleService, match="has not sent its schema"):
        async with opened(OldShop, long_shop()):
            raise AssertionError("it was opened")
    async with opened(OldShop, long_shop(), reflection=True) as client:
        assert await client.put(OldUser("ada"), "") == OldUser("ADA", 3)


async def test_a_peer_that_describes_no_service_is_refused() -> None:
    handler = Telling(b"\1" * 16, None)
    async with (
        serving(HERE, {"shop": handler}, reflection=True),
        connect(HERE) as session,
    ):
        with pytest.raises(IncompatibleService, match="has not sent its schema"):
            async with session.open(OldShop):
                raise AssertionError("it was opened")


async def test_no_service_is_opened_in_a_session_that_has_ended() -> None:
    async with (
        serving(HERE, {"shop": new_shop()[0]}) as server,
        connect(HERE) as session,
    ):
        await server.shutdown()
        await session.closed()
        with pytest.raises(ConnectionLost):
            await session.open(OldShop).__aenter__()


class Reflects:
    """A `Reflection` that does something else with each call."""

    def __init__(self, describe: Callable[[], Awaitable[None]]) -> None:
        self._describe = describe

    async def services(self) -> list[str]:
        return []

    async def describe(self, name: str, parts: Tx[bytes]) -> int:
        await self._describe()
        return 0


async def fails() -> None:
    raise Refused("denied")


@pytest.mark.parametrize(
    ("describing", "reason"),
    [
        (trio.sleep_forever, r"within 10 s \(limit: handshake_seconds\)"),
        (fails, r"nor can it be asked: .* refused the call \(denied\)"),
    ],
)
async def test_a_peer_that_does_not_answer_is_asked_for_a_time(
    autojump_clock: trio.testing.MockClock,
    describing: Callable[[], Awaitable[None]],
    reason: str,
) -> None:
    reflection = dispatcher(Reflection, Reflects(describing))
    offered = {"shop": long_shop(), "reflection": reflection}
    async with serving(HERE, offered), connect(HERE) as session:
        with trio.fail_after(11), pytest.raises(IncompatibleService, match=reason):
            async with session.open(OldShop):
                raise AssertionError("it was opened")


async def test_a_peer_that_goes_away_while_it_is_asked_is_lost() -> None:
    async def go(call: AnyCall, proceed: Proceed) -> Any:
        await server.shutdown()
        return await proceed()

    async with (
        serving(HERE, {"shop": long_shop()}, reflection=True) as server,
        connect(HERE, middleware=[go]) as session,
    ):
        with pytest.raises(ConnectionLost):
            async with session.open(OldShop):
                raise AssertionError("it was opened")


async def test_the_reserved_services_are_not_asked_for_themselves() -> None:
    told = OfferedSchema(b"\1" * 16)
    assert await fetch_schema(None, "reflection", told) is told  # type: ignore[arg-type]


# ---------------------------------------------------------------- not told


@pytest.mark.parametrize("of", ["client", "server"])
async def test_nothing_is_told_without_the_additions_to_the_protocol(of: str) -> None:
    client = {"deadlines": False} if of == "client" else {}
    server = {"deadlines": False} if of == "server" else {}
    async with (
        serving(HERE, {"shop": new_shop()[0]}, **server),
        connect(HERE, **client) as session,
        session.open(OldShop) as shop,
    ):
        with pytest.raises(Exception, match="serves no method of this id"):
            await shop.put(OldUser("ada"), "")


async def test_handlers_that_do_not_tell_their_service_are_called_as_before() -> None:
    class Plain:
        def handle(self, call: Any, reply: Any) -> Any:
            return NoService().handle(call, reply)

    async with by_root(OldShop, Plain()) as client:
        with pytest.raises(Exception, match="serves no method of this id"):
            await client.put(OldUser("ada"), "")


async def test_a_proxy_passes_on_what_the_far_side_tells() -> None:
    async with (
        serving("memory://far", {"shop": new_shop()[0]}),
        serving(HERE, {}, on_connection=ProxyAcceptor("memory://far")),
        connect(HERE) as session,
        session.open(NewShop) as same,
        session.open(OldShop) as other,
    ):
        assert await same.put("", NewUser(name="ada")) == NewUser("there", "ADA")
        assert await other.put(OldUser("ada"), "") == OldUser("ADA", 3)


async def test_handlers_of_on_session_tell_their_service() -> None:
    async def welcome(peer: Peer) -> Any:
        assert peer.metadata == Metadata()
        return new_shop()[0]

    async with (
        serving(HERE, old_shop()[0], on_session=welcome),
        connect(HERE, OldShop) as client,
    ):
        assert await client.put(OldUser("ada"), "") == OldUser("ADA", 3)

    async def by_names(peer: Peer) -> Any:
        return {"shop": new_shop()[0]}

    async with (
        serving(HERE, old_shop()[0], on_session=by_names),
        connect(HERE, OldShop) as client,
    ):
        with pytest.raises(Exception, match="serves no method of this id"):
            await client.put(OldUser("ada"), "")


# ---------------------------------------------------------------- on the wire


def told(key: str, value: bytes) -> MetadataEntry:
    return MetadataEntry(key, value, MetadataFlags.NO_PROPAGATE.value)


async def test_what_the_two_sides_say_is_in_the_metadata(nursery: Any) -> None:
    link, peer = link_to_peer()
    expected = Expected(describe(OldShop).fingerprint)
    nursery.start_soon(opened_by, initiator(link, expected=expected))
    hello = await peer.hear(Hello)
    assert hello.metadata == Metadata(
        (told("schema-expected", describe(OldShop).fingerprint), SAID)
    )
    await peer.say(HelloYourself(ConnectionId.ROOT, EVEN, Metadata((SAID,))))
    opened = await peer.hear(ConnectionOpen)
    assert opened.metadata[1:] == (
        told("schema-expected", describe(OldShop).fingerprint),
    )
    await peer.leave()


async def opened_by(builder: Any) -> None:
    async with builder.open() as session:
        with pytest.raises(ConnectionLost):
            async with session.open(OldShop):
                raise AssertionError("nobody has accepted it")


async def test_a_peer_that_does_not_know_it_is_told_nothing(nursery: Any) -> None:
    link, peer = link_to_peer()
    nursery.start_soon(opened_by, initiator(link))
    await peer.hear(Hello)
    await peer.say(HelloYourself(ConnectionId.ROOT, EVEN))
    opened = await peer.hear(ConnectionOpen)
    assert opened.metadata == Metadata((MetadataEntry("service", "shop"),))
    await peer.leave()


def test_what_is_offered_is_told_to_those_who_ask() -> None:
    handler = new_shop()[0]
    mine = Metadata((MetadataEntry("schema", "mine"),))
    same = offering(mine, NEW.fingerprint, handler, schemas=True)
    other = offering(mine, b"\0" * 16, handler, schemas=True)
    digest = told("schema-digest", NEW.fingerprint)
    assert NEW.deflated_schema is not None
    assert same == (*mine, digest)
    assert other == (*mine, digest, told("schema", NEW.deflated_schema))
    assert offering(mine, b"\0" * 16, handler, schemas=False) == same
    assert offering(mine, None, handler, schemas=True) is mine
    assert offering(mine, b"\0" * 16, NoService(), schemas=True) is mine
    assert without_schemas(other) == mine
    assert without_schemas(mine) is mine


def test_a_schema_that_does_not_fit_beside_other_metadata_is_not_sent() -> None:
    large = Metadata((MetadataEntry("large", bytes(64 * 1024 - 100)),))
    handler = new_shop()[0]
    answer = offering(large, b"\0" * 16, handler, schemas=True)
    assert answer == (*large, told("schema-digest", NEW.fingerprint))


@pytest.mark.parametrize("value", [b"short", "a" * 16, 7])
def test_a_fingerprint_of_another_kind_is_none(value: Any) -> None:
    flags = MetadataFlags.NO_PROPAGATE.value
    entries = [
        MetadataEntry(key, value, flags) for key in ("schema-expected", "schema-digest")
    ]
    expected = Expected(b"\0" * 16)
    expected.note_answer(Metadata(entries))
    assert expected.offered is None
    assert expected_in(Metadata(entries)) is None


async def test_programs_do_not_see_the_entries() -> None:
    seen: list[Any] = []

    class Acceptor:
        async def accept(self, connection_id: Any, settings: Any, metadata: Any) -> Any:
            seen.append(metadata)
            return AcceptedConnection(handler=new_shop()[0], metadata={"a": 1})

    async with (
        serving(HERE, new_shop()[0], on_connection=Acceptor()) as server,
        connect(HERE) as session,
        session.open(OldShop, metadata={"schema": "mine"}),
    ):
        runs = session.connections.runs
        (theirs,) = (run.port.peer_metadata for run in list(runs.values())[1:])
        assert theirs == Metadata.of({"a": 1})
        assert session.peer.metadata == Metadata()
        assert only_session(server).peer.metadata == Metadata()
    assert seen == [Metadata.of({"service": "shop", "schema": "mine"})]


# ---------------------------------------------------------------- kept


async def test_a_translation_is_made_once_for_a_pair_of_services() -> None:
    handler = new_shop()[0]
    async with by_root(OldShop, handler) as first:
        pass
    async with by_name(OldShop, handler) as second:
        assert type(first) is type(second)


async def test_only_so_many_translations_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(translation, "MOST_TRANSLATIONS", 2)
    translation._kept.clear()
    for bits in (8, 16, 32, 64):

        class One:
            async def one(self, *args: Any) -> None: ...

        made = dispatcher(_one(f"u{bits}"), One())
        async with by_root(_one("u8", "i8"), made):
            pass
    assert len(translation._kept) == 2


class _Forgetful(OrderedDict[Any, Any]):
    """Translations of which other threads drop each as soon as it is kept."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        self.clear()


async def test_a_translation_that_another_thread_drops_is_used_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(translation, "_kept", _Forgetful())
    async with by_root(OldShop, new_shop()[0]) as client:
        assert await client.put(OldUser("ada"), "") == OldUser("ADA", 3)


def _one(*types: str) -> Any:
    """Return a service with one method, whose arguments have a default."""

    async def one(self: Any, **values: Any) -> None: ...

    hints = {f"x_{each}": Annotated[MARKED[each][0], Wire(each)] for each in types}
    one.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
            *(
                inspect.Parameter(
                    name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=0
                )
                for name in hints
            ),
        ]
    )
    one.__annotations__ = {**hints, "return": None}
    return service(name="One")(type("One", (), {"one": one}))


def test_only_so_many_names_of_methods_at_peers_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(method_names, "_MOST", 2)
    monkeypatch.setattr(method_names, "_names_at_peers", {})
    for number in (1, 2, 1, 3):
        method_names.remember_method_of_peer(MethodId(number), f"Shop.m{number}")
    names = [method_names.method_name(MethodId(number)) for number in (1, 2, 3)]
    assert names == ["Shop.m1", "0x0000000000000002", "Shop.m3"]
