"""The reserved service `reflection`, and `describe_remote`."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from typing import Any, Protocol

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import (
    AnyCall,
    Limits,
    Metadata,
    NoReflection,
    Overloaded,
    Peer,
    Proceed,
    Reflection,
    ReflectionProblem,
    RemoteServices,
    SchemaError,
    Server,
    SessionRejected,
    Tx,
    UserError,
    channel,
    connect,
    current_call,
    describe,
    describe_remote,
    dispatcher,
    dynamic,
    open_call,
    reserved_services,
    serve,
    service,
    u32,
)
from roam_trio.rpc.handler import Handler
from roam_trio.service import ServiceDescriptor
from roam_trio.service.description.model import (
    EnumSchema,
    MethodSchema,
    ServiceSchema,
    VariantSchema,
)
from roam_trio.service.reserved import parts as making
from roam_trio.service.reserved.parts import PART_LENGTH, _told
from roam_trio.session import AcceptedConnection, OfferedServices
from tests.session.running import Custom, Task, join

URL = "memory://reflection"


@service
class Shop(Protocol):
    """Sells items."""

    async def order(self, name: str, count: u32 = 1) -> u32: ...
    async def who(self) -> str: ...


class ShopImpl:
    async def order(self, name: str, count: int = 1) -> int:
        return len(name) * count

    async def who(self) -> str:
        return str(current_call().metadata.get("user"))


@service
class Clock(Protocol):
    async def ticks(self) -> u32: ...


class ClockImpl:
    async def ticks(self) -> int:
        return 7


def shop() -> Handler:
    return dispatcher(Shop, ShopImpl())


def clock() -> Handler:
    return dispatcher(Clock, ClockImpl())


class Told:
    """A handler that is described by a schema, and answers no calls."""

    def __init__(self, schema: ServiceSchema) -> None:
        self.descriptor = ServiceDescriptor(schema.name, (), schema.doc, schema)

    def handle(self, call: Any, reply: Any) -> None:
        raise AssertionError("it was not to be called")


def large(methods: int) -> ServiceSchema:
    """Return a schema with many methods, and a type for each."""
    return ServiceSchema(
        "Large",
        tuple(MethodSchema(f"m{n}", n, doc="Do it. " * 20) for n in range(methods)),
        tuple(EnumSchema(f"E{n}", (VariantSchema("V"),)) for n in range(methods)),
        "A large one.",
    )


async def served(
    nursery: trio.Nursery, handler: Handler | Mapping[str, Handler], **options: Any
) -> Server:
    serving = partial(serve, URL, handler, **({"reflection": True} | options))
    server: Server = await nursery.start(serving)
    return server


async def found(
    nursery: trio.Nursery, handler: Handler | Mapping[str, Handler], **options: Any
) -> RemoteServices:
    """Return what a client finds at a server with these options."""
    await served(nursery, handler, **options)
    async with connect(URL) as session:
        return await describe_remote(session)


# ------------------------------------------------------------ what is found


async def test_services_by_name_are_found_with_their_descriptions(
    nursery: trio.Nursery,
) -> None:
    remote = await found(nursery, {"store": shop(), "clock": clock()})
    assert dict(remote).keys() == {"clock", "store"}
    assert len(remote) == 2
    assert remote["store"].schema == describe(Shop).schema
    assert remote["store"].doc == "Sells items."
    assert remote.root is None
    assert remote.undescribed == ()
    assert repr(remote) == "<RemoteServices clock, store>"


async def test_methods_of_a_remote_descriptor_have_the_ids_of_the_class(
    nursery: trio.Nursery,
) -> None:
    remote = await found(nursery, {"shop": shop()})
    methods = remote["shop"].methods
    assert methods is remote["shop"].methods
    ids = [each.id for each in methods]
    assert ids == [each.id for each in describe(Shop).methods]


async def test_the_service_on_the_root_connection_has_its_own_name(
    nursery: trio.Nursery,
) -> None:
    remote = await found(nursery, shop())
    assert list(remote) == ["shop"]
    assert remote.root is remote["shop"]
    assert remote.is_on_root("shop")
    assert not remote.is_on_root("clock")


def test_a_service_by_name_goes_before_that_on_the_root_connection() -> None:
    named, root = describe(Clock), describe(Shop)
    remote = RemoteServices({"shop": named}, root)
    assert remote["shop"] is named
    assert not remote.is_on_root("shop")


async def test_a_handler_without_a_description_is_named_as_such(
    nursery: trio.Nursery,
) -> None:
    remote = await found(nursery, {"raw": Custom(None), "shop": shop()})
    assert list(remote) == ["shop"]
    assert remote.undescribed == ("raw",)


async def test_handlers_for_one_session_are_found_there(nursery: trio.Nursery) -> None:
    async def welcome(peer: Peer) -> Handler | Mapping[str, Handler] | None:
        given: dict[Any, Any] = {"root": clock(), "named": {"timer": clock()}}
        return given.get(peer.metadata.get("want"))

    await served(nursery, {"shop": shop()}, on_session=welcome)
    names = {}
    for want in ("root", "named", "nothing"):
        async with connect(URL, metadata={"want": want}) as session:
            remote = await describe_remote(session)
            names[want] = (list(remote), remote.root is None)
    assert names == {
        "root": (["clock"], False),
        "named": (["timer"], True),
        "nothing": (["shop"], True),
    }


async def test_what_a_server_offers_or_withdraws_later_is_found(
    nursery: trio.Nursery,
) -> None:
    server = await served(nursery, {"shop": shop()})
    async with connect(URL) as session:
        server.offer("clock", clock())
        assert list(await describe_remote(session)) == ["clock", "shop"]
        server.withdraw("shop")
        assert list(await describe_remote(session)) == ["clock"]


async def test_two_sides_of_a_lone_session_describe_what_they_offer(
    nursery: trio.Nursery,
) -> None:
    offering = OfferedServices({"clock": clock()}, reserved=reserved_services)
    left, right = await join(nursery, accepting={"on_connection": offering})
    assert list(await describe_remote(left)) == ["clock"]
    with pytest.raises(NoReflection):
        await describe_remote(right)


async def test_a_client_describes_to_the_server_what_it_offers(
    nursery: trio.Nursery,
) -> None:
    @service
    class Asked(Protocol):
        async def about(self) -> list[str]: ...

    class Asking:
        async def about(self) -> list[str]:
            return list(await describe_remote(current_call().connection.session))

    await served(nursery, dispatcher(Asked, Asking()))
    async with connect(URL, Asked, {"clock": clock()}, reflection=True) as asked:
        assert await asked.about() == ["clock"]
    async with connect(URL, Asked, clock(), reflection=True) as asked:
        assert await asked.about() == ["clock"]


# ------------------------------------------------------------ clients


async def test_a_service_is_called_by_what_was_found(nursery: trio.Nursery) -> None:
    await served(nursery, {"store": shop()})
    async with connect(URL, metadata_for_calls={"user": "Ada"}) as session:
        remote = await describe_remote(session)
        async with dynamic(session, "store", remote) as store:
            assert await store.call("order", {"name": "pen", "count": 2}) == 6
            assert await store.call("who") == "Ada"


async def test_a_service_on_the_root_connection_is_called_there(
    nursery: trio.Nursery,
) -> None:
    seen: list[str] = []

    async def noting(call: AnyCall, proceed: Proceed) -> Any:
        seen.append(call.method.name)
        return await proceed()

    await served(nursery, shop())
    async with connect(
        URL, metadata_for_calls={"user": "Ada"}, middleware=[noting]
    ) as session:
        remote = await describe_remote(session)
        seen.clear()
        async with dynamic(session, "shop", remote) as store:
            assert len(session.statistics().connections) == 1
            assert await store.call("who") == "Ada"
        async with dynamic(
            session, "shop", remote, metadata_for_calls={"user": "Eve"}
        ) as store:
            assert await store.call("who") == "Eve"
    assert seen == ["who", "who"]


async def test_middleware_of_a_server_is_around_the_reserved_services(
    nursery: trio.Nursery,
) -> None:
    seen: list[str] = []

    async def noting(call: AnyCall, proceed: Proceed) -> Any:
        seen.append(str(call.method))
        return await proceed()

    await found(nursery, {"shop": shop()}, middleware=[noting])
    assert seen == ["Reflection.services", "Reflection.describe"]


# ------------------------------------------------------------ names


async def test_a_server_without_reflection_rejects_the_reserved_names(
    nursery: trio.Nursery,
) -> None:
    await served(nursery, {"shop": shop()}, reflection=False)
    async with connect(URL) as session:
        for name in ("reflection", "health"):
            with pytest.raises(SessionRejected) as rejected:
                async with session.open(Reflection, name):
                    pass
            assert rejected.value.metadata == Metadata.of(
                {"error": f"'{name}' is not one of the services: shop"}
            )
        with pytest.raises(NoReflection, match="reflection=True") as caught:
            await describe_remote(session)
        assert isinstance(caught.value.__cause__, SessionRejected)


async def test_a_server_with_reflection_names_the_reserved_services_in_rejections(
    nursery: trio.Nursery,
) -> None:
    await served(nursery, {"shop": shop()})
    async with connect(URL) as session:
        with pytest.raises(SessionRejected, match="health, reflection, shop"):
            async with session.open(Shop, "other"):
                pass


@pytest.mark.parametrize(
    ("deadlines", "because"),
    [(True, "does not have the method"), (False, "serves no method of this id")],
)
async def test_a_service_of_the_program_goes_before_a_reserved_one(
    nursery: trio.Nursery, deadlines: bool, because: str
) -> None:
    await served(nursery, {"reflection": shop()}, deadlines=deadlines)
    async with connect(URL) as session:
        async with session.open(Shop, "reflection") as store:
            assert await store.order("ab") == 2
        with pytest.raises(NoReflection, match=because):
            await describe_remote(session)


async def test_other_names_are_decided_on_as_without_reflection(
    nursery: trio.Nursery,
) -> None:
    class Deciding:
        async def accept(self, *args: Any) -> AcceptedConnection:
            return AcceptedConnection(handler=clock())

    await served(nursery, shop(), on_connection=Deciding())
    async with connect(URL) as session:
        assert list(await describe_remote(session)) == ["shop"]
        async with session.open(Clock, "anything") as anything:
            assert await anything.ticks() == 7


_UNASKED = """
import sys, trio
from roam_trio import connect, dispatcher, serve, service
from roam_trio.errors import SessionRejected

