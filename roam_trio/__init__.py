"""RPC for trio with services typed by annotations, on version 7 of the roam protocol.

    @service
    class Adder(Protocol):
        async def add(self, left: u32, right: u32) -> u32: ...

    server = await nursery.start(serve, "tcp://127.0.0.1:0", dispatcher(Adder, Impl()))
    async with connect(server.url, Adder) as adder:
        assert await adder.add(3, 5) == 8

This module has the names for writing services and clients. `roam_trio.lowlevel` has
the layers below, for writing links, conduits, proxies or handlers by hand. Docstrings
cite the rules of the protocol that they keep, by ids in parentheses;
`docs/protocol.md` in the repository states each rule.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from . import errors
from .errors import (
    CallCancelled,
    CallRefused,
    ChannelError,
    ConnectionClosed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    Disconnected,
    EncodeError,
    HandlerFailed,
    IncompatibleService,
    InvalidPayload,
    LimitExceeded,
    NoReflection,
    Overloaded,
    PayloadTooLarge,
    Refused,
    RoamError,
    RoamTrioError,
    RxClosed,
    RxDecodeError,
    RxError,
    RxReset,
    SchemaError,
    SessionError,
    SessionLost,
    SessionRejected,
    TxClosed,
    TxError,
    TxReset,
    Unavailable,
    UnknownMethod,
    UserError,
)
from .limits import (
    Limits,
)
from .metadata import (
    Metadata,
    MetadataFlags,
)
from .peers import Peer
from .rpc.channel import (
    Rx,
    Tx,
    channel,
)
from .rpc.connection import AnySession, Connection
from .rpc.handler import (
    Handler,
)
from .rpc.observer import Observer
from .schema import (
    Array,
    Credit,
    Fallible,
    Length,
    Slice,
    char,
    f32,
    f64,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    register_wire_type,
    transparent,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
)
from .service import (
    AnyCall,
    Call,
    Middleware,
    OpenCall,
    Proceed,
    client,
    current_call,
    describe,
    dispatcher,
    idempotent,
    metadata_of,
    open_call,
    service,
    with_metadata,
)

if TYPE_CHECKING:
    from . import facet as facet
    from . import facet_postcard as facet_postcard
    from . import hash as hash
    from .endpoints.connect import connect
    from .endpoints.lasting.balancing import Address
    from .endpoints.lasting.opening import LastingSession
    from .endpoints.lasting.resolving import Resolver
    from .endpoints.lasting.retry import Retry
    from .endpoints.lasting.staying import (
        state,
        stay_connected,
    )
    from .endpoints.proxying import ProxyAcceptor
    from .endpoints.registry.base import Registry
    from .endpoints.registry.redis import RedisRegistry
    from .endpoints.serve import serve
    from .endpoints.server import Server
    from .endpoints.serving import serving
    from .endpoints.spawn import spawn
    from .links.resuming.limits import StableLimits
    from .links.resuming.source import Backoff
    from .lowlevel import *
    from .service.comparison import Change, compare
    from .service.dynamic import DynamicClient, dynamic
    from .service.reserved.asking import describe_remote
    from .service.reserved.classes import Health, HealthState
    from .session import (
        AcceptedConnection,
        ConnectionAcceptor,
        ConnectionHandle,
        Session,
        SessionKeepaliveConfig,
    )
    from .session.proxy import proxy_connections

__all__ = [
    "AcceptedConnection",
    "Address",
    "AnyCall",
    "AnySession",
    "Array",
    "Backoff",
    "Call",
    "CallCancelled",
    "CallRefused",
    "Change",
    "ChannelError",
    "Connection",
    "ConnectionAcceptor",
    "ConnectionClosed",
    "ConnectionHandle",
    "ConnectionLost",
    "Credit",
    "DeadlineExceeded",
    "DecodeError",
    "Disconnected",
    "DynamicClient",
    "EncodeError",
    "Fallible",
    "Handler",
    "HandlerFailed",
    "Health",
    "HealthState",
    "IncompatibleService",
    "InvalidPayload",
    "LastingSession",
    "Length",
    "LimitExceeded",
    "Limits",
    "Metadata",
    "MetadataFlags",
    "Middleware",
    "NoReflection",
    "Observer",
    "OpenCall",
    "Overloaded",
    "PayloadTooLarge",
    "Peer",
    "Proceed",
    "ProxyAcceptor",
    "RedisRegistry",
    "Refused",
    "Registry",
    "Resolver",
    "Retry",
    "RoamError",
    "RoamTrioError",
    "Rx",
    "RxClosed",
    "RxDecodeError",
    "RxError",
    "RxReset",
    "SchemaError",
    "Server",
    "Session",
    "SessionError",
    "SessionKeepaliveConfig",
    "SessionLost",
    "SessionRejected",
    "Slice",
    "StableLimits",
    "Tx",
    "TxClosed",
    "TxError",
    "TxReset",
    "Unavailable",
    "UnknownMethod",
    "UserError",
    "channel",
    "char",
    "client",
    "compare",
    "connect",
    "current_call",
    "describe",
    "describe_remote",
    "dispatcher",
    "dynamic",
    "errors",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "idempotent",
    "isize",
    "metadata_of",
    "open_call",
    "proxy_connections",
    "register_wire_type",
    "serve",
    "service",
    "serving",
    "spawn",
    "state",
    "stay_connected",
    "transparent",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
    "with_metadata",
]


if not TYPE_CHECKING:
    # Modules that define services need none of these, and each of them brings in
    # sessions and links: they are imported when the first one is asked for.
    _IMPORTED_LATER = {
        "AcceptedConnection": "session",
        "Address": "endpoints.lasting.balancing",
        "Backoff": "links.resuming.source",
        "Change": "service.comparison",
        "ConnectionAcceptor": "session",
        "ConnectionHandle": "session",
        "DynamicClient": "service.dynamic",
        "Health": "service.reserved.classes",
        "HealthState": "service.reserved.classes",
        "ProxyAcceptor": "endpoints.proxying",
        "LastingSession": "endpoints.lasting.opening",
        "RedisRegistry": "endpoints.registry.redis",
        "Registry": "endpoints.registry.base",
        "Resolver": "endpoints.lasting.resolving",
        "Retry": "endpoints.lasting.retry",
        "Server": "endpoints.server",
        "Session": "session",
        "SessionKeepaliveConfig": "session",
        "StableLimits": "links.resuming.limits",
        "compare": "service.comparison",
        "connect": "endpoints.connect",
        "describe_remote": "service.reserved.asking",
        "dynamic": "service.dynamic",
        "proxy_connections": "session.proxy",
        "serve": "endpoints.serve",
        "serving": "endpoints.serving",
        "spawn": "endpoints.spawn",
        "state": "endpoints.lasting.staying",
        "stay_connected": "endpoints.lasting.staying",
    }

    def __dir__() -> list[str]:
        return sorted({*globals(), *_IMPORTED_LATER})

    def __getattr__(name: str) -> Any:
        """Import a name that is imported late, or one of `roam_trio.lowlevel`.

        The names of `roam_trio.lowlevel` work here as in the Rust crate, but `dir()`
        and completion do not show them.
        """
        if name in ("facet", "facet_postcard", "hash", "lowlevel"):
            return _import_module(f"{__name__}.{name}")
        if name in _IMPORTED_LATER:
            module = _import_module(f"{__name__}.{_IMPORTED_LATER[name]}")
            return globals().setdefault(name, getattr(module, name))
        lowlevel = _import_module(f"{__name__}.lowlevel")
        if name in lowlevel.__all__:
            return getattr(lowlevel, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
