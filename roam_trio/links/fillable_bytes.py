"""Memory that is filled in place and then handed out as bytes, without another copy."""

from __future__ import annotations

from io import BytesIO

__all__ = ["FillableBytes"]


class _Storage(BytesIO):
    """A BytesIO that the garbage collector may find while it is being written to.

    The collector closes files that it finds, which fails for a BytesIO with a view of
    it, and some releases of Python report that.
    """

    __slots__ = ()

    def close(self) -> None:
        """Do nothing: memory is all there is to let go of."""


class FillableBytes:
    """A byte string under construction.

    Write into `view`, then call `finish` once. CPython builds the bytes object in
    place; it copies only if somebody still holds a slice of `view` at that moment, so
    the result can never change afterwards.
    """

    __slots__ = ("_storage", "view")

    def __init__(self, length: int) -> None:
        # BytesIO takes over an initial value that nobody else refers to, and lets it
        # be written through getbuffer().
        self._storage = _Storage(bytes(length))
        self.view = self._storage.getbuffer()

    def finish(self) -> bytes:
        """Return the bytes as they are now. `view` is of no use afterwards."""
        self.view.release()
        return self._storage.getvalue()
