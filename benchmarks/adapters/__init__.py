"""The implementations that are measured, one adapter each.

Each is imported when it is asked for, so that a process holds only what it runs, and
that a library that is not installed is missed by nobody else.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence

import attrs

from .base import Adapter

__all__ = [
    "ADAPTERS",
    "BUSY",
    "FLOOR",
    "LIMITS",
    "MSGSPEC",
    "ON_ASYNCIO",
    "PEERS",
    "RAW_TRIO",
    "RESUMING",
    "ROAM",
    "RUST",
    "UVLOOP",
    "Adapter",
    "environment_of",
    "load",
    "why_missing",
]

FLOOR = "floor"
RAW_TRIO = "raw trio"
UVLOOP = "uvloop"
BLOCKING = "blocking sockets"
ROAM = "roam_trio"
PURE = "roam_trio, pure"
BUSY = "roam_trio, busy_poll"
ON_ASYNCIO = "roam_trio, asyncio"
RESUMING = "roam_trio, resuming"
MSGSPEC = "msgspec"
RUST = "Rust crate"


@attrs.frozen
class _Entry:
    """Where an adapter is, which modules it needs, whether a program in Rust, and what
    its processes have in their environment."""

    place: str
    needs: Sequence[str] = ()
    in_rust: bool = False
    environment: Mapping[str, str] = attrs.Factory(dict)


_ENTRIES = {
    FLOOR: _Entry("floor:FloorAdapter"),
    RAW_TRIO: _Entry("sockets:RawTrioAdapter"),
    UVLOOP: _Entry("uvloop_alone:UvloopAdapter", ("uvloop",)),
    BLOCKING: _Entry("sockets:BlockingSocketsAdapter"),
    ROAM: _Entry("roam:RoamAdapter"),
    PURE: _Entry("roam:RoamPureAdapter", environment={"ROAM_TRIO_PURE": "1"}),
    BUSY: _Entry("roam:RoamBusyAdapter"),
    ON_ASYNCIO: _Entry("roam_asyncio:RoamAsyncioAdapter"),
    RESUMING: _Entry("roam:RoamResumingAdapter"),
    MSGSPEC: _Entry("msgspec_alone:MsgspecAdapter"),
    RUST: _Entry("rust:RustAdapter", in_rust=True),
    "grpcio": _Entry("grpcio:GrpcioAdapter", ("grpc", "google.protobuf")),
    "grpclib": _Entry("grpclib:GrpclibAdapter", ("grpclib", "google.protobuf")),
    "purerpc": _Entry("purerpc:PurerpcAdapter", ("purerpc", "google.protobuf")),
    "rpyc": _Entry("rpyc:RpycAdapter", ("rpyc",)),
    "rsocket": _Entry("rsocket:RsocketAdapter", ("rsocket",)),
    "aiorpcx": _Entry("aiorpcx:AiorpcxAdapter", ("aiorpcx",)),
    "pycapnp": _Entry("pycapnp:PycapnpAdapter", ("capnp",)),
    "thriftpy2": _Entry("thriftpy2:Thriftpy2Adapter", ("thriftpy2",)),
    "pyro5": _Entry("pyro5:Pyro5Adapter", ("Pyro5", "msgpack")),
    "zerorpc": _Entry("zerorpc:ZerorpcAdapter", ("zerorpc",)),
}

ADAPTERS = tuple(name for name in _ENTRIES if name != RESUMING)
"""The names of the adapters that are compared, in the order of the tables. The one
with links that can be lost is for `resume` alone."""

LIMITS = (RAW_TRIO, UVLOOP, BLOCKING)
"""Those that do the works of the floor on other streams, without a library for RPC."""

PEERS = tuple(
    name for name, entry in _ENTRIES.items() if entry.needs and name not in LIMITS
)
"""Those of other libraries."""


def why_missing(name: str, tell: Callable[[str], None] | None = None) -> str | None:
    """Why an adapter cannot be used here; None if it can.

    Its program in Rust, if it has one, is built, so that no measurement waits for that.

    Args:
        name: of the adapter.
        tell: told when that begins, and what went wrong there.

    Raises:
        ValueError: there is no such adapter.
    """
    entry = _entry(name)
    if not all(importlib.util.find_spec(module) for module in entry.needs):
        return "not installed"
    return _why_not_built(tell) if entry.in_rust else None


def load(name: str) -> Adapter:
    """The adapter of this name.

    Raises:
        ValueError: there is none.
        ImportError: its library is not installed.
    """
    module, _, adapter = _entry(name).place.partition(":")
    made: Adapter = getattr(importlib.import_module(f"{__name__}.{module}"), adapter)()
    return made


def environment_of(name: str) -> Mapping[str, str]:
    """Variables for the processes of an adapter, besides those of this process."""
    return _ENTRIES[name].environment if name in _ENTRIES else {}


def _why_not_built(tell: Callable[[str], None] | None) -> str | None:
    if os.name != "posix":
        return "its server is for POSIX systems"
    from ..cargo import CannotBuild
    from .rust import build_server

    try:
        build_server(tell)
    except CannotBuild as error:
        reason, _, details = str(error).partition("\n")
        if tell is not None and details:
            tell(details)
        return reason
    return None


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise ValueError(f"expected one of {', '.join(ADAPTERS)}, got {name!r}")
    return _ENTRIES[name]
