"""A link of one's own, which hands out views of its memory instead of bytes."""

from __future__ import annotations

from roam_trio import Backing, Link, LinkRx, SplitLink
from roam_trio.links.base import RxStatistics

__all__ = ["on_views"]


class ViewsRx(LinkRx):
    """Receives each payload into memory that it owns, as from shared memory."""

    def __init__(self, rx: LinkRx) -> None:
        self._rx = rx

    async def recv(self) -> memoryview | None:
        return _view_of(await self._rx.recv())

    def recv_nowait(self) -> memoryview | None:
        return _view_of(self._rx.recv_nowait())

    def statistics(self) -> RxStatistics:
        return self._rx.statistics()

    async def close(self) -> None:
        await self._rx.close()


def _view_of(payload: Backing | None) -> memoryview | None:
    if payload is None:
        return None
    memory = bytearray(b"<%b>" % payload)
    return memoryview(memory)[1:-1].toreadonly()


def on_views(link: Link) -> Link:
    """Return a link that receives what `link` does, as views."""
    tx, rx = link.split()
    return SplitLink(tx, ViewsRx(rx))
