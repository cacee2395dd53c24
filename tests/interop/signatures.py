"""Types, values and services made up at random, in Python and in Rust.

The same ones every time. The Rust peer is built with `rust_source`, and prints what the
crates make of them; `python_module` has the same in Python.
"""

from __future__ import annotations

import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache
from random import Random

import attrs

__all__ = ["GENERATED_SERVICES", "generated_values", "python_module", "rust_source"]

SEED = 7
TYPES = 110
METHODS_PER_SERVICE = 8
MODULE = "tests.interop.generated"

GENERATED_SERVICES = [
    "HTTPServer",
    "XMLHTTPGateway2",
    "IPv6Router",
    "Utf8Codec",
    "A1B2",
    "V2",
    "KeyValueStore",
    "X509Store",
    "IOError3D",
    "Sha256Sum",
    "parse_rfc822",
    "ABTest",
    "MP3Player",
    "OAuth2Provider",
    "Grid3x3",
    "UUIDv7Source",
    "TCPIPStack",
    "Plain",
    "C3PO",
    "Übergang",
    "S3Bucket",
    "GPUQueue",
    "B2BExchange",
    "Snake_Case_Service",
    "EndsWith9",
    "JSONAPIv1",
    "Base64URL",
    "DNSSec",
]

METHOD_NAMES = [
    "get",
    "get_http2_frame",
    "utf8_to_utf16",
    "x509",
    "a",
    "a1_b2_c3",
    "to3d",
    "sha256_of",
    "XMLParse",
    "getHTTPResponse",
    "parseIPv6Address",
    "snake_case_name",
    "with__two_underscores",
    "ends_with_9",
    "b2b",
    "UPPER_CASE",
    "mixedUP_case",
    "straße",
    "md5sum_v2",
    "ends_",
    "is_a_3x3_grid",
    "OAuth2",
]

FIELD_NAMES = [
    "x",
    "y1",
    "utf8_text",
    "grid_3x3",
    "count",
    "http2_port",
    "is_set",
    "value",
    "ends_with_9",
    "größe",
    "owner_id",
    "z_2d",
]

VARIANT_NAMES = [
    "None0",
    "Some1",
    "HTTPError",
    "Utf8",
    "X509",
    "V2",
    "IPv6Address",
    "Empty",
    "NotFound",
    "TooLarge",
    "A",
    "OAuth2Token",
]

TEXTS = ["", "a", "héllo", "世界 🦀", "x" * 130, "two words"]


class Type(ABC):
    """A type as it is written in both languages, and random values of it.

    Attributes:
        rust: the type in Rust.
        python: the annotation in Python.
        has_bytes: whether its values take any room.
    """

    rust: str
    python: str
    has_bytes: bool = True

    @abstractmethod
    def value(self, random: Random, depth: int) -> tuple[str, str]:
        """An expression in Python and one in Rust, of the same value."""


@attrs.frozen
class Scalar(Type):
    rust: str
    python: str
    literal: Callable[[Random], tuple[str, str]]
    has_bytes: bool = True

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        return self.literal(random)


def integer(width: int, *, signed: bool) -> Callable[[Random], tuple[str, str]]:
    def literal(random: Random) -> tuple[str, str]:
        bits = random.randrange(width + (not signed))
        number = random.getrandbits(bits) if bits else 0
        if signed and random.random() < 0.5:
            number = -number - 1
        return str(number), str(number)

    return literal


def fraction(random: Random) -> tuple[str, str]:
    """One that 32 bits hold exactly."""
    text = repr(random.randrange(-8000, 8000) / 8)
    return text, text


def text(random: Random) -> tuple[str, str]:
    chosen = random.choice(TEXTS)
    return repr(chosen), f'"{chosen}".to_owned()'


def character(random: Random) -> tuple[str, str]:
    chosen = repr(random.choice("aZ9é世🦀"))
    return chosen, chosen


def boolean(random: Random) -> tuple[str, str]:
    chosen = random.choice([True, False])
    return str(chosen), str(chosen).lower()


def octets(random: Random) -> tuple[str, str]:
    chosen = random.randbytes(random.choice([0, 1, 5, 130]))
    return repr(chosen), f"vec!{list(chosen)}"


