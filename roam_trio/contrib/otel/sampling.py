"""Recognition of traces that are not sampled, in few steps."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import Tracer, get_current_span

__all__ = ["follows_parents", "is_left_out"]

_WITHOUT_SAMPLED_PARENTS: Final = (
    "remoteParentNotSampled:AlwaysOffSampler",
    "localParentNotSampled:AlwaysOffSampler",
)
"""Parts of the description of a sampler, whose form the specification of OpenTelemetry
gives."""


def follows_parents(tracer: Tracer) -> bool:
    """Return True if the sampler of a tracer drops each span with an unsampled parent.

    Such a span need not be made: its sampler would say no, and its context would differ
    from that of its parent only by an id under which nothing is recorded. Of a tracer
    whose sampler is not known, the answer is False.
    """
    sampler: Any = getattr(tracer, "sampler", None)
    if sampler is None:
        return False
    description = str(sampler.get_description())
    return description.startswith("ParentBased{") and all(
        part in description for part in _WITHOUT_SAMPLED_PARENTS
    )


def is_left_out(context: Context) -> bool:
    """Return True if the span of a context belongs to a trace that is not sampled."""
    span = get_current_span(context)
    about = span.get_span_context()
    return about.is_valid and not about.trace_flags.sampled and not span.is_recording()
