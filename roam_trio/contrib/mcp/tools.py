"""Tools made from a described service: names, descriptions and JSON schemas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen

from ...errors import SchemaError
from ...legible import legible
from ...service.description.convertible import has_channels, types_with_channels
from ...service.description.json_schema import JsonSchema, JsonSchemas
from ...service.description.model import (
    ChannelType,
    MethodSchema,
    ServiceSchema,
    Type,
)
from ...service.description.safe_names import distinct_names

__all__ = ["MOST_DOC", "Tool", "tools_of"]

MOST_DOC = 4096
"""Length, in characters, to which the description of a tool is cut."""

MOST_TOOLS = 1000
"""Number of tools of all services together."""

MOST_NAME = 64
"""Length, in characters, of a name that clients of the protocol generally allow."""

_BOOLEAN: Final[JsonSchema] = {"type": "boolean"}


@frozen
class Tool:
    """A method that is a tool.

    Attributes:
        name: the name of the tool: letters, digits, ``_`` and ``-``.
        service: the name under which the peer offers the service.
        method: the description of the method.
        parameters: the names of its arguments in Python, by those of the description.
        inputs: the names of arguments that are channels for items of the caller.
        outputs: the names of arguments that are channels for items of the handler.
        description: says what it does.
        input_schema: the schema of its arguments. Channels for items of the caller are
            arrays; those for items of the handler are left out.
        output_schema: the schema of an object with the result, and with the items of
            each channel.
    """

    name: str
    service: str
    method: MethodSchema
    parameters: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    description: str
    input_schema: JsonSchema
    output_schema: JsonSchema

    @property
    def is_read_only(self) -> bool:
        return self.method.effect == "read-only"

    @property
    def is_idempotent(self) -> bool:
        return self.method.effect != "any"


def tools_of(services: Mapping[str, ServiceSchema]) -> dict[str, Tool]:
    """Return the tools of services by their names.

    Methods with a channel inside an argument have no form in JSON and are left out.

    Args:
        services: descriptions by the names under which the peer offers them.

    Raises:
        SchemaError: there would be more than `MOST_TOOLS` tools, or the types of a
            method are too many for a JSON schema.
    """
    found: dict[str, Tool] = {}
    for service, schema in services.items():
        maker = JsonSchemas(schema)
        with_channels = types_with_channels({each.name: each for each in schema.types})
        for method in schema.methods:
            if not any(
                has_channels(part, with_channels)
                for arg in method.args
                for part in _within(arg.type)
            ):
                if len(found) == MOST_TOOLS:
                    raise SchemaError(
                        f"its services have more than MOST_TOOLS ({MOST_TOOLS}) methods"
                        ": offer fewer services",
                        legible(service),
                    )
                name = _free_name(f"{service}_{method.name}", found)
                found[name] = _tool(name, service, method, maker)
    return found


def _tool(name: str, service: str, method: MethodSchema, maker: JsonSchemas) -> Tool:
    channels = {
        arg.name: arg.type for arg in method.args if isinstance(arg.type, ChannelType)
    }
    outputs = {each: type for each, type in channels.items() if type.direction == "tx"}
    inputs = {arg.name: arg for arg in method.args if arg.name not in outputs}
    names = [arg.name for arg in method.args]
    return Tool(
        name,
        service,
        method,
        dict(zip(names, distinct_names(names), strict=True)),
        tuple(each for each in channels if each not in outputs),
        tuple(outputs),
        _description(service, method),
        maker.of_members(inputs),
        _output_schema(method, outputs, maker),
    )


def _output_schema(
    method: MethodSchema, outputs: Mapping[str, ChannelType], maker: JsonSchemas
) -> JsonSchema:
    if not outputs:
        return maker.of_properties({"result": method.returns}, ["result"])
    result = maker.of_properties({"result": method.returns}, [])
    items = maker.of_properties(dict(outputs), [*outputs])
    definitions = {**result.pop("$defs", {}), **items.pop("$defs", {})}
    whole = {
        **result,
        "properties": {**result["properties"], "items": items, "cut": _BOOLEAN},
        "required": ["items", "cut"],
    }
    return {**whole, "$defs": definitions} if definitions else whole


def _description(service: str, method: MethodSchema) -> str:
    doc = method.doc or f"Call {service}.{method.name}."
    lines = doc[:MOST_DOC].split("\n")
    return "\n".join(legible(line, MOST_DOC) for line in lines)[:MOST_DOC]


def _free_name(text: str, taken: Mapping[str, object]) -> str:
    """Return a valid name for a tool that resembles a text and is not taken."""
    base = re.sub(r"[^A-Za-z0-9_-]", "_", text)[:MOST_NAME]
    name = base
    number = 2
    while name in taken:
        end = f"_{number}"
        name = base[: MOST_NAME - len(end)] + end
        number += 1
    return name


def _within(type: Type) -> tuple[Type, ...]:
    """Return the item of a channel, or the type if it is none."""
    return (type.item,) if isinstance(type, ChannelType) else (type,)
