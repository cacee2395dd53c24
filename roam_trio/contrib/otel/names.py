"""Names of attributes and metrics.

Those of the first part are stable in version 1.45 of the semantic conventions, which
renamed ``rpc.response.status_code`` to ``rpc.status_code``. The metrics of the second
part are of this package: the conventions have none for sessions.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ANSWERED",
    "CALLED",
    "CLIENT_DURATION",
    "CREDIT",
    "DURATION_BUCKETS",
    "ERROR_TYPE",
    "METHOD",
    "METHOD_ORIGINAL",
    "NETWORK_PEER_ADDRESS",
    "NETWORK_PEER_PORT",
    "NETWORK_TRANSPORT",
    "OTHER",
    "QUEUED",
    "RECEIVED",
    "SENT",
    "SERVER_ADDRESS",
    "SERVER_DURATION",
    "SERVER_PORT",
    "SESSIONS",
    "STATUS_CODE",
    "SYSTEM",
    "SYSTEM_NAME",
    "UNSENT",
]

SYSTEM_NAME: Final = "rpc.system.name"
METHOD: Final = "rpc.method"
METHOD_ORIGINAL: Final = "rpc.method_original"
STATUS_CODE: Final = "rpc.status_code"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
NETWORK_PEER_ADDRESS: Final = "network.peer.address"
NETWORK_PEER_PORT: Final = "network.peer.port"
NETWORK_TRANSPORT: Final = "network.transport"

SYSTEM: Final = "roam"
"""Value of `SYSTEM_NAME`."""

OTHER: Final = "_OTHER"
"""Value of `METHOD` for a method that this program does not define."""

CLIENT_DURATION: Final = "rpc.client.call.duration"
SERVER_DURATION: Final = "rpc.server.call.duration"

DURATION_BUCKETS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1, 2.5, 5, 7.5, 10),
)
"""Bounds of buckets, in seconds, that the conventions advise for both durations."""

SESSIONS: Final = "roam.sessions"
CALLED: Final = "roam.client.calls"
ANSWERED: Final = "roam.server.calls"
SENT: Final = "roam.sent"
RECEIVED: Final = "roam.received"
UNSENT: Final = "roam.unsent"
CREDIT: Final = "roam.channel.credit"
QUEUED: Final = "roam.channel.queued"
