"""A `Telemetry` on the SDK, which keeps what it records in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanKind

from roam_trio.contrib.otel import Telemetry

__all__ = ["REGISTRY", "Recorded", "about", "recorded"]

REGISTRY: Final = Path(__file__).parents[2] / "data" / "semconv-1.45.0.json"

_STABLE: Final = frozenset(
    json.loads(REGISTRY.read_text(encoding="utf-8"))["attributes"]["stable"]
)


class Recorded:
    """A `Telemetry`, and what it has recorded.

    Args:
        sampler: the sampler of its spans; by default that of the SDK.
        options: for `Telemetry`.
    """

    def __init__(self, sampler: Sampler | None = None, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider(sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(
            tracer_provider=self.tracers, meter_provider=self.meters, **options
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in the order of their ends."""
        return self._exporter.get_finished_spans()

    def one(self, kind: SpanKind) -> ReadableSpan:
        """The only span of a kind."""
        [span] = [span for span in self.spans if span.kind is kind]
        return span

    def metrics(self) -> dict[str, Any]:
        """The metrics of this scope, by name."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        """The points of a metric."""
        return list(self.metrics()[name].data.data_points)

    def close(self) -> None:
        """End it, and check that every attribute is a stable one of the registry."""
        used = {name for span in self.spans for name in about(span)}
        for metric in self.metrics().values():
            for point in metric.data.data_points:
                used |= set(point.attributes or ())
        assert used <= _STABLE
        self.tracers.shutdown()
        self.meters.shutdown()


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    made = Recorded()
    yield made
    made.close()


def about(span: ReadableSpan) -> Mapping[str, Any]:
    """The attributes of a span."""
    return span.attributes or {}
