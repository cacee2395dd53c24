"""`describe`: services, their methods and types."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from ...service.description.json_text import plain
from ..connecting import session_with
from ..described import Described, Target, described_by, near
from ..exits import Exit, UsageError
from ..output import Output
from ..peer_options import AsJson, PeerOptions, Url, with_peer
from ..performing import perform
from ..schema_text import method_text, service_text, types_of

__all__ = ["command", "show_description"]


@with_peer
def command(
    url: Url,
    peer: PeerOptions,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[SERVICE[.METHOD]]",
            help="A service, or a method of one. Default: all services.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Describe services, a service or a method.

    The JSON of a service can be saved, and be compared by `diff`.
    """
    perform("describe", partial(show_description, url, peer, what, as_json=as_json))


async def show_description(
    url: str, peer: PeerOptions, what: str | None = None, *, as_json: bool = False
) -> Exit:
    """Print the description of a service, a method, or all services."""
    output = Output(as_json=as_json)
    async with session_with(url, peer) as session:
        described = await described_by(session, peer)
    text, data = _told(described, what)
    if output.is_pretty:
        await output.text(text)
    else:
        await output.value(data)
    return Exit.DONE


def _told(described: Described, what: str | None) -> tuple[str, Any]:
    """Return a description as text, and as plain data."""
    if what is None:
        texts = [service_text(*each) for each in described.items()]
        data = {name: plain(schema) for name, schema in described.items()}
        return "\n\n".join(texts), data
    if what in described:
        return service_text(what, described[what]), plain(described[what])
    root = described[described.root].methods if described.root is not None else ()
    if "." not in what and what not in {each.name for each in root}:
        raise UsageError(near("service", what, described))
    target = Target(what)
    schema = target.schema(described)
    method = target.method_of(schema)
    used = [plain(each) for each in types_of(schema, method)]
    return method_text(schema, method), {**plain(method), "types": used}
