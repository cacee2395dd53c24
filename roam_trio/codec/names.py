"""Names under which generated source finds what it does not define itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..schema import filling
from ..schema.shape import IntShape
from . import primitives
from .fixed import packer, unpacker
from .source import Module

__all__ = ["Names"]


class Names:
    """Binds the functions and tables that the encoders and decoders of a module use.

    Each method returns a name, or an expression with one, to be written into the
    source. Asked again, it returns the same.
    """

    def __init__(self, module: Module) -> None:
        self._module = module

    def primitive(self, name: str) -> str:
        """Return the name of a function or a table of `primitives`."""
        return self._module.bind(name, getattr(primitives, name))

    def filling(self, name: str) -> str:
        """Return the name of a function of `schema.filling`."""
        return self._module.bind(name, getattr(filling, name))

    def refuse(self, what: str) -> str:
        """Return a call that raises, for a value or bytes that are wrong."""
        return f"{self.primitive('refuse')}({what!r})"

    def packer(self, form: str) -> str:
        """Return the name of the packer of a format of `struct`."""
        return self._module.bind(f"pack_{form}", packer(form))

    def unpacker(self, form: str) -> str:
        """Return the name of the unpacker of a format of `struct`."""
        return self._module.bind(f"unpack_{form}", unpacker(form))

    def writer(self, shape: IntShape) -> str:
        """Return the name of the function that encodes an `int` of a type."""
        return self._module.bind(f"write_{shape.name}", primitives.WRITERS[shape.name])

    def written_length(self, length: str) -> str:
        """Return a call that encodes a length, which is a variable."""
        write = self._module.bind("write_usize", primitives.WRITERS["usize"])
        return f"{write}({length})"

    def indices(self, hint: str, members: Sequence[object]) -> str:
        """Return the name of a table from the id of a member to its encoded index."""
        write = primitives.WRITERS["u32"]
        table = {id(member): write(index) for index, member in enumerate(members)}
        return self._module.bind(hint, table)
