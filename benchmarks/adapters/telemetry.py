"""`Telemetry` on the SDK, for calls that are recorded and calls that are not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

from roam_trio.contrib.otel import Telemetry

from .base import CallsWith

__all__ = ["telemetry_of", "traced"]


class _Discarding(SpanExporter):
    """Takes spans as one does that sends them, and discards them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def telemetry_of(what: CallsWith) -> tuple[Telemetry, TracerProvider]:
    """Return a `Telemetry`, and the provider of its spans.

    Its sampler does as the caller has decided, and otherwise as the work says.
    """
    root = ALWAYS_OFF if what is CallsWith.UNSAMPLED else ALWAYS_ON
    provider = TracerProvider(ParentBased(root), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_Discarding()))
    return Telemetry(tracer_provider=provider), provider


@asynccontextmanager
async def traced(what: CallsWith) -> AsyncIterator[Telemetry]:
    """A `Telemetry` for a client, in the span of a program, which decides whether its
    calls are sampled."""
    telemetry, provider = telemetry_of(what)
    try:
        with provider.get_tracer("benchmarks").start_as_current_span("a program"):
            yield telemetry
    finally:
        provider.shutdown()
