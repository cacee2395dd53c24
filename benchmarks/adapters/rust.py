"""The crate `roam` in Rust, with roam_trio as its client.

The server is a program of its own, `benchmarks/rust_server`, which is built when it is
first needed. It answers the works of `roam`'s service in postcard.
"""

from __future__ import annotations

import os
import socket
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

from roam_trio import Credit, Rx, Tx, service, u64

from ..cargo import build
from .roam import RoamAdapter, Workplace

__all__ = ["PROJECT", "RustAdapter", "RustWorkplace", "build_server"]

PROJECT = Path(__file__).resolve().parent.parent / "rust_server"
"""The folder of the server's sources."""


@service(name="Workplace")
class RustWorkplace(Workplace, Protocol):
    """The works as a peer in Rust does them: it keeps 64 items that nobody has received
    yet, and so no more may be under way to it."""

    async def take(self, items: Annotated[Rx[u64], Credit(64)]) -> tuple[u64, u64]: ...

    async def take_many(
        self, items: Annotated[Rx[u64], Credit(64)]
    ) -> tuple[u64, u64]: ...

    async def give_back(
        self,
        items: Annotated[Rx[u64], Credit(64)],
        back: Annotated[Tx[u64], Credit(256)],
    ) -> None: ...


def build_server(tell: Callable[[str], None] | None = None) -> Path:
    """The executable of the server, built if it was not.

    Args:
        tell: told when a build begins, which may take minutes.

    Raises:
        CannotBuild: there is no cargo, or it has failed.
    """
    return build(PROJECT, release=True, tell=tell)


class RustAdapter(RoamAdapter):
    """The crate as the server; its client is roam_trio."""

    name: ClassVar[str] = "Rust crate"
    remarks: ClassVar[Mapping[str, str]] = {
        "call": "a server in Rust, the crate roam in one thread; the client is "
        "roam_trio, as it is in the row of that name",
        "items": "at channel credit 64: the crate keeps no more that nobody has "
        "received, and drops what comes then",
        "items-both": "at channel credit 64 to the server, for the same reason, and "
        "256 back",
    }
    workplace: ClassVar[Callable[..., Workplace]] = RustWorkplace

    def versions(self) -> dict[str, str]:
        """The client's packages, and the crates that its Cargo.toml names first."""
        manifest = tomllib.loads((PROJECT / "Cargo.toml").read_text("utf-8"))
        pinned = manifest["dependencies"]
        crates = {
            f"{crate} (Rust)": pinned[crate].lstrip("=") for crate in ("roam", "facet")
        }
        return super().versions() | crates

    def serve(self, started: Callable[[str], None]) -> None:
        """Become the server in Rust, so that what is measured of this process is
        measured of that program.

        The socket listens before that: a client that is told of it too early waits for
        the program to take it up.
        """
        program = build_server(lambda what: print(what, file=sys.stderr, flush=True))
        listener = socket.create_server(("127.0.0.1", 0))
        listener.set_inheritable(True)
        host, port = listener.getsockname()
        url = f"tcp://{host}:{port}"
        # Services by name are at the same place as the one on the root.
        started(f"{url} {url}")
        os.execv(program, [str(program), str(listener.fileno())])
