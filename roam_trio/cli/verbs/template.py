"""`template`: an empty request for a method."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ...legible import legible
from ..connecting import session_with
from ..described import Target, described_by
from ..exits import Exit
from ..json_text import json_text
from ..output import Output
from ..peer_options import AsJson, PeerOptions, Url, with_peer
from ..performing import perform, say
from ..templates import Templates

__all__ = ["command", "show_template"]


@with_peer
def command(
    url: Url,
    method: Annotated[
        str, typer.Argument(metavar="SERVICE.METHOD", help="The method.")
    ],
    peer: PeerOptions,
    as_json: AsJson = False,
) -> None:
    """Print an empty request for a method.

    Save it, fill it in, and give it to `call`. Arguments that have a default may be
    left out. What `call` reads from standard input is shown on standard error.
    """
    perform("template", partial(show_template, url, method, peer, as_json=as_json))


async def show_template(
    url: str, method: str, peer: PeerOptions, *, as_json: bool = False
) -> Exit:
    """Print the empty arguments of a method, and of its items on standard error."""
    target, output = Target(method), Output(as_json=as_json)
    async with session_with(url, peer) as session:
        described = await described_by(session, peer)
    schema = target.schema(described)
    templates, described_method = Templates(schema), target.method_of(schema)
    await output.value(templates.arguments(described_method))
    items = templates.items(described_method)
    if items:
        (example, *more) = items.values()
        line = json_text(items if more else example)
        names = legible(", ".join(items))
        say(f"standard input has the items of {names}, a line each: {line}")
    return Exit.DONE
