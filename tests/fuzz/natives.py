"""The target for both codecs, in Python and in Rust, which must agree on every input.

``python -m tests.fuzz.natives --inputs 1000000`` runs it by itself, with inputs by
chance: random bytes, encodings with a few changes, values of other types, several
values together, and streams of messages and of frames. It needs no tracing, so it is
some fifty times as fast.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any, TypeAlias

import attrs
import msgspec

from roam_trio import SchemaError
from roam_trio.codec import RpcPlan, walk
from roam_trio.codec.python import EncodedRun
from roam_trio.schema import (
    Array,
    Length,
    char,
    f32,
    i8,
    i16,
    i32,
    i64,
    i128,
    u8,
    u16,
    u32,
    u64,
    u128,
)
from roam_trio.wire.frames import PayloadRun
from tests.schema.codecs import native_plan, outcome, python_plan
from tests.schema.examples import Color, Expr, Node, Tree

from .checks import require
from .native_lasting import NATIVE_LASTING, frames_by_chance
from .native_streams import NATIVE_STREAMS, stream_by_chance
from .target import Target

__all__ = ["NATIVES"]

try:
    from roam_trio import _native  # noqa: F401

    IS_BUILT = True
except ImportError:  # the extension is optional
    IS_BUILT = False

TYPES = 400
"""Number of random types."""

_Make: TypeAlias = Callable[[random.Random], Any]
_Kind: TypeAlias = tuple[Any, _Make]
"""A type, and what makes values of it."""


def _integer(bits: int, *, signed: bool) -> _Make:
    low = -(1 << bits - 1) if signed else 0

    def make(chance: random.Random) -> int:
        size = chance.choice((6, 7, 8, 14, bits - signed, bits - signed))
        number = chance.getrandbits(min(size, bits - signed))
        return chance.choice((number, low + number)) if signed else number

    return make


def _text(chance: random.Random) -> str:
    alphabet = "abcxyz é\0\N{SNOWMAN}\U0001f600"
    return "".join(chance.choices(alphabet, k=chance.choice((0, 1, 3, 9, 9, 9, 70))))


def _octets(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 3, 127, 128, 200)))


def _single(chance: random.Random) -> float:
    number: float = struct.unpack("<f", chance.randbytes(4))[0]
    return number


def _double(chance: random.Random) -> float:
    number: float = struct.unpack("<d", chance.randbytes(8))[0]
    return number


LEAVES: tuple[_Kind, ...] = (
    (bool, lambda chance: chance.random() < 0.5),
    (u8, _integer(8, signed=False)),
    (u16, _integer(16, signed=False)),
    (u32, _integer(32, signed=False)),
    (u64, _integer(64, signed=False)),
    (u128, _integer(128, signed=False)),
    (i8, _integer(8, signed=True)),
    (i16, _integer(16, signed=True)),
    (i32, _integer(32, signed=True)),
    (i64, _integer(64, signed=True)),
    (i128, _integer(128, signed=True)),
    (f32, _single),
    (float, _double),
    (char, lambda chance: chance.choice("aé\N{SNOWMAN}")),
    (str, _text),
    (bytes, _octets),
    (memoryview, _octets),
    (Annotated[bytes, Length(3)], lambda chance: chance.randbytes(3)),
    (None, lambda chance: None),
    (Color, lambda chance: chance.choice(list(Color))),
    (Node, lambda chance: Node(Node())),
    (Tree, lambda chance: Tree(chance.getrandbits(8), [Tree(1, [])])),
)

HASHABLE = LEAVES[:16]
"""The leaves that may be keys."""


def _count(chance: random.Random) -> int:
    return chance.choice((0, 1, 2, 3)) if chance.random() < 0.98 else 40


def _of(inner: _Kind, annotation: Any, kind: Callable[[Any], Any]) -> _Kind:
    make = inner[1]
    return annotation, lambda chance: kind(make(chance) for _ in range(_count(chance)))


def _collection(chance: random.Random, depth: int) -> _Kind:
    which = chance.randrange(7)
    if which < 2:
        key = chance.choice(HASHABLE)
        if which == 0:
            return _of(key, set[key[0]], set)
        item = _kind(chance, depth)
        return dict[key[0], item[0]], lambda chance: {
            key[1](chance): item[1](chance) for _ in range(_count(chance))
        }
    inner = _kind(chance, depth)
    if which == 2:
        return _of(inner, tuple[inner[0], ...], tuple)
    if which == 3:
        array: Any = Array[inner[0], 2]  # type: ignore[valid-type]
        return array, lambda chance: [inner[1](chance), inner[1](chance)]
    if which == 4 and inner[0] is not None and not _takes_none(inner[0]):
        make = inner[1]
        return inner[0] | None, lambda chance: chance.choice((None, make(chance)))
    return _of(inner, list[inner[0]], list)


def _takes_none(annotation: Any) -> bool:
    return type(None) in getattr(annotation, "__args__", ())


def _composite(chance: random.Random, depth: int) -> _Kind:
    inner = [_kind(chance, depth) for _ in range(chance.randint(1, 6))]
    types = tuple(each[0] for each in inner)
    which = chance.randrange(4)
    if which == 0:
        annotation = tuple.__class_getitem__(types)
        return annotation, lambda chance: tuple(make(chance) for _, make in inner)
    name = f"Of{chance.getrandbits(60)}"
    names = [f"f{number}" for number in range(len(inner))]
    cls: Any
    if which == 1:
        cls = msgspec.defstruct(name, list(zip(names, types, strict=True)))
    elif which == 2:
        cls = dataclasses.make_dataclass(name, list(zip(names, types, strict=True)))
    else:
        fields = {
            each: attrs.field(type=annotation)
            for each, annotation in zip(names, types, strict=True)
        }
        cls = attrs.make_class(name, fields, kw_only=chance.random() < 0.5)
    return cls, lambda chance: cls(
        **{each: make(chance) for each, (_, make) in zip(names, inner, strict=True)}
    )


def _union(chance: random.Random, depth: int) -> _Kind:
    def make_one() -> _Kind:
        while True:
            kind = _composite(chance, depth)
            if isinstance(kind[0], type) and not hasattr(kind[0], "__origin__"):
                return kind

    one, other = make_one(), make_one()
    return one[0] | other[0], lambda chance: chance.choice((one, other))[1](chance)


def _kind(chance: random.Random, depth: int) -> _Kind:
    """Return a random type."""
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(LEAVES)
    which = chance.choice((_collection, _collection, _composite, _union))
    return which(chance, depth - 1)


class Pair:
    """A type, with a codec in each language."""

    def __init__(self, kind: _Kind) -> None:
        self.annotation, self.make = kind
        self.python: RpcPlan[Any] = python_plan(self.annotation)
        self.native: RpcPlan[Any] = native_plan(self.annotation)

    def check_decoding(self, payload: bytes | memoryview) -> None:
        """Decode the same bytes with both, and encode what came out with both."""
        value, error = outcome(lambda: self.python.decode(payload))
        other, other_error = outcome(lambda: self.native.decode(payload))
        require(error == other_error, "other errors", (error, other_error))
        require(type(value) is type(other), "other classes", (value, other))
        if error is None:
            one = b"".join(self.python.encode(value))
            two = b"".join(self.native.encode(other))
            if one != two and "nan" in repr(value):
                # It is hashed by its address, so the order in a set is any.
                one, two = bytes(sorted(one)), bytes(sorted(two))
            require(one == two, "another value", (value, other))

    def check_encoding(self, value: Any) -> bytes | None:
        """Encode the same value with both; return the encoding."""
        pieces, error = outcome(lambda: b"".join(self.python.encode(value)))
        other, other_error = outcome(lambda: b"".join(self.native.encode(value)))
        require(error == other_error, "other errors", (error, other_error))
        require(pieces == other, "other bytes", (pieces, other))
        encoded: bytes | None = pieces
        return encoded

    def check_run(self, values: list[Any], most_bytes: int) -> None:
        """Encode the same values with both, to be sent together."""
        of_python = _told(self.python.encode_run(values, b"head", most_bytes))
        of_native = _told(self.native.encode_run(values, b"head", most_bytes))
        require(of_python == of_native, "another run", (of_python, of_native))


def _told(run: EncodedRun) -> tuple[list[bytes], bool, tuple[type, str]]:
    """Return the payloads of a run, whether it is cut, and what its failure says."""
    encoded, is_cut, failure = run
    payloads = [b"".join(pieces) for pieces in PayloadRun(b"head", encoded)]
    return payloads, is_cut, (type(failure), str(failure))


_pairs: list[Pair] = []


def _all_pairs() -> list[Pair]:
    """Return the pairs, which are made when they are first needed."""
    if not _pairs and IS_BUILT:
        chance = random.Random(7)
        leaves = [*LEAVES, (Expr, lambda chance: None)]
        _pairs.extend(map(Pair, leaves))
        while len(_pairs) < TYPES:
            # Some types have no wire form, such as lists of lists of None.
            with suppress(SchemaError):
                _pairs.append(Pair(_kind(chance, chance.randrange(4))))
    return _pairs


def native(data: bytes) -> None:
    """Decode a value with both codecs. The first two bytes select its type."""
    pairs = _all_pairs()
    if len(data) < 2 or not pairs:
        return
    pair = pairs[int.from_bytes(data[:2], "little") % len(pairs)]
    pair.check_decoding(data[2:])


def _seeds() -> Iterator[bytes]:
    chance = random.Random(1)
    for number, pair in enumerate(_all_pairs()[:100]):
        encoded = pair.check_encoding(pair.make(chance))
        if encoded is not None and len(encoded) < 400:
            yield number.to_bytes(2, "little") + encoded


NATIVES = (Target("native", native, _seeds, 512), *NATIVE_STREAMS, *NATIVE_LASTING)


# ---------------------------------------------------------------- by chance


def _changed(chance: random.Random, encoded: bytes) -> bytes:
    """Return an encoding with a few changes."""
    changed = bytearray(encoded)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                changed[at:at] = chance.choice((b"\0", b"\xff", b"\x80", b"\x01"))
            case 1:
                del changed[at : at + chance.choice((1, 1, 2, 9))]
            case 2 if at < len(changed):
                changed[at] = chance.choice((0, 1, 2, 127, 128, 255))
            case _ if at < len(changed):
                changed[at] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _kept(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that computes a result once for each shape."""
    results: dict[int, Any] = {}

    def find(shape: Any) -> Any:
        if id(shape) not in results:  # which a plan keeps alive
            results[id(shape)] = function(shape)
        return results[id(shape)]

    return find


