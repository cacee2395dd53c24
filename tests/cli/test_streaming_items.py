"""Items of a call wait for those who read them, in both directions."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from roam_trio import describe
from roam_trio.cli.input import Input
from roam_trio.cli.output import Output
from roam_trio.cli.progress import Progress
from roam_trio.cli.streaming import receive_items, send_items
from roam_trio.rpc.channel import Rx
from roam_trio.service.dynamic import dynamic_client
from roam_trio.service.open_call import open_call
from roam_trio.testing import connected_pair
from tests.cli.shop import Shop, ShopImpl

CREDIT = 64
"""The credit of the channels of `Shop.count` and `Shop.total`."""


class SlowOutput(Output):
    """An output that takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = trio.Event()
        self.taken = 0

    async def values(self, values: Any) -> None:
        await self.opened.wait()
        self.taken += len(list(values))


class Counting(ShopImpl):
    """Counts what it has sent; receives when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.opened = trio.Event()

    async def count(self, upto: int, out: Any) -> None:
        for number in range(upto):
            await out.send(number)
            self.sent += 1

    async def total(self, numbers: Rx[int]) -> int:
        await self.opened.wait()
        return await super().total(numbers)


def client_of(shop: Any) -> Any:
    caller = shop.__roam_caller__
    return dynamic_client(describe(Shop), caller, for_json=True)


async def test_peer_waits_while_the_reader_of_the_output_does() -> None:
    shop, output = Counting(), SlowOutput()
    async with connected_pair(Shop, shop) as typed, trio.open_nursery() as nursery:
        client = client_of(typed)
        async with open_call(client.method("count"), upto=10_000) as call:
            nursery.start_soon(receive_items, call.rx, None, output, Progress())
            await wait_all_tasks_blocked()
            # Those that are being written, and the credit for those that follow.
            assert CREDIT <= shop.sent <= 3 * CREDIT
            output.opened.set()
            await call.result()
        await wait_all_tasks_blocked()
    assert output.taken == shop.sent == 10_000


class EndlessInput(Input):
    """Standard input with numbers, which counts how much of it was read."""

    def __init__(self, chunks: int) -> None:
        super().__init__()
        self.left = chunks
        self.read = 0

    async def some(self) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        if not self.left:
            return []
        self.left -= 1
        self.read += 1
        return [b"1"] * 100


async def test_standard_input_is_not_read_while_the_peer_does_not_read() -> None:
    shop, lines, progress = Counting(), EndlessInput(1000), Progress()
    async with connected_pair(Shop, shop) as typed, trio.open_nursery() as nursery:
        client = client_of(typed)
        async with open_call(client.method("total")) as call:
            nursery.start_soon(send_items, {"numbers": call.tx}, lines, progress)
            await wait_all_tasks_blocked()
            assert lines.read == 1
            assert progress.sent == 0
            shop.opened.set()
            assert await call.result() == 100_000
    assert progress.sent == 100_000


class Terminal:
    """Standard error, as a terminal."""

    def __init__(self) -> None:
        self.shown = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.shown += text

    def flush(self) -> None:
        return


def test_progress_is_shown_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, times = Terminal(), iter([0.0, 0.1, 2.0, 2.1])
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    progress = Progress()
    progress.update(sent=1000)
    assert terminal.shown == ""
    progress.update(received=3000)
    assert terminal.shown == "\rsent 1,000, received 3,000, 2,000/s"
    progress.update(received=1)
    progress.clear()
    blank = " " * len("sent 1,000, received 3,000, 2,000/s")
    assert terminal.shown.endswith(f"/s\r{blank}\r")


def test_progress_is_not_shown_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.update(sent=10)
    progress.clear()
    assert (progress.sent, capsys.readouterr().err) == (10, "")