WIDTHS = (8, 16, 32, 64, 128)
INTEGERS = [
    *[Scalar(f"u{w}", f"u{w}", integer(w, signed=False)) for w in WIDTHS],
    *[Scalar(f"i{w}", f"i{w}", integer(w - 1, signed=True)) for w in WIDTHS],
    Scalar("usize", "usize", integer(64, signed=False)),
    Scalar("isize", "isize", integer(63, signed=True)),
]
STRING = Scalar("String", "str", text)
CHAR = Scalar("char", "char", character)
BOOL = Scalar("bool", "bool", boolean)
KEYS: list[Type] = [*INTEGERS, STRING, CHAR, BOOL]
UNIT = Scalar("()", "None", lambda _: ("None", "()"), has_bytes=False)
SCALARS: list[Type] = [
    *KEYS,
    STRING,
    Scalar("f32", "f32", fraction),
    Scalar("f64", "f64", fraction),
    Scalar("Vec<u8>", "bytes", octets),
]


@attrs.frozen
class Listed(Type):
    item: Type

    @property
    def rust(self) -> str:
        return f"Vec<{self.item.rust}>"

    @property
    def python(self) -> str:
        return f"list[{self.item.python}]"

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        number = 0 if depth <= 0 else random.randrange(4)
        items = [self.item.value(random, depth - 1) for _ in range(number)]
        pythons, rusts = ", ".join(i[0] for i in items), ", ".join(i[1] for i in items)
        return f"[{pythons}]", f"vec![{rusts}]"


@attrs.frozen
class Optional(Type):
    item: Type

    @property
    def rust(self) -> str:
        return f"Option<{self.item.rust}>"

    @property
    def python(self) -> str:
        return f"Optional[{self.item.python}]"

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        if depth <= 0 or random.random() < 0.3:
            return "None", "None"
        python, rust = self.item.value(random, depth - 1)
        return python, f"Some({rust})"


@attrs.frozen
class Boxed(Type):
    """Behind a pointer, which the wire does not show."""

    item: Type
    pointer: str = "Box"

    @property
    def rust(self) -> str:
        return f"{self.pointer}<{self.item.rust}>"

    @property
    def python(self) -> str:
        return self.item.python

    @property
    def has_bytes(self) -> bool:
        return self.item.has_bytes

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        python, rust = self.item.value(random, depth)
        return python, f"{self.pointer}::new({rust})"


@attrs.frozen
class Arrayed(Type):
    """In Rust under a name: the macro parses no arrays in the signature of a method."""

    rust: str
    item: Type
    length: int

    @property
    def python(self) -> str:
        return f"Array[{self.item.python}, Literal[{self.length}]]"

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        items = [self.item.value(random, depth - 1) for _ in range(self.length)]
        pythons, rusts = ", ".join(i[0] for i in items), ", ".join(i[1] for i in items)
        return f"[{pythons}]", f"[{rusts}]"


@attrs.frozen
class Mapped(Type):
    key: Type
    item: Type

    @property
    def rust(self) -> str:
        return f"BTreeMap<{self.key.rust}, {self.item.rust}>"

    @property
    def python(self) -> str:
        return f"dict[{self.key.python}, {self.item.python}]"

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        if depth <= 0:
            return "{}", "BTreeMap::new()"
        key, item = self.key.value(random, 0), self.item.value(random, depth - 1)
        rust = f"BTreeMap::from([({key[1]}, {item[1]})])"
        return f"{{{key[0]}: {item[0]}}}", rust


@attrs.frozen
class SetOf(Type):
    """Of one item: that of more has no order of its own in Python."""

    key: Type

    @property
    def rust(self) -> str:
        return f"BTreeSet<{self.key.rust}>"

    @property
    def python(self) -> str:
        return f"set[{self.key.python}]"

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        python, rust = self.key.value(random, 0)
        return f"{{{python}}}", f"BTreeSet::from([{rust}])"


@attrs.frozen
class Tupled(Type):
    items: tuple[Type, ...]

    @property
    def rust(self) -> str:
        return f"({', '.join(item.rust for item in self.items)},)"

    @property
    def python(self) -> str:
        return f"tuple[{', '.join(item.python for item in self.items)}]"

    @property
    def has_bytes(self) -> bool:
        return any(item.has_bytes for item in self.items)

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        items = [item.value(random, depth - 1) for item in self.items]
        pythons, rusts = ", ".join(i[0] for i in items), ", ".join(i[1] for i in items)
        return f"({pythons},)", f"({rusts},)"


