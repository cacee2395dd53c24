"""Options of sessions that are made from URLs or commands."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

import attrs

from ..legible import without_secrets
from ..limits import DEFAULT_LIMITS, Limits
from ..links.resuming.source import Backoff
from ..links.stream import StreamLimits
from ..metadata import NO_METADATA, Metadata, MetadataLike
from ..rpc.failure_metadata import TellFailures
from ..rpc.handler import Handler, check_handlers
from ..rpc.observer import Observer, check_observer
from ..rpc.offered import MakeReserved, Offered
from ..rpc.service_class import ClientDefaults
from ..service.middleware import Middleware, checked_middleware
from ..session import ConnectionAcceptor, OfferedServices, SessionKeepaliveConfig
from ..session.terms import (
    CANCEL_GRACE,
    check_busy_poll,
    check_cancel_grace,
    check_max_waiting,
    check_tell_failures,
)
from ..transports import transport_for, urls_of
from .fetching import fetch_schema

if TYPE_CHECKING:
    from ..links.resuming.limits import StableLimits

__all__ = [
    "BuilderOptions",
    "ConnectOptions",
    "SessionOptions",
    "check_can_poll",
    "client_defaults",
    "reserved_with",
]


class ConnectOptions(TypedDict, total=False):
    """The options of `connect` that concern each session by itself."""

    handler: Handler | Mapping[str, Handler] | None
    max_concurrent_requests: int
    metadata: MetadataLike
    keepalive: SessionKeepaliveConfig | None
    limits: Limits
    strict: bool
    deadlines: bool
    cancel_grace: float
    max_waiting: int | None
    ssl_context: ssl.SSLContext | None
    connect_timeout: float
    resume: bool | Backoff
    on_connection: ConnectionAcceptor | None
    observer: Observer | None
    busy_poll: float | None


def _as_metadata(source: MetadataLike) -> Metadata:
    # Most often there is none.
    return NO_METADATA if source == () else Metadata.of(source)


def _check_handlers(
    instance: object,
    attribute: object,
    value: Handler | Mapping[str, Handler] | None,
) -> None:
    if value is not None:  # most clients have none
        check_handlers(value)


def _check_acceptor(
    instance: object, attribute: object, value: ConnectionAcceptor | None
) -> None:
    if value is not None and not callable(getattr(value, "accept", None)):
        raise TypeError(
            "on_connection: expected a ConnectionAcceptor, which has an async method "
            f"accept, got an object of type {type(value).__name__}"
        )


def check_can_poll(urls: str | Sequence[str], *, resume: bool) -> None:
    """Check that the links for all URLs are sockets at which a session can look.

    Raises:
        ValueError: one is not, or they resume.
    """
    if resume:
        raise ValueError(
            "busy_poll: expected it without resume=, which receives in another way"
        )
    for url in urls_of(urls):
        if not transport_for(url).can_be_polled:
            raise ValueError(
                "busy_poll: expected tcp: and unix: URLs alone, since others do not "
                f"leave the bytes of the socket as they are, got {without_secrets(url)}"
            )


def client_defaults(
    middleware: Iterable[Middleware], metadata_for_calls: MetadataLike
) -> ClientDefaults:
    """Return the options that the clients of a session share.

    Raises:
        TypeError: `middleware` is not a list of functions.
    """
    if middleware == () and metadata_for_calls == ():
        return _NO_DEFAULTS  # most often
    return ClientDefaults(
        checked_middleware(middleware), Metadata.of(metadata_for_calls), fetch_schema
    )


_NO_DEFAULTS = ClientDefaults(fetch=fetch_schema)


def reserved_with(
    reflection: bool, middleware: tuple[Middleware, ...] = ()
) -> MakeReserved | None:
    """Return a function that makes the reserved services with middleware around each
    call; None without `reflection`."""
    if not reflection:
        return None
    # Import here and not in the returned function, where it would block a running
    # program.
    from ..service.reserved.handlers import reserved_services

    def make(offered: Offered) -> Mapping[str, Handler]:
        return {
            name: handler.with_middleware(middleware)
            for name, handler in reserved_services(offered).items()
        }

    return make if middleware else reserved_services


class BuilderOptions(TypedDict):
    """The arguments of `initiator` and `acceptor`."""

    max_concurrent_requests: int
    on_connection: ConnectionAcceptor | None
    keepalive: SessionKeepaliveConfig | None
    metadata: Metadata
    limits: Limits
    strict: bool
    deadlines: bool
    cancel_grace: float
    max_waiting: int | None
    tell_failures: TellFailures
    observer: Observer | None
    schemas: bool
    busy_poll: float | None


@attrs.frozen(eq=False)
class SessionOptions:
    """Options of sessions, checked before there is a connection."""

    handler: Handler | Mapping[str, Handler] | None = attrs.field(
        validator=_check_handlers
    )
    max_concurrent_requests: int = attrs.field(
        validator=[attrs.validators.ge(1), attrs.validators.lt(2**32)]
    )
    metadata: Metadata = attrs.field(converter=_as_metadata)
    keepalive: SessionKeepaliveConfig | None
    limits: Limits
    strict: bool
    deadlines: bool = True
    cancel_grace: float = attrs.field(
        default=CANCEL_GRACE, validator=check_cancel_grace
    )
    max_waiting: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(check_max_waiting)
    )
    tell_failures: TellFailures = attrs.field(
        default="code", validator=check_tell_failures
    )
    on_connection: ConnectionAcceptor | None = attrs.field(
        default=None, validator=_check_acceptor
    )
    observer: Observer | None = attrs.field(
        default=None, validator=attrs.validators.optional(check_observer)
    )
    schemas: bool = True
    busy_poll: float | None = attrs.field(default=None, validator=check_busy_poll)
    reserved: MakeReserved | None = None

    @property
    def root_handler(self) -> Handler | None:
        """The handler of the root connection."""
        return None if isinstance(self.handler, Mapping) else self.handler

    @property
    def for_builder(self) -> BuilderOptions:
        """The options that `initiator` and `acceptor` take."""
        offered = self.on_connection
        if isinstance(self.handler, Mapping) or self.reserved is not None:
            offered = self.offered()
        return {
            "max_concurrent_requests": self.max_concurrent_requests,
            "on_connection": offered,
            "keepalive": self.keepalive,
            "metadata": self.metadata,
            "limits": self.limits,
            "strict": self.strict,
            "deadlines": self.deadlines,
            "cancel_grace": self.cancel_grace,
            "max_waiting": self.max_waiting,
            "tell_failures": self.tell_failures,
            "observer": self.observer,
            "schemas": self.schemas,
            "busy_poll": self.busy_poll,
        }

    def offered(self) -> OfferedServices:
        """Return the acceptor of connections to services by name, and of others."""
        return OfferedServices(
            self.handler if isinstance(self.handler, Mapping) else {},
            max_concurrent_requests=self.max_concurrent_requests,
            otherwise=self.on_connection,
            reserved=self.reserved,
            root=self.root_handler,
        )

    @property
    def stream_limits(self) -> StreamLimits:
        """Bounds on the links below the sessions."""
        limits = self.limits
        return _BY_DEFAULT if limits is DEFAULT_LIMITS else _stream_limits(limits)

    @property
    def stable_limits(self) -> StableLimits:
        """Bounds on the conduits of sessions that resume."""
        from ..links.resuming.limits import StableLimits

        limits = self.limits
        return StableLimits(
            max_payload=limits.max_payload,
            unacknowledged_frames=limits.unacknowledged_frames,
            unacknowledged_bytes=limits.unacknowledged_bytes,
            handshake_seconds=limits.handshake_seconds,
            resume_seconds=limits.resume_seconds,
            lost_clients=limits.lost_clients,
        )


def _stream_limits(limits: Limits) -> StreamLimits:
    return StreamLimits(
        max_payload=limits.max_payload,
        max_unsent_bytes=limits.max_unsent_bytes,
        payload_seconds=limits.payload_seconds,
    )


_BY_DEFAULT = _stream_limits(DEFAULT_LIMITS)
