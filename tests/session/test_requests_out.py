"""Numbers and slots of this side's requests, and which response belongs to which.

Nothing here needs a run of trio.
"""

from __future__ import annotations

import pytest

from roam_trio.errors import CallRefused, ConnectionLost, RemoteProtocolError
from roam_trio.metadata import NO_METADATA
from roam_trio.session.requests_out import CallState, RequestOut, RequestsOut, Slot
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import RequestResponse


def table(most: int = 3, ours: Parity = Parity.ODD) -> RequestsOut:
    return RequestsOut(7, ours, most)


def response(request_id: int) -> RequestResponse:
    return RequestResponse(7, request_id, (), NO_METADATA, b"ret")


def send(requests: RequestsOut, waiter: object = None) -> RequestOut:
    """Make a request: take a slot and a number."""
    assert requests.take() is Slot.TAKEN
    return add(requests, waiter)


def add(requests: RequestsOut, waiter: object = None) -> RequestOut:
    """Make the request of who has a slot already."""
    number = requests.ids.allocate()
    request = RequestOut(number, 99, (), 10.0, waiter)
    requests.in_flight[number] = request
    return request


# ------------------------------------------------------------ numbers


@pytest.mark.rule("rpc.request.id-allocation")
@pytest.mark.parametrize(
    ("ours", "numbers"), [(Parity.ODD, [1, 3, 5, 7]), (Parity.EVEN, [2, 4, 6, 8])]
)
def test_numbers_have_the_parity_of_this_side_and_never_come_again(
    ours: Parity, numbers: list[int]
) -> None:
    requests = table(most=64, ours=ours)
    assert [send(requests).request_id for _ in numbers] == numbers
    for number in numbers:
        requests.match(response(number))
        requests.give(None)
    assert send(requests).request_id == numbers[-1] + 2


# ------------------------------------------------------------ slots


@pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
@pytest.mark.parametrize("most", [1, 2, 64])
def test_so_many_slots_are_taken_as_the_peer_accepts_requests(most: int) -> None:
    requests = table(most)
    assert [requests.take() for _ in range(most)] == [Slot.TAKEN] * most
    assert (requests.free, requests.take()) == (0, Slot.QUEUED)


def test_slot_that_is_given_back_is_free_if_nobody_has_queued() -> None:
    requests = table(1)
    for _ in range(3):
        assert requests.take() is Slot.TAKEN
        assert not requests.give(None)
    assert requests.free == 1


def test_slot_is_handed_to_who_has_queued_and_is_not_free_meanwhile() -> None:
    requests = table(1)
    requests.take()
    assert requests.take() is Slot.QUEUED
    assert requests.give([object()])
    assert (requests.free, requests.is_idle) == (0, False)
    assert requests.take() is Slot.QUEUED  # nobody jumps the queue
    assert requests.give([object()])
    assert not requests.give(None)
    assert (requests.free, requests.is_idle) == (1, True)


@pytest.mark.parametrize("most", [1, 3])
def test_slots_are_neither_lost_nor_made(most: int) -> None:
    requests = table(most)
    queued = [requests.take() for _ in range(most + 5)].count(Slot.QUEUED)
    assert queued == 5
    given = 0
    while not requests.is_idle:
        queued -= requests.give(range(queued))
        given += 1
    assert (queued, given, requests.free) == (0, most + 5, most)


@pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
def test_nobody_queues_at_a_peer_that_accepts_no_request() -> None:
    with pytest.raises(CallRefused) as caught:
        table(0).take()
    assert str(caught.value) == (
        "the peer accepts no calls on connection 7: it has told "
        "max_concurrent_requests=0; it has to tell 1 or more to be called"
    )


# ------------------------------------------------------------ responses


@pytest.mark.rule("rpc.response")
@pytest.mark.parametrize("order", [(1, 3, 5), (5, 3, 1), (3, 5, 1)])
def test_responses_are_matched_in_any_order(order: tuple[int, ...]) -> None:
    requests = table()
    sent = {(one := send(requests)).request_id: one for _ in range(3)}
    for number in order:
        assert requests.match(response(number)) is sent[number]
    assert requests.in_flight == {}


