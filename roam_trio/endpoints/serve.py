"""`serve`, which makes servers by URL.

server = await nursery.start(serve, "tcp://127.0.0.1:0", dispatcher(Adder, Impl()))
print(server.url)

`roam_trio.transports` makes the links for a URL.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import trio

from ..conduits.base import ConduitAcceptor
from ..legible import urls_without_secrets
from ..limits import DEFAULT_LIMITS, Limits
from ..log_budget import log_budget_of_server
from ..metadata import MetadataLike
from ..quantities import check_count
from ..rpc.failure_metadata import TellFailures
from ..rpc.handler import Handler
from ..rpc.observer import Observer
from ..running import check_trio_runs
from ..service import Middleware
from ..service.middleware import checked_middleware
from ..session import ConnectionAcceptor, OnSession, SessionKeepaliveConfig
from ..session.bounds import Bounds
from ..session.keepalive import SERVER_KEEPALIVE
from ..session.server_budget import ServerBudget
from ..session.terms import CANCEL_GRACE
from ..transports import (
    LinkListener,
    LinkOptions,
    ListenerFactory,
    ListeningSocket,
    transports_for,
    urls_of,
)
from ..wire.messages import Message
from .announcing import Announcement, Presence
from .clients import AcceptedClients
from .machine import default_memory
from .options import SessionOptions, check_can_poll, reserved_with
from .server import Offering, Server
from .server_run import ServerRun
from .wrapping import offer_with

if TYPE_CHECKING:
    from ..links.resuming.siblings import Siblings

__all__ = ["serve"]


async def serve(
    url: str | Sequence[str] | ConduitAcceptor[Message] | None,
    handler: Handler | Mapping[str, Handler],
    *,
    sockets: Iterable[ListeningSocket] = (),
    max_concurrent_requests: int = 64,
    metadata: MetadataLike = (),
    keepalive: SessionKeepaliveConfig | None = SERVER_KEEPALIVE,
    limits: Limits = DEFAULT_LIMITS,
    strict: bool = False,
    deadlines: bool = True,
    cancel_grace: float = CANCEL_GRACE,
    tell_failures: TellFailures = "code",
    max_waiting: int | None = None,
    ssl_context: ssl.SSLContext | None = None,
    origins: Sequence[str] = (),
    max_sessions: int = 1024,
    max_sessions_per_peer: int | None = None,
    memory: int | None = None,
    tasks: int = 65_536,
    resume: bool | Siblings = False,
    on_session: OnSession | None = None,
    on_connection: ConnectionAcceptor | None = None,
    middleware: Iterable[Middleware] = (),
    observer: Observer | None = None,
    busy_poll: float | None = None,
    schemas: bool = True,
    reflection: bool = False,
    statistics: bool = False,
    announce: Announcement | Iterable[Announcement] = (),
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen and serve clients until cancelled; for ``nursery.start``.

    If a session cannot be set up, or ends because of its client, a warning is logged,
    and other sessions are not affected.

    Args:
        url: ``tcp://host:port`` or another URL from the table in the guide, or several.
            Port 0 takes a free port; see `Server.url`. An empty host means every
            address of the machine. Or a `ConduitAcceptor`, such as a
            `BareConduitAcceptor`: it is served until it has no more clients, and is not
            closed. None with `sockets`.
        handler: answers the calls of every client; `dispatcher` makes one. Or handlers
            by name, ``{"counter": dispatcher(Counter, CounterImpl())}``: a client opens
            a connection for each service that it uses, with `Session.open`.
        sockets: sockets of the standard library or of trio that listen already. The
            server listens on copies of them, in place of the address of `url`; close
            yours when it has started. The scheme of `url` says what is spoken on them,
            such as ``tls:`` or ``wss:///path``. With None, it is what ``tcp:`` and
            ``unix:`` speak.
        max_concurrent_requests: number of calls that each client may have in flight on
            each of its connections.
        metadata: metadata of every handshake.
        keepalive: when to ping clients; None for never. By default only a client with
            something in flight must answer.
        limits: bounds on what each client can make this side hold.
        strict: see `connect`.
        deadlines: tell clients how much time is left for calls that this side makes,
            and in the answer to their handshake that it knows what roam_trio adds to
            the protocol.
        cancel_grace: number of seconds for which a cancelled call of this side waits
            until the client has stopped; 0 means that it does not wait.
        tell_failures: amount of information about the failure of a handler for its
            caller: the code and id (``"code"``); also the text of the exception
            (``"text"``); also the traceback (``"traceback"``).
        max_waiting: number of calls to one client that may wait for it to take them;
            see `connect`.
        ssl_context: for URLs with TLS: a context with the certificate of the server.
        origins: the web origins that may connect over WebSocket, such as
            ``"https://example.org"``. Pages of other origins are refused. Programs
            other than browsers send no origin, and are accepted.
        max_sessions: number of sessions at a time, including those being set up.
            Further clients are refused at once. With `resume`, a client that returns is
            not, and a new client takes the place of a lost client, unless each of them
            has worked for long enough to keep its place.
        max_sessions_per_peer: number of sessions of one identity, or of one address
            without an identity; None for any number. Identities are those that
            `on_session` sets, certificates and users of Unix sockets. As long as a
            client may get an identity, because `on_session` has not decided or a
            certificate may come, it counts apart from the sessions of its address:
            there may be 64 of them for each address, or an eighth of `max_sessions` if
            that is less, or this number if it is more.
        memory: number of bytes that clients together can make this server hold, as
            `Limits.session_bytes` counts them; None for a quarter of the memory of the
            machine, or of the container. From 7/8 of it, new calls of the client that
            holds the most are refused. Beyond it its session ends, and others are not
            affected. All sessions of one identity, or of one address without an
            identity, are one client here; its largest session gives way first.
        tasks: number of tasks for calls of all clients together. It is kept in the same
            way as `memory`.
        resume: keep the session of a client that has lost its link, and continue when
            the client returns, from any address but with the same certificate or Unix
            user, if it has one; see `Limits.resume_seconds`. All clients must then
            connect with ``resume=True``. If several processes of this machine serve
            one address, give each of them its `Siblings`, so that clients may return
            to any of them.
        on_session: an async function that decides on each client. It gets the `Peer`,
            with the metadata of the handshake, before the handshake is answered. If it
            raises `Refused` or `Unavailable`, the client's `connect` raises that, with
            its code and text. It may set
            `Peer.identity`, and may return handlers for this session, in the forms of
            the argument `handler`; None means that argument. It has
            `Limits.handshake_seconds`, handshake included. Another exception is
            logged, and the client is turned away with the code ``"failed"``.
        on_connection: decides on connections that name none of the services that are
            offered; for example a `ProxyAcceptor`.
        middleware: wraps each call of the handlers that this server offers, the first
            outermost; see `Middleware`. The handlers of `on_connection` are not
            wrapped.
        observer: is told of events of clients and sessions; see `Observer`.
        busy_poll: number of seconds for which a session looks at its socket for the
            next request before it waits, at most 0.001; None for not at all. It takes
            a processor while it looks, and is of use to a server with one client at a
            time: see the page on performance. Only with ``tcp:`` and ``unix:``, and
            without `resume`.
        schemas: send the schema of a service to a client that expects another version
            of it, so that the client can translate its calls. Without it, such a client
            is refused by itself: its `connect` or `Session.open` raises
            `IncompatibleService`.
        reflection: offer two more services, ``reflection`` and ``health``, to clients
            that open a connection by these names: what is offered here, and whether it
            takes calls; see `describe_remote` and `Health`. The middleware of the
            server wraps them. A service of `handler` with such a name is offered in
            place of the reserved one.
        statistics: offer one more service, ``statistics``, which tells the sessions of
            this server with the addresses of clients, their calls and channels. The
            middleware of the server wraps it. It is not offered to sessions for which
            `on_session` returns handlers.
        announce: where to announce the URLs of this server from when it listens until
            it shuts down, such as ``RedisRegistry(...).service("bank")``; or several. A
            registry that cannot be reached does not stop the server.

    Raises:
        ValueError: a URL is wrong, or an option is out of range; or a URL cannot be
            announced; or `ssl_context`, `origins`, `sockets`, `resume`, `announce` or
            `busy_poll` is given together with a `ConduitAcceptor`; or `busy_poll` for
            a URL that cannot have it, or with `resume`.
        TypeError: `handler` is not a `Handler`, or is one that middleware cannot wrap;
            `announce` is not a service of a registry; `url` is neither a text nor a
            `ConduitAcceptor`, or `origins` is a text; or the acceptor did not return a
            `Conduit`.
        OSError: it cannot listen there, or a listening socket has broken.
    """
    check_trio_runs("serve()")
    around = checked_middleware(middleware)
    options = SessionOptions(
        offer_with(handler, around),
        max_concurrent_requests,
        metadata,
        keepalive,
        limits,
        strict,
        deadlines=deadlines,
        cancel_grace=cancel_grace,
        tell_failures=tell_failures,
        max_waiting=max_waiting,
        on_connection=on_connection,
        observer=observer,
        schemas=schemas,
        busy_poll=busy_poll,
        reserved=reserved_with(reflection, around),
    )
    if max_sessions < 1:
        raise ValueError(f"max_sessions: expected at least 1, got {max_sessions}")
    if max_sessions_per_peer is not None:
        check_count("max_sessions_per_peer", max_sessions_per_peer)
    serving = ServerRun(
        options,
        max_sessions,
        max_sessions_per_peer,
        resume,
        Offering(options, around),
        on_session,
        _budget_of(memory, tasks),
        asks_for_certificates=(
            ssl_context is not None and ssl_context.verify_mode is not ssl.CERT_NONE
        ),
        presence=Presence(announce),
    )
    if statistics:
        serving.offer_statistics()
    sockets = _several(sockets)
    if isinstance(url, ConduitAcceptor):
        _check_is_unset(
            ssl_context=ssl_context,
            origins=origins,
            resume=resume,
            sockets=sockets,
            announce=bool(serving.presence),
            busy_poll=busy_poll,
        )
        with log_budget_of_server(limits):
            await serving.run([AcceptedClients(url)], (), task_status)
    else:
        links = LinkOptions(
            limits=options.stream_limits, ssl_context=ssl_context, origins=origins
        )
        where = _urls_with(sockets, url)
        begin = _listening_at(where, links)
        if busy_poll is not None:
            check_can_poll(where, resume=bool(resume))
        if resume is not True and resume is not False:
            # Only now, since most servers have no siblings.
            from .returning import listen_for_returning

            begin.append(partial(listen_for_returning, resume, links.limits))
        await _listen_and_serve(begin, serving, limits, task_status)


