"""Two versions of a service, and what each side of them does."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import attrs
import msgspec

from roam_trio import (
    Credit,
    Fallible,
    Rx,
    Tx,
    dispatcher,
    service,
    u16,
    u32,
)

__all__ = ["NewShop", "NewUser", "OldShop", "OldUser", "new_shop", "old_shop"]


class OldUser(msgspec.Struct, frozen=True):
    name: str
    age: u16 = 3


class NewUser(msgspec.Struct, frozen=True):
    city: str = "here"
    name: str = "?"


@attrs.define
class OldProblem(Exception):
    code: u32
    limit: u32


@attrs.define
class NewProblem(Exception):
    limit: u32
    code: u32
    hint: str = "none"


@service(name="Shop")
class OldShop(Protocol):
    """The service as it was."""

    async def put(self, user: OldUser, note: str) -> OldUser: ...
    async def fail(self, code: u32) -> Fallible[u32, OldProblem]: ...
    async def watch(self, count: u32, users: Tx[OldUser]) -> u32: ...
    async def store(self, users: Rx[OldUser]) -> u32: ...


@service(name="Shop")
class NewShop(Protocol):
    """The service as it is now: nothing that a translation cannot do."""

    async def store(self, users: Annotated[Rx[NewUser], Credit(64)]) -> u32: ...
    async def put(self, note: str, user: NewUser, extra: u16 = 7) -> NewUser: ...
    async def fail(self, code: u32) -> Fallible[u32, NewProblem]: ...
    async def watch(
        self, users: Annotated[Tx[NewUser], Credit(64)], count: u32
    ) -> u32: ...


class Shop:
    """Answers for both versions.

    Args:
        user: makes a user of a name.
        problem: the class of the errors.
    """

    def __init__(self, user: Any, problem: Any) -> None:
        self._user = user
        self._problem = problem
        self.got: list[Any] = []

    async def fail(self, code: int) -> int:
        raise self._problem(code=code, limit=9)

    async def watch(self, *args: Any) -> int:
        count, users = args if isinstance(args[0], int) else args[::-1]
        for index in range(count):
            await users.send(self._user(name=str(index)))
        return int(count)

    async def store(self, users: Rx[Any]) -> int:
        async for user in users:
            self.got.append(user)
        return len(self.got)


class _OldShop(Shop):
    async def put(self, user: OldUser, note: str) -> OldUser:
        self.got += [user, note]
        return OldUser(user.name.upper(), 300)


class _NewShop(Shop):
    async def put(self, note: str, user: NewUser, extra: int) -> NewUser:
        self.got += [user, note, extra]
        return NewUser("there", user.name.upper())


def old_shop() -> tuple[Any, Shop]:
    """Return a handler of the old version, and its object."""
    shop = _OldShop(OldUser, OldProblem)
    return dispatcher(OldShop, shop), shop


def new_shop() -> tuple[Any, Shop]:
    """Return a handler of the new version, and its object."""
    shop = _NewShop(NewUser, NewProblem)
    return dispatcher(NewShop, shop), shop
