"""What runs a connection does what its tables decide; shown without a run of trio.

The handlers here answer at once, or are only noted to be started.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from roam_trio import Limits
from roam_trio.codec import CANCELLED
from roam_trio.errors import (
    ConnectionLost,
    LimitExceeded,
    RemoteProtocolError,
    RxConnectionLost,
)
from roam_trio.metadata import NO_METADATA
from roam_trio.rpc.handler import ReplySink
from roam_trio.session.channel_state import ChannelState
from roam_trio.session.connection_run import ON_MESSAGE, ConnectionRun
from roam_trio.session.workers import Worker
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelClose,
    ChannelGrantCredit,
    ChannelItem,
    ChannelReset,
    ConnectionSettings,
    Message,
    RequestCall,
    RequestCancel,
    RequestResponse,
)

from .ports import Listening, plan_of, session_port

Answer = Callable[[RequestCall, ReplySink], Coroutine[Any, Any, None] | None]


class Run:
    """A run of connection 3, and all that it told its session."""

    def __init__(
        self,
        answer: Answer | None = None,
        *,
        accepts: int = 64,
        strict: bool = False,
        **limits: int,
    ) -> None:
        self.outbox = Listening()
        self.started: list[Any] = []
        self.unused: list[int] = []
        self.quiet = 0
        self.calls: list[RequestCall] = []
        self.sinks: list[ReplySink] = []
        self._answer = answer
        port = session_port(
            Limits(**limits),
            outbox=self.outbox,
            strict=strict,
            start_soon=self.started.append,
            owner=self,
        )
        ours = ConnectionSettings(Parity.ODD, accepts)
        theirs = ConnectionSettings(Parity.EVEN)
        self.run = ConnectionRun(3, ours, theirs, port, self)

    def handle(
        self, call: RequestCall, reply: ReplySink
    ) -> Coroutine[Any, Any, None] | None:
        """See `Handler.handle`."""
        self.calls.append(call)
        self.sinks.append(reply)
        if self._answer is not None:
            return self._answer(call, reply)
        return sleeping()

    def on_unused(self, connection_id: int) -> None:
        self.unused.append(connection_id)

    def on_quiet(self) -> None:
        self.quiet += 1

    def close(self, *args: object) -> None:
        raise AssertionError(f"asked to close with {args}")

    def get(self, *messages: Message) -> None:
        """Messages have come from the peer."""
        for message in messages:
            ON_MESSAGE[type(message)](self.run, message)

    @property
    def sent(self) -> list[Message]:
        return self.outbox.pushed

    def __del__(self) -> None:
        # Handlers that nobody runs are closed, so that Python does not complain.
        for run in self.started:
            if isinstance(run.__self__, Worker) and run.__self__.coroutine is not None:
                run.__self__.coroutine.close()


async def sleeping() -> None:
    raise AssertionError("nobody runs this")


def answer_at_once(call: RequestCall, reply: ReplySink) -> None:
    reply.send_nowait(b"ret")


def call(request_id: int = 2, channels: tuple[int, ...] = ()) -> RequestCall:
    return RequestCall(3, request_id, 99, channels, NO_METADATA, b"")


def response(request_id: int = 2, ret: bytes = b"ret") -> RequestResponse:
    return RequestResponse(3, request_id, (), NO_METADATA, ret)


# ------------------------------------------------------------ requests


@pytest.mark.rule("rpc.response")
def test_handler_that_answers_at_once_needs_no_task() -> None:
    made = Run(answer_at_once)
    made.get(call(2), call(4))
    assert made.sent == [response(2), response(4)]
    assert (made.started, len(made.run.answering)) == ([], 0)


def test_handler_that_waits_starts_a_task_of_the_session() -> None:
    made = Run()
    made.get(call(2), call(4))
    assert [run.__self__.work for run in made.started] == made.sinks
    assert (made.sent, len(made.run.answering)) == ([], 2)


@pytest.mark.rule("rpc.response.one-per-request")
def test_handler_that_answers_nothing_is_answered_for() -> None:
    made = Run(lambda call, reply: None)
    made.get(call())
    assert made.sent == [response(ret=CANCELLED)]


def test_handler_that_fails_is_answered_for(caplog: pytest.LogCaptureFixture) -> None:
    def fail(call: RequestCall, reply: ReplySink) -> None:
        raise ValueError("not a word of this goes out")

    made = Run(fail)
    made.get(call())
    assert made.sent == [response(ret=CANCELLED)]
    assert "a handler failed before its request was taken up" in caplog.text


@pytest.mark.rule("rpc.request.id-allocation")
def test_request_with_a_number_in_use_never_reaches_the_handler() -> None:
    made = Run()
    made.get(call())
    with pytest.raises(RemoteProtocolError, match="its id was used again"):
        made.get(call())
    assert len(made.calls) == 1


@pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
def test_request_beyond_the_limit_never_reaches_the_handler() -> None:
    made = Run(accepts=1)
    made.get(call(2))
    with pytest.raises(LimitExceeded, match="limit: max_concurrent_requests"):
        made.get(call(4))
    assert len(made.calls) == 1


def test_requests_are_refused_without_asking_the_handler() -> None:
    made = Run(answer_at_once)
    made.run.refuse("the peer shuts down")
    made.get(call())
    assert (made.sent, made.calls) == ([response(ret=CANCELLED)], [])


@pytest.mark.rule("rpc.cancel")
def test_cancel_reaches_the_sink_of_its_request() -> None:
    made = Run()
    made.get(call(2), call(4), RequestCancel(3, 4), RequestCancel(3, 6))
    assert [sink.state.name for sink in made.sinks] == [  # type: ignore[attr-defined]
        "RUNNING",
        "CANCELLED",
    ]


def test_response_to_no_request_breaks_the_protocol() -> None:
    with pytest.raises(RemoteProtocolError, match="request 1, which is not in flight"):
        Run().get(response(1))


# ------------------------------------------------------------ channels


@pytest.mark.rule("rpc.channel.binding.callee-args")
def test_response_ends_channels_that_the_handler_did_not_bind() -> None:
    made = Run(answer_at_once)
    made.get(ChannelItem(3, 2, b"early"), call(2, channels=(2, 4)))
    made.get(ChannelItem(3, 2, b"late"))
    assert made.run.channels.dropped == 1
    held = made.run.channels.held
    assert held is not None
    assert (held.count, held.bytes) == (0, 0)


@pytest.mark.rule("rpc.channel.binding.callee-args")
def test_channel_that_the_handler_binds_outlives_the_response() -> None:
    made = Run()
    made.get(call(2, channels=(2,)))
    source = made.sinks[0].channel_binder.source(2, plan_of(4))
    made.sinks[0].send_nowait(b"ret")
    made.get(ChannelItem(3, 2, b"\x07"))
    assert source.receive_nowait() == 7


@pytest.mark.rule("rpc.channel.close")
def test_messages_of_a_channel_reach_its_end() -> None:
    made = Run()
    sink = made.run.binder.sink(1, plan_of(4))
    source = made.run.binder.source(3, plan_of(4))
    made.get(ChannelGrantCredit(3, 1, 5), ChannelItem(3, 3, [b"\x07"]))
    made.get(ChannelReset(3, 1), ChannelClose(3, 3))
    assert repr(sink) == "<channel 1 out, reset, credit 9>"
    assert repr(source) == "<channel 3 in, closed, 1 queued, allowance 3>"
    assert made.run.channels.open == 0


def test_proxied_channels_are_reset_on_the_wire() -> None:
    made = Run()
    for number in (1, 3):
        made.run.channels.join(number, made)  # type: ignore[arg-type]
    made.run.binder.sink(5, plan_of(4))
    made.run.reset_relayed()
    assert made.sent == [ChannelReset(3, 1), ChannelReset(3, 3)]
    assert (made.run.channels.relayed, made.run.channels.bound) == (0, 1)


# ------------------------------------------------------------ who needs it


@pytest.mark.rule("rpc.caller.liveness.last-drop-closes-connection")
def test_last_caller_tells_the_session_that_the_connection_is_unused() -> None:
    made = Run()
    made.run.hold()
    made.run.hold()
    made.run.release()
    assert made.unused == []
    made.run.release()
    assert made.unused == [3]


@pytest.mark.rule("rpc.caller.liveness.last-drop-closes-connection")
@pytest.mark.parametrize("how", ["close here", "reset there"])
def test_last_channel_tells_the_session_that_the_connection_is_unused(how: str) -> None:
    made = Run()
    made.run.hold()
    sink = made.run.binder.sink(1, plan_of(4))
    made.run.release()
    assert made.unused == []
    if how == "close here":
        sink.close()
    else:
        made.get(ChannelReset(3, 1))
    assert made.unused == [3]


def test_connection_without_callers_is_never_unused() -> None:
    made = Run()
    made.run.binder.sink(1, plan_of(4)).close()
    assert made.unused == []


# ------------------------------------------------------------ quiet


def test_connection_is_quiet_if_nothing_is_going_on() -> None:
    made = Run()
    assert made.run.is_quiet
    made.get(call(2))
    assert not made.run.is_quiet
    made.sinks[0].send_nowait(b"ret")
    assert made.run.is_quiet
    sink = made.run.binder.sink(1, plan_of(4))
    assert not made.run.is_quiet
    sink.close()
    assert made.run.is_quiet
    assert made.quiet == 0  # as nobody has asked to be told


def test_session_is_told_when_the_last_of_what_is_going_on_has_ended() -> None:
    made = Run()
    made.get(call(2))
    sink = made.run.binder.sink(1, plan_of(4))
    made.run.refuse("this side shuts down")
    made.sinks[0].send_nowait(b"ret")
    assert made.quiet == 0
    sink.close()
    assert made.quiet == 1


def test_joined_channel_keeps_a_connection_from_being_quiet() -> None:
    made = Run()
    made.run.refuse("this side shuts down")
    made.run.channels.join(1, made)  # type: ignore[arg-type]
    assert not made.run.is_quiet
    made.run.channels.stop_relaying(1)
    assert (made.run.is_quiet, made.quiet) == (True, 1)


# ------------------------------------------------------------ the end


def test_end_reaches_handlers_before_what_they_wait_for() -> None:
    made = Run()
    order: list[str] = []

    class Told:
        def lose(self) -> None:
            order.append("handler")

        def on_lost(self, because: BaseException) -> None:
            order.append("channel")

    told: Any = Told()
    made.run.channels.bind_incoming(2, told)
    made.run.answering.in_flight[2] = told
    made.run.end(ConnectionLost("why"))
    assert order == ["handler", "channel"]


def test_end_loses_channels_and_says_why() -> None:
    made = Run()
    source = made.run.binder.source(1, plan_of(4))
    why = ConnectionLost("why")
    made.run.end(why)
    assert made.run.port.ended_because is why
    with pytest.raises(RxConnectionLost, match="the channel was lost: why"):
        source.receive_nowait()


def test_first_end_decides() -> None:
    made = Run()
    first = ConnectionLost("first")
    made.run.end(first)
    made.run.end(ConnectionLost("second"))
    assert made.run.port.ended_because is first


def test_session_is_told_nothing_after_the_end() -> None:
    made = Run()
    made.run.hold()
    sink = made.run.binder.sink(1, plan_of(4))
    made.run.refuse("this side shuts down")
    made.run.end(ConnectionLost("why"))
    sink.close()
    made.run.release()
    assert (made.unused, made.quiet, made.sent) == ([], 0, [])


def test_what_a_handler_binds_after_the_end_is_lost() -> None:
    made = Run()
    made.get(call(2, channels=(2,)))
    made.run.end(ConnectionLost("why"))
    source: Any = made.sinks[0].channel_binder.source(2, plan_of(4))
    assert source.state is ChannelState.LOST


def test_handler_is_let_go_of_with_the_connection() -> None:
    made = Run()
    assert made.run.handler is made
    made.run.end(ConnectionLost("why"))
    assert made.run.handler is not made


# ------------------------------------------------------------ what is told


def test_statistics_tell_what_is_going_on() -> None:
    made = Run()
    made.run.hold()
    made.get(call(2), call(4))
    made.run.binder.sink(1, plan_of(4))
    found = made.run.statistics()
    assert (found.connection_id, found.callers, found.calling) == (3, 1, ())
    assert [one.request_id for one in found.answering] == [2, 4]
    assert [one.channel_id for one in found.channels] == [1]
    assert repr(made.run) == "<ConnectionRun 3: 2 answering, 0 calling, 1 channels>"


def test_run_keeps_little_for_a_connection() -> None:
    made = Run()
    assert len(ConnectionRun.__slots__) - 1 <= 15  # but for the weak references
    assert not hasattr(made.run, "__dict__")
    assert not hasattr(made.run.port, "__dict__")
    assert made.run.channels.held is None