def _budget_of(memory: int | None, tasks: int) -> ServerBudget:
    if memory is None:
        memory = default_memory()
    check_count("memory", memory)
    check_count("tasks", tasks)
    return ServerBudget(Bounds.of_server(memory, tasks))


def _check_is_unset(**options: object) -> None:
    for name, value in options.items():
        if value:
            raise ValueError(
                f"{name}: expected it only with URLs, as a ConduitAcceptor makes its "
                "own conduits; a StableConduitAcceptor makes conduits that resume"
            )


def _several(
    sockets: Iterable[ListeningSocket],
) -> tuple[ListeningSocket, ...]:
    if isinstance(sockets, ListeningSocket):
        raise TypeError(
            f"sockets: expected several sockets, such as [sock], got only {sockets!r}"
        )
    return tuple(sockets)


def _urls_with(
    sockets: tuple[ListeningSocket, ...], url: str | Sequence[str] | None
) -> str | Sequence[str]:
    if not sockets:
        if url is None:
            raise ValueError("expected a URL to listen at, or sockets=, got neither")
        return url
    if url is None or isinstance(url, str):
        # Only now, since most servers have no such sockets.
        from ..transports.inherited import urls_on

        return urls_on(url, sockets)
    raise ValueError(
        "sockets: expected them with one URL, which says what is spoken on them, or "
        f"with None, got {urls_without_secrets(repr(url))}"
    )


def _listening_at(
    url: str | Sequence[str], options: LinkOptions
) -> list[ListenerFactory]:
    if callable(getattr(url, "accept", None)):
        raise TypeError(
            f"expected a URL or a ConduitAcceptor, got an object of type "
            f"{type(url).__name__}, which is not a subclass of it"
        )
    urls = urls_of(url)
    if not urls:
        raise ValueError("expected at least one URL to listen at, got none")
    return [
        transport.to_listen(each, options)
        for each, transport in zip(urls, transports_for(urls, options), strict=True)
    ]


async def _listen_and_serve(
    begin: Iterable[ListenerFactory],
    serving: ServerRun,
    limits: Limits,
    task_status: trio.TaskStatus[Server],
) -> None:
    with ExitStack() as closing:
        listeners: list[LinkListener] = []
        for begin_one in begin:
            for listener in await begin_one():
                closing.callback(listener.close)
                listeners.append(listener)
        closing.enter_context(log_budget_of_server(limits))
        sources = [serving.listened(listener) for listener in listeners]
        urls = [each.url for each in listeners if not each.is_private]
        serving.presence.check(urls)
        await serving.run(sources, urls, task_status)
