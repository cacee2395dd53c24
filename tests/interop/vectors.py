"""What the Rust crates make of values and signatures, as the peer has printed it.

`tests/data/rust_vectors.json` keeps it, so that it can be compared without Rust.
`python -m tests.interop.vectors` writes it anew.
"""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import msgspec

from .build import build_peer

__all__ = ["FILE", "Vectors", "kept", "printed"]

FILE = Path(__file__).parent.parent / "data" / "rust_vectors.json"


class Vectors(msgspec.Struct):
    """By names: bytes in hexadecimal, and so the ids of methods.

    Attributes:
        values: of the types in `wire_types` and below.
        generated_values: of those in `signatures`.
        method_ids: of all services.
    """

    values: dict[str, str]
    generated_values: dict[str, str]
    method_ids: dict[str, str]


@cache
def kept() -> Vectors:
    """What is in the file."""
    return msgspec.json.decode(FILE.read_bytes(), type=Vectors)


def printed(executable: Path) -> bytes:
    """What the peer prints."""
    return subprocess.run(
        [executable, "vectors"], capture_output=True, check=True
    ).stdout


if __name__ == "__main__":
    FILE.write_bytes(printed(build_peer()))
