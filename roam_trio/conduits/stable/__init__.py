"""The stable conduit: sequence numbers, acknowledgements, reconnection and replay.

What decides, and knows no trio: `hello`, `sequence`, `replay`, `exchange` and `keys`.
What waits: `source` (where links come from), `handshake`, `resuming` (one link after
the other), and on top `conduit`, for either side, and `acceptor`, for servers.
"""

from .acceptor import StableConduitAcceptor
from .conduit import (
    StableConduit,
    StableConduitPermit,
    StableConduitRx,
    StableConduitTx,
)
from .handshake import prepare_acceptor_attachment
from .hello import ClientHello, ServerHello
from .limits import DEFAULT_STABLE_LIMITS, StableLimits
from .resuming import StableTxStatistics
from .source import Attachment, Backoff, LinkSource, RedialingSource

__all__ = [
    "DEFAULT_STABLE_LIMITS",
    "Attachment",
    "Backoff",
    "ClientHello",
    "LinkSource",
    "RedialingSource",
    "ServerHello",
    "StableConduit",
    "StableConduitAcceptor",
    "StableConduitPermit",
    "StableConduitRx",
    "StableConduitTx",
    "StableLimits",
    "StableTxStatistics",
    "prepare_acceptor_attachment",
]
