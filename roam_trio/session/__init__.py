"""Sessions: two peers on a conduit, with connections, requests and channels.

`builders` sets up a session, and `session` is its handle. `session_run` runs a session,
and `connection_run` one of its connections. The tables `connection_table`,
`requests_in`, `requests_out` and `channel_table` decide what messages do.
"""

from ..rpc.connection import ConnectionPhase, ConnectionState
from ..service.descriptor import MethodDescriptor, ServiceDescriptor
from .acceptance import AcceptedConnection, ConnectionAcceptor
from .builders import (
    SessionAcceptorBuilder,
    SessionInitiatorBuilder,
    acceptor,
    initiator,
)
from .caller import DriverCaller
from .channel_out import DriverChannelSink
from .connection import ConnectionHandle
from .deferred_handler import DeferredHandler
from .driver import Driver
from .establishing import BoxSessionFuture, SpawnSession
from .keepalive import SessionKeepaliveConfig
from .offering import OfferedServices
from .open_session import OpenSession
from .opening import SERVICE_KEY, OpenConnection
from .reply import DriverReplySink
from .session import Session, SessionHandle
from .statistics import (
    CallStatistics,
    ChannelStatistics,
    ConnectionStatistics,
    SessionStatistics,
    WaitStatistics,
)
from .welcoming import OnSession

# Not of this layer; other implementations have these names here as well.
__all__ = [
    "SERVICE_KEY",
    "AcceptedConnection",
    "BoxSessionFuture",
    "CallStatistics",
    "ChannelStatistics",
    "ConnectionAcceptor",
    "ConnectionHandle",
    "ConnectionPhase",
    "ConnectionState",
    "ConnectionStatistics",
    "DeferredHandler",
    "Driver",
    "DriverCaller",
    "DriverChannelSink",
    "DriverReplySink",
    "MethodDescriptor",
    "OfferedServices",
    "OnSession",
    "OpenConnection",
    "OpenSession",
    "ServiceDescriptor",
    "Session",
    "SessionAcceptorBuilder",
    "SessionHandle",
    "SessionInitiatorBuilder",
    "SessionKeepaliveConfig",
    "SessionStatistics",
    "SpawnSession",
    "WaitStatistics",
    "acceptor",
    "initiator",
]
