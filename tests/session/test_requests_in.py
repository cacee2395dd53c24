"""Which requests of the peer's may come in. Nothing here needs a run of trio."""

from __future__ import annotations

import attrs
import pytest

from roam_trio import Limits
from roam_trio.errors import LimitExceeded, RemoteProtocolError
from roam_trio.metadata import NO_METADATA
from roam_trio.session.requests_in import RequestsIn, Verdict
from roam_trio.session.statistics import CallStatistics
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import RequestCall

LONG = 5000


@attrs.define
class Answering:
    """What is to become a response, and what was asked of it."""

    request_id: int = 2
    asked: list[str] = attrs.field(factory=list)

    def cancel(self) -> bool:
        self.asked.append("cancel")
        return len(self.asked) == 1

    def lose(self) -> None:
        self.asked.append("lose")

    def statistics(self, now: float) -> CallStatistics:
        return CallStatistics(self.request_id, 1, now)


def call(request_id: int = 2, size: int = 0) -> RequestCall:
    """A request; a long one keeps the payload it came in."""
    payload = bytes(size)
    args = payload if size < 2048 else memoryview(payload)
    return RequestCall(0, request_id, 1, (), NO_METADATA, args)


def table(
    *, most: int = 64, strict: bool = False, request_bytes: int = 2**30
) -> RequestsIn:
    limits = Limits(request_bytes=request_bytes)
    return RequestsIn(most, limits, Parity.EVEN, strict=strict)


def take(requests: RequestsIn, request: RequestCall) -> Answering:
    """Let a request in."""
    assert requests.admit(request) is Verdict.START
    answering = Answering(request.request_id)
    requests.in_flight[request.request_id] = answering
    return answering


# ------------------------------------------------------------ numbers


def test_request_is_let_in() -> None:
    requests = table()
    take(requests, call(2))
    take(requests, call(4))
    assert list(requests.in_flight) == [2, 4]
    assert repr(requests) == "<RequestsIn: 2 in flight>"


@pytest.mark.rule("rpc.request.id-allocation")
@pytest.mark.parametrize("strict", [False, True])
def test_number_in_use_is_refused(strict: bool) -> None:
    requests = table(strict=strict)
    take(requests, call(2))
    with pytest.raises(RemoteProtocolError) as caught:
        requests.admit(call(2))
    why = "request 2 is in flight, and its id was used again"
    assert caught.value.description == why


@pytest.mark.parametrize("strict", [False, True])
def test_number_is_free_again_after_the_response(strict: bool) -> None:
    requests = table(strict=strict)
    for _ in range(3):
        take(requests, call(2))
        requests.answered(call(2))
    assert len(requests) == 0


def test_number_of_a_cancelled_request_is_in_use_until_the_response() -> None:
    requests = table()
    take(requests, call(2))
    requests.cancel(2)
    with pytest.raises(RemoteProtocolError):
        requests.admit(call(2))


@pytest.mark.rule("rpc.request.id-allocation")
@pytest.mark.parametrize("theirs", Parity)
@pytest.mark.parametrize("number", [0, 1, 2, 2**64 - 2, 2**64 - 1])
def test_strict_table_takes_numbers_of_the_peers_parity_only(
    theirs: Parity, number: int
) -> None:
    strict = RequestsIn(64, Limits(), theirs, strict=True)
    if number > 0 and number % 2 == (theirs is Parity.ODD):
        assert strict.admit(call(number)) is Verdict.START
        return
    with pytest.raises(RemoteProtocolError) as caught:
        strict.admit(call(number))
    assert caught.value.description == (
        f"request {number} has not the parity of its sender, {theirs.name.lower()}"
    )


@pytest.mark.parametrize("number", [0, 1, 3])
def test_lenient_table_takes_any_number(number: int) -> None:
    assert table().admit(call(number)) is Verdict.START


# ------------------------------------------------------------ bounds


@pytest.mark.rule("rpc.flow-control.max-concurrent-requests")
@pytest.mark.parametrize("most", [0, 1, 5])
def test_requests_at_once_are_bounded(most: int) -> None:
    requests = table(most=most)
    for number in range(most):
        take(requests, call(2 + 2 * number))
    with pytest.raises(LimitExceeded) as caught:
        requests.admit(call(100))
    assert caught.value.limit == "max_concurrent_requests"
    assert f"request 100 came while {most} requests were in flight" in str(caught.value)
    assert len(requests) == most