def run(inputs: int, seed: int) -> int:
    """Check inputs by chance; return their number."""
    # Two thirds of the time to explain an error, and the same each time.
    for name in ("levels", "Sizes"):
        setattr(walk, name, _kept(getattr(walk, name)))
    chance = random.Random(seed)
    pairs, done = _all_pairs(), 0
    while done < inputs:
        pair = chance.choice(pairs)
        value = pair.make(chance)
        encoded = pair.check_encoding(value) or b""
        for _ in range(12):
            pair.check_decoding(_changed(chance, encoded))
        pair.check_decoding(memoryview(chance.randbytes(chance.randrange(40))))
        for _ in range(4):
            chance.choice(pairs).check_encoding(value)
        values = [pair.make(chance) for _ in range(chance.choice((0, 1, 2, 5)))]
        if chance.random() < 0.2:
            values.append(chance.choice(pairs).make(chance))
        pair.check_run([*values, value], chance.choice((1, 100, 10_000)))
        stream_by_chance(chance, _changed)
        frames_by_chance(chance, _changed)
        done += 20
    return done


def main() -> int:
    """Run it, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    if not IS_BUILT:
        print("the extension is not built", file=sys.stderr)
        return 1
    done = run(chosen.inputs, chosen.seed)
    print(f"{done:,} inputs of {len(_all_pairs())} types, both codecs agree")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
