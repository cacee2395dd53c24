"""`Telemetry`, which makes a span and a measurement of each call."""

from __future__ import annotations

from typing import Any

import attrs
from opentelemetry import metrics, propagate, trace
from opentelemetry.context import Context, attach, get_current
from opentelemetry.metrics import Histogram, Meter, MeterProvider
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    TracerProvider,
    get_current_span,
    set_span_in_context,
)

from ...errors import RoamError, RoamTrioError, UnknownMethod
from ...logs import Log
from ...metadata import Metadata
from ...quantities import check_count
from ...rpc.connection import AnySession, Connection
from ...rpc.method_names import is_method_name_here
from ...rpc.observer import Observer
from ...service.middleware import AnyCall, ClientCall, Proceed
from .methods import Method, Methods
from .names import CLIENT_DURATION, DURATION_BUCKETS, SERVER_DURATION
from .outcomes import (
    LOST_AT_CLIENT,
    LOST_AT_SERVER,
    Outcome,
    at_client,
    at_server,
    failed_with,
    turned_away,
)
from .places import MOST_MEASURED, Place, Places, server_attributes
from .propagation import Propagation
from .recording import Recording
from .sampling import follows_parents
from .sessions import Sessions

__all__ = ["Telemetry", "TelemetryObserver"]

logger = Log("roam_trio.otel")

_SCOPE = "roam_trio"


