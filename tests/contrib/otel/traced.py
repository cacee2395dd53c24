"""The processes of a trace: a server, a gateway, and a client of the gateway.

    python -m tests.contrib.otel.traced server
    python -m tests.contrib.otel.traced gateway URL-OF-THE-SERVER
    python -m tests.contrib.otel.traced client URL-OF-THE-GATEWAY

A server and a gateway print where they listen, and end when their input does. Each
process then prints its spans, by the exporter of the SDK that is for people.
"""

from __future__ import annotations

import logging
import sys
from typing import Protocol

import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from roam_trio import (
    Handler,
    Rx,
    Tx,
    Unavailable,
    channel,
    connect,
    current_call,
    dispatcher,
    idempotent,
    service,
    serving,
    stay_connected,
    u32,
)
from roam_trio.contrib.otel import Telemetry
from roam_trio.lowlevel import Route, gateway

__all__ = ["Shop"]

ANY_PORT = "tcp://127.0.0.1:0"


@service
class Shop(Protocol):
    @idempotent
    async def price(self, item: str) -> u32: ...

    async def weigh(self, parts: Rx[u32], totals: Tx[u32]) -> u32: ...


class ShopImpl:
    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._is_open = False

    async def price(self, item: str) -> int:
        if not self._is_open:
            self._is_open = True
            raise Unavailable(text="still closed")
        return 12

    async def weigh(self, parts: Rx[int], totals: Tx[int]) -> int:
        total = 0
        async for part in parts:
            total += part
            await totals.send(total)
        with trace.get_tracer("shop").start_as_current_span("write it down"):
            await trio.lowlevel.checkpoint()
        current_call().connection.start_soon(self._finish, totals)
        return total

    async def _finish(self, totals: Tx[int]) -> None:
        await totals.send(0)
        totals.close()


async def until_the_end_of_input(url: str) -> None:
    print(url, flush=True)
    await trio.to_thread.run_sync(sys.stdin.read)


async def serve_shop(telemetry: Telemetry) -> None:
    shop = dispatcher(Shop, ShopImpl(telemetry), middleware=[telemetry.server])
    handlers: dict[str, Handler] = {"shop": shop}
    async with serving(
        ANY_PORT, handlers, reflection=True, observer=telemetry.observer
    ) as here:
        await until_the_end_of_input(here.url)


async def pass_on(telemetry: Telemetry, server: str) -> None:
    async with (
        gateway([Route("shop", server)]) as passing_on,
        serving(
            ANY_PORT,
            passing_on.handler,
            on_connection=passing_on,
            reflection=True,
            observer=telemetry.observer,
        ) as here,
    ):
        await until_the_end_of_input(here.url)


async def use_shop(telemetry: Telemetry, url: str) -> None:
    around, observer = [telemetry.client], telemetry.observer
    async with (
        stay_connected(
            url, Shop, name="shop", middleware=around, observer=observer
        ) as lasting,
        connect(url, middleware=around, observer=observer) as session,
        session.open(Shop) as shop,
    ):
        with trace.get_tracer("client").start_as_current_span("a day"):
            assert await lasting.price("tea") == 12
            numbers, parts = channel[u32]()
            totals, sums = channel[u32]()
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def put_on_the_scales() -> None:
                    async with numbers:
                        await numbers.send_many([1, 2, 3])

                assert await shop.weigh(parts, totals) == 6
            assert [total async for total in sums] == [1, 3, 6, 0]


def main(role: str, *urls: str) -> None:
    # A call that is made again, and a client that leaves, are no news here.
    logging.getLogger("roam_trio").setLevel(logging.ERROR)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    trace.set_tracer_provider(provider)
    run = {"server": serve_shop, "gateway": pass_on, "client": use_shop}[role]
    trio.run(run, Telemetry(), *urls)


if __name__ == "__main__":
    main(*sys.argv[1:])
