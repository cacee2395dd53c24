"""The implementations that are measured, one adapter each.

Each is imported when it is asked for, so that a process holds only what it runs, and
that a library that is not installed is missed by nobody else.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

import attrs

from .base import Adapter

__all__ = [
    "ADAPTERS",
    "FLOOR",
    "MSGSPEC",
    "PEERS",
    "RESUMING",
    "ROAM",
    "Adapter",
    "is_installed",
    "load",
]

FLOOR = "floor"
ROAM = "roam_trio"
POSTCARD = "roam_trio, postcard"
RESUMING = "roam_trio, resuming"
MSGSPEC = "msgspec"


@attrs.frozen
class _Entry:
    """Where an adapter is, and which modules it needs."""

    place: str
    needs: Sequence[str] = ()


_ENTRIES = {
    FLOOR: _Entry("floor:FloorAdapter"),
    ROAM: _Entry("roam:RoamAdapter"),
    POSTCARD: _Entry("roam:RoamPostcardAdapter"),
    RESUMING: _Entry("roam:RoamResumingAdapter"),
    MSGSPEC: _Entry("msgspec_alone:MsgspecAdapter"),
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

PEERS = tuple(name for name in ADAPTERS if name not in (FLOOR, ROAM, POSTCARD, MSGSPEC))
"""Those of other libraries."""


def is_installed(name: str) -> bool:
    """Whether what the adapter needs can be imported here.

    Raises:
        ValueError: there is no such adapter.
    """
    return all(importlib.util.find_spec(module) for module in _entry(name).needs)


def load(name: str) -> Adapter:
    """The adapter of this name.

    Raises:
        ValueError: there is none.
        ImportError: its library is not installed.
    """
    module, _, adapter = _entry(name).place.partition(":")
    made: Adapter = getattr(importlib.import_module(f"{__name__}.{module}"), adapter)()
    return made


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise ValueError(f"expected one of {', '.join(ADAPTERS)}, got {name!r}")
    return _ENTRIES[name]
