"""Division of one input into several, and checks that many targets share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roam_trio import RoamTrioError

__all__ = ["check_error", "joined_parts", "parts_of", "require"]

_LONGEST_TEXT = 20_000


def require(condition: object, what: str, *about: object) -> None:
    """Raise an AssertionError unless the condition holds."""
    if not condition:
        raise AssertionError(f"{what}: {about}")


def check_error(error: RoamTrioError) -> None:
    """Check the text of a declared error: one short line."""
    text = str(error)
    require(len(text) <= _LONGEST_TEXT, "the text of an error is long", len(text))
    require(len(text.splitlines()) <= 1, "the text of an error has lines", text)


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
