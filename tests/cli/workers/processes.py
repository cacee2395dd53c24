"""The service of workers in processes of their own."""

from __future__ import annotations

import os
import sys
from typing import Protocol

import trio

from roam_trio import current_call, dispatcher, idempotent, service, u32

__all__ = ["Where", "handlers"]


@service
class Where(Protocol):
    async def process(self) -> u32: ...
    @idempotent
    async def work(self, number: u32) -> u32: ...
    async def wait(self) -> u32: ...
    async def wait_for_ever(self) -> None: ...
    async def say(self, text: str) -> None: ...


class _WhereImpl:
    async def process(self) -> u32:
        return os.getpid()

    async def work(self, number: u32) -> u32:
        await trio.sleep(0.002)
        return number

    async def wait(self) -> u32:
        await current_call().draining.wait()
        await trio.sleep(0.2)
        return os.getpid()

    async def wait_for_ever(self) -> None:
        await trio.sleep_forever()

    async def say(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


handlers = dispatcher(Where, _WhereImpl())
