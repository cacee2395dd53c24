"""Division of one input into several.

This module imports nothing of the package; see `tests.fuzz`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["joined_parts", "parts_of"]


def parts_of(data: bytes) -> list[bytes]:
    """Divide an input: each part has a byte in front, its length; 255 stands for two
    bytes of length that follow. The last part may be shorter than that says.
    """
    parts: list[bytes] = []
    pos = 0
    while pos < len(data):
        length = data[pos]
        pos += 1
        if length == 255:
            length = int.from_bytes(data[pos : pos + 2], "little")
            pos += 2
        parts.append(data[pos : pos + length])
        pos += length
    return parts


def joined_parts(parts: Iterable[bytes | Sequence[bytes | memoryview]]) -> bytes:
    """Return the input that `parts_of` divides into these parts."""
    out = bytearray()
    for part in parts:
        whole = part if isinstance(part, bytes) else b"".join(part)
        if len(whole) < 255:
            out.append(len(whole))
        else:
            out += b"\xff" + len(whole).to_bytes(2, "little")
        out += whole
    return bytes(out)
