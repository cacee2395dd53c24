"""The terms of a session, which apply to all of its connections."""

from __future__ import annotations

import attrs

from ..limits import Limits
from ..peers import Peer

__all__ = ["SessionTerms"]


@attrs.frozen(kw_only=True, eq=False)
class SessionTerms:
    """The terms of a session, which all of its parts may read.

    There is one object for each session. It outlives the session, and refers to nothing
    that refers to the session.

    Attributes:
        limits: bounds on what the peer can make this side hold.
        strict: also refuse what peers of other implementations are known to do.
        peer: the peer; the conduit keeps its address current.
    """

    limits: Limits
    strict: bool = False
    peer: Peer