@service
class Shop:
    async def who(self) -> str: ...

class Impl:
    async def who(self) -> str:
        return "me"

def made():
    return sorted(
        name for name in sys.modules
        if name.startswith(("roam_trio.service.reserved", "roam_trio.service.desc"))
    )

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, "memory://unasked", dispatcher(Shop, Impl()))
        async with connect("memory://unasked") as session:
            for name in ("reflection", "health"):
                try:
                    await session.open_connection(metadata={"service": name})
                except SessionRejected:
                    print(name, *made())
        nursery.cancel_scope.cancel()

trio.run(main)
"""


def test_nothing_is_made_where_reflection_is_not_offered() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNASKED], check=True, capture_output=True, text=True
    )
    lines = [
        line.replace("roam_trio.service.descriptor", "")
        for line in done.stdout.splitlines()
    ]
    assert [line.split() for line in lines] == [["reflection"], ["health"]]


# ------------------------------------------------------------ large ones


async def test_a_large_description_is_sent_in_parts_under_credit(
    nursery: trio.Nursery,
) -> None:
    schema = large(3000)
    await served(nursery, {"large": Told(schema)})
    async with (
        connect(URL) as session,
        session.open(Reflection) as reflection,
        open_call(reflection.describe, "large") as call,
    ):
        await wait_all_tasks_blocked()
        parts = [await call.rx.recv()]
        while True:
            try:
                parts.append(call.rx.recv_nowait())
            except trio.WouldBlock:
                break
        assert len(parts) == 16
        parts += [part async for part in call.rx]
        assert await call.result() == len(parts) > 32
    assert max(map(len, parts)) < PART_LENGTH + 1024
    assert parts[0].startswith(b'{"name":"Large","doc":"A large one.","types":[')
    assert parts[-1].startswith(b'{"name":"Large","methods":[')


async def test_other_tasks_run_while_a_large_description_is_made_and_read(
    nursery: trio.Nursery,
) -> None:
    schema = large(1000)
    await served(nursery, {"large": Told(schema)})
    async with connect(URL) as session:
        steps, is_done = 0, False

        async def count() -> None:
            nonlocal steps
            while not is_done:
                await trio.lowlevel.checkpoint()
                steps += 1

        nursery.start_soon(count)
        remote = await describe_remote(session)
        is_done = True
    assert remote["large"].schema == schema
    # One for each method and each type, at both ends.
    assert steps >= 4000


async def test_a_description_is_encoded_once(nursery: trio.Nursery) -> None:
    told = Told(large(2))
    await served(nursery, {"large": told})
    async with connect(URL) as session:
        assert told.descriptor not in _told
        await describe_remote(session)
        first = _told[told.descriptor]
        await describe_remote(session)
        assert _told[told.descriptor] is first


async def test_a_crowd_waits_for_one_description_and_goes_on_if_that_is_cancelled(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    encoded = making._encoded

    def counting(
        descriptor: ServiceDescriptor,
    ) -> Generator[None, None, tuple[bytes, ...]]:
        begun.append(descriptor.name)
        return encoded(descriptor)

    monkeypatch.setattr(making, "_encoded", counting)
    large_one = Told(large(100)).descriptor
    first = Task(nursery, making.parts_of, large_one)
    await trio.lowlevel.checkpoint()
    others = [Task(nursery, making.parts_of, large_one) for _ in range(50)]
    await trio.lowlevel.checkpoint()
    assert begun == ["Large"]
    first.cancel()
    found = [await other.result() for other in others]
    assert first.was_cancelled
    assert begun == ["Large", "Large"]
    assert all(each is found[0] for each in found)
    assert making._making_here() == {}


# ------------------------------------------------------------ bounds


async def test_descriptions_of_a_session_at_a_time_are_bounded(
    nursery: trio.Nursery,
) -> None:
    await served(
        nursery, {"large": Told(large(3000))}, limits=Limits(reserved_streams=2)
    )
    async with connect(URL) as session, connect(URL) as other:
        async with session.open(Reflection) as reflection, trio.open_nursery() as calls:
            ends = [channel[bytes]() for _ in range(3)]
            for tx, rx in ends[1:]:
                calls.start_soon(reflection.describe, "large", tx)
                await rx.recv()
            with pytest.raises(Overloaded, match="limit: reserved_streams") as refused:
                await reflection.describe("large", ends[0][0])
            assert refused.value.text.startswith("2 descriptions and watches are")
            assert list(await describe_remote(other)) == ["large"]
            calls.cancel_scope.cancel()
        await wait_all_tasks_blocked()
        assert list(await describe_remote(session)) == ["large"]


async def test_an_unknown_service_is_a_declared_error(nursery: trio.Nursery) -> None:
    await served(nursery, {"shop": shop()})
    async with connect(URL) as session, session.open(Reflection) as reflection:
        tx, _ = channel[bytes]()
        with pytest.raises(UserError) as caught:
            await reflection.describe("other", tx)
        assert caught.value.error is ReflectionProblem.UNKNOWN


class Hostile:
    """A `Reflection` that answers as it is told."""

    def __init__(self, *parts: bytes, number: int | None = None) -> None:
        self.parts = parts
        self.number = len(parts) if number is None else number
        self.names = ["shop"]

    async def services(self) -> list[str]:
        return self.names

    async def describe(self, name: str, parts: Tx[bytes]) -> int:
        for part in self.parts:
            await parts.send(part)
        return self.number


Describing = Callable[..., Awaitable[RemoteServices]]


@pytest.fixture
def described_by(nursery: trio.Nursery) -> Describing:
    async def described(hostile: Hostile, **options: Any) -> RemoteServices:
        handler = dispatcher(Reflection, hostile)
        await served(nursery, {"reflection": handler}, reflection=False)
        async with connect(URL) as session:
            return await describe_remote(session, **options)

    return described


SMALL = b'{"name":"Shop"}'
METHODS = b'{"name":"Shop","methods":[%s]}'


def methods(count: int, start: int = 0) -> bytes:
    each = (b'{"name":"m%d","id":%d}' % (n, n) for n in range(start, start + count))
    return METHODS % b",".join(each)


@pytest.mark.parametrize(
    ("hostile", "problem"),
    [
        (Hostile(), "says that it has sent 0 parts; 0 came"),
        (Hostile(SMALL, number=2), "says that it has sent 2 parts; 1 came"),
        (Hostile(b"{"), "expected a schema in JSON"),
        (Hostile(b"[" * 100_000), "it is nested too deeply"),
        (Hostile(SMALL, SMALL), "a part has neither methods nor types"),
        (Hostile(b" " * 1_048_577), "at most 1048576 bytes in a part, got 1048577"),
        (Hostile(methods(3000), methods(1097, 3000)), "at most 4096 methods, got 4097"),
        (Hostile(METHODS % b'{"name":"\\u001b[2J","id":1}'), "no control characters"),
        (Hostile(b'{"name":"\\u0007"}'), "no control characters"),
    ],
)
async def test_a_hostile_description_is_refused(
    described_by: Describing, hostile: Hostile, problem: str
) -> None:
    with pytest.raises(SchemaError, match=problem):
        await described_by(hostile)


async def test_too_many_types_are_refused(described_by: Describing) -> None:
    each = b'{"is":"struct","name":"T%d","fields":[]}'
    types = b",".join(each % n for n in range(4097))
    with pytest.raises(SchemaError, match="at most 4096 types, got 4097"):
        await described_by(Hostile(b'{"name":"Shop","types":[%s]}' % types))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["\x1b[2J"], "no control characters"),
        (["a" * 257], "0 to 256 characters, got 257"),
        ([f"s{n}" for n in range(4097)], "at most 4096 services, got 4097"),
    ],
)
async def test_hostile_names_of_services_are_refused(
    described_by: Describing, names: list[str], problem: str
) -> None:
    hostile = Hostile(SMALL)
    hostile.names = names
    with pytest.raises(SchemaError, match=problem):
        await described_by(hostile)


async def test_all_descriptions_together_are_bounded(described_by: Describing) -> None:
    hostile = Hostile(methods(10))
    hostile.names = ["one", "two", "three"]
    most = 2 * len(methods(10))
    with pytest.raises(SchemaError, match=rf"more than {most} bytes.*most_bytes"):
        await described_by(hostile, most_bytes=most)


async def test_descriptions_up_to_the_bound_are_taken(
    described_by: Describing,
) -> None:
    remote = await described_by(Hostile(methods(10)), most_bytes=len(methods(10)))
    assert len(remote["shop"].schema.methods) == 10


async def test_control_characters_in_docs_become_escapes(
    described_by: Describing,
) -> None:
    remote = await described_by(Hostile(b'{"name":"Shop","doc":"\\u001b[2J"}'))
    assert remote["shop"].doc == r"\x1b[2J"


async def test_a_service_that_was_just_withdrawn_is_left_out(
    described_by: Describing,
) -> None:
    class Withdrawing(Hostile):
        async def describe(self, name: str, parts: Tx[bytes]) -> int:
            if name == "gone":
                raise UserError(ReflectionProblem.UNKNOWN)
            return await super().describe(name, parts)

    hostile = Withdrawing(SMALL)
    hostile.names = ["gone", "shop"]
    remote = await described_by(hostile)
    assert (list(remote), remote.undescribed) == (["shop"], ())


@pytest.mark.slow
async def test_a_class_of_a_thousand_methods_is_described(
    nursery: trio.Nursery,
) -> None:
    async def template(self: Any, name: str, count: u32) -> u32:
        """Do something."""
        raise NotImplementedError

    functions: dict[str, Any] = {}
    for number in range(1000):
        copy = types.FunctionType(template.__code__, globals(), f"m{number}")
        copy.__annotations__ = {"name": str, "count": u32, "return": u32}
        copy.__doc__ = template.__doc__
        functions[copy.__name__] = copy
    described = describe(service(type("Many", (), functions)))
    handler = Told(described.schema)
    handler.descriptor = described
    remote = await found(nursery, {"many": handler})
    assert remote["many"].schema == described.schema
