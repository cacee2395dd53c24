"""A trace of calls, a stream and a retry: `python examples/telemetry.py`.

Needs the SDK of OpenTelemetry, `opentelemetry-sdk`. Client and server are in one
process here, and would be in two. The spans are printed as a tree; a program would send
them to a collector.
"""

from __future__ import annotations

import logging
from typing import Protocol

import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from roam_trio import (
    Tx,
    Unavailable,
    channel,
    dispatcher,
    idempotent,
    service,
    serving,
    stay_connected,
    u32,
)
from roam_trio.contrib.otel import Telemetry

URL = "memory://shop"


@service
class Shop(Protocol):
    @idempotent
    async def price(self, item: str) -> u32: ...

    async def watch(self, item: str, prices: Tx[u32]) -> None: ...


class ShopImpl:
    def __init__(self) -> None:
        self._is_open = False

    async def price(self, item: str) -> int:
        if not self._is_open:  # at the first call
            self._is_open = True
            raise Unavailable(text="still closed")
        return 12

    async def watch(self, item: str, prices: Tx[int]) -> None:
        async with prices:
            await prices.send_many([12, 13])


# region setup
def set_up() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()  # a program has one of its collector
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


# endregion setup


# region use
async def shop_for_a_day() -> None:
    telemetry = Telemetry()  # after the SDK is set up
    handler = dispatcher(Shop, ShopImpl(), middleware=[telemetry.server])
    async with (
        serving(URL, handler, reflection=True, observer=telemetry.observer),
        stay_connected(
            URL, Shop, middleware=[telemetry.client], observer=telemetry.observer
        ) as shop,
    ):
        with trace.get_tracer("example").start_as_current_span("a day"):
            print(f"{await shop.price('tea')} for tea")
            tx, rx = channel[u32]()
            await shop.watch("tea", tx)
            print("prices of the day:", [price async for price in rx])


# endregion use


def show(
    spans: tuple[ReadableSpan, ...], parent: int | None = None, depth: int = 0
) -> None:
    """Print the spans below a parent, in the order of their starts."""
    for span in sorted(spans, key=lambda each: each.start_time or 0):
        if (span.parent.span_id if span.parent else None) == parent:
            code = (span.attributes or {}).get("rpc.status_code", "")
            events = "".join(f" ({event.name})" for event in span.events)
            print(
                f"{'  ' * depth}{span.kind.name} {span.name} {code}".rstrip() + events
            )
            context = span.get_span_context()
            assert context is not None, "a span that has ended has one"
            show(spans, context.span_id, depth + 1)


def main() -> None:
    # A call that is made again is no news here.
    logging.getLogger("roam_trio").setLevel(logging.ERROR)
    exporter = set_up()
    trio.run(shop_for_a_day)
    show(exporter.get_finished_spans())


if __name__ == "__main__":
    main()
