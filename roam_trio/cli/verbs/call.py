"""`call`: a call of a method, with JSON."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import trio
import typer

from ...errors import ChannelError
from ...rpc.channel import Rx, Tx
from ...service.description.model import ChannelType, MethodSchema
from ...service.dynamic import DynamicClient
from ...service.open_call import OpenCall, open_call
from ..connecting import client_for, session_with
from ..described import Target, described_by
from ..exits import Exit, UsageError
from ..input import Input
from ..output import Output
from ..peer_options import AsJson, PeerOptions, Url, with_peer
from ..performing import perform
from ..progress import Progress
from ..requests import arguments_of
from ..streaming import receive_items, send_items

__all__ = ["command", "make_call"]


@with_peer
def command(
    url: Url,
    method: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE.METHOD",
            help="The method; METHOD alone is one of the root connection.",
        ),
    ],
    peer: PeerOptions,
    arguments: Annotated[
        str,
        typer.Argument(
            metavar="[JSON]",
            help="An object with the arguments by name, or an array in their order; - "
            "reads it from standard input.",
        ),
    ] = "{}",
    as_json: AsJson = False,
    items_only: Annotated[
        bool,
        typer.Option(
            "--items-only",
            help="Do not print the result after the items that were received.",
        ),
    ] = False,
) -> None:
    """Call a method with JSON, and print its result as JSON.

    Items that the method sends are printed as they come, each as a line of JSON; a
    result other than null follows them. Items for the method are lines of JSON on
    standard input. If there are several channels in one direction, each line is an
    object with the item under the name of the channel.

    With - and items for the method, the first line of standard input has the
    arguments.

    Control-C cancels the call at the server; a second one leaves at once.

    Exit codes: 0 done, 1 the method has failed with an error of its own, 2 usage,
    3 the transport, a deadline or a refusal.
    """
    perform(
        "call",
        partial(
            make_call,
            url,
            method,
            peer,
            arguments,
            as_json=as_json,
            items_only=items_only,
        ),
    )


async def make_call(
    url: str,
    method: str,
    peer: PeerOptions,
    arguments: str = "{}",
    *,
    as_json: bool = False,
    items_only: bool = False,
) -> Exit:
    """Call a method, print what comes, and return the exit code."""
    target, output, lines = Target(method), Output(as_json=as_json), Input()
    given = None if arguments == "-" else arguments_of(arguments, "the arguments")
    async with session_with(url, peer) as session:
        described = await described_by(session, peer)
        schema = target.method_of(target.schema(described))
        if given is None:
            given = await _arguments_from(lines, schema)
        async with client_for(session, target, described) as client:
            call, names = _opened(client, schema, given)
            value = await _carry_out(call, names, lines, output)
            if not (_receives(schema) and (value is None or items_only)):
                await output.value(value)
    return Exit.DONE


async def _arguments_from(lines: Input, schema: MethodSchema) -> Any:
    """Return the arguments from standard input, whose rest may be items."""
    sends = any(_direction(arg.type) == "rx" for arg in schema.args)
    text = await lines.first() if sends else await lines.all()
    return arguments_of(text, "standard input")


def _direction(type: Any) -> str:
    return type.direction if isinstance(type, ChannelType) else ""


def _receives(schema: MethodSchema) -> bool:
    return any(_direction(arg.type) == "tx" for arg in schema.args)


def _opened(
    client: DynamicClient, schema: MethodSchema, given: Mapping[str, Any] | list[Any]
) -> tuple[OpenCall[Any, Any, Any], dict[str, str]]:
    """Return the call, and the names of its arguments by those in Python."""
    channels = [arg.name for arg in schema.args if _direction(arg.type)]
    if isinstance(given, list):
        names = [arg.name for arg in schema.args if not _direction(arg.type)]
        if len(given) > len(names):
            raise UsageError(
                f"expected at most {len(names)} arguments ({', '.join(names)}), got "
                f"{len(given)}"
            )
        given = dict(zip(names, given, strict=False))
    for name in channels:
        if name in given:
            raise UsageError(f"{name}: it is a channel, whose items are no argument")
    try:
        bound = client.method(schema.name)
        arguments = client.arguments(schema.name, given)
        call: OpenCall[Any, Any, Any] = open_call(bound, **arguments)
    except TypeError as error:
        raise UsageError(str(error).removeprefix("open_call: ")) from error
    in_python = inspect.signature(bound).parameters
    return call, dict(zip(in_python, (arg.name for arg in schema.args), strict=True))


async def _carry_out(
    opened: OpenCall[Any, Any, Any],
    names: Mapping[str, str],
    lines: Input,
    output: Output,
) -> Any:
    """Make the call, pass items both ways meanwhile, and return its result.

    Args:
        opened: the call.
        names: the names of its arguments for people, by those in Python.
        lines: has the items to send.
        output: takes the items that come.
    """
    progress, flow = Progress(), _Flow()
    async with opened as call:
        ends = {names[name]: end for name, end in call.channels.items()}
        receiving = {name: end for name, end in ends.items() if isinstance(end, Rx)}
        sending = {name: end for name, end in ends.items() if isinstance(end, Tx)}
        async with trio.open_nursery() as nursery:
            for name, rx in receiving.items():
                tag = name if len(receiving) > 1 else None
                nursery.start_soon(flow.receive, rx, tag, output, progress)
            if sending:
                nursery.start_soon(flow.send, sending, lines, progress)
            value = await flow.result(call)
        progress.clear()
        flow.check()
        return value


class _Flow:
    """The items of a call, and how it ends.

    What came before a call has failed is printed, so the error waits until then.
    """

    def __init__(self) -> None:
        self._sending = trio.CancelScope()
        self._failure: Exception | None = None
        self._lost: ChannelError | None = None

    async def result(self, call: OpenCall[Any, Any, Any]) -> Any:
        """Wait for the result, and then send no more; None if the call fails."""
        try:
            return await call.result()
        except Exception as error:
            self._failure = error
            return None
        finally:
            self._sending.cancel()  # whatever standard input still has

    async def send(
        self, channels: Mapping[str, Tx[Any]], lines: Input, progress: Progress
    ) -> None:
        with self._sending:
            await send_items(channels, lines, progress)

    async def receive(
        self, rx: Rx[Any], tag: str | None, output: Output, progress: Progress
    ) -> None:
        try:
            await receive_items(rx, tag, output, progress)
        except ChannelError as error:
            self._lost = error

    def check(self) -> None:
        """Raise the error of the call, or else of a channel."""
        error = self._failure or self._lost
        try:
            if error is not None:
                raise error
        finally:
            del error  # or the error and this frame would hold each other
