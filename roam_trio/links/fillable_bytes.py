"""Memory that is filled in place and then returned as bytes, without another copy."""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any, Final
from weakref import ReferenceType

__all__ = ["FillableBytes"]


class _Storage(BytesIO):
    """A BytesIO that the garbage collector may collect while a view of it exists.

    The collector closes the files that it collects, which fails for a BytesIO with a
    view, and some releases of Python report that failure.
    """

    __slots__ = ()

    def close(self) -> None:
        """Do nothing: there is only memory to release."""


_IS_KEPT: Final = sys.version_info[:2] == (3, 12)
"""True where the collector must not clear a storage and its views together.

That of CPython 3.12.1 crashes then, as with the frames of a link that has failed in the
middle of a payload.
"""

_kept: Final[dict[ReferenceType[Any], memoryview]] = {}
"""The views of all byte strings, until their owners are gone: the collector does not
clear what is in here, and views keep their storage."""


class FillableBytes:
    """A byte string under construction.

    Write into `view`, then call `finish` once. CPython builds the bytes object in
    place. It copies only if a slice of `view` still exists at that moment, so the
    result can never change.
    """

    __slots__ = ("__weakref__", "_storage", "view")

    def __init__(self, length: int) -> None:
        # BytesIO uses an initial value to which there is no other reference as its
        # buffer, and getbuffer() makes it writable.
        self._storage = _Storage(bytes(length))
        self.view = self._storage.getbuffer()
        if _IS_KEPT:
            _kept[ReferenceType(self, _forget)] = self.view

    def finish(self) -> bytes:
        """Return the present bytes. `view` is invalid afterwards."""
        self.view.release()
        return self._storage.getvalue()


def _forget(owner: ReferenceType[Any]) -> None:
    del _kept[owner]
