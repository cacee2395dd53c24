"""The verbs, for typer. The module of a verb is imported when that verb is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ..native import NATIVE, WHY_PURE

__all__ = ["VERBS", "app"]

VERBS = {
    "list": ("list", "List the services of a server."),
    "describe": ("describe", "Describe services, a service or a method."),
    "template": ("template", "Print an empty request for a method."),
    "call": ("call", "Call a method with JSON."),
    "health": ("health", "Ask a server whether it takes calls."),
    "ping": ("ping", "Ping a server, and print how long its answers take."),
    "top": ("top", "Watch the sessions, calls and channels of a server."),
    "bench": ("bench", "Measure the rate and the times of calls."),
    "serve": ("serve", "Serve the handlers of a module."),
    "gateway": ("gateway", "Pass connections of clients on to pools of servers."),
    "mcp": ("mcp", "Offer services as tools of the Model Context Protocol."),
    "diff": ("diff", "Compare two descriptions of a service."),
    "rust": ("rust", "Print services as traits and types of Rust."),
    "typescript": ("typescript", "Print services as a module of TypeScript."),
    "import": ("import_", "Print the services of a Rust source in Python."),
    "demo": ("demo", "Show the library at work between two processes."),
}
"""The module of each verb, and its line in the help of the program."""

HIDDEN = {"demo-server": "demo_server", "worker": "worker"}
"""Verbs that this program runs itself."""


class _Commands(Mapping[str, Any]):
    """The commands by their names; each is made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        return _command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


def _command(name: str) -> Any:
    module = VERBS[name][0] if name in VERBS else HIDDEN[name]
    # Each verb alone, since only one of them is used in a process.
    verb = import_module(f".verbs.{module}", __package__)
    alone = typer.Typer(
        add_completion=False,
        # Markup would remove text in brackets, as in #[roam::service].
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    alone.command(name, no_args_is_help=name in _NEED_ARGUMENTS)(verb.command)
    return get_command(alone)


_NEED_ARGUMENTS = VERBS.keys() - {"demo"}


class _Verbs(TyperGroup):
    """The group of the verbs."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = cast("MutableMapping[str, Any]", _Commands())

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the verbs that the help shows."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs into the help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


app = typer.Typer(
    name="roam-trio",
    cls=_Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        codec = "in Rust" if NATIVE else f"in Python: {WHY_PURE}"
        typer.echo(f"roam-trio {version('roam-trio')}, codec {codec}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version, and whether the codec in Rust is in use.",
        ),
    ] = False,
) -> None:
    """RPC with typed calls and channels for trio."""
