"""The one response to a request: what a sink decides without a run of trio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from roam_trio.codec import CANCELLED
from roam_trio.errors import LinkDead, PayloadTooLarge
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.session.reply import AnswerState, DriverReplySink
from roam_trio.wire.messages import RequestCall, RequestResponse

from .ports import PortOfNobody

CALL = RequestCall(3, 2, 99, (4,), NO_METADATA, b"")
BINDER: Any = object()  # only handed on


class Sink:
    """A sink, its port, and the requests that were answered."""

    def __init__(self) -> None:
        self.port = PortOfNobody()
        self.answered: list[RequestCall] = []
        self.sink = DriverReplySink(self.port, BINDER, CALL, self)

    @property
    def handle(self) -> Any:
        """The connection of the sink."""
        return self

    def on_answered(self, call: RequestCall) -> None:
        """A request has its response."""
        self.answered.append(call)


def response(ret: bytes = b"ret", metadata: Metadata = NO_METADATA) -> RequestResponse:
    return RequestResponse(3, 2, (), metadata, ret)


def test_sink_begins_without_a_response() -> None:
    sink = Sink().sink
    assert (sink.state, sink.is_sent) == (AnswerState.RUNNING, False)
    assert sink.channel_binder is BINDER


def test_sink_knows_its_connection_and_the_peer() -> None:
    made = Sink()
    assert made.sink.connection is made.sink._connection
    assert made.sink.peer is made.port.terms.peer


@pytest.mark.rule("rpc.response", "rpc.response.one-per-request")
def test_response_goes_out_and_is_noted() -> None:
    made = Sink()
    metadata = Metadata.of({"key": "value"})
    made.sink.send_nowait(b"ret", metadata)
    assert made.port.pushed == [response(metadata=metadata)]
    assert made.answered == [CALL]
    assert (made.sink.state, made.sink.is_sent) == (AnswerState.SENT, True)


@pytest.mark.rule("rpc.response.one-per-request")
def test_second_response_is_refused() -> None:
    made = Sink()
    made.sink.send_nowait(b"ret")
    with pytest.raises(RuntimeError, match="request 2 has its response already"):
        made.sink.send_nowait(b"other")
    assert (made.port.pushed, made.answered) == ([response()], [CALL])


def test_response_without_room_is_not_sent_and_may_be_tried_again() -> None:
    made = Sink()
    made.port.way_out.is_full = True
    with pytest.raises(trio.WouldBlock):
        made.sink.send_nowait(b"ret")
    assert (made.sink.is_sent, made.answered) == (False, [])
    made.port.way_out.is_full = False
    made.sink.send_nowait(b"ret")
    assert made.port.pushed == [response()]


@pytest.mark.parametrize("error", [PayloadTooLarge(9, 8), LinkDead("broken")])
def test_response_that_cannot_be_sent_leaves_the_request_in_flight(
    error: Exception,
) -> None:
    made = Sink()
    made.port.way_out.error = error
    with pytest.raises(type(error)):
        made.sink.send_nowait(b"ret")
    assert (made.sink.state, made.answered) == (AnswerState.RUNNING, [])


def test_response_that_finds_the_link_dead_is_over_with_its_connection() -> None:
    made = Sink()
    dead = LinkDead("broken")

    def fail(message: object) -> None:
        made.port.end(dead)
        raise dead

    made.port.way_out.send_nowait = fail  # type: ignore[method-assign]
    made.sink.send_nowait(b"ret")
    assert made.sink.is_sent


# ------------------------------------------------------------ giving up


@pytest.mark.rule("rpc.response.one-per-request")
def test_request_that_is_given_up_is_answered_cancelled() -> None:
    made = Sink()
    made.sink.give_up()
    made.sink.give_up()
    assert made.port.pushed == [response(CANCELLED)]
    assert (made.answered, made.sink.state) == ([CALL], AnswerState.SENT)


def test_giving_up_after_the_response_does_nothing() -> None:
    made = Sink()
    made.sink.send_nowait(b"ret")
    made.sink.give_up()
    assert (made.port.pushed, made.answered) == ([response()], [CALL])


def test_giving_up_needs_no_room() -> None:
    made = Sink()
    made.port.way_out.is_full = True
    made.sink.give_up()
    assert made.port.pushed == [response(CANCELLED)]


# ------------------------------------------------------------ dropped channels


@pytest.mark.rule("rpc.channel.close")
@pytest.mark.parametrize("how", ["send_nowait", "give_up"])
def test_dropped_channels_are_ended_before_the_response(how: str) -> None:
    made = Sink()
    made.port.drop_later(lambda: made.port.pushed.append("close"))  # type: ignore[arg-type]
    if how == "send_nowait":
        made.sink.send_nowait(b"ret")
        assert made.port.pushed == ["close", response()]
    else:
        made.sink.give_up()
        assert made.port.pushed == ["close", response(CANCELLED)]


@pytest.mark.parametrize("how", ["send_nowait", "give_up"])
def test_response_is_of_no_use_if_dropped_channels_end_the_connection(how: str) -> None:
    made = Sink()

    def end() -> None:
        made.port.end(LinkDead("nobody needs it"))
        made.sink.lose()

    made.port.drop_later(end)
    if how == "send_nowait":
        made.sink.send_nowait(b"ret")
    else:
        made.sink.give_up()
    assert (made.port.pushed, made.answered) == ([], [])
    assert made.sink.state is AnswerState.LOST


# ------------------------------------------------------------ cancellation, the end


@pytest.mark.rule("rpc.cancel")
def test_cancelled_request_may_still_have_its_response() -> None:
    made = Sink()
    made.sink.cancel()
    assert (made.sink.state, made.sink.is_sent) == (AnswerState.CANCELLED, False)
    made.sink.send_nowait(b"ret")
    assert (made.port.pushed, made.sink.state) == ([response()], AnswerState.SENT)


@pytest.mark.rule("rpc.cancel")
def test_cancelled_request_is_answered_cancelled_when_it_is_given_up() -> None:
    made = Sink()
    made.sink.cancel()
    made.sink.cancel()
    made.sink.give_up()
    assert made.port.pushed == [response(CANCELLED)]


@pytest.mark.parametrize("cancelled", [False, True])
def test_nothing_is_sent_for_a_lost_request(cancelled: bool) -> None:
    made = Sink()
    if cancelled:
        made.sink.cancel()
    made.port.end(LinkDead("broken"))
    made.sink.lose()
    assert (made.sink.state, made.sink.is_sent) == (AnswerState.LOST, True)
    made.sink.send_nowait(b"ret")
    made.sink.give_up()
    assert (made.port.pushed, made.answered) == ([], [])


def test_sink_tells_which_call_it_answers_and_since_when() -> None:
    found = Sink().sink.statistics(2.5)
    assert (found.request_id, found.method_id, found.age) == (2, 99, 2.5)


# ------------------------------------------------------------ waiting for room


class Permit:
    """Room for one message, which `on_given` sees before it is used."""

    def __init__(self, made: Sink) -> None:
        self._made = made
        self.is_released = False

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def send(self, message: RequestResponse) -> None:
        self._made.port.pushed.append(message)

    def release(self) -> None:
        self.is_released = True


def full(on_reserve: Callable[[Sink], None]) -> tuple[Sink, list[Permit]]:
    """A sink without room, of which it gets some once it waits, and what it got."""
    made, given = Sink(), list[Permit]()
    made.port.way_out.is_full = True

    async def reserve() -> Any:
        await trio.lowlevel.checkpoint()
        given.append(Permit(made))
        on_reserve(made)
        return given[-1]

    made.port.way_out.reserve = reserve  # type: ignore[method-assign]
    return made, given


async def test_response_that_waits_for_room_goes_out_when_there_is_some() -> None:
    made, given = full(lambda made: None)
    await made.sink.send(b"ret")
    assert (made.port.pushed, made.answered) == ([response()], [CALL])
    assert [each.is_released for each in given] == [True]


@pytest.mark.rule("rpc.channel.close")
async def test_channels_dropped_while_a_response_waits_are_ended_before_it() -> None:
    dropped = [lambda: made.port.pushed.append("close")]  # type: ignore[arg-type]

    def drop(made: Sink) -> None:
        while dropped:
            made.port.drop_later(dropped.pop())

    made, given = full(drop)
    await made.sink.send(b"ret")
    assert made.port.pushed == ["close", response()]
    assert [each.is_released for each in given] == [True, True]


async def test_response_whose_connection_ends_while_it_waits_is_not_sent() -> None:
    made, given = full(lambda made: made.port.end(LinkDead("broken")))
    await made.sink.send(b"ret")
    assert (made.port.pushed, made.answered) == ([], [])
    assert [each.is_released for each in given] == [True]


async def test_response_on_a_connection_that_is_over_is_dropped() -> None:
    made = Sink()
    made.port.end(LinkDead("broken"))
    await made.sink.send(b"ret")
    assert (made.port.pushed, made.answered) == ([], [])
    with trio.CancelScope() as scope:
        scope.cancel()
        await made.sink.send(b"ret")
    assert scope.cancelled_caught
