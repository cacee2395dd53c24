"""An interface as Python source: classes, aliases of unions, and services.

Names are made from identifiers of Rust, and texts become literals or escaped
docstrings, so that nothing in a Rust source can become code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final, TypeGuard

from attrs import frozen

from .annotate import Annotator
from .boxes import without_boxes
from .layout import INDENT, WIDTH, bracketed, docstring, import_of
from .model import (
    Definition,
    Enum,
    Field,
    Interface,
    Map,
    Method,
    Named,
    Parameter,
    Primitive,
    Service,
    Set,
    Struct,
    Style,
    Type,
    Variant,
    parts,
    rebuilt,
    within,
)
from .names import PYTHON_BUILTINS, Names, camel, python_name, snake, words

__all__ = ["write_python"]

_TYPING: Final = words("Annotated Generic Literal Protocol TypeAlias TypeVar")
_ROAM: Final = words(
    "Array Credit Fallible Length Rx Slice Tx char f32 i8 i16 i32 i128 isize service "
    "transparent u8 u16 u32 u64 u128 usize"
)
_RESERVED: Final = (
    PYTHON_BUILTINS | _TYPING | _ROAM | words("annotations attrs enum msgspec")
)
_SHORT_NAME: Final = 24
# Attributes of every exception.
_OF_EXCEPTIONS: Final = words("add_note args with_traceback")


def write_python(interface: Interface) -> str:
    """Return the source of a Python module with the services and types of an interface.

    It needs only the dependencies of roam_trio, passes strict type checkers, and has
    the format of ruff.
    """
    return _Writer(without_boxes(interface)).module()


@frozen
class _Class:
    """A class to write: a struct, or a variant of an enum.

    Attributes:
        tag: its name as a variant, if it differs.
    """

    name: str
    style: Style
    fields: tuple[Field, ...]
    doc: str
    parameters: tuple[str, ...] = ()
    transparent: bool = False
    exception: bool = False
    hashable: bool = False
    tag: str | None = None


class _Writer:
    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self._names = Names(lambda name: python_name(name, _RESERVED) != name)
        self._given: dict[str, str] = {}
        self._variants: dict[tuple[str, str], str] = {}
        self._annotator = Annotator(self._given)
        self._aliases: list[str] = []
        self._modules: set[str] = set()
        self._hashable = interface.keys()
        self._name_everything()
        self._exceptions = set(self._find_exceptions())

    def _name_everything(self) -> None:
        types = self._interface.types.values()
        for definition in types:
            self._given[definition.name] = self._names.give(
                _class_name(definition.name)
            )
        for definition in types:
            for parameter in definition.parameters:
                if parameter not in self._given:
                    self._given[parameter] = self._names.give(_class_name(parameter))
        for definition in types:
            if _has_data(definition):
                for each in definition.variants:
                    plain = _class_name(each.name)
                    longer = f"{self._given[definition.name]}{camel(each.name)}"
                    key = definition.name, each.name
                    self._variants[key] = self._names.give(plain, longer)

    def _find_exceptions(self) -> Iterator[str]:
        """Yield the definitions that become exceptions."""
        for service in self._interface.services:
            for method in service.methods:
                if isinstance(method.error, Named):
                    definition = self._interface.types[method.error.name]
                    if self._can_be_raised(definition):
                        yield definition.name

    def _can_be_raised(self, definition: Definition) -> bool:
        if definition.parameters or definition.name in self._hashable:
            return False
        if isinstance(definition, Struct):
            return definition.style != "tuple" and not definition.transparent
        return _has_data(definition) and all(
            each.style != "tuple"
            and self._variants[definition.name, each.name] == each.name
            for each in definition.variants
        )

    # ------------------------------------------------------------ the module

    def module(self) -> str:
        blocks = [
            "\n".join(lines)
            for definition in self._interface.types.values()
            for lines in self._definition(definition)
        ]
        services = ["\n".join(self._service(s)) for s in self._interface.services]
        unions = ["\n".join(self._union(each)) for each in self._unions()]
        aliases = "\n".join([*unions, *self._aliases])
        text = "\n\n\n".join(filter(None, [*blocks, aliases, *services]))
        head = "\n".join(self._head())
        return f"{head}\n\n\n{text}\n" if text else f"{head}\n"

    def _head(self) -> Iterator[str]:
        yield '"""Made by `python -m roam_trio import`."""'
        yield ""
        yield "from __future__ import annotations"
        standard = ["import enum"] if "enum" in self._modules else []
        if self._annotator.typing:
            standard += import_of("typing", sorted(self._annotator.typing))
        if standard:
            yield from ["", *standard]
        others = [
            f"import {name}" for name in ("attrs", "msgspec") if name in self._modules
        ]
        if self._annotator.roam:
            others += import_of("roam_trio", sorted(self._annotator.roam, key=_as_ruff))
        if others:
            yield from ["", *others]
        variables = dict.fromkeys(
            self._given[each]
            for definition in self._interface.types.values()
            for each in definition.parameters
        )
        if variables:
            yield ""
            yield from (f"{each} = TypeVar({_literal(each)})" for each in variables)

    # ------------------------------------------------------------ types

    def _definition(self, definition: Definition) -> Iterator[list[str]]:
        name = self._given[definition.name]
        exception = definition.name in self._exceptions
        hashable = definition.name in self._hashable
        if isinstance(definition, Struct):
            yield self._class(
                _Class(
                    name,
                    definition.style,
                    definition.fields,
                    definition.doc,
                    definition.parameters,
                    definition.transparent,
                    exception,
                    hashable,
                )
            )
        elif not _has_data(definition):
            yield self._enum(name, definition)
        else:
            for each in definition.variants:
                own = self._variants[definition.name, each.name]
                yield self._class(
                    _Class(
                        own,
                        each.style,
                        each.fields,
                        each.doc,
                        _parameters_of(each, definition),
                        False,
                        exception,
                        hashable,
                        None if own == each.name else each.name,
                    )
                )

    def _class(self, made: _Class) -> list[str]:
        lines = self._class_head(made)
        doc = docstring(made.doc, INDENT)
        fields = self._fields(made)
        if doc and fields:
            return [*lines, *doc, "", *fields]
        return [*lines, *(doc or fields or [f"{INDENT}pass"])]

    def _class_head(self, made: _Class) -> list[str]:
        if made.exception:
            self._modules.add("attrs")
            return ["@attrs.define", f"class {made.name}(Exception):"]
        self._modules.add("msgspec")
        bases = ["msgspec.Struct"]
        if made.parameters:
            parameters = ", ".join(self._given[each] for each in made.parameters)
            self._annotator.need("TypeVar")
            bases.append(f"{self._annotator.need('Generic')}[{parameters}]")
        if made.style == "tuple" and not made.transparent:
            bases.append("array_like=True")
        if made.hashable:
            bases.append("frozen=True")
        if made.tag is not None:
            bases.append(f"tag={_literal(made.tag)}")
        head = bracketed(f"class {made.name}(", bases, "):")
        if not made.transparent:
            return head
        self._annotator.roam.add("transparent")
        return ["@transparent", *head]

    def _fields(self, made: _Class) -> list[str]:
        attributes = Names(lambda name: python_name(name, self._hidden(made)) != name)
        lines: list[str] = []
        for each in made.fields:
            wire: str | None = each.name
            if made.style == "tuple":
                wire = None
                wish = "value" if len(made.fields) == 1 else f"field_{each.name}"
            else:
                wish = python_name(each.name, self._hidden(made))
            attribute = attributes.give(wish, f"{wish}_")
            lines += self._field(each, attribute, wire, made)
            lines += docstring(each.doc, INDENT)
        return lines

    def _hidden(self, made: _Class) -> frozenset[str]:
        """Return the names that a field would hide from later annotations."""
        taken = _RESERVED | frozenset(self._given.values())
        taken |= frozenset(self._variants.values())
        return taken | _OF_EXCEPTIONS if made.exception else taken

    def _field(
        self, field: Field, attribute: str, wire: str | None, made: _Class
    ) -> list[str]:
        maker, keyword, seen = "msgspec.field(", "name", attribute
        if made.exception:
            maker, keyword, seen = "attrs.field(", "alias", attribute.lstrip("_")
        named = wire is not None and wire != seen
        begin = f"{INDENT}{attribute}: "
        end = f" = {maker}" if named else ""
        context = made.name if wire is None else wire
        room = WIDTH - len(begin) - len(end)
        annotation = self._fit(field.type, room, context, hashable=made.hashable)
        if not named:
            return [f"{begin}{annotation}"]
        argument = f"{keyword}={_literal(str(wire))}"
        line = f"{begin}{annotation}{end}{argument})"
        if len(line) <= WIDTH:
            return [line]
        return [f"{begin}{annotation}{end}", f"{INDENT * 2}{argument}", f"{INDENT})"]

    def _enum(self, name: str, enum: Enum) -> list[str]:
        self._modules.add("enum")
        members = Names(lambda name: python_name(name) != name or name.startswith("_"))
        lines: list[str] = []
        for each in enum.variants:
            wish = snake(each.name).upper()
            wish = wish if wish.isidentifier() else f"V_{wish}"
            lines.append(f"{INDENT}{members.give(wish)} = {_literal(each.name)}")
            lines += docstring(each.doc, INDENT)
        doc = docstring(enum.doc, INDENT)
        return [f"class {name}(enum.Enum):", *doc, *([""] if doc else []), *lines]

    # ------------------------------------------------------------ aliases

    def _unions(self) -> Iterator[Enum]:
        for each in self._interface.types.values():
            if _has_data(each):
                yield each

    def _union(self, enum: Enum) -> list[str]:
        classes: list[str] = []
        for each in enum.variants:
            parameters = [self._given[p] for p in _parameters_of(each, enum)]
            given = f"[{', '.join(parameters)}]" if parameters else ""
            classes.append(f"{self._variants[enum.name, each.name]}{given}")
        lines = self._alias(self._given[enum.name], classes)
        return [*lines, *docstring(enum.doc, "")]

    def _alias(self, name: str, operands: Sequence[str]) -> list[str]:
        head = f"{name}: {self._annotator.need('TypeAlias')} = "
        line = " | ".join(operands)
        if len(head) + len(line) <= WIDTH:
            return [f"{head}{line}"]
        if len(INDENT) + len(line) <= WIDTH:
            return [f"{head}(", f"{INDENT}{line}", ")"]
        rest = (f"{INDENT}| {each}" for each in operands[1:])
        return [f"{head}(", f"{INDENT}{operands[0]}", *rest, ")"]

    def _fit(
        self, type: Type, room: int, context: str, *, hashable: bool = False
    ) -> str:
        """Return an annotation that fits the line, with aliases for its parts if
        necessary.
        """
        while len(text := self._annotator.text(type, hashable=hashable)) > room:
            wide = [
                each for each in parts(type) if len(self._annotator.text(each)) > 20
            ]
            wide = [each for each in wide if not _is_name(each)]
            if not wide:
                break
            widest = max(wide, key=lambda each: len(self._annotator.text(each)))
            type = self._with_alias(type, widest, context, hashable)
        return text

    def _with_alias(
        self, type: Type, widest: Type, context: str, hashable: bool
    ) -> Type:
        """Return the type with an alias in place of one of its parts."""
        in_key = hashable or (
            isinstance(type, Set) or (isinstance(type, Map) and type.key == widest)
        )
        wish = f"{camel(context)}Part"
        name = self._names.give(wish if len(wish) <= _SHORT_NAME else "Part")
        head = f"{name}: {self._annotator.need('TypeAlias')} = "
        text = self._fit(widest, WIDTH - len(head), context, hashable=in_key)
        self._aliases.append(f"{head}{text}")
        self._given[name] = name
        alias = Named(name, tuple(dict.fromkeys(_variables(widest))))
        return rebuilt(type, lambda part: alias if part == widest else part)

    # ------------------------------------------------------------ services

    def _service(self, service: Service) -> list[str]:
        wish = _class_name(service.name)
        name = self._names.give(wish, f"{wish}Service")
        self._annotator.roam.add("service")
        given = "" if name == service.name else f"(name={_literal(service.name)})"
        head = f"class {name}({self._annotator.need('Protocol')}):"
        lines = [f"@service{given}", head, *docstring(service.doc, INDENT)]
        bodies = [self._method(each) for each in service.methods]
        if not bodies:
            return lines if service.doc else [*lines, f"{INDENT}pass"]
        for number, body in enumerate(bodies):
            lines += [*([""] if number or service.doc else []), *body]
        return lines

    def _method(self, method: Method) -> list[str]:
        hidden = _RESERVED | frozenset(self._given.values())
        name = python_name(method.name, hidden)
        names = Names(lambda name: python_name(name, ("self",)) != name)
        args = ["self"]
        for each in method.args:
            plain = python_name(each.name, ("self",))
            begin = f"{names.give(plain)}: "
            room = WIDTH - len(INDENT) * 2 - len(begin) - 1
            args.append(f"{begin}{self._fit(each.type, room, each.name)}")
        result = self._result(method, WIDTH - len(INDENT) - len(") -> : ..."))
        doc = docstring(method.doc, INDENT * 2)
        tail = f") -> {result}:"
        head = f"async def {name}("
        lines = bracketed(head, args, tail if doc else f"{tail} ...", INDENT)
        return [*lines, *doc, f"{INDENT * 2}..."] if doc else lines

    def _result(self, method: Method, room: int) -> str:
        if method.error is None:
            return self._fit(method.ok, room, "Result")
        self._annotator.roam.add("Fallible")
        room -= len("Fallible[, ]")
        error = self._fit(method.error, room // 2, "Error")
        ok = self._fit(method.ok, room - len(error), "Result")
        return f"Fallible[{ok}, {error}]"


# ---------------------------------------------------------------- what types hold


def _has_data(definition: Definition) -> TypeGuard[Enum]:
    return isinstance(definition, Enum) and any(
        each.style != "unit" for each in definition.variants
    )


def _parameters_of(variant: Variant, enum: Enum) -> tuple[str, ...]:
    """Return the type parameters of the class of a variant.

    These are the ones it uses, unless a union of such classes would have its parameters
    in another order than the enum.
    """
    used = [_used_by(each, enum) for each in enum.variants]
    met = dict.fromkeys(name for names in used for name in names)
    if tuple(met) != enum.parameters:
        return enum.parameters
    return _used_by(variant, enum)


def _used_by(variant: Variant, enum: Enum) -> tuple[str, ...]:
    found = {
        each.name
        for each in within(field.type for field in variant.fields)
        if isinstance(each, Parameter)
    }
    return tuple(each for each in enum.parameters if each in found)


def _variables(type: Type) -> Iterator[Parameter]:
    """Yield the type parameters in a type, in the order of its annotation."""
    if isinstance(type, Parameter):
        yield type
    for each in parts(type):
        yield from _variables(each)


def _is_name(type: Type) -> bool:
    return isinstance(type, Primitive | Parameter) or (
        isinstance(type, Named)
        and all(isinstance(each, Parameter) for each in type.args)
    )


# ---------------------------------------------------------------- text


def _class_name(name: str) -> str:
    found = python_name(name)
    return found.lstrip("_") or "Type" if found.startswith("_") else found


def _literal(name: str) -> str:
    """Return a text as a literal, with the quotes that ruff prefers."""
    return json.dumps(name, ensure_ascii=False)


def _as_ruff(name: str) -> tuple[bool, int, str, int]:
    """Return the sort key of ruff: classes first, and numbers in names by value."""
    digits = name.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    plain = name.removesuffix(digits)
    return (name[0].islower(), 0, plain, int(digits or 0))
