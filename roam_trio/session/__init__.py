"""Sessions: two peers on a conduit, with connections, requests and channels.

`builders` sets one up, `session` runs it, `driver` runs a connection of it.
"""

from ..service.descriptor import MethodDescriptor, ServiceDescriptor
from .builders import (
    OpenSession,
    SessionAcceptorBuilder,
    SessionInitiatorBuilder,
    acceptor,
    initiator,
)
from .caller import DriverCaller
from .channels import DriverChannelSink
from .connection import ConnectionHandle, ConnectionState
from .driver import Driver
from .reply import DriverReplySink
from .session import Session

# Not of this layer; other implementations have these names here as well.
__all__ = [
    "ConnectionHandle",
    "ConnectionState",
    "Driver",
    "DriverCaller",
    "DriverChannelSink",
    "DriverReplySink",
    "MethodDescriptor",
    "OpenSession",
    "ServiceDescriptor",
    "Session",
    "SessionAcceptorBuilder",
    "SessionInitiatorBuilder",
    "acceptor",
    "initiator",
]