def test_response_makes_room_for_a_request() -> None:
    requests = table(most=2)
    for number in range(2, 40, 2):
        take(requests, call(number))
        if number > 2:
            requests.answered(call(number - 2))
    take(requests, call(40))
    with pytest.raises(LimitExceeded):
        requests.admit(call(42))


def test_bytes_of_long_requests_are_bounded() -> None:
    requests = table(request_bytes=3 * LONG)
    for number in (2, 4, 6):
        take(requests, call(number, LONG))
    assert requests.bytes == 3 * LONG
    with pytest.raises(LimitExceeded) as caught:
        requests.admit(call(8, LONG))
    assert caught.value.limit == "request_bytes"
    assert f"requests of {4 * LONG} bytes are in flight" in str(caught.value)


def test_short_requests_have_no_bytes_that_count() -> None:
    requests = table(request_bytes=1)
    for number in range(2, 100, 2):
        take(requests, call(number, 2047))
    assert requests.bytes == 0


@pytest.mark.parametrize("size", [0, 2047, 2048, LONG])
def test_response_gives_the_bytes_back(size: int) -> None:
    requests = table(request_bytes=LONG)
    for _ in range(3):
        take(requests, call(2, size))
        requests.answered(call(2, size))
        assert requests.bytes == 0


def test_responses_that_a_proxy_holds_count_with_the_requests() -> None:
    requests = table(request_bytes=2 * LONG)
    take(requests, call(2, LONG))
    requests.hold(LONG)
    with pytest.raises(LimitExceeded, match="limit: request_bytes"):
        requests.hold(1)
    requests.let_go(1)
    requests.let_go(LONG)
    assert requests.bytes == LONG


# ------------------------------------------------------------ refusing


def test_request_is_refused_while_none_are_accepted() -> None:
    requests = table()
    first = take(requests, call(2))
    requests.refusing = "the peer shuts down"
    assert requests.admit(call(4)) is Verdict.REFUSE
    assert first.asked == []  # what is running goes on


@pytest.mark.parametrize(
    "request_", [call(2), call(4, LONG)], ids=["number in use", "too long"]
)
def test_rules_hold_for_refused_requests_too(request_: RequestCall) -> None:
    requests = table(request_bytes=100)
    take(requests, call(2))
    requests.refusing = "the peer shuts down"
    with pytest.raises(RemoteProtocolError):
        requests.admit(request_)


# ------------------------------------------------------------ cancellation, the end


@pytest.mark.rule("rpc.cancel")
def test_cancel_reaches_its_request_and_no_other() -> None:
    requests = table()
    first, second = take(requests, call(2)), take(requests, call(4))
    requests.cancel(4)
    assert (first.asked, second.asked) == ([], ["cancel"])
    assert len(requests) == 2  # each still gets its response


@pytest.mark.rule("rpc.cancel")
@pytest.mark.parametrize("when", ["never came", "has its response"])
def test_cancel_of_what_is_not_in_flight_is_harmless(when: str) -> None:
    requests = table()
    if when == "has its response":
        answering = take(requests, call(2))
        requests.answered(call(2))
    requests.cancel(2)
    if when == "has its response":
        assert answering.asked == []
    assert len(requests) == 0


def test_every_request_is_lost_with_the_connection() -> None:
    requests = table()
    answering = [take(requests, call(number)) for number in (2, 4, 6)]
    requests.lose()
    assert [one.asked for one in answering] == [["lose"]] * 3
    assert len(requests) == 0
    requests.lose()
    assert [one.asked for one in answering] == [["lose"]] * 3


def test_response_after_the_end_is_harmless() -> None:
    requests = table()
    take(requests, call(2, LONG))
    requests.lose()
    requests.answered(call(2, LONG))
    assert (len(requests), requests.bytes) == (0, 0)


def test_statistics_tell_each_request_in_the_order_of_coming() -> None:
    requests = table()
    for number in (6, 2, 4):
        take(requests, call(number))
    found = requests.statistics(12.5)
    assert [(one.request_id, one.age) for one in found] == [
        (6, 12.5),
        (2, 12.5),
        (4, 12.5),
    ]
