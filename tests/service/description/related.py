"""Random pairs of services of which one could be a later version of the other."""

from __future__ import annotations

import enum
import inspect
import random
from collections.abc import Callable
from functools import reduce
from operator import or_
from typing import Annotated, Any

import attrs
import msgspec

from roam_trio import Credit, Length, Rx, ServiceDescriptor, Tx
from roam_trio.schema.scalars import MARKED
from roam_trio.schema.types import Wire
from roam_trio.service.descriptor import MethodDescriptor, method_of_types

_FAMILIES = (
    ("u8", "u16", "u32", "u64", "i32", "i64"),
    ("i8", "i16", "i32", "i64"),
    ("f32", "f64"),
    ("char", "str"),
    ("bool",),
    ("bytes", "str"),
)
"""Types without parts, of which each may become another of its row."""

_PLAIN: dict[str, Any] = {"str": str, "bool": bool, "bytes": bytes}
_DEFAULTS: dict[str, Any] = {"str": "told", "bool": True, "bytes": b"\x07", "char": "d"}
_NAMES = ("a", "b", "c", "d", "e")
_KINDS = (
    *("scalar", "scalar", "struct", "enum", "option"),
    *("list", "array", "set", "map", "tuple"),
)


@attrs.frozen
class Part:
    """A type: a kind, with the parts that it has.

    Attributes:
        kind: ``scalar``, ``option``, ``list``, ``array``, ``set``, ``map``, ``tuple``,
            ``struct`` or ``enum``.
        name: the type of a scalar; the name of a struct or of an enum.
        parts: the types in it.
        fields: the fields of a struct.
        variants: the variants of an enum, with the fields of each.
    """

    kind: str
    name: str = ""
    parts: tuple[Part, ...] = ()
    fields: tuple[Member, ...] = ()
    variants: tuple[tuple[str, tuple[Member, ...]], ...] = ()


@attrs.frozen
class Member:
    """A field or an argument; `has_default` only for scalars and options."""

    name: str
    part: Part
    has_default: bool = False


@attrs.frozen
class Method:
    """A method: its arguments, its result and its error, and the credit of channels."""

    name: str
    args: tuple[Member, ...]
    returns: Part
    fails: Part | None
    credit: int = 16