class Telemetry:
    """Makes a span and a measurement of each call, by the API of OpenTelemetry.

        telemetry = Telemetry()
        async with connect(
            url, Bank, middleware=[telemetry.client], observer=telemetry.observer
        ) as bank:
            ...

    Make it after the SDK is set up. Without an SDK it passes on the context that a
    caller has sent, and does nothing else.

    A span has the name ``Service/method``. It lasts until the call has its result and
    its channels have ended. All attempts of a call of `stay_connected` are one span,
    with an event ``retry`` for each attempt after the first.

    Args:
        tracer_provider: makes the spans; by default that of the program.
        meter_provider: takes the measurements; by default that of the program.
        propagator: moves contexts between spans and metadata; by default that of the
            program, which is for W3C Trace Context and Baggage.
        server: the URL under which clients know the server, for ``server.address`` and
            ``server.port``. Without it, a client tells the address of its peer, and a
            server tells none.
        measured_servers: number of servers that the measurements of clients tell apart,
            by ``server.address`` and ``server.port``; those of further servers have
            neither. Each of them is a series of its own for each method and outcome.

    Attributes:
        observer: the observer to give to `connect`, `stay_connected` or `serve`.

    Raises:
        ValueError: `server` names neither a host nor a path, or `measured_servers` is
            not a whole number from 1.
        TypeError: `measured_servers` is not a number.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        propagator: TextMapPropagator | None = None,
        server: str | None = None,
        measured_servers: int = MOST_MEASURED,
    ) -> None:
        check_count("measured_servers", measured_servers)
        tracers = tracer_provider or trace.get_tracer_provider()
        meters = meter_provider or metrics.get_meter_provider()
        tracer, meter = tracers.get_tracer(_SCOPE), meters.get_meter(_SCOPE)
        common = None if server is None else server_attributes(server)
        parts = _Parts(
            tracer,
            Propagation(
                propagator or propagate.get_global_textmap(),
                follows_parents=follows_parents(tracer),
            ),
            Methods(common or {}),
            tells_server=common is not None,
            measures=not _is_of_the_api(meters),
        )
        places = Places(measured_servers)
        self._client = _ClientSide(parts, _duration(meter, CLIENT_DURATION), places)
        answered = _duration(meter, SERVER_DURATION)
        self._server = _ServerSide(parts, answered, Places(0))
        self.observer = TelemetryObserver(self._server, Sessions(meter))

    async def client(self, call: AnyCall, proceed: Proceed) -> Any:
        """Record a call that this side makes; a `Middleware`.

        Put it first, so that the span covers the other middleware. A checkpoint if
        `proceed` is.
        """
        recording = _begun(self._client, call)
        if recording is None:
            return await proceed()
        with recording:
            return await proceed()

    async def server(self, call: AnyCall, proceed: Proceed) -> Any:
        """Record a call that this side answers; a `Middleware`.

        Put it first, so that the span covers the other middleware. A checkpoint if
        `proceed` is.
        """
        recording = _begun(self._server, call)
        if recording is None:
            return await proceed()
        with recording:
            return await proceed()


def _begun(side: _ClientSide | _ServerSide, call: AnyCall) -> Recording | None:
    """Begin to record a call; None if it is not recorded, or that has failed."""
    try:
        return side.begin(call)
    except Exception as error:
        logger.failure(error, "a call was not recorded")
        return None


@attrs.frozen(eq=False)
class _Parts:
    """The parts that both sides use.

    Attributes:
        tracer: makes the spans.
        propagation: moves contexts between spans and metadata.
        methods: the attributes of methods.
        tells_server: True if those of methods tell the server.
        measures: True if something takes the measurements.
    """

    tracer: Tracer
    propagation: Propagation
    methods: Methods
    tells_server: bool = attrs.field(kw_only=True)
    measures: bool = attrs.field(kw_only=True)


@attrs.frozen(eq=False)
class _ClientSide:
    """Records the calls that this side makes."""

    _parts: _Parts
    duration: Histogram
    _places: Places
    lost: Outcome = LOST_AT_CLIENT

    def begin(self, call: AnyCall) -> Recording | None:
        """Begin to record a call; None if there is nothing to record."""
        parts, parent = self._parts, get_current()
        unsampled = parts.propagation.unsampled(parent)
        if unsampled is not None:
            assert isinstance(call, ClientCall), "it is a middleware of clients"
            call.send_too(unsampled)
            if not parts.measures:
                return None
            return Recording(self, call, parts.methods.of(call.method), None, parent)
        method = parts.methods.of(call.method)
        span = parts.tracer.start_span(
            method.span_name, parent, SpanKind.CLIENT, method.attributes
        )
        context = _context_of(span, parent)
        parts.propagation.inject(call.metadata, context)
        return Recording(self, call, method, _if_recording(span), context)

    def outcome_of(
        self, error: BaseException, call: AnyCall, method: Method, *, is_late: bool
    ) -> Outcome:
        return at_client(error, call.method, is_known=method.is_known, is_late=is_late)

    def peer_of(self, call: AnyCall) -> Place:
        return self._places.of(call.peer)

    def server_of(self, peer: Place) -> Place | None:
        return None if self._parts.tells_server else peer


@attrs.frozen(eq=False)
class _ServerSide:
    """Records the calls that this side answers."""

    _parts: _Parts
    duration: Histogram
    _places: Places
    lost: Outcome = LOST_AT_SERVER

    def begin(self, call: AnyCall) -> Recording | None:
        """Begin to record a call; None if there is nothing to record."""
        parts = self._parts
        context, is_unsampled = parts.propagation.extract(call.given_metadata)
        if is_unsampled and not parts.measures:
            attach(context)  # until the context of this call ends, which is its own
            return None
        method = parts.methods.of(call.method)
        if is_unsampled:
            return Recording(self, call, method, None, context)
        span = parts.tracer.start_span(
            method.span_name, context, SpanKind.SERVER, method.attributes
        )
        context = _context_of(span, context)
        return Recording(self, call, method, _if_recording(span), context)

    def turn_away(
        self, connection: Connection, name: str, metadata: Metadata, because: RoamError
    ) -> None:
        """Record a call that has reached no middleware."""
        parts, outcome = self._parts, turned_away(because)
        # A request can be refused before its method is looked up.
        is_known = is_method_name_here(name) and not isinstance(because, UnknownMethod)
        method = parts.methods.named(name.replace(".", "/"), is_known=is_known)
        context, is_unsampled = parts.propagation.extract(metadata)
        if not is_unsampled:
            span = parts.tracer.start_span(
                method.span_name, context, SpanKind.SERVER, method.attributes
            )
            if span.is_recording():
                peer = self._places.of(connection.session.peer)
                span.set_attributes({**outcome.attributes, **peer.as_peer})
                if outcome.error_type is not None:
                    span.set_status(StatusCode.ERROR)
                span.end()
        self.duration.record(0.0, method.measured(outcome, None), context)

    def outcome_of(
        self, error: BaseException, call: AnyCall, method: Method, *, is_late: bool
    ) -> Outcome:
        return at_server(error, call.method, is_late=is_late)

    def peer_of(self, call: AnyCall) -> Place:
        return self._places.of(call.peer)

    def server_of(self, peer: Place) -> Place | None:
        return None


class TelemetryObserver(Observer):
    """Records what reaches no middleware; `Telemetry.observer`.

    It measures the sessions that it is told of, adds an event to the span of a call
    that is made again, and records calls that are turned away. An observer of a program
    passes these events on: it calls the same methods of `Telemetry.observer`.
    """

    def __init__(self, server: _ServerSide, sessions: Sessions) -> None:
        self._server = server
        self._sessions = sessions

    def session_opened(self, session: AnySession) -> None:
        """Measure a session from now on."""
        self._sessions.add(session)

    def session_closed(self, session: AnySession, because: Exception) -> None:
        """Measure a session no more."""
        self._sessions.remove(session)

    def call_turned_away(
        self,
        connection: Connection,
        method: str,
        metadata: Metadata,
        because: RoamError,
    ) -> None:
        """Record a call that is answered before any middleware has seen it."""
        self._server.turn_away(connection, method, metadata, because)

    def call_retried(
        self, url: str, method: str, because: RoamTrioError, pause: float
    ) -> None:
        """Add an event to the span of a call that is made again."""
        span = get_current_span()
        if span.is_recording():
            failed = failed_with(because).attributes
            span.add_event("retry", {**server_attributes(url), **failed})


def _is_of_the_api(meters: MeterProvider) -> bool:
    """Return True if a provider is there because no SDK is, and measures nothing."""
    return type(meters).__module__.startswith("opentelemetry.metrics.")


def _duration(meter: Meter, name: str) -> Histogram:
    return meter.create_histogram(
        name,
        "s",
        "Measures the duration of a remote procedure call.",
        explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
    )


def _context_of(span: Span, parent: Context) -> Context:
    """Return the context with a span; without an SDK, there may be none."""
    is_one = span.get_span_context().is_valid
    return set_span_in_context(span, parent) if is_one else parent


def _if_recording(span: Span) -> Span | None:
    return span if span.is_recording() else None
