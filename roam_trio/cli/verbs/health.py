"""`health`: whether a server takes calls."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from ...errors import (
    IncompatibleService,
    SessionRejected,
    UnknownMethod,
    UserError,
)
from ...rpc.offered import HEALTH
from ...service.open_call import open_call
from ...service.reserved.classes import Health, HealthState
from ..connecting import session_with
from ..described import described_by
from ..exits import Exit, Failure, UsageError
from ..output import Output
from ..peer_options import AsJson, PeerOptions, Url, with_peer
from ..performing import perform

__all__ = ["command", "show_health"]


@with_peer
def command(
    url: Url,
    peer: PeerOptions,
    name: Annotated[
        str,
        typer.Argument(
            metavar="[SERVICE]",
            help="The name of a service. Default: the server as a whole.",
        ),
    ] = "",
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on, and print each change.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a server whether it takes calls.

    Exit codes: 0 if it does, 1 if it is draining, 3 if it does not say or cannot be
    reached.
    """
    perform(
        "health",
        partial(show_health, url, peer, name, watch=watch, as_json=as_json),
    )


async def show_health(
    url: str,
    peer: PeerOptions,
    service: str = "",
    *,
    watch: bool = False,
    as_json: bool = False,
) -> Exit:
    """Print the state of a service, and its changes if asked for."""
    output = Output(as_json=as_json)
    async with session_with(url, peer) as session:
        try:
            async with session.open(Health, HEALTH) as health:
                follow = _watch if watch else _ask
                try:
                    return await follow(health, service, service, output)
                except UserError:
                    # The one on the root connection has no name at the server.
                    if service != (await described_by(session, peer)).root:
                        raise
                    return await follow(health, "", service, output)
        except (IncompatibleService, SessionRejected, UnknownMethod) as error:
            raise Failure(
                Exit.UNREACHED,
                "the server does not say whether it takes calls; start it with "
                "reflection",
            ) from error
        except UserError as error:
            raise UsageError(f"{service}: there is no such service") from error


async def _ask(health: Health, name: str, shown: str, output: Output) -> Exit:
    return await _show(shown, await health.state(name), output)


async def _watch(health: Health, name: str, shown: str, output: Output) -> Exit:
    code = Exit.DONE
    async with open_call(health.watch, name) as call:
        async for state in call.rx:
            code = await _show(shown, state, output)
        await call.result()
    return code


async def _show(service: str, state: HealthState, output: Output) -> Exit:
    name = state.value.lower()
    if output.is_pretty:
        await output.text(name)
    else:
        await output.value({"service": service, "state": name})
    return Exit.DONE if state is HealthState.SERVING else Exit.FAILED
