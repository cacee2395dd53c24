"""Conduits: messages on links.

`base` says what a conduit is; `bare` is the one that adds nothing.
"""

from .bare import BareConduit, BareConduitPermit, BareConduitRx, BareConduitTx
from .base import Conduit, ConduitRx, ConduitTx, ConduitTxPermit, MsgFamily

__all__ = [
    "BareConduit",
    "BareConduitPermit",
    "BareConduitRx",
    "BareConduitTx",
    "Conduit",
    "ConduitRx",
    "ConduitTx",
    "ConduitTxPermit",
    "MsgFamily",
]
