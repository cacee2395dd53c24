"""Conduits: messages on links.

`base` says what a conduit is; `bare` is the one that adds nothing, and `stable` the one
that goes on when a link is lost.
"""

from ..links.resuming.handshake import prepare_acceptor_attachment
from ..links.resuming.limits import StableLimits
from ..links.resuming.resuming import StableTxStatistics
from ..links.resuming.source import Attachment, Backoff, LinkSource, RedialingSource
from .bare import (
    BareConduit,
    BareConduitAcceptor,
    BareConduitPermit,
    BareConduitRx,
    BareConduitTx,
)
from .base import Conduit, ConduitAcceptor, ConduitRx, ConduitTx, ConduitTxPermit
from .into import IntoConduit, as_conduit
from .stable import (
    StableConduit,
    StableConduitAcceptor,
    StableConduitPermit,
    StableConduitRx,
    StableConduitTx,
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
    "IntoConduit",
    "LinkSource",
    "RedialingSource",
    "StableConduit",
    "StableConduitAcceptor",
    "StableConduitPermit",
    "StableConduitRx",
    "StableConduitTx",
    "StableLimits",
    "StableTxStatistics",
    "as_conduit",
    "prepare_acceptor_attachment",
]
