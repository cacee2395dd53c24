"""Builds the peer in Rust that the interop tests talk with."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cargo import build

from . import signatures

__all__ = ["build_peer"]

PEER = Path(__file__).parent / "rust_peer"


def build_peer() -> Path:
    """The executable of the peer.

    Raises:
        CannotBuild: there is no cargo, or it has failed.
    """
    return build(PEER, {Path("src", "generated.rs"): signatures.rust_source()})
