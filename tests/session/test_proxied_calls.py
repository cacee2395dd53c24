"""The forwarding of a call with channels, whether or not it begins."""

from __future__ import annotations

from collections.abc import Coroutine
from types import coroutine
from typing import Any

import pytest

from roam_trio.session.proxy import _WithChannels


class Channels:
    def __init__(self) -> None:
        self.are_stopped = False

    def stop(self) -> None:
        self.are_stopped = True


@coroutine
def wait() -> Any:
    return (yield "waiting")


def forwarding() -> tuple[Coroutine[Any, Any, None], Channels, list[object]]:
    came: list[object] = []

    async def forward() -> None:
        came.append(await wait())

    channels = Channels()
    return _WithChannels(forward(), channels), channels, came  # type: ignore[arg-type]


def test_channels_of_a_call_that_is_never_forwarded_are_stopped() -> None:
    call, channels, _ = forwarding()
    call.close()
    assert channels.are_stopped


def test_channels_of_a_call_that_is_being_forwarded_are_its_own() -> None:
    call, channels, came = forwarding()
    assert call.send(None) == "waiting"
    with pytest.raises(StopIteration):
        call.send("answer")
    call.close()
    assert came == ["answer"]
    assert not channels.are_stopped


def test_error_reaches_the_forwarding() -> None:
    call, channels, came = forwarding()
    assert call.send(None) == "waiting"
    with pytest.raises(KeyError):
        call.throw(KeyError("thrown"))
    assert came == []
    assert not channels.are_stopped
