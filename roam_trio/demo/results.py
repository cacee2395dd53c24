"""Results of the whole demo."""

from __future__ import annotations

import attrs

from .calls import Called, CalledAtOnce, CancelledCalls, FailedCalls
from .service import Tallies
from .streaming import Streamed

__all__ = ["Results"]


@attrs.frozen(kw_only=True)
class Results:
    """The results of each step, for the report."""

    start_seconds: float
    streamed: Streamed
    called: Called
    called_at_once: CalledAtOnce
    failed: FailedCalls
    cancelled: CancelledCalls
    tallies: Tallies
