"""Conversion of services to TypeScript.

    ServiceSchema --write_typescript--> one file: the runtime, types, clients, handlers

The runtime, which speaks the protocol, is in the folder ``runtime``, as modules of
TypeScript. This room has only synchronous functions of text and plain data.
"""

from .write import write_typescript

__all__ = ["write_typescript"]