@attrs.define(eq=False)
class Declared(Type):
    """A class, or a struct or an enum, by its name.

    Attributes:
        rust_source: its declaration in Rust.
        python_source: that in Python.
        make: an expression of a value in both.
    """

    rust: str
    python: str
    has_bytes: bool = True
    rust_source: str = ""
    python_source: str = ""
    make: Callable[[Random, int], tuple[str, str]] = attrs.field(default=None)

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        return self.make(random, depth)


@attrs.frozen
class Fields:
    """The fields of a struct or a variant; without names they are a tuple's."""

    names: tuple[str, ...] | None
    types: tuple[Type, ...]

    def rust(self, *, public: str = "pub ") -> str:
        if not self.types:
            return ""
        if self.names is None:
            return f"({', '.join(public + each.rust for each in self.types)})"
        pairs = zip(self.names, self.types, strict=True)
        return f" {{ {', '.join(f'{public}{n}: {t.rust}' for n, t in pairs)} }}"

    def python(self) -> str:
        names = self.names or [f"field{index}" for index in range(len(self.types))]
        pairs = zip(names, self.types, strict=True)
        return "".join(f"    {n}: {t.python}\n" for n, t in pairs) or "    pass\n"

    def value(self, random: Random, depth: int) -> tuple[str, str]:
        """The arguments in Python, and what follows the name in Rust."""
        values = [each.value(random, depth - 1) for each in self.types]
        python = f"({', '.join(value[0] for value in values)})"
        if not values:
            return python, ""
        if self.names is None:
            return python, f"({', '.join(value[1] for value in values)})"
        pairs = zip(self.names, values, strict=True)
        return python, f" {{ {', '.join(f'{n}: {v[1]}' for n, v in pairs)} }}"


DERIVE = "#[derive(Debug, Facet)]\n"


