"""Spans of programs on asyncio."""

from __future__ import annotations

import asyncio

import pytest

from roam_trio.contrib.asyncio import connect, dispatcher, serving

from .recorded import Recorded, about
from .test_spans import Bank, BankImpl


class Waiting(BankImpl):
    """Answers `do` never."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()

    async def do(self, what: str) -> int:
        self.begun.set()
        await asyncio.Event().wait()
        raise AssertionError("it never ends by itself")


def test_a_task_that_is_cancelled_has_cancelled_its_call(recorded: Recorded) -> None:
    telemetry = recorded.telemetry

    async def main() -> None:
        impl = Waiting()
        handler = dispatcher(Bank, impl, middleware=[telemetry.server])
        async with (
            serving("memory://bank", handler),
            connect("memory://bank", Bank, middleware=[telemetry.client]) as bank,
        ):
            call = asyncio.create_task(bank.do("it"))
            await impl.begun.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(main())
    spans = {span.kind.name: about(span) for span in recorded.spans}
    assert {span["rpc.status_code"] for span in spans.values()} == {"cancelled"}
    assert spans["CLIENT"]["error.type"] == "cancelled"
    assert "error.type" not in spans["SERVER"]
