"""Rejections of virtual connections, as the metadata of a ConnectionReject.

The entry ``error`` says why, for people. A peer that knows what roam_trio adds to the
protocol also gets the entries of a refused call, so that its program can tell refusals
apart.
"""

from __future__ import annotations

from ..errors import Refused, SessionRejected, Unavailable
from ..metadata import Metadata, MetadataEntry, shown
from ..rpc.failure_metadata import failure_from, failure_metadata
from .refusal import REFUSALS, Refusal

__all__ = ["error_of_rejection", "metadata_of_rejection"]

_ERROR = "error"


def metadata_of_rejection(refusal: Refusal, *, peer_knows: bool) -> Metadata:
    """Return the metadata of a rejection.

    Args:
        refusal: the reason.
        peer_knows: whether the peer knows what roam_trio adds to the protocol.
    """
    # The text of a rejection is always sent, as that of a `Refused` is.
    metadata = failure_metadata(refusal, "text") if peer_knows else refusal.metadata
    why = MetadataEntry(_ERROR, refusal.text or refusal.code)
    rest = metadata.propagated() if refusal.by_peer else metadata
    return Metadata((why, *(entry for entry in rest if entry.key != _ERROR)))


def error_of_rejection(metadata: Metadata) -> SessionRejected | Refused | Unavailable:
    """Return the error for a connection that the peer has rejected.

    Args:
        metadata: the metadata of the rejection.
    """
    refusal = failure_from(metadata, "the peer rejected the connection")
    if isinstance(refusal, REFUSALS):
        return refusal
    why = shown(metadata) or (
        "it does not say why; it may offer no services by name, or not this one"
    )
    return SessionRejected(f"the peer rejected the connection: {why}", metadata)