class Maker:
    """Makes up types and services."""

    def __init__(self) -> None:
        self.random = Random(SEED)
        self.declared: list[Declared] = []
        self.arrays: list[Arrayed] = []
        self.usable: list[Type] = []
        self._names = 0

    # ------------------------------------------------------------ types

    def type(self, depth: int = 2) -> Type:
        random = self.random
        if depth <= 0 or random.random() < 0.35:
            return random.choice(SCALARS)
        if self.usable and random.random() < 0.45:
            return random.choice(self.usable)
        match random.randrange(7):
            case 0:
                return Listed(self.item(depth - 1))
            case 1:
                return self.optional(depth - 1)
            case 2:
                return self.array(self.item(depth - 1), random.randrange(1, 5))
            case 3:
                return Mapped(random.choice(KEYS), self.item(depth - 1))
            case 4:
                return SetOf(random.choice(KEYS))
            case 5:
                number = random.randrange(1, 5)
                return Tupled(tuple(self.type(depth - 1) for _ in range(number)))
            case _:
                return UNIT

    def item(self, depth: int) -> Type:
        """One that may be in a collection."""
        while not (found := self.type(depth)).has_bytes:
            pass
        return found

    def optional(self, depth: int) -> Type:
        """In Python an option of an option, or of None, is no type of its own."""
        while isinstance(found := self.type(depth), Optional) or found is UNIT:
            pass
        return Optional(found)

    def array(self, item: Type, length: int) -> Arrayed:
        made = Arrayed(f"Array{len(self.arrays)}", item, length)
        self.arrays.append(made)
        return made

    def name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}{self._names}"

    def fields(self, *extra: Type, named: bool | None = None) -> Fields:
        random = self.random
        if named is None:
            named = random.random() < 0.7
        found = [self.type() for _ in range(random.randrange(0 if extra else 1, 5))]
        for each in extra:
            found.insert(random.randrange(len(found) + 1), each)
        names = random.sample(FIELD_NAMES, len(found))
        return Fields(tuple(names) if named else None, tuple(found))

    def declare_one(self) -> None:
        match self.random.randrange(12):
            case 0:
                self.unit_struct()
            case 1:
                self.transparent()
            case 2:
                self.unit_enum(self.random.randrange(1, 6))
            case 3 | 4:
                self.enum()
            case 5:
                self.recursive_struct()
            case 6:
                self.recursive_enum()
            case 7:
                self.mutual()
            case 8 | 9:
                self.generic()
            case _:
                self.struct()

    def add(self, made: Declared) -> None:
        self.declared.append(made)
        self.usable.append(made)

    def struct(self) -> None:
        self.finish_struct(Declared(*[self.name("Struct")] * 2), self.fields())

    def finish_struct(
        self, made: Declared, fields: Fields, *, parameters: str = ""
    ) -> None:
        name = made.rust
        generic = f"<{parameters}>" if parameters else ""
        end = "" if fields.names else ";"
        made.rust_source = f"{DERIVE}pub struct {name}{generic}{fields.rust()}{end}\n"
        made.python_source = self.python_class(name, fields, parameters)
        made.has_bytes = any(each.has_bytes for each in fields.types)

        def make(random: Random, depth: int) -> tuple[str, str]:
            python, rust = fields.value(random, depth)
            return name + python, name + rust

        made.make = make
        self.add(made)

    def python_class(self, name: str, fields: Fields, parameters: str = "") -> str:
        """A class of one of the kinds that roam_trio takes."""
        base = f"Generic[{parameters}]" if parameters else ""
        if fields.names is None:
            bases = f"{base}, " if base else ""
            heading = f"class {name}(msgspec.Struct, {bases}array_like=True):\n"
        else:
            match self.random.randrange(3):
                case 0:
                    bases = f", {base}" if base else ""
                    heading = f"class {name}(msgspec.Struct{bases}):\n"
                case 1:
                    heading = f"@attrs.define\nclass {name}({base}):\n"
                case _:
                    heading = f"@dataclasses.dataclass\nclass {name}({base}):\n"
        return heading + fields.python()

    def unit_struct(self) -> None:
        name = self.name("Unit")
        made = Declared(name, name, has_bytes=False)
        made.rust_source = f"{DERIVE}pub struct {name};\n"
        made.python_source = f"@attrs.define\nclass {name}:\n    pass\n"
        made.make = lambda random, depth: (f"{name}()", name)
        self.add(made)

    def transparent(self) -> None:
        name, inner = self.name("Transparent"), self.type()
        made = Declared(name, name, has_bytes=inner.has_bytes)
        made.rust_source = (
            f"{DERIVE}#[facet(transparent)]\n#[repr(transparent)]\n"
            f"pub struct {name}(pub {inner.rust});\n"
        )
        made.python_source = (
            f"@transparent\n@attrs.define\nclass {name}:\n    inner: {inner.python}\n"
        )

        def make(random: Random, depth: int) -> tuple[str, str]:
            python, rust = inner.value(random, depth)
            return f"{name}({python})", f"{name}({rust})"

        made.make = make
        # An option of what may be None would not be one in Python.
        self.declared.append(made)

    def unit_enum(self, number: int, names: Sequence[str] = VARIANT_NAMES) -> None:
        name = self.name("Choice")
        variants = self.random.sample(names, number)
        made = Declared(name, name)
        made.rust_source = (
            f"{DERIVE}#[repr(u8)]\npub enum {name} {{ {', '.join(variants)} }}\n"
        )
        members = "".join(f'    {each.upper()} = "{each}"\n' for each in variants)
        made.python_source = f"class {name}(enum.Enum):\n{members}"

        def make(random: Random, depth: int) -> tuple[str, str]:
            chosen = random.choice(variants)
            return f"{name}.{chosen.upper()}", f"{name}::{chosen}"

        made.make = make
        self.add(made)

    def enum(self) -> None:
        number = self.random.randrange(2, 6)
        self.finish_enum(self.name("Enum"), [self.variant() for _ in range(number)])

    def variant(self, *extra: Type) -> Fields:
        if not extra and self.random.random() < 0.25:
            return Fields((), ())
        return self.fields(*extra)

    def finish_enum(self, name: str, variants: list[Fields]) -> None:
        names = self.random.sample(VARIANT_NAMES, len(variants))
        made = Declared(name, name)
        pairs = list(zip(names, variants, strict=True))
        inner = ", ".join(n + fields.rust(public="") for n, fields in pairs)
        made.rust_source = f"{DERIVE}#[repr(u8)]\npub enum {name} {{ {inner} }}\n"
        classes = [
            f'class {name}{n}(msgspec.Struct, tag="{n}"'
            f"{', array_like=True' if fields.names is None else ''}):\n"
            f"{fields.python()}"
            for n, fields in pairs
        ]
        union = " | ".join(name + n for n in names)
        made.python_source = "".join(classes) + f"{name} = {union}\n"

        def make(random: Random, depth: int) -> tuple[str, str]:
            # Where it is deep enough, the first, which does not recur.
            n, fields = random.choice(pairs) if depth > 0 else pairs[0]
            python, rust = fields.value(random, depth)
            return f"{name}{n}{python}", f"{name}::{n}{rust}"

        made.make = make
        self.add(made)

    def recursive_struct(self) -> None:
        made = Declared(*[self.name("Recursive")] * 2)
        again: Type
        again = Listed(made) if self.random.random() < 0.5 else Optional(Boxed(made))
        self.finish_struct(made, self.fields(self.random.choice(SCALARS), again))

    def recursive_enum(self) -> None:
        name = self.name("Expression")
        itself = Declared(name, name)
        itself.make = lambda random, depth: self.made(name).value(random, depth)
        number = self.random.randrange(1, 4)
        variants = [Fields(None, (self.random.choice(SCALARS),))]
        variants += [self.variant(Boxed(itself)) for _ in range(number)]
        self.finish_enum(name, variants)

    def made(self, name: str) -> Declared:
        return next(each for each in self.declared if each.rust == name)

    def mutual(self) -> None:
        one, other = self.name("Egg"), self.name("Hen")
        itself = Declared(one, one)
        itself.make = lambda random, depth: self.made(one).value(random, depth)
        scalar = self.random.choice(SCALARS)
        hen = Declared(other, other)
        self.finish_struct(hen, self.fields(Listed(itself), scalar))
        egg = Declared(one, one)
        self.finish_struct(egg, self.fields(Optional(Boxed(hen)), scalar))

    def generic(self) -> None:
        """A generic struct, and uses of it; some refer to themselves."""
        name = self.name("Page")
        parameters = ["T", "U"][: self.random.randrange(1, 3)]
        variables = [Declared(each, each) for each in parameters]
        applied = f"{name}<{', '.join(parameters)}>"
        again = Declared(applied, f"{name}[{', '.join(parameters)}]")
        extra: list[Type] = [
            Listed(variables[0]),
            *variables[1:],
            *([Optional(Boxed(again))] if self.random.random() < 0.5 else []),
        ]
        fields = self.fields(*extra)
        end = "" if fields.names else ";"
        bounds = ", ".join(parameters)
        rust = f"{DERIVE}pub struct {name}<{bounds}>{fields.rust()}{end}\n"
        python = self.python_class(name, fields, ", ".join(parameters))
        for index in range(2):
            args = [self.item(1) for _ in parameters]
            use = self.apply(name, fields, dict(zip(parameters, args, strict=True)))
            if not index:
                use.rust_source, use.python_source = rust, python
            self.add(use)

    def apply(self, name: str, fields: Fields, args: dict[str, Type]) -> Declared:
        """A generic class with values for its variables."""
        use = Declared(
            f"{name}<{', '.join(arg.rust for arg in args.values())}>",
            f"{name}[{', '.join(arg.python for arg in args.values())}]",
        )

        def close(found: Type) -> Type:
            match found:
                case Declared(rust=rust) if rust in args:
                    return args[rust]
                case Declared(rust=rust) if rust == f"{name}<{', '.join(args)}>":
                    return use
                case Listed(item):
                    return Listed(close(item))
                case Optional(item):
                    return Optional(close(item))
                case Boxed(item):
                    return Boxed(close(item))
                case _:
                    return found

        closed = Fields(fields.names, tuple(close(each) for each in fields.types))

        def make(random: Random, depth: int) -> tuple[str, str]:
            python, rust = closed.value(random, depth)
            return name + python, name + rust

        use.make = make
        return use

    # ------------------------------------------------------------ services

    def service(self, name: str) -> tuple[str, str]:
        names = self.random.sample(METHOD_NAMES, METHODS_PER_SERVICE)
        methods = [self.method(each) for each in names]
        python = f"@service\nclass {name}(Protocol):\n"
        rust = f"#[roam::service]\npub trait {name} {{\n"
        for python_method, rust_method in methods:
            python += python_method
            rust += rust_method
        return python, rust + "}\n"

    def method(self, name: str) -> tuple[str, str]:
        args = [self.argument() for _ in range(self.random.randrange(0, 5))]
        python_args = "".join(f", arg{i}: {arg[0]}" for i, arg in enumerate(args))
        rust_args = "".join(f", arg{i}: {arg[1]}" for i, arg in enumerate(args))
        python_ret, rust_ret = self.result()
        return (
            f"    async def {name}(self{python_args}) -> {python_ret}: ...\n",
            f"    async fn {name}(&self{rust_args}) -> {rust_ret};\n",
        )

    def argument(self) -> tuple[str, str]:
        match self.random.randrange(16):
            case 0 | 1:
                end = self.random.choice(["Tx", "Rx"])
                item = self.type()
                return f"{end}[{item.python}]", f"{end}<{item.rust}>"
            case 2:
                item = self.type()
                return f"Rx[{item.python}] | None", f"Option<Rx<{item.rust}>>"
            case 3:
                return "str", "&str"
            case 4:
                return "Annotated[bytes, Slice()]", "&Octets"
            case _:
                found = self.type()
                return found.python, found.rust

    def result(self) -> tuple[str, str]:
        found = self.type()
        match self.random.randrange(8):
            case 0 | 1:
                error = self.type()
                return (
                    f"Fallible[{found.python}, {error.python}]",
                    f"Result<{found.rust}, {error.rust}>",
                )
            case 2:
                return "str", "&'roam str"
            case _:
                return found.python, found.rust


