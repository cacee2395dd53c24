"""The targets that need no run of trio: the decoders of what comes from outside."""

from __future__ import annotations

from .codecs import CODECS
from .natives import NATIVES
from .streams import STREAMS
from .texts import TEXTS
from .wire import WIRE

__all__ = ["DECODERS"]

DECODERS = (*WIRE, *STREAMS, *CODECS, *NATIVES, *TEXTS)
