"""`diff`: the differences between two descriptions of a service."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import attrs
import typer

from ...errors import SchemaError
from ...service.comparison import Change, compare
from ...service.description.model import ServiceSchema
from ..exits import Exit, UsageError
from ..output import Output
from ..peer_options import AsJson, PeerOptions, with_peer
from ..performing import perform
from ..schema_source import is_url, local_schema, remote_schema

__all__ = ["command", "show_diff"]

_SOURCE = "A class, MODULE:CLASS; a file with the JSON of `describe`; or a URL."


@with_peer
def command(
    old: Annotated[str, typer.Argument(metavar="OLD", help=_SOURCE)],
    new: Annotated[str, typer.Argument(metavar="NEW", help=_SOURCE)],
    peer: PeerOptions,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="SERVICE",
            help="The name of the service at a URL, if that has several.",
            show_default=False,
        ),
    ] = None,
    untranslated: Annotated[
        bool,
        typer.Option(
            "--untranslated",
            help="Judge by peers that do not translate: those in other languages.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare two descriptions of a service.

    Prints each change, and who breaks. Exit codes: 0 if clients and servers of both
    work together, 1 if somebody breaks.
    """
    perform(
        "diff",
        partial(
            show_diff,
            old,
            new,
            peer,
            name=name,
            untranslated=untranslated,
            as_json=as_json,
        ),
    )


async def show_diff(
    old: str,
    new: str,
    peer: PeerOptions,
    *,
    name: str | None = None,
    untranslated: bool = False,
    as_json: bool = False,
) -> Exit:
    """Print the differences between two services; fail if somebody breaks."""
    output = Output(as_json=as_json)
    known = [None if is_url(each) else local_schema(each) for each in (old, new)]
    alike = next((each.name for each in known if each is not None), None)
    schemas: list[ServiceSchema] = [
        schema or await remote_schema(url, peer, name, alike)
        for url, schema in zip((old, new), known, strict=True)
    ]
    try:
        changes = compare(*schemas)
    except SchemaError as error:
        raise UsageError(str(error)) from error
    await _show(changes, output)
    breaks = [
        each.breaks_untranslated if untranslated else each.breaks for each in changes
    ]
    return Exit.FAILED if set(breaks) - {"nobody"} else Exit.DONE


async def _show(changes: list[Change], output: Output) -> None:
    if not output.is_pretty:
        await output.value([attrs.asdict(each) for each in changes])
    elif changes:
        rows = [
            (each.where, each.breaks, each.breaks_untranslated, each.text)
            for each in changes
        ]
        await output.table(("where", "breaks", "untranslated", "change"), rows)
    else:
        await output.text("no differences")
