"""A service to try the command `roam-trio` with; see docs/from-the-shell.md.

    roam-trio serve examples.weather:handlers --listen tcp://127.0.0.1:7000 --reflection

By itself, `python examples/weather.py` serves it, and calls it.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from roam_trio import (
    Fallible,
    Handler,
    Rx,
    Tx,
    connect,
    current_call,
    dispatcher,
    open_call,
    serve,
    service,
    u8,
)


@attrs.frozen
class Day:
    """The weather of one day."""

    sky: str
    highest: float


@attrs.define
class UnknownCity(Exception):
    """There is no station in this city."""

    city: str


SKIES = {"Oslo": ["snow", "clouds", "sun"], "Rome": ["sun", "sun", "rain"]}


@service
class Weather(Protocol):
    """Forecasts, and streams of temperatures."""

    async def forecast(
        self, city: str, days: u8 = 2
    ) -> Fallible[list[Day], UnknownCity]:
        """Return the weather of the next days, of three at most."""
        ...

    async def watch(self, city: str, temperatures: Tx[float]) -> None:
        """Send the temperatures of a day."""
        ...

    async def mean(self, temperatures: Rx[float]) -> float:
        """Return the mean of temperatures."""
        ...

    async def to_fahrenheit(self, celsius: Rx[float], fahrenheit: Tx[float]) -> None:
        """Convert temperatures as they come."""
        ...

    async def reader(self) -> str:
        """Return who asks, by the metadata of the call."""
        ...

    async def next_storm(self) -> Day:
        """Wait for the next storm."""
        ...


class WeatherImpl:
    async def forecast(self, city: str, days: int = 2) -> list[Day]:
        if city not in SKIES:
            raise UnknownCity(city)
        return [Day(sky, 20.0 + len(sky)) for sky in SKIES[city][:days]]

    async def watch(self, city: str, temperatures: Tx[float]) -> None:
        await temperatures.send_many([11.5, 16.0, 19.5, 14.0])

    async def mean(self, temperatures: Rx[float]) -> float:
        values = [value async for value in temperatures]
        return sum(values) / len(values)

    async def to_fahrenheit(self, celsius: Rx[float], fahrenheit: Tx[float]) -> None:
        async for value in celsius:
            await fahrenheit.send(value * 9 / 5 + 32)

    async def reader(self) -> str:
        return str(current_call().metadata.get("user"))

    async def next_storm(self) -> Day:
        await trio.sleep_forever()


def handlers() -> dict[str, Handler]:
    """What `roam-trio serve` offers."""
    return {"weather": dispatcher(Weather, WeatherImpl())}


async def use(url: str) -> None:
    async with connect(url) as session, session.open(Weather) as weather:
        for day in await weather.forecast("Rome"):
            print(f"Rome: {day.sky}, {day.highest}")
        async with open_call(weather.watch, "Oslo") as call:
            print("Oslo:", [value async for value in call.rx])


async def main() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve, "tcp://127.0.0.1:0", handlers())
        await use(server.url)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
