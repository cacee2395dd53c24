"""The items of a call: lines of JSON from standard input, and to standard output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import trio

from ..errors import ChannelError, CodecError
from ..rpc.channel import Rx, Tx
from .exits import UsageError, wrong_value
from .input import Input
from .json_text import BadJson, as_object, value_of
from .output import Output
from .progress import Progress

__all__ = ["receive_items", "send_items"]


async def receive_items(
    rx: Rx[Any], name: str | None, output: Output, progress: Progress
) -> None:
    """Write the items of a channel, each as a line of JSON, until it ends.

    The peer gets credit for items that are written, so that a slow reader holds it up.

    Args:
        rx: the channel.
        name: if given, each line is an object with the item under this name.
        output: takes the lines.
        progress: is told of them.

    Raises:
        ChannelError: the channel did not end in good order.
    """
    try:
        while True:
            items = await rx.recv_many()
            lines = items if name is None else [{name: item} for item in items]
            await output.values(lines)
            progress.update(received=len(items))
    except trio.EndOfChannel:
        return


async def send_items(
    channels: Mapping[str, Tx[Any]], lines: Input, progress: Progress
) -> None:
    """Send the lines of standard input as items, and close the channels at its end.

    Args:
        channels: the channels by name. With several, each line is an object that has
            items under their names.
        lines: standard input.
        progress: is told of the items.

    Raises:
        UsageError: a line is no JSON, or no item.
    """
    with ExitStack() as closing:
        for tx in channels.values():
            closing.enter_context(tx)
        try:
            if len(channels) == 1:
                await _send_to(next(iter(channels.values())), lines, progress)
            else:
                await _send_to_each(channels, lines, progress)
        except CodecError as error:
            raise _wrong(lines, wrong_value(error)) from error
        except ChannelError:
            return  # the handler wants no more, or the call is over, and says why


async def _send_to(tx: Tx[Any], lines: Input, progress: Progress) -> None:
    while some := await lines.some():
        before = lines.line
        await tx.send_many(_values(some, lines))
        progress.update(sent=lines.line - before)


async def _send_to_each(
    channels: Mapping[str, Tx[Any]], lines: Input, progress: Progress
) -> None:
    while some := await lines.some():
        for value in _values(some, lines):
            items = as_object(value)
            if items is None or not items.keys() <= channels.keys():
                names = ", ".join(channels)
                raise _wrong(lines, f"expected an object with items for {names}")
            for name, item in items.items():
                await channels[name].send(item)
            progress.update(sent=len(items))


def _values(some: list[bytes], lines: Input) -> Iterator[Any]:
    """Yield the values of lines, and count these; blank ones have none."""
    for line in some:
        lines.line += 1
        if line.strip():
            try:
                value = value_of(line)
            except BadJson as error:
                raise _wrong(lines, f"expected JSON: {error}") from error
            yield value


def _wrong(lines: Input, problem: str) -> UsageError:
    return UsageError(f"standard input, line {lines.line}: {problem}")
