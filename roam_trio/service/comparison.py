"""`compare`: the differences between two services."""

from __future__ import annotations

from .description.comparing import Change, compare_schemas
from .descriptor import ServiceDescriptor

__all__ = ["Change", "compare"]


def compare(old: ServiceDescriptor, new: ServiceDescriptor) -> list[Change]:
    """Return the differences between two descriptions of a service, and who breaks.

    An empty list means that clients and servers of both work together. Docstrings, the
    names of classes and the order of methods make no difference.

    Args:
        old: a descriptor, from `describe` or made of a schema.
        new: the descriptor of the service after a change.

    Raises:
        SchemaError: the types are nested too deeply to be compared.
    """
    return compare_schemas(old.schema, new.schema)
