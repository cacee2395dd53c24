"""What the Python side does when it is called; as `rust_peer/src/handlers.rs`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import trio

from roam_trio import (
    Dispatcher,
    ReplySink,
    RequestCall,
    Rx,
    Tx,
    TxReset,
    UserError,
    dispatcher,
)
from roam_trio.rpc.handler import NoService

from .services import Faults, Streams, Values, Waiting
from .wire_types import (
    Chain,
    Closed,
    Colour,
    Containers,
    DividedByZero,
    Expr,
    Figure,
    Integers,
    Labelled,
    Marker,
    Metres,
    NotOne,
    Order,
    Page,
    Point,
    Polygon,
    Scalars,
    Single,
    Spaced,
    TooMany,
    Tree,
    value_of,
)

__all__ = ["Everything", "Patient"]


class Echo:
    async def integers(self, value: Integers) -> Integers:
        return value

    async def scalars(self, value: Scalars) -> Scalars:
        return value

    async def containers(self, value: Containers) -> Containers:
        return value

    async def structs(
        self,
        point: Point,
        labelled: Labelled,
        single: Single,
        metres: Metres,
        marker: Marker,
    ) -> tuple[Point, Labelled, Single, Metres, Marker]:
        return point, labelled, single, metres, marker

    async def colours(self, value: list[Colour]) -> list[Colour]:
        return value

    async def spaced(self, value: Spaced) -> Spaced:
        return value

    async def figures(self, value: list[Figure]) -> list[Figure]:
        return value

    async def tree(self, value: Tree) -> Tree:
        return value

    async def chain(self, value: Chain) -> Chain:
        return value

    async def evaluate(self, value: Expr) -> int:
        return value_of(value)

    async def expr(self, value: Expr) -> Expr:
        return value

    async def page(self, value: Page[Point]) -> Page[str]:
        return Page([f"{at.x}:{at.y}" for at in value.items], value.total)

    async def nothing(self) -> None:
        pass

    async def spelled(self, *numbers: int) -> str:
        return " ".join(map(str, numbers))

    async def borrowed(self, text: str, data: bytes) -> str:
        return f"{text} {len(data)}"

    async def lent(self, text: str) -> str:
        return "something" if text else "nothing"

    async def owned_or_lent(self, text: str) -> str:
        return text or "lent"

    async def bytes(self, data: bytes) -> bytes:
        return data


class Failing:
    async def divide(self, dividend: int, divisor: int) -> int:
        if divisor == 0:
            raise DividedByZero(dividend)
        # As Rust does: towards zero.
        return int(dividend / divisor)

    async def refuse(self, kind: int) -> str:
        match kind:
            case 0:
                raise UserError(Closed())
            case 1:
                raise TooMany(300)
            case 2:
                raise UserError(NotOne("not one"))
            case _:
                return "granted"

    async def paint(self, colour: Colour) -> None:
        if colour is not Colour.GREEN:
            raise UserError(colour)

    async def complain(self, text: str) -> int:
        raise UserError(text)

    async def break_down(self) -> int:
        raise RuntimeError("on purpose")

    async def decide(self, yes: bool) -> bool:
        return yes


async def total(numbers: Rx[int]) -> int:
    return sum([number async for number in numbers])


async def send_up_to(end: int, numbers: Tx[int]) -> int:
    try:
        async with numbers:
            for number in range(end):
                await numbers.send(number)
    except TxReset:
        return number
    return end


class Streaming:
    """Streams whatever the other side wants.

    Args:
        nursery: where what outlives its call goes on.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def sum(self, numbers: Rx[int]) -> int:
        return await total(numbers)

    async def count(self, end: int, numbers: Tx[int]) -> int:
        return await send_up_to(end, numbers)

    async def reversed(self, texts: Rx[str], reversed: Tx[str]) -> int:
        seen = 0
        async with reversed:
            async for text in texts:
                await reversed.send(text[::-1])
                seen += 1
        return seen

    async def draw(self, corners: Rx[Point], figures: Tx[Figure]) -> None:
        seen: list[Point] = []
        async with figures:
            async for corner in corners:
                seen.append(corner)
                await figures.send(Polygon(list(seen)))

    async def sum_narrow(self, numbers: Rx[int]) -> int:
        return await total(numbers)

    async def sum_wide(self, numbers: Rx[int]) -> int:
        return await total(numbers)

    async def count_narrow(self, end: int, numbers: Tx[int]) -> None:
        await send_up_to(end, numbers)

    async def count_wide(self, end: int, numbers: Tx[int]) -> None:
        await send_up_to(end, numbers)

    async def count_widest(self, end: int, numbers: Tx[int]) -> None:
        await send_up_to(end, numbers)

    async def sum_late(self, numbers: Rx[int]) -> int:
        await trio.sleep(0.3)
        return await total(numbers)

    async def sum_in_order(self, order: Order) -> int | None:
        return await total(order.numbers)

    async def sum_if_given(self, numbers: Rx[int] | None) -> int | None:
        return None if numbers is None else await total(numbers)

    async def take(self, number: int, numbers: Rx[int]) -> int:
        async with numbers:
            return sum([await numbers.recv() for _ in range(number)])

    async def measure(self, blobs: Rx[bytes]) -> int:
        return sum([len(blob) async for blob in blobs])

    async def fill(self, size: int, blobs: Tx[bytes]) -> None:
        async with blobs:
            for filling in range(4):
                await blobs.send(bytes([filling]) * size)

    async def later(self, end: int, numbers: Tx[int]) -> None:
        self._nursery.start_soon(send_up_to, end, numbers)


class Patient:
    """Waits; tests see what for, and how it ended.

    Attributes:
        names_begun: the names of the calls of `forever` that have begun.
        names_ended: those that have ended.
    """

    def __init__(self) -> None:
        self.names_begun: list[str] = []
        self.names_ended: list[str] = []
        self._has_begun = trio.Condition()
        self._meeting: list[trio.Event] = []

    async def until_begun(self, name: str) -> None:
        async with self._has_begun:
            while name not in self.names_begun:
                await self._has_begun.wait()

    async def forever(self, name: str) -> None:
        async with self._has_begun:
            self.names_begun.append(name)
            self._has_begun.notify_all()
        try:
            await trio.sleep_forever()
        finally:
            self.names_ended.append(name)

    async def meet(self, number: int) -> int:
        here = trio.Event()
        self._meeting.append(here)
        if len(self._meeting) == number:
            for each in self._meeting:
                each.set()
            self._meeting.clear()
        await here.wait()
        return number

    async def begun(self) -> list[str]:
        return self.names_begun

    async def ended(self) -> list[str]:
        return self.names_ended

    async def add(self, left: int, right: int) -> int:
        return (left + right) % 2**32


class Everything:
    """A handler of all the services at once.

    Attributes:
        patient: what serves `Waiting`.
        by_name: the handlers for virtual connections.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self.patient = Patient()
        dispatchers = [
            dispatcher(Values, Echo()),
            dispatcher(Faults, Failing()),
            dispatcher(Streams, Streaming(nursery)),
            dispatcher(Waiting, self.patient),
        ]
        self._by_id: dict[int, Dispatcher] = {
            method.id: each
            for each in dispatchers
            for method in each.descriptor.methods
        }
        self.by_name = {each.descriptor.name.lower(): each for each in dispatchers}

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """See `roam_trio.Handler`."""
        handler = self._by_id.get(call.method_id, NoService())
        return handler.handle(call, reply)
