"""Information for the caller of a call without a result; no session is needed."""

from __future__ import annotations

import enum
import logging
import re
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import pytest

from roam_trio import (
    CallCancelled,
    DeadlineExceeded,
    Fallible,
    HandlerFailed,
    InvalidPayload,
    Metadata,
    MetadataEntry,
    MetadataFlags,
    Overloaded,
    Refused,
    RoamError,
    Unavailable,
    UnknownMethod,
    UserError,
    client,
    current_call,
    dispatcher,
    metadata_of,
    service,
    u8,
)
from roam_trio.codec import CANCELLED
from roam_trio.lowlevel import Caller, ChannelBinder, Payload, ReplySink
from roam_trio.metadata import NO_METADATA
from roam_trio.rpc.failure_metadata import (
    FailurePolicy,
    TellFailures,
    failure_from,
    failure_metadata,
)
from roam_trio.wire.messages import Encoded, RequestCall, RequestResponse


class Empty(enum.Enum):
    EMPTY = "Empty"


@service
class Oven(Protocol):
    async def bake(self) -> u8: ...
    async def take(self) -> Fallible[u8, Empty]: ...


class Impl:
    """Does what a test says."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act

    async def bake(self) -> u8:
        result: u8 = self._act()
        return result

    async def take(self) -> Fallible[u8, Empty]:
        result: u8 = self._act()
        return result


class Sink(ReplySink):
    """Keeps the response."""

    def __init__(self, policy: FailurePolicy | None) -> None:
        self.policy = policy
        self.sent: list[tuple[Encoded, Metadata]] = []

    async def send(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        self.send_nowait(ret, metadata)

    def send_nowait(self, ret: Encoded, metadata: Metadata = NO_METADATA) -> None:
        self.sent.append((ret, metadata))

    @property
    def failure_policy(self) -> FailurePolicy | None:
        return self.policy

    @property
    def is_sent(self) -> bool:
        return bool(self.sent)

    @property
    def channel_binder(self) -> ChannelBinder:
        raise NotImplementedError


class Direct(Caller):
    """Calls a dispatcher without a session in between."""

    def __init__(self, act: Callable[[], Any], policy: FailurePolicy | None) -> None:
        self._dispatcher = dispatcher(Oven, Impl(act))
        self.policy = policy
        self.response: RequestResponse | None = None

    async def call(
        self,
        method_id: int,
        args: Payload | Encoded,
        *,
        channels: tuple[int, ...] = (),
        metadata: Metadata = NO_METADATA,
    ) -> RequestResponse:
        sink = Sink(self.policy)
        request = RequestCall(0, 1, method_id, (), metadata, b"")
        running = self._dispatcher.handle(request, sink)
        assert running is None
        ((ret, sent),) = sink.sent
        self.response = RequestResponse(0, 1, (), sent, ret)
        return self.response

    @property
    def kept_failures(self) -> dict[str, BaseException] | None:
        return self.policy and self.policy.kept

    def clone(self) -> Caller:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    async def closed(self) -> None:
        raise NotImplementedError

    @property
    def is_connected(self) -> bool:
        return True

    @property
    def channel_binder(self) -> ChannelBinder:
        raise NotImplementedError


def outcome(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run what does not wait, to its result or its exception."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    except Exception as error:
        return error
    raise AssertionError("it waits")


def fail(
    act: Callable[[], Any], tell: TellFailures = "code", **options: Any
) -> tuple[Any, Direct]:
    caller = Direct(act, FailurePolicy(tell, **options))
    return outcome(client(Oven, caller).bake()), caller


def raising(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


# ---------------------------------------------------------------- a bug of the handler


def test_a_bug_of_the_handler_is_told_by_an_id_that_its_log_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error, _ = fail(raising(ValueError("a secret of the server")))

    assert type(error) is HandlerFailed
    assert isinstance(error, CallCancelled)
    assert (error.code, error.text, error.trace) == ("failed", "", "")
    assert error.was_begun is True
    assert error.by_peer
    (record,) = caplog.records
    assert re.fullmatch("[0-9a-f]{8}", error.id)
    assert error.id in record.getMessage()
    assert error.id in str(error)
    assert "secret" not in str(error)


def test_ids_of_failures_differ() -> None:
    ids = {fail(raising(ValueError("x")))[0].id for _ in range(20)}

    assert len(ids) == 20


def test_the_text_of_the_exception_is_told_if_the_server_says_so() -> None:
    error, _ = fail(raising(ValueError("no such file")), tell="text")

    assert error.text == "ValueError: no such file"
    assert "ValueError: no such file" in str(error)
    assert error.trace == ""


def test_the_traceback_is_told_if_the_server_says_so() -> None:
    error, caller = fail(raising(ValueError("no such file")), tell="traceback")

    assert error.trace.splitlines()[-1].strip() == "ValueError: no such file"
    assert "in act" in error.trace
    (note,) = error.__notes__
    assert note.startswith("At the peer:\n")
    assert note.endswith("ValueError: no such file")
    assert caller.response is not None
    (entry,) = [e for e in caller.response.metadata if e.key == "error-trace"]
    assert entry.flags == MetadataFlags.SENSITIVE


def test_a_failure_that_is_kept_is_the_cause() -> None:
    bug = ValueError("no such file")

    error, _ = fail(raising(bug), tell="traceback", kept={})

    assert error.__cause__ is bug


def test_a_failure_that_is_not_kept_has_no_cause() -> None:
    error, _ = fail(raising(ValueError("no such file")), tell="traceback")

    assert error.__cause__ is None


def test_a_result_that_cannot_be_sent_is_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error, _ = fail(lambda: 256)

    assert type(error) is HandlerFailed
    (record,) = caplog.records
    assert error.id in record.getMessage()


def test_a_peer_that_knows_no_such_words_gets_a_bare_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caller = Direct(raising(ValueError("x")), None)

    error = outcome(client(Oven, caller).bake())

    assert type(error) is CallCancelled
    assert (error.code, error.id, error.was_begun) == ("cancelled", None, None)
    assert caller.response == RequestResponse(0, 1, (), NO_METADATA, CANCELLED)
    assert "gets Cancelled" in caplog.text


# ---------------------------------------------------------------- refusals


def test_a_handler_refuses_a_call_with_a_code_and_a_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    refusal = Refused("denied", "unknown token", retry_after=0.5)

    error, _ = fail(raising(refusal))

    assert type(error) is Refused
    assert (error.code, error.text) == ("denied", "unknown token")
    assert error.retry_after == 0.5
    assert error.was_begun is True
    assert error.id is None
    assert "(denied): unknown token" in str(error)
    assert not caplog.records


def test_a_refusal_reaches_a_peer_that_knows_no_codes_as_a_plain_cancellation() -> None:
    caller = Direct(raising(Refused("denied", "unknown token")), None)
    error = outcome(client(Oven, caller).bake())

    assert type(error) is CallCancelled
    assert caller.response is not None
    assert caller.response.metadata == NO_METADATA


def test_a_refusal_brings_the_metadata_of_its_own() -> None:
    refusal = Refused("denied", metadata=Metadata.of({"realm": "shop"}))

    error, _ = fail(raising(refusal))

    assert error.metadata.get("realm") == "shop"
    assert metadata_of(error).get("realm") == "shop"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (Refused("overloaded", retry_after=2), Overloaded),
        (Overloaded(), Overloaded),
        (Refused(), Refused),
        (Refused("unavailable"), Unavailable),
        (Unavailable(), Unavailable),
        (DeadlineExceeded(), DeadlineExceeded),
    ],
)
def test_the_code_of_a_refusal_decides_on_the_class_at_the_caller(
    made: CallCancelled, expected: type[CallCancelled]
) -> None:
    error, _ = fail(raising(made))

    assert type(error) is expected
    assert error.code == made.code


def test_a_refusal_in_a_group_by_itself_refuses_the_call() -> None:
    error, _ = fail(raising(ExceptionGroup("", [Refused("denied")])))

    assert type(error) is Refused


def test_the_refusal_of_somebody_else_is_a_failure_of_the_handler() -> None:
    theirs = failure_from(failure_metadata(Refused("denied"), "code"), "Other.call")

    error, _ = fail(raising(theirs))

    assert type(error) is HandlerFailed


def test_refusal_with_the_code_of_no_reason_arrives_as_a_refusal() -> None:
    sent = Refused(CallCancelled().code, "not today")

    come = failure_from(failure_metadata(sent, "code"), "Shop.buy")

    assert type(come) is Refused
    assert (come.code, come.text) == (sent.code, "not today")


def test_what_a_peer_says_of_a_failure_is_cut_to_its_bounds() -> None:
    said = {
        "error-code": "c" * 100,
        "error-text": "t" * 5000,
        "error-trace": "x" * 50_000 + "end",
    }
    error = failure_from(Metadata.of(said), "Oven.bake")
    assert (len(error.code), len(error.text)) == (64, 1024)
    assert len(error.trace) == 32 * 1024
    assert error.trace.endswith("xend")
    assert len(str(error)) < 2000


def test_what_a_refusal_says_is_cut_to_its_bounds() -> None:
    error, _ = fail(raising(Refused("é" * 100, "é" * 5000)))

    assert error.code == "é" * 32
    assert error.text == "é" * 512


# ---------------------------------------------------------------- declared errors


def test_a_declared_error_has_the_metadata_of_its_response() -> None:
    def act() -> Any:
        current_call().response_metadata = {"cost": 3}
        raise UserError(Empty.EMPTY)

    error = outcome(client(Oven, Direct(act, None)).take())

    assert isinstance(error, UserError)
    assert error.error is Empty.EMPTY
    assert metadata_of(error).get("cost") == 3


def test_the_metadata_of_the_response_is_on_a_failure_too() -> None:
    def act() -> Any:
        current_call().response_metadata = {"cost": 3}
        raise ValueError

    error, _ = fail(act)

    assert metadata_of(error).get("cost") == 3


@pytest.mark.parametrize("error", [ValueError(), UserError(1), UnknownMethod()])
def test_an_exception_without_a_response_has_no_metadata(error: Exception) -> None:
    assert metadata_of(error) == NO_METADATA


# ---------------------------------------------------------------- was it begun?


def test_calls_that_no_handler_has_seen_were_not_begun() -> None:
    assert UnknownMethod().was_begun is False
    assert RoamError().was_begun is None


def test_an_answer_that_cannot_be_decoded_was_begun() -> None:
    caller = Direct(lambda: 1, None)
    call = client(Oven, caller).bake()
    caller._dispatcher = Broken()  # type: ignore[assignment]

    error = outcome(call)

    assert isinstance(error, InvalidPayload)
    assert error.was_begun is True


class Broken:
    def handle(self, call: RequestCall, reply: ReplySink) -> None:
        reply.send_nowait(b"\x00")


# ---------------------------------------------------------------- what peers may say


@pytest.mark.parametrize(
    "entry",
    [
        MetadataEntry("error-id", "not an id"),
        MetadataEntry("error-id", "ABCDEF01"),
        MetadataEntry("error-id", 1),
        MetadataEntry("error-text", b"bytes"),
        MetadataEntry("error-trace", 1),
        MetadataEntry("error-begun", "yes"),
        MetadataEntry("retry-after-ms", "soon"),
    ],
)
def test_what_a_peer_says_in_another_form_counts_as_not_said(
    entry: MetadataEntry,
) -> None:
    error = failure_from(Metadata([MetadataEntry("error-code", "failed"), entry]), "m")

    assert type(error) is HandlerFailed
    assert (error.id, error.text, error.trace) == (None, "", "")
    assert error.was_begun is None
    assert error.retry_after is None


@pytest.mark.parametrize("code", [b"failed", 3, ""])
def test_a_code_that_is_no_text_counts_as_not_said(code: str | bytes | int) -> None:
    error = failure_from(Metadata([MetadataEntry("error-code", code)]), "Oven.bake")

    assert type(error) is CallCancelled
    assert error.code == "cancelled"


def test_what_a_peer_writes_stays_on_its_line() -> None:
    said = {"error-code": "a\nb", "error-text": "c\x1bd", "error-trace": "e\x1b\nf"}

    error = failure_from(Metadata.of(said), "Oven.bake")

    assert error.code == "a\nb"
    assert "\n" not in str(error)
    assert "\x1b" not in str(error)
    assert "\x1b" not in error.__notes__[0]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0005, 0.001),
        (1.5, 1.5),
        (0, 0),
        (-3, 0),
        (float("nan"), 0),
        (86_400, 86_400),
        (86_401, 86_400),
        (float("inf"), 86_400),
    ],
)
def test_the_time_to_try_again_is_sent_in_milliseconds(
    seconds: float, expected: float
) -> None:
    said = failure_metadata(Refused(retry_after=seconds), "code")

    assert failure_from(said, "m").retry_after == expected


@pytest.mark.parametrize(
    ("milliseconds", "expected"), [(0, 0), (86_400_001, 86_400), (2**64 - 1, 86_400)]
)
def test_no_peer_has_a_caller_sleep_for_longer_than_a_day(
    milliseconds: int, expected: float
) -> None:
    said = {"error-code": "overloaded", "retry-after-ms": milliseconds}

    assert failure_from(Metadata.of(said), "m").retry_after == expected


def test_metadata_of_the_refusal_cannot_say_another_failure() -> None:
    refusal = Refused("denied", metadata=Metadata.of({"error-code": "failed"}))

    assert failure_metadata(refusal, "code").get_all("error-code") == ["denied"]
