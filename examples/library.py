"""Methods that can fail, and metadata beside a call: `python examples/library.py`."""

from __future__ import annotations

import enum
from typing import Protocol

import attrs
import trio

from roam_trio import (
    Fallible,
    UserError,
    connect,
    current_call,
    dispatcher,
    serve,
    service,
    u32,
    with_metadata,
)


@attrs.define
class LentOut(Exception):
    """An exception made with attrs can go over the wire: the handler raises it, and
    the same is raised again at the caller."""

    title: str
    days: u32


@attrs.define
class NoSuchBook(Exception):
    title: str


class Refusal(enum.Enum):
    """An error that is no exception is raised as a `UserError` that holds it."""

    NO_SUCH_MEMBER = "NoSuchMember"
    TOO_MANY_BOOKS = "TooManyBooks"


@service
class Library(Protocol):
    async def lend(self, title: str) -> Fallible[u32, LentOut | NoSuchBook]:
        """Lend a book, and return for how many days."""
        ...

    async def admit(self, member: str) -> Fallible[str, Refusal]:
        """Let a member in, and return a greeting."""
        ...


class LibraryImpl:
    def __init__(self) -> None:
        self.lent = {"Emma": False, "Ulysses": True}

    async def lend(self, title: str) -> int:
        # Metadata travels beside the arguments: for what concerns many methods.
        call = current_call()
        call.response_metadata = {"desk": "north"}
        print(f"  [server] lend, asked for by {call.metadata.get('member')!r}")
        if title not in self.lent:
            raise NoSuchBook(title)
        if self.lent[title]:
            raise LentOut(title, days=9)
        self.lent[title] = True
        return 14

    async def admit(self, member: str) -> str:
        if member != "Ada":
            raise UserError(Refusal.NO_SUCH_MEMBER)
        return f"Good morning, {member}."


async def borrow(library: Library, title: str) -> None:
    lend = with_metadata(library.lend, {"member": "Ada"})
    try:
        lent = await lend(title)
    except LentOut as error:
        print(f"{error.title}: lent out, back in {error.days} days")
    except NoSuchBook as error:
        print(f"{error.title}: there is no such book")
    else:
        print(
            f"{title}: for {lent.value} days, from desk {lent.metadata.get('desk')!r}"
        )


async def enter(library: Library, member: str) -> None:
    try:
        print(await library.admit(member))
    except UserError as error:
        print(f"{member}: {error.error}")


async def use(url: str) -> None:
    async with connect(url, Library) as library:
        for member in ("Ada", "Bertie"):
            await enter(library, member)
        for title in ("Emma", "Ulysses", "Dune"):
            await borrow(library, title)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        handler = dispatcher(Library, LibraryImpl())
        server = await nursery.start(serve, "tcp://127.0.0.1:0", handler)
        await use(server.url)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
