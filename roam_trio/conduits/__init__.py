"""Conduits: messages on links.

`base` says what a conduit is; `bare` is the one that adds nothing, and `stable` the one
that goes on when a link is lost.
"""

from .bare import (
    BareConduit,
    BareConduitAcceptor,
    BareConduitPermit,
    BareConduitRx,
    BareConduitTx,
)
from .base import (
    Conduit,
    ConduitAcceptor,
    ConduitRx,
    ConduitTx,
    ConduitTxPermit,
    MsgFamily,
)
from .stable import (
    Attachment,
    Backoff,
    LinkSource,
    RedialingSource,
    StableConduit,
    StableConduitAcceptor,
    StableConduitPermit,
    StableConduitRx,
    StableConduitTx,
    StableLimits,
    StableTxStatistics,
    prepare_acceptor_attachment,
)

__all__ = [
    "Attachment",
    "Backoff",
    "BareConduit",
    "BareConduitAcceptor",
    "BareConduitPermit",
    "BareConduitRx",
    "BareConduitTx",
    "Conduit",
    "ConduitAcceptor",
    "ConduitRx",
    "ConduitTx",
    "ConduitTxPermit",
    "LinkSource",
    "MsgFamily",
    "RedialingSource",
    "StableConduit",
    "StableConduitAcceptor",
    "StableConduitPermit",
    "StableConduitRx",
    "StableConduitTx",
    "StableLimits",
    "StableTxStatistics",
    "prepare_acceptor_attachment",
]
