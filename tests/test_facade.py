"""The names of the Rust crate, used as someone who comes from there would use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import roam_trio
from roam_trio import (
    CallCancelled,
    ConnectionLost,
    EncodeError,
    Handler,
    InvalidPayload,
    MethodDescriptor,
    ReplySink,
    RequestCall,
    SinkCall,
    UnknownMethod,
    UserError,
    describe,
    with_metadata,
)
from roam_trio.testing import connected_pair
from tests.service.services import Locked, MathError, NotFound, Store
from tests.service.services import Testbed as Bed
from tests.test_public_api import PARITY, ROOT

# ------------------------------------------------------------ the reference


def entries(page: Path) -> Iterator[str]:
    """Yield the names in the first columns of the tables of a page."""
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("| `"):
            yield from re.findall(r"`([\w.]+)`", line.split("|")[1])


def test_every_name_of_the_rust_crate_is_in_the_reference() -> None:
    found = set(entries(ROOT / "docs" / "reference.md"))
    wanted = {
        name
        for area, names in PARITY.items()
        for name in names.split()
        if area != "beyond them"
    }
    assert wanted - found == set()


def test_every_name_in_the_reference_exists() -> None:
    for name in entries(ROOT / "docs" / "reference.md"):
        value: Any = roam_trio
        for part in name.split("."):
            value = getattr(value, part)


# ------------------------------------------------------------ a reply by hand


class ByHand:
    """A handler of `Testbed.divide` without a dispatcher."""

    def __init__(self, *, metadata: bool = False) -> None:
        self.seen: list[str] = []
        self._metadata = metadata

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        method = describe(Bed).by_id(call.method_id)
        if method is None or method.name != "divide":
            await reply.send_error(UnknownMethod("not told"))
            return
        dividend, divisor = method.args_plan.decode(roam_trio.joined(call.args))
        answer: SinkCall[int, MathError] = SinkCall(reply, method)
        self.seen.append(repr(answer))
        if self._metadata:
            answer.response_metadata = {"by": "hand"}
        await self.answer_to(answer, dividend, divisor)
        self.seen.append(repr(answer))

    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        if divisor:
            assert await answer.ok(dividend // divisor) == dividend // divisor
        else:
            await answer.err(MathError.DIVISION_BY_ZERO)


async def test_reply_by_hand_arrives_as_one_of_a_dispatcher_does() -> None:
    handler = ByHand()
    async with connected_pair(Bed, handler) as bed:
        assert await bed.divide(7, 2) == 3
        with pytest.raises(UserError) as caught:
            await bed.divide(7, 0)
        assert caught.value.error is MathError.DIVISION_BY_ZERO
        with pytest.raises(UnknownMethod):
            await bed.echo("hello")
    assert handler.seen == 2 * [
        "<SinkCall of Testbed.divide, open>",
        "<SinkCall of Testbed.divide, replied>",
    ]


async def test_metadata_of_a_reply_by_hand_goes_along() -> None:
    async with connected_pair(Bed, ByHand(metadata=True)) as bed:
        parts = await with_metadata(bed.divide)(7, 2)
    assert parts.value == 3
    assert parts.metadata.get("by") == "hand"


class ByResult(ByHand):
    """Answers through `reply`, which takes either result."""

    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        await answer.reply(
            dividend // divisor if divisor else UserError(MathError.DIVISION_BY_ZERO)
        )


async def test_reply_takes_a_value_or_an_error() -> None:
    async with connected_pair(Bed, ByResult()) as bed:
        assert await bed.divide(9, 3) == 3
        with pytest.raises(UserError):
            await bed.divide(9, 0)


class Refusing(ByHand):
    def __init__(self, because: Any) -> None:
        super().__init__(metadata=True)
        self._because = because

    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        await answer.refuse(self._because)


@pytest.mark.rule("rpc.fallible.roam-error")
@pytest.mark.parametrize("kind", [UnknownMethod, InvalidPayload, CallCancelled])
async def test_refused_call_raises_what_it_was_refused_with(kind: type[Any]) -> None:
    async with connected_pair(Bed, Refusing(kind("not told"))) as bed:
        with pytest.raises(kind) as caught:
            await bed.divide(7, 2)
    assert "not told" not in str(caught.value)


class Silent(ByHand):
    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        pass


async def test_call_that_is_not_replied_to_is_cancelled() -> None:
    async with connected_pair(Bed, Silent()) as bed:
        with pytest.raises(CallCancelled):
            await bed.divide(7, 2)


class Twice(ByHand):
    async def answer_to(
        self, answer: SinkCall[int, MathError], dividend: int, divisor: int
    ) -> None:
        await answer.ok(1)
        with pytest.raises(RuntimeError, match="exactly one"):
            await answer.refuse(CallCancelled())
        with pytest.raises(RuntimeError, match="exactly one"):
            await answer.err(MathError.OVERFLOW)
        self.seen.append("refused twice")


@pytest.mark.rule("rpc.response.one-per-request")
async def test_second_reply_is_refused() -> None:
    handler = Twice()
    async with connected_pair(Bed, handler) as bed:
        assert await bed.divide(7, 2) == 1
    assert "refused twice" in handler.seen


class Wrong(ByHand):
    async def answer_to(self, answer: Any, dividend: int, divisor: int) -> None:
        with pytest.raises(EncodeError):
            await answer.ok("three")
        with pytest.raises(EncodeError):
            await answer.err("no member")
        assert not answer.is_replied
        await answer.ok(5)


async def test_value_of_another_type_is_refused_and_leaves_the_call_open() -> None:
    async with connected_pair(Bed, Wrong()) as bed:
        assert await bed.divide(7, 2) == 5


class SendsError:
    """Answers every call of `Store.by_union` with an error of the method's own."""

    def __init__(self, error: Any, error_type: Any = NotFound | Locked) -> None:
        self.error = error
        self.error_type = error_type
        self.problem: BaseException | None = None

    async def handle(self, call: RequestCall, reply: ReplySink) -> None:
        try:
            await reply.send_error(self.error, self.error_type)
        except (TypeError, EncodeError) as problem:
            self.problem = problem


