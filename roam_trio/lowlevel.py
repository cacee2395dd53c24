"""Names for writing links, conduits, proxies or handlers by hand.

It covers the layers below `connect` and `serve`: sessions on any conduit or link, the
messages of the protocol, and the interfaces of calls and channels. It also has the
names of the Rust crate that `roam_trio` does not show; these can be imported from
`roam_trio`, too.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from .codec import (
    RpcPlan,
    SelfRef,
    ShapedFamily,
    rpc_plan,
)
from .conduits.attaching import AttachingAcceptor
from .conduits.bare import (
    BareConduit,
    BareConduitAcceptor,
    BareConduitPermit,
    BareConduitRx,
    BareConduitTx,
)
from .conduits.base import (
    Conduit,
    ConduitAcceptor,
    ConduitRx,
    ConduitTx,
    ConduitTxPermit,
    DynConduitTx,
)
from .conduits.into import IntoConduit
from .conduits.stable import (
    StableConduit,
    StableConduitAcceptor,
    StableConduitPermit,
    StableConduitRx,
    StableConduitTx,
)
from .endpoints.connect import (
    Connecting,
)
from .errors import (
    AnnouncedTooLarge,
    BareConduitError,
    CodecError,
    ConduitError,
    ForeignProtocol,
    LinkClosed,
    LinkDead,
    LinkError,
    LocalProtocolError,
    MemoryLinkRxError,
    PayloadTooSlow,
    RemoteProtocolError,
    RxConnectionLost,
    RxUnbound,
    SessionIoError,
    SessionProtocolError,
    StableConduitError,
    StableHandshakeError,
    TruncatedPayload,
    TxConnectionLost,
    TxUnbound,
)
from .links.base import (
    Buffer,
    Link,
    LinkRx,
    LinkTx,
    LinkTxPermit,
    RxStatistics,
    SplitLink,
    TxStatistics,
    WriteSlot,
)
from .links.local import LocalLink, LocalListener
from .links.memory import (
    MemoryLink,
    MemoryLinkRx,
    MemoryLinkTx,
    MemoryLinkTxPermit,
    MemoryWriteSlot,
    memory_link_pair,
)
from .links.resuming.handshake import prepare_acceptor_attachment
from .links.resuming.siblings import Siblings
from .links.resuming.source import Attachment, LinkSource, RedialingSource
from .links.resuming.tx import StableTxStatistics
from .links.stream import StreamLimits, StreamLink
from .metadata import (
    MetadataEntry,
    MetadataLike,
    MetadataValue,
)
from .rpc.binding import (
    ChannelBinder,
    Payload,
    bind_channels_callee_args,
    bind_channels_caller_args,
)
from .rpc.caller import (
    Caller,
    ErasedCaller,
    NoopCaller,
)
from .rpc.handler import (
    ReplySink,
)
from .service import (
    ArgDescriptor,
    Dispatcher,
    MethodDescriptor,
    ResponseParts,
    ServiceDescriptor,
    SinkCall,
)
from .session import (
    BoxSessionFuture,
    ConnectionPhase,
    ConnectionState,
    DeferredHandler,
    Driver,
    DriverCaller,
    DriverChannelSink,
    DriverReplySink,
    OfferedServices,
    OpenConnection,
    OpenSession,
    SessionAcceptorBuilder,
    SessionHandle,
    SessionInitiatorBuilder,
    SessionStatistics,
    SpawnSession,
    acceptor,
    initiator,
)
from .wire.backing import (
    Backing,
)
from .wire.envelope import (
    MessageFamily,
)
from .wire.family import (
    MsgFamily,
)
from .wire.ids import (
    ChannelId,
    ConnectionId,
    MethodId,
    Parity,
    RequestId,
)
from .wire.messages import (
    PROTOCOL_VERSION,
    ConnectionSettings,
    Message,
    RequestCall,
    RequestResponse,
    joined,
)

if TYPE_CHECKING:
    from .endpoints.announcing import Announcement
    from .endpoints.gateway.gateway import Gateway, gateway
    from .endpoints.gateway.routes import Route
    from .endpoints.registry.port import RegistryEntries, RegistryEntry
    from .endpoints.registry.service import RegisteredService
    from .service.remote import RemoteServices
    from .service.reserved.classes import (
        HealthProblem,
        Reflection,
        ReflectionProblem,
    )
    from .service.reserved.handlers import reserved_services

__all__ = [
    "PROTOCOL_VERSION",
    "AnnouncedTooLarge",
    "Announcement",
    "ArgDescriptor",
    "AttachingAcceptor",
    "Attachment",
    "Backing",
    "BareConduit",
    "BareConduitAcceptor",
    "BareConduitError",
    "BareConduitPermit",
    "BareConduitRx",
    "BareConduitTx",
    "BoxSessionFuture",
    "Buffer",
    "Caller",
    "ChannelBinder",
    "ChannelId",
    "CodecError",
    "Conduit",
    "ConduitAcceptor",
    "ConduitError",
    "ConduitRx",
    "ConduitTx",
    "ConduitTxPermit",
    "Connecting",
    "ConnectionId",
    "ConnectionPhase",
    "ConnectionSettings",
    "ConnectionState",
    "DeferredHandler",
    "Dispatcher",
    "Driver",
    "DriverCaller",
    "DriverChannelSink",
    "DriverReplySink",
    "DynConduitTx",
    "ErasedCaller",
    "ForeignProtocol",
    "Gateway",
    "HealthProblem",
    "IntoConduit",
    "Link",
    "LinkClosed",
    "LinkDead",
    "LinkError",
    "LinkRx",
    "LinkSource",
    "LinkTx",
    "LinkTxPermit",
    "LocalLink",
    "LocalListener",
    "LocalProtocolError",
    "MemoryLink",
    "MemoryLinkRx",
    "MemoryLinkRxError",
    "MemoryLinkTx",
    "MemoryLinkTxPermit",
    "MemoryWriteSlot",
    "Message",
    "MessageFamily",
    "MetadataEntry",
    "MetadataLike",
    "MetadataValue",
    "MethodDescriptor",
    "MethodId",
    "MsgFamily",
    "NoopCaller",
    "OfferedServices",
    "OpenConnection",
    "OpenSession",
    "Parity",
    "Payload",
    "PayloadTooSlow",
    "RedialingSource",
    "Reflection",
    "ReflectionProblem",
    "RegisteredService",
    "RegistryEntries",
    "RegistryEntry",
    "RemoteProtocolError",
    "RemoteServices",
    "ReplySink",
    "RequestCall",
    "RequestId",
    "RequestResponse",
    "ResponseParts",
    "Route",
    "RpcPlan",
    "RxConnectionLost",
    "RxStatistics",
    "RxUnbound",
    "SelfRef",
    "ServiceDescriptor",
    "SessionAcceptorBuilder",
    "SessionHandle",
    "SessionInitiatorBuilder",
    "SessionIoError",
    "SessionProtocolError",
    "SessionStatistics",
    "ShapedFamily",
    "Siblings",
    "SinkCall",
    "SpawnSession",
    "SplitLink",
    "StableConduit",
    "StableConduitAcceptor",
    "StableConduitError",
    "StableConduitPermit",
    "StableConduitRx",
    "StableConduitTx",
    "StableHandshakeError",
    "StableTxStatistics",
    "StreamLimits",
    "StreamLink",
    "TruncatedPayload",
    "TxConnectionLost",
    "TxStatistics",
    "TxUnbound",
    "WriteSlot",
    "acceptor",
    "bind_channels_callee_args",
    "bind_channels_caller_args",
    "gateway",
    "initiator",
    "joined",
    "memory_link_pair",
    "prepare_acceptor_attachment",
    "reserved_services",
    "rpc_plan",
]


if not TYPE_CHECKING:
    # Programs that do not tell others about their services need none of these.
    _IMPORTED_LATER = {
        "Announcement": "endpoints.announcing",
        "Gateway": "endpoints.gateway.gateway",
        "HealthProblem": "service.reserved.classes",
        "Reflection": "service.reserved.classes",
        "ReflectionProblem": "service.reserved.classes",
        "RegisteredService": "endpoints.registry.service",
        "RegistryEntries": "endpoints.registry.port",
        "RegistryEntry": "endpoints.registry.port",
        "RemoteServices": "service.remote",
        "Route": "endpoints.gateway.routes",
        "gateway": "endpoints.gateway.gateway",
        "reserved_services": "service.reserved.handlers",
    }

    def __dir__() -> list[str]:
        return sorted({*globals(), *_IMPORTED_LATER})

    def __getattr__(name: str) -> Any:
        """Import a name that is imported late."""
        if name in _IMPORTED_LATER:
            module = _import_module(f"roam_trio.{_IMPORTED_LATER[name]}")
            return globals().setdefault(name, getattr(module, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
