"""Calls of tools: JSON in, and an outcome in JSON with the items of all channels."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import trio
from attrs import field, frozen, validators

from ...errors import ChannelError, RoamTrioError, UserError
from ...legible import legible, legible_str
from ...rpc.channel import Rx, Tx
from ...service.dynamic import DynamicClient
from ...service.open_call import OpenCall, open_call
from .tools import Tool

__all__ = ["Outcome", "Progress", "ToolLimits", "call_tool"]

MOST_TOLD = 2000
"""Length, in characters, to which the text of an error or of an item is cut."""

Progress: TypeAlias = Callable[[int, str], Awaitable[None]]
"""Called for each item, with the number of items so far and the text of the item."""


@frozen(kw_only=True)
class ToolLimits:
    """Bounds of one call of a tool.

    Attributes:
        items: number of items of all channels together, after which the call is
            cancelled and what has come is returned.
        bytes: the same for their size as JSON, in bytes. A call with a larger result
            fails.
        seconds: how long the call may take.
    """

    items: int = field(default=1000, validator=validators.ge(1))
    bytes: int = field(default=256 * 1024, validator=validators.ge(1))
    seconds: float = field(default=60.0, validator=validators.gt(0))


@frozen
class Outcome:
    """The outcome of a call.

    Attributes:
        value: an object with the result, and with the items of the channels.
        error: says why there is no value.
    """

    value: dict[str, Any] | None = None
    error: str = ""


async def call_tool(
    client: DynamicClient,
    tool: Tool,
    arguments: Mapping[str, Any],
    limits: ToolLimits,
    progress: Progress,
) -> Outcome:
    """Call the method of a tool.

    A checkpoint. Cancelling it cancels the call, and waits for it as for any call.

    Args:
        client: a client of the service, with values of JSON.
        tool: the tool.
        arguments: the arguments by name, with lists of items for channels.
        limits: bounds of the call.
        progress: called for each item.
    """
    try:
        with trio.fail_after(limits.seconds):
            if not tool.inputs and not tool.outputs:
                called = await client.call(tool.method.name, arguments)
                return _bounded({"result": called}, limits)
            value = await _stream(client, tool, arguments, limits, progress)
            return _bounded(value, limits)
    except trio.TooSlowError:
        return Outcome(error=f"no result within {limits.seconds:g} s")
    except UserError as error:
        return _failed(error, limits)
    except (RoamTrioError, TypeError) as error:
        return Outcome(error=legible_str(error, MOST_TOLD))


async def _stream(
    client: DynamicClient,
    tool: Tool,
    arguments: Mapping[str, Any],
    limits: ToolLimits,
    progress: Progress,
) -> dict[str, Any]:
    items, plain = _inputs(tool, arguments)
    collected = _Collected(tool.outputs, limits, progress)
    value: dict[str, Any] = {}
    try:
        opened: OpenCall[Any, Any, Any] = open_call(
            client.method(tool.method.name), **plain
        )
        async with opened as call:
            await _exchange(call, tool, items, collected)
            value["result"] = await call.result()
    except _Full:
        pass
    if tool.outputs:
        value |= {"items": collected.items, "cut": collected.is_full}
    return value


def _inputs(
    tool: Tool, arguments: Mapping[str, Any]
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Return the items of the channels, and the other arguments as Python names them.

    Raises:
        TypeError: there is no such argument, or items are no list.
    """
    items: dict[str, list[Any]] = {name: [] for name in tool.inputs}
    plain: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in items:
            if not isinstance(value, list):
                raise TypeError(f"{name}: expected a list of the items to send")
            items[name] = value
        elif name in tool.parameters and name not in tool.outputs:
            plain[tool.parameters[name]] = value
        else:
            known = ", ".join(
                name for name in tool.parameters if name not in tool.outputs
            )
            raise TypeError(
                f"expected no argument {legible(name)!r}; the arguments are ({known})"
            )
    return items, plain


async def _exchange(
    call: OpenCall[Any, Any, Any],
    tool: Tool,
    items: Mapping[str, list[Any]],
    collected: _Collected,
) -> None:
    """Send all items, and receive until the channels end or the bound is reached."""
    failures: list[Exception] = []

    async def run(function: Callable[..., Awaitable[None]], *args: Any) -> None:
        # Kept, as the nursery would put it into a group.
        try:
            await function(*args)
        except ChannelError:
            pass  # the result of the call says why
        except Exception as error:
            failures.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for name, each in items.items():
            nursery.start_soon(run, _send, call.channels[tool.parameters[name]], each)
        for name in tool.outputs:
            rx = call.channels[tool.parameters[name]]
            nursery.start_soon(run, collected.receive, name, rx)
    if failures:
        raise failures[0]


async def _send(tx: Tx[Any], items: list[Any]) -> None:
    async with tx:
        for item in items:
            await tx.send(item)


class _Full(Exception):
    """The bound of the items is reached."""


class _Collected:
    def __init__(
        self, outputs: tuple[str, ...], limits: ToolLimits, progress: Progress
    ) -> None:
        self.items: dict[str, list[Any]] = {name: [] for name in outputs}
        self.is_full = False
        self._items_left = limits.items
        self._bytes_left = limits.bytes
        self._count = 0
        self._progress = progress

    async def receive(self, name: str, rx: Rx[Any]) -> None:
        """Receive the items of a channel until it ends.

        Raises:
            _Full: an item has come that is beyond the bound.
        """
        async for item in rx:
            text = json.dumps(item, ensure_ascii=False)
            self._items_left -= 1
            self._bytes_left -= len(text.encode())
            if self._items_left < 0 or self._bytes_left < 0:
                self.is_full = True
                raise _Full
            self.items[name].append(item)
            self._count += 1
            await self._progress(self._count, legible(text, MOST_TOLD))


def _bounded(value: dict[str, Any], limits: ToolLimits) -> Outcome:
    """Return a value, or an error if its result is too large."""
    size = len(json.dumps(value.get("result"), ensure_ascii=False).encode())
    if size <= limits.bytes:
        return Outcome(value)
    return Outcome(
        error=f"the result has {size} bytes of JSON, which is more than "
        f"ToolLimits.bytes ({limits.bytes})"
    )


def _failed(error: UserError, limits: ToolLimits) -> Outcome:
    """Return the error of a method as JSON, whole, so that programs can read it."""
    value = {"error": error.error}
    text = json.dumps(value, ensure_ascii=False)
    size = len(text.encode())
    if size > limits.bytes:
        return Outcome(
            error=f"the method has failed, with an error of {size} bytes of JSON, "
            f"which is more than ToolLimits.bytes ({limits.bytes})"
        )
    # Escapes of JSON, for those of `legible` would be none.
    return Outcome(error=text if legible(text, size) == text else json.dumps(value))
