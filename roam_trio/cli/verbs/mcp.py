"""`mcp`: services as tools of the Model Context Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import attrs
import trio
import typer

from ...extras import how_to_install
from ...session import Session
from ..connecting import session_with
from ..described import described_by, near
from ..exits import Exit, Failure, UsageError
from ..peer_options import PeerOptions, Url, with_peer
from ..performing import perform

__all__ = ["command", "offer_tools"]


@with_peer
def command(
    url: Url,
    peer: PeerOptions,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="SERVICE",
            help="A service to offer. May be given several times. Without it, nothing "
            "is offered.",
            show_default=False,
        ),
    ] = None,
    items: Annotated[
        int, typer.Option(min=1, help="Number of items of a stream to return.")
    ] = 1000,
) -> None:
    """Offer services as tools of the Model Context Protocol, over stdin and stdout.

    The program at the other end can call every method of the services that --allow
    names. --timeout bounds each call, and not the whole; the default is 60 seconds.
    """
    if peer.timeout == 0:
        raise typer.BadParameter("expected more than 0", param_hint="--timeout")
    perform("mcp", partial(offer_tools, url, peer, allow or (), items))


async def offer_tools(
    url: str, peer: PeerOptions, allow: Sequence[str], items: int = 1000
) -> Exit:
    """Offer the tools until standard input or the session ends."""
    if not allow:
        raise UsageError("expected the services to offer: --allow SERVICE")
    tools = _package()
    seconds = {} if peer.timeout is None else {"seconds": peer.timeout}
    limits = tools.ToolLimits(items=items, **seconds)
    async with session_with(url, attrs.evolve(peer, timeout=None)) as session:
        described = await described_by(session, peer)
        for name in allow:
            if name not in described:
                raise UsageError(near("service", name, described))
        serving = partial(tools.serve_tools, session, described)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, session)
            await serving(allow=allow, limits=limits)
            nursery.cancel_scope.cancel()
    return Exit.DONE


async def _watch(session: Session) -> None:
    """Fail once the session has ended, for then no tool works any more."""
    await session.closed()
    raise Failure(Exit.UNREACHED, f"the session has ended: {session.ended_because}")


def _package() -> Any:
    """Return `roam_trio.contrib.mcp`, which needs an extra.

    Raises:
        UsageError: the extra is not installed.
    """
    try:
        from ...contrib import mcp
    except ImportError as error:
        raise UsageError(
            f"the package for this verb is missing ({error}); {how_to_install('mcp')}"
        ) from error
    return mcp