PYTHON_HEADING = '''\
"""Made up by tests/interop/signatures.py."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Generic, Literal, Optional, Protocol, TypeVar

import attrs
import msgspec

from roam_trio import (
    Array, Fallible, Rx, Slice, Tx, char, f32, f64, i8, i16, i32, i64, i128, isize,
    service, transparent, u8, u16, u32, u64, u128, usize,
)

T = TypeVar("T")
U = TypeVar("U")
'''

RUST_HEADING = """\
//! Made up by tests/interop/signatures.py.
#![allow(dead_code, non_camel_case_types, non_snake_case, clippy::all)]

use std::collections::{BTreeMap, BTreeSet};

use facet::Facet;
use roam::{Rx, ServiceDescriptor, Tx};

use crate::vectors::Rows;

pub type Octets = [u8];
"""


@attrs.frozen
class Made:
    python: str
    rust: str
    values: dict[str, tuple[str, str]]


@cache
def _made() -> Made:
    maker = Maker()
    # More variants than one byte of a varint counts.
    maker.unit_enum(130, [f"V{index}" for index in range(130)])
    while len(maker.declared) < TYPES:
        maker.declare_one()
    services = [maker.service(name) for name in GENERATED_SERVICES]

    rows: list[tuple[str, str, str, str]] = []
    for declared in maker.declared:
        for index in range(2):
            python, rust = declared.value(maker.random, 3)
            rows.append((f"{declared.rust}#{index}", declared.rust, python, rust))
    values = {
        row[0]: (declared.python, row[2])
        for declared, pair in zip(
            maker.declared, zip(rows[::2], rows[1::2], strict=True), strict=True
        )
        for row in pair
    }

    python = [PYTHON_HEADING, *(each.python_source for each in maker.declared)]
    python += [each[0] for each in services]
    arrays = [
        f"pub type {each.rust} = [{each.item.rust}; {each.length}];\n"
        for each in maker.arrays
    ]
    rust = [RUST_HEADING, *arrays, *(each.rust_source for each in maker.declared)]
    rust += [each[1] for each in services]
    descriptors = ", ".join(
        f"{snake(name)}_service_descriptor()" for name in GENERATED_SERVICES
    )
    rust.append(
        "pub fn descriptors() -> Vec<&'static ServiceDescriptor> {\n"
        f"    vec![{descriptors}]\n}}\n"
    )
    # In functions of their own: one of them all takes the compiler long.
    for number, (name, type_, _, value) in enumerate(rows):
        rust.append(
            f"fn value{number}(rows: &mut Rows) {{\n"
            f'    rows.add::<{type_}>("{name}", {value});\n}}\n'
        )
    calls = "".join(f"    value{number}(rows);\n" for number in range(len(rows)))
    rust.append(f"pub fn values(rows: &mut Rows) {{\n{calls}}}\n")
    return Made("\n".join(python), "\n".join(rust), values)


def snake(name: str) -> str:
    """The name as the crate's macro writes it."""
    from roam_trio.hash import kebab

    return kebab(name).replace("-", "_")


def rust_source() -> str:
    """The types, values and services as a module of the Rust peer."""
    return _made().rust


@cache
def python_module() -> types.ModuleType:
    """The same types and services."""
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    exec(compile(_made().python, f"<{MODULE}>", "exec"), vars(module))
    return module


def generated_values() -> dict[str, tuple[object, object]]:
    """By the names that the Rust peer prints: each type, and a value of it."""
    names = vars(python_module())
    return {
        name: (eval(type_, names), eval(value, names))
        for name, (type_, value) in _made().values.items()
    }
