"""`compare`: the differences between two services."""

from __future__ import annotations

from .description.comparing import Change, compare_schemas
from .description.model import ServiceSchema
from .descriptor import ServiceDescriptor

__all__ = ["Change", "compare"]


def compare(
    old: ServiceDescriptor | ServiceSchema, new: ServiceDescriptor | ServiceSchema
) -> list[Change]:
    """Return the differences between two descriptions of a service, and who breaks.

    An empty list means that clients and servers of both work together. Docstrings, the
    names of classes and the order of methods make no difference.

    Args:
        old: a descriptor from `describe`, or a schema.
        new: the same of the service after a change.

    Raises:
        SchemaError: the types are nested too deeply to be compared, or too many of them
            refer to one another.
    """
    return compare_schemas(_schema_of(old), _schema_of(new))


def _schema_of(described: ServiceDescriptor | ServiceSchema) -> ServiceSchema:
    return described if isinstance(described, ServiceSchema) else described.schema