class Chance:
    """Makes parts, and changes them.

    Args:
        seed: decides on everything.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._share = self._random.choice((0.1, 0.2, 0.5, 1.0))
        self._count = 0

    def services(self) -> tuple[tuple[Method, ...], tuple[Method, ...]]:
        """Return the methods of two versions."""
        old = tuple(self._method(name) for name in ("one", "two"))
        new = tuple(self._changed_method(each) for each in old)
        return old, tuple(self._random.sample(new, len(new)))

    # ------------------------------------------------------------ anew

    def _method(self, name: str) -> Method:
        return Method(
            name,
            self._members(),
            self._part(0),
            self._error() if self._random.random() < 0.4 else None,
        )

    def _error(self) -> Part:
        return Part("struct", self._name("Error"), fields=self._members())

    def _members(self, depth: int = 1) -> tuple[Member, ...]:
        count = self._random.randint(1, 3)
        names = self._random.sample(_NAMES, count)
        return tuple(self._member(name, depth) for name in names)

    def _member(self, name: str, depth: int) -> Member:
        part = self._part(depth)
        may = part.kind in ("scalar", "option")
        return Member(name, part, may and self._random.random() < 0.5)

    def _name(self, label: str) -> str:
        self._count += 1
        return f"{label}{self._count}"

    def _scalar(self) -> Part:
        row = self._random.choice(_FAMILIES)
        return Part("scalar", self._random.choice(row))

    def _part(self, depth: int) -> Part:
        kind = "scalar" if depth > 3 else self._random.choice(_KINDS)
        match kind:
            case "scalar":
                return self._scalar()
            case "struct":
                fields = self._members(depth + 1)
                return Part(kind, self._name("Struct"), fields=fields)
            case "enum":
                return self._enum(depth)
            case "set":
                return Part(kind, parts=(self._scalar(),))
            case "map":
                return Part(kind, parts=(self._scalar(), self._part(depth + 1)))
            case "tuple":
                return Part(kind, parts=(self._part(depth + 1), self._part(depth + 1)))
            case "option":
                inner = self._part(depth + 1)
                return inner if inner.kind == "option" else Part(kind, parts=(inner,))
            case _:
                return Part(kind, parts=(self._part(depth + 1),))

    def _enum(self, depth: int) -> Part:
        variants = tuple(
            (
                name.upper(),
                self._members(depth + 2) if self._random.random() < 0.5 else (),
            )
            for name in self._random.sample(_NAMES, 2)
        )
        return Part("enum", self._name("Enum"), variants=variants)

    # ------------------------------------------------------------ changed

    def _changed_method(self, old: Method) -> Method:
        fails = old.fails
        if fails is not None:
            fails = None if self._is(0.1) else self._changed(fails)
        return Method(
            old.name,
            self._changed_members(old.args, 1),
            self._changed(old.returns),
            fails,
            self._random.choice((16, 1, 64)) if self._is(0.5) else old.credit,
        )

    def _is(self, chance: float) -> bool:
        return self._random.random() < chance * self._share

    def _changed_members(
        self, old: tuple[Member, ...], depth: int
    ) -> tuple[Member, ...]:
        new = [
            attrs.evolve(each, part=self._changed(each.part))
            for each in old
            if not self._is(0.1)
        ]
        if not new:
            return old  # a collection of records without fields may be refused
        free = [name for name in _NAMES if name not in {each.name for each in old}]
        if free and self._is(0.25):
            new.append(self._member(free[0], depth + 2))
        if self._is(0.3):
            self._random.shuffle(new)
        return tuple(
            attrs.evolve(each, has_default=each.part.kind in ("scalar", "option"))
            if self._is(0.3)
            else each
            for each in new
        )

    def _changed(self, old: Part) -> Part:
        if self._is(0.05):
            return Part("option", parts=(old,)) if old.kind != "option" else old
        if self._is(0.05) and old.kind in ("array", "set"):
            return Part("list", parts=old.parts)
        match old.kind:
            case "scalar":
                if not self._is(0.2):
                    return old
                rows = [row for row in _FAMILIES if old.name in row]
                return Part("scalar", self._random.choice(self._random.choice(rows)))
            case "struct":
                return attrs.evolve(old, fields=self._changed_members(old.fields, 2))
            case "enum":
                return attrs.evolve(old, variants=self._changed_variants(old))
            case _:
                return attrs.evolve(old, parts=tuple(map(self._changed, old.parts)))

    def _changed_variants(
        self, old: Part
    ) -> tuple[tuple[str, tuple[Member, ...]], ...]:
        new = [
            (name, self._changed_members(fields, 3)) for name, fields in old.variants
        ]
        if self._is(0.1):
            new.pop()
        if self._is(0.15):
            new.append(("NEW", ()))
        if self._is(0.3):
            self._random.shuffle(new)
        return tuple(new)


# ---------------------------------------------------------------- made of them


class Maker:
    """Makes the classes of one version of a service."""

    def __init__(self) -> None:
        self._classes: dict[Part, Any] = {}

    def service(self, methods: tuple[Method, ...]) -> ServiceDescriptor:
        return ServiceDescriptor("Shop", tuple(map(self._method, methods)), "")

    def _method(self, method: Method) -> MethodDescriptor:
        hints = {each.name: self.annotation(each.part) for each in method.args}
        items = self.annotation(method.returns)
        hints["received"] = Annotated[Tx[items], Credit(method.credit)]
        hints["sent"] = Annotated[Rx[items], Credit(method.credit)]
        defaults = {each.name: self._default(each) for each in method.args}
        empty = inspect.Parameter.empty
        signature = inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=defaults.get(name, empty),
                )
                for name in hints
            ]
        )
        return method_of_types(
            "Shop",
            method.name,
            hints,
            items,
            None if method.fails is None else self.annotation(method.fails),
            signature,
        )

    def annotation(self, part: Part) -> Any:
        if part.kind in ("struct", "enum"):
            if part not in self._classes:
                self._classes[part] = self._class(part)
            return self._classes[part]
        inner: Any = [self.annotation(each) for each in part.parts]
        made: dict[str, Callable[[], Any]] = {
            "scalar": lambda: _scalar_annotation(part.name),
            "option": lambda: inner[0] | None,
            "list": lambda: list[inner[0]],
            "array": lambda: Annotated[list[inner[0]], Length(2)],
            "set": lambda: frozenset[inner[0]],
            "map": lambda: dict[inner[0], inner[1]],
            "tuple": lambda: tuple[inner[0], inner[1]],
        }
        return made[part.kind]()

    def _class(self, part: Part) -> Any:
        if part.kind == "struct":
            return self._record(part.name, part.fields)
        if not any(fields for _, fields in part.variants):
            return enum.Enum(part.name, [(name, name) for name, _ in part.variants])
        classes = [self._record(name, fields) for name, fields in part.variants]
        return reduce(or_, classes)

    def _record(self, name: str, fields: tuple[Member, ...]) -> Any:
        empty = inspect.Parameter.empty
        return msgspec.defstruct(
            name,
            [
                (each.name, self.annotation(each.part))
                if (default := self._default(each)) is empty
                else (each.name, self.annotation(each.part), default)
                for each in fields
            ],
            frozen=True,
            kw_only=True,
        )

    def _default(self, member: Member) -> Any:
        if not member.has_default:
            return inspect.Parameter.empty
        if member.part.kind == "option":
            return None
        name = member.part.name
        return _DEFAULTS.get(name, 1.5 if name in ("f32", "f64") else 9)


def _scalar_annotation(name: str) -> Any:
    return _PLAIN.get(name) or Annotated[MARKED[name][0], Wire(name)]


def related_services(seed: int) -> tuple[ServiceDescriptor, ServiceDescriptor]:
    """Return two versions of a service."""
    old, new = Chance(seed).services()
    return Maker().service(old), Maker().service(new)
