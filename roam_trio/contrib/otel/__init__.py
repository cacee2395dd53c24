"""Spans and metrics by the API of OpenTelemetry.

Needs the extra `otel`, which is that API alone. What records and exports is the choice
of the program. docs/how-to/trace.md shows how to set it up, and lists the names.
"""

from .telemetry import Telemetry, TelemetryObserver

__all__ = ["Telemetry", "TelemetryObserver"]