@pytest.mark.rule("rpc.response")
@pytest.mark.parametrize(
    "number", [2, 3, 1], ids=["other parity", "not made yet", "has its response"]
)
def test_response_that_nobody_waits_for_is_refused(number: int) -> None:
    requests = table()
    send(requests)
    if number == 1:
        requests.match(response(1))
    with pytest.raises(RemoteProtocolError) as caught:
        requests.match(response(number))
    why = f"a response came for request {number}, which is not in flight"
    assert caught.value.description == why


def test_slot_is_not_given_back_by_the_response_itself() -> None:
    requests = table(1)
    send(requests)
    requests.match(response(1))
    assert not requests.is_idle  # as whoever is handed it has still to be woken
    requests.give(None)
    assert requests.is_idle


# ------------------------------------------------------------ states


def test_waiter_is_woken_with_the_answer() -> None:
    task = object()
    request = send(table(), task)
    answer = response(1)
    assert request.state is CallState.WAITING
    assert request.finish(answer)
    assert (request.state, request.answer) == (CallState.OVER, answer)
    assert request.waiter is task


@pytest.mark.rule("rpc.cancel")
def test_request_that_was_abandoned_wakes_nobody_and_keeps_its_number() -> None:
    requests = table(1)
    request = send(requests)
    request.cancel()
    request.abandon()
    assert (request.state, list(requests.in_flight)) == (CallState.ABANDONED, [1])
    assert requests.free == 0  # until the response comes
    assert requests.match(response(1)) is request
    assert not request.finish(response(1))
    assert (request.state, request.answer) == (CallState.OVER, None)


@pytest.mark.rule("rpc.cancel")
def test_caller_that_was_cancelled_is_woken_once_the_peer_has_stopped() -> None:
    request = send(table())
    request.cancel()
    request.wait_again()
    assert request.state is CallState.STOPPING
    assert request.finish(response(1))
    assert isinstance(request.answer, RequestResponse)


@pytest.mark.rule("rpc.cancel")
def test_response_before_the_cancelled_caller_waits_again_wakes_nobody() -> None:
    request = send(table())
    request.cancel()
    assert not request.finish(response(1))
    assert isinstance(request.answer, RequestResponse)
    request.abandon()  # too late to matter
    assert request.state is CallState.OVER


@pytest.mark.parametrize("state", [CallState.ABANDONED, CallState.OVER])
def test_only_who_waits_can_be_cancelled(state: CallState) -> None:
    request = send(table())
    if state is CallState.OVER:
        request.finish(response(1))
    else:
        request.abandon()
    with pytest.raises(AssertionError, match="only who waits"):
        request.cancel()
    with pytest.raises(AssertionError, match="only then"):
        request.wait_again()
    assert request.state is state


def test_nobody_is_woken_twice() -> None:
    request = send(table())
    assert request.finish(response(1))
    assert not request.finish(ConnectionLost("the connection has ended"))
    assert isinstance(request.answer, RequestResponse)


# ------------------------------------------------------------ the end


def test_end_returns_what_was_in_flight_abandoned_or_not() -> None:
    requests = table()
    first, second = send(requests), send(requests)
    first.abandon()
    assert requests.clear() == [first, second]
    lost = ConnectionLost("the connection has ended")
    assert [one.finish(lost) for one in (first, second)] == [False, True]
    assert second.answer is lost
    assert (requests.in_flight, requests.clear()) == ({}, [])
    with pytest.raises(RemoteProtocolError):
        requests.match(response(1))


# ------------------------------------------------------------ what is told


@pytest.mark.parametrize(
    ("taken", "sent", "is_idle"), [(0, 0, True), (1, 0, False), (1, 1, False)]
)
def test_request_about_to_be_made_keeps_the_connection_from_being_idle(
    taken: int, sent: int, is_idle: bool
) -> None:
    requests = table()
    for _ in range(taken):
        requests.take()
    for _ in range(sent):
        add(requests)
    assert requests.is_idle == is_idle


def test_statistics_tell_each_request_and_its_age() -> None:
    requests = table()
    send(requests)
    send(requests).abandon()
    found = requests.statistics(12.5)
    assert [(one.request_id, one.method_id, one.age) for one in found] == [
        (1, 99, 2.5),
        (3, 99, 2.5),
    ]
    assert repr(requests) == "<RequestsOut: 2 in flight, 1 free>"
