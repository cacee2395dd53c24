"""Services and handlers that several tests look at, and sessions to use them on."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol, TypeVar

import attrs
import msgspec
import trio

from roam_trio import (
    Fallible,
    Handler,
    Rx,
    Session,
    Tx,
    UserError,
    acceptor,
    client,
    dispatcher,
    i32,
    i64,
    initiator,
    memory_link_pair,
    service,
    u16,
)

T = TypeVar("T")


class Point(msgspec.Struct, frozen=True):
    x: i32
    y: i32


class MathError(enum.Enum):
    DIVISION_BY_ZERO = "DivisionByZero"
    OVERFLOW = "Overflow"


@service
class Testbed(Protocol):
    """What the tests of other implementations serve.

    Some of it.
    """

    async def echo(self, message: str) -> str:
        """Say it again."""
        ...

    async def divide(self, dividend: i64, divisor: i64) -> Fallible[i64, MathError]: ...

    async def sum(self, numbers: Rx[i32]) -> i64: ...

    async def echo_point(self, point: Point) -> Point: ...


class BedHandler:
    async def echo(self, message: str) -> str:
        return message

    async def divide(self, dividend: int, divisor: int) -> int:
        if divisor == 0:
            raise UserError(MathError.DIVISION_BY_ZERO)
        return dividend // divisor

    async def sum(self, numbers: Rx[int]) -> int:
        return sum([number async for number in numbers])

    async def echo_point(self, point: Point) -> Point:
        return point


@attrs.define
class NotFound(Exception):
    key: str


@attrs.define
class Locked(Exception):
    key: str
    seconds: u16


@attrs.define
class LockedByAdmin(Locked):
    reason: str = ""


class Denied(msgspec.Struct, frozen=True):
    reason: str


@service
class Store(Protocol):
    """One method for every kind of error type."""

    async def by_enum(self) -> Fallible[str, MathError]: ...
    async def by_struct(self) -> Fallible[str, Denied]: ...
    async def by_exception(self) -> Fallible[str, NotFound]: ...
    async def by_union(self, key: str) -> Fallible[str, NotFound | Locked]: ...
    async def by_base(self) -> Fallible[str, Locked]: ...
    async def by_none(self) -> Fallible[str, None]: ...
    async def never(self) -> str: ...
    async def emit(self, output: Tx[i32]) -> None: ...


class Failing:
    """A handler of `Store` whose methods raise what the test says."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "by_union":

            async def by_union(key: str) -> str:
                return self.fail()

            return by_union
        if name == "emit":

            async def emit(output: Tx[int]) -> None:
                self.fail()

            return emit

        async def method() -> str:
            return self.fail()

        return method

    def fail(self) -> str:
        if not self.errors:
            return "fine"
        raise self.errors.pop(0)


async def sessions(
    nursery: trio.Nursery, served: Handler, serving: Handler | None = None
) -> tuple[Session, Session]:
    """Two sessions that are joined: the caller's, and the one `served` answers on."""
    near, far = memory_link_pair(64)
    accepted: list[Session] = []

    async def accept() -> None:
        accepted.append(await nursery.start(acceptor(far).run, served))

    async with trio.open_nursery() as setting_up:
        setting_up.start_soon(accept)
        session: Session = await nursery.start(initiator(near).run, serving)
    return session, accepted[0]


async def connected(
    nursery: trio.Nursery, service: Callable[..., T], handler: object
) -> T:
    """A client of `handler`, on sessions that live as long as the nursery."""
    session, _ = await sessions(nursery, dispatcher(service, handler))
    return client(service, session.caller)
