"""Payloads that are sent together, in the form that byte streams need.

A link on a byte stream sends a payload after its length (`transport.stream`): its
*frame*. What encodes several values writes their frames at once, which takes less time
than to pass the pieces of each payload on. Every other link takes the payloads one by
one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from struct import Struct
from typing import Any, Final, TypeAlias, overload

from ..native import NATIVE

__all__ = [
    "HEADER_LENGTH",
    "PASSED_BY_REFERENCE",
    "SHORT_HEADERS",
    "Frames",
    "PayloadRun",
    "cut_frames",
    "cut_in_python",
    "frame",
    "framed",
]

HEADER_LENGTH: Final = 4
"""Number of bytes of the length before a payload, little-endian."""

PASSED_BY_REFERENCE: Final = 32 * 1024
"""Length, in bytes, from which a piece is sent without a copy."""

SHORT_HEADERS: Final = tuple(
    length.to_bytes(HEADER_LENGTH, "little") for length in range(128)
)
"""Headers of small payloads, of which many may be sent at once."""

_Pieces: TypeAlias = list[bytes | memoryview]

_read_length = Struct("<I").unpack_from


def frame(pieces: Sequence[bytes | bytearray | memoryview], length: int) -> bytes:
    """Return the frame of a payload.

    Args:
        pieces: the payload.
        length: its length, in bytes.
    """
    if length < len(SHORT_HEADERS):
        return SHORT_HEADERS[length] + b"".join(pieces)
    return length.to_bytes(HEADER_LENGTH, "little") + b"".join(pieces)


def cut_in_python(chunk: bytes, start: int, most: int, payloads: list[bytes]) -> int:
    """Append the payloads of whole frames to a list.

    Args:
        chunk: the frames.
        start: the position of the first.
        most: length of the longest payload to cut, in bytes.
        payloads: the list.

    Returns:
        The position of the first frame that is not whole, or longer than `most`.
    """
    end = len(chunk)
    while (body := start + HEADER_LENGTH) <= end:
        length = _read_length(chunk, start)[0]
        stop = body + length
        if stop > end or length > most:
            break
        payloads.append(chunk[body:stop])
        start = stop
    return start


cut_frames: Final[Callable[[bytes, int, int, list[bytes]], int]] = (
    cut_in_python if NATIVE is None else NATIVE.cut_frames
)
"""Does what `cut_in_python` does, in Rust if the extension is used."""


class Frames(Sequence[bytes]):
    """The frames of payloads that begin with the same head, as their values.

    Args:
        data: the frames.
        count: their number.
        longest: length of the longest payload, in bytes.
        last: length of the last one.
        head_length: length of the head.
    """

    __slots__ = ("_count", "_head_length", "_values", "data", "last", "longest")

    def __init__(
        self, data: bytes, count: int, longest: int, last: int, head_length: int
    ) -> None:
        self.data = data
        self._count = count
        self.longest = longest
        self.last = last
        self._head_length = head_length
        self._values: list[bytes] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        return self._cut()[place]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._cut())

    def payloads(self) -> list[bytes]:
        """Return the payloads, with their heads."""
        payloads: list[bytes] = []
        cut_frames(self.data, 0, self.longest, payloads)
        return payloads

    def _cut(self) -> list[bytes]:
        if self._values is None:
            length = self._head_length
            self._values = [payload[length:] for payload in self.payloads()]
        return self._values

    def __repr__(self) -> str:
        return f"<Frames of {self._count} payloads ({len(self.data)} bytes)>"


class PayloadRun(Sequence[_Pieces]):
    """Payloads that begin with the same head and are sent together, as their pieces.

    Args:
        head: their start.
        values: the rest of each: bytes, a view, or a list of pieces; or their frames.
    """

    __slots__ = ("_head", "_values")

    def __init__(self, head: bytes, values: Sequence[Any]) -> None:
        self._head = head
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, place: int) -> _Pieces: ...
    @overload
    def __getitem__(self, place: slice) -> list[_Pieces]: ...
    def __getitem__(self, place: int | slice) -> _Pieces | list[_Pieces]:
        if isinstance(place, slice):
            return [self._pieces(value) for value in self._values[place]]
        return self._pieces(self._values[place])

    def __iter__(self) -> Iterator[_Pieces]:
        return map(self._pieces, self._values)

    def _pieces(self, value: Any) -> _Pieces:
        return [self._head, *value] if type(value) is list else [self._head, value]

    def framed(self) -> Frames | None:
        """Return the frames; None if a piece is so long that it is not copied."""
        values = self._values
        return values if type(values) is Frames else framed(self._head, values)

    def __repr__(self) -> str:
        return f"<PayloadRun of {len(self)}>"


def framed(head: bytes, values: Sequence[Any]) -> Frames | None:
    """Return the frames of payloads, and None if a piece is so long that it is not
    copied. Takes no step of Python for each of them.

    Args:
        head: the start of each.
        values: the rest of each, as pieces, bytes or a view; at least one.
    """
    joined: Sequence[bytes] = values
    kinds = set(map(type, values))
    if kinds != _BYTES_ALONE:
        if not kinds <= _IN_PIECES:
            values = [each if type(each) in _IN_PIECES else [each] for each in values]
        if max(map(len, chain.from_iterable(values)), default=0) >= PASSED_BY_REFERENCE:
            return None
        joined = list(map(b"".join, values))
    lengths = list(map(len, joined))
    if joined is values and max(lengths) >= PASSED_BY_REFERENCE:
        return None
    starts = {
        length: (length + len(head)).to_bytes(HEADER_LENGTH, "little") + head
        for length in set(lengths)
    }
    pairs = zip(map(starts.__getitem__, lengths), joined, strict=True)
    data = b"".join(chain.from_iterable(pairs))
    longest, last = max(lengths) + len(head), lengths[-1] + len(head)
    return Frames(data, len(lengths), longest, last, len(head))


_BYTES_ALONE: Final = {bytes}
_IN_PIECES: Final = frozenset({list, tuple})