@pytest.mark.rule("rpc.fallible.roam-error")
async def test_error_of_the_methods_own_is_sent_as_its_declared_type() -> None:
    handler: Handler = SendsError(UserError(Locked("door", 5)))
    async with connected_pair(Store, handler) as store:
        with pytest.raises(Locked) as caught:
            await store.by_union("door")
    assert (caught.value.key, caught.value.seconds) == ("door", 5)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (SendsError(UserError(1)), "expected"),
        (SendsError(UserError(NotFound("a")), None), "no error type"),
        (
            SendsError(ConnectionLost("gone")),
            "response can say .*got Connec",
        ),
    ],
)
async def test_error_that_cannot_be_sent_is_refused_and_the_call_cancelled(
    handler: SendsError, expected: str
) -> None:
    async with connected_pair(Store, handler) as store:
        with pytest.raises(CallCancelled):
            await store.by_union("door")
    assert re.search(expected, str(handler.problem))


async def test_handler_of_a_dispatcher_can_refuse_its_call() -> None:
    class Refuses:
        async def divide(self, dividend: int, divisor: int) -> int:
            call: roam_trio.Call[int, MathError] = roam_trio.current_call()
            assert isinstance(call, SinkCall)
            assert isinstance(call.method, MethodDescriptor)
            await call.refuse(InvalidPayload())
            return 0

        async def echo(self, message: str) -> str:
            return message

        async def sum(self, numbers: Any) -> int:
            return 0

        async def echo_point(self, point: Any) -> Any:
            return point

    async with connected_pair(Bed, Refuses()) as bed:
        with pytest.raises(InvalidPayload):
            await bed.divide(7, 2)
