"""`list`: the services of a server."""

from __future__ import annotations

from functools import partial

from ..connecting import session_with
from ..described import described_by
from ..exits import Exit
from ..output import Output
from ..peer_options import AsJson, PeerOptions, Url, with_peer
from ..performing import perform

__all__ = ["command", "show_list"]


@with_peer
def command(url: Url, peer: PeerOptions, as_json: AsJson = False) -> None:
    """List the services of a server.

    Prints a JSON array of objects with name, methods and doc. The methods of a service
    that the server does not describe are null.
    """
    perform("list", partial(show_list, url, peer, as_json=as_json))


async def show_list(url: str, peer: PeerOptions, *, as_json: bool = False) -> Exit:
    """Print the services of a server."""
    output = Output(as_json=as_json)
    async with session_with(url, peer) as session:
        described = await described_by(session, peer)
    if output.is_pretty:
        rows = [
            (name, str(len(schema.methods)), schema.doc.partition("\n")[0])
            for name, schema in described.items()
        ]
        rows += [(name or "(root)", "?", "") for name in described.undescribed]
        await output.table(("service", "methods", "doc"), rows)
    else:
        await output.value(
            [
                {
                    "name": name,
                    "methods": [method.name for method in schema.methods],
                    "doc": schema.doc,
                }
                for name, schema in described.items()
            ]
            + [
                {"name": name, "methods": None, "doc": None}
                for name in described.undescribed
            ]
        )
    return Exit.DONE
