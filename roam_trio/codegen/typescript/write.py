"""Services as one file of TypeScript: the runtime, types, clients and handlers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from ...service import ServiceDescriptor
from ...service.description.model import MethodSchema, ServiceSchema, TupleType, Type
from .aliases import union_aliases
from .names import Names, lower_camel, upper_camel
from .runtime import runtime_names, runtime_text
from .text import comment, default_text, literal
from .types import Types, TypesOfService

__all__ = ["write_typescript"]

_HEAD: Final = """\
// Made by roam-trio; changes to it are lost when it is made again.
//
// The first part is the runtime, which speaks the roam protocol. The types of the
// services follow, and then, for each service, a client and a handler.
"""

_CLIENT_NAMES: Final = ("connection",)


def write_typescript(services: Sequence[ServiceDescriptor]) -> str:
    """Return a self-contained module of TypeScript for these services.

    It passes ``tsc --strict``, from TypeScript 5.7 on. The ids of methods are those of
    the descriptors.

    Args:
        services: descriptors, from `roam_trio.describe`.

    Raises:
        SchemaError: a part of them has no counterpart in TypeScript; the error has its
            path.
    """
    names = Names(runtime_names())
    types = Types(names)
    written: list[str] = []
    for service in dict.fromkeys(services):
        schema = service.schema
        within = types.of(schema.types, union_aliases(service))
        written.append(_Service(schema, within, names).text())
    return "\n".join([_HEAD, runtime_text(), _RULE, *types.written, *written])


_RULE: Final = f"// {'-' * 64} types and services\n"


@frozen
class _Method:
    """A method, with its names and types in TypeScript."""

    schema: MethodSchema
    name: str
    constant: str
    parameters: tuple[str, ...]
    types: tuple[str, ...]
    value: str
    error: str | None

    @property
    def returns(self) -> str:
        if self.error is None:
            return f"Promise<{self.value}>"
        return f"Promise<Result<{self.value}, {self.error}>>"

    def declared(self, *, defaults: bool, last: str) -> str:
        """Return the parameters with their types, and one more."""
        texts: list[str] = []
        may_have_default = defaults
        for name, type, arg in zip(
            reversed(self.parameters),
            reversed(self.types),
            reversed(self.schema.args),
            strict=True,
        ):
            default = default_text(arg.type, arg.default) if may_have_default else None
            may_have_default = default is not None
            given = "" if default is None else f" = {default}"
            texts.append(f"{name}: {type}{given}")
        return ", ".join([*reversed(texts), last])


class _Service:
    """Writes one service."""

    def __init__(
        self, schema: ServiceSchema, types: TypesOfService, names: Names
    ) -> None:
        self._schema = schema
        self._types = types
        name = upper_camel(schema.name)
        self._client = names.give(f"{name}Client")
        self._interface = names.give(f"{name}Handler")
        self._handler = names.give(f"{lower_camel(schema.name)}Handler")
        members = Names(_CLIENT_NAMES)
        self._methods = [
            self._method(
                each,
                members.give(lower_camel(each.name)),
                names.give(lower_camel(f"{schema.name}_{each.name}")),
            )
            for each in schema.methods
        ]

    def _method(self, method: MethodSchema, name: str, constant: str) -> _Method:
        parameters = Names(("options", "context"))
        type = self._types.type
        return _Method(
            method,
            name,
            constant,
            tuple(parameters.give(lower_camel(each.name)) for each in method.args),
            tuple(type(each.type) for each in method.args),
            "void" if method.returns == "unit" else type(method.returns),
            None if method.fails is None else type(method.fails),
        )

    def text(self) -> str:
        """Return the constants of the methods, the client and the handler."""
        return "\n".join(
            [
                *map(self._constant, self._methods),
                "".join(self._client_lines()),
                "".join(self._handler_lines()),
            ]
        )

    def _constant(self, method: _Method) -> str:
        schema, codec = method.schema, self._types.codec
        types: list[Type] = [each.type for each in schema.args]
        args = self._types.type(TupleType(tuple(types)))
        value = "nothing" if schema.returns == "unit" else codec(schema.returns)
        error = "null" if schema.fails is None else codec(schema.fails)
        return (
            f"export const {method.constant}: "
            f"Method<{args}, {method.value}, {method.error or 'never'}> = {{\n"
            f"  name: {literal(f'{self._schema.name}/{schema.name}')},\n"
            f"  id: 0x{schema.id:016x}n,\n"
            f"  args: {self._types.tuple_codec(types)},\n"
            f"  value: {value},\n"
            f"  error: {error},\n"
            f"}};\n"
        )

    def _client_lines(self) -> Iterator[str]:
        yield comment(self._schema.doc)
        yield f"export class {self._client} {{\n"
        yield "  readonly connection: Connection;\n\n"
        yield "  constructor(connection: Connection) {\n"
        yield "    this.connection = connection;\n"
        yield "  }\n"
        for each in self._methods:
            call = "call" if each.error is None else "tryCall"
            declared = each.declared(defaults=True, last="options: CallOptions = {}")
            arguments = f"[{', '.join(each.parameters)}]"
            yield f"\n{comment(each.schema.doc, '  ')}"
            yield f"  {each.name}({declared}): {each.returns} {{\n"
            yield f"    return this.connection.{call}"
            yield f"({each.constant}, {arguments}, options);\n  }}\n"
        yield "}\n"

    def _handler_lines(self) -> Iterator[str]:
        yield comment(f"Implements {self._schema.name} on this side.")
        yield f"export interface {self._interface} {{\n"
        for each in self._methods:
            declared = each.declared(defaults=False, last="context: CallContext")
            yield f"  {each.name}({declared}): {each.returns};\n"
        yield "}\n\n"
        given = f"handler: {self._interface}"
        yield f"export function {self._handler}({given}): Handler {{\n"
        yield "  return new Map([\n"
        for each in self._methods:
            call = f"handler.{each.name}(...args, context)"
            answer = (
                f"async (args, context) => ok(await {call})"
                if each.error is None
                else f"(args, context) => {call}"
            )
            yield f"    route({each.constant}, {answer}),\n"
        yield "  ]);\n}\n"
