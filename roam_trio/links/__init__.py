"""Links: how payloads get from one peer to the other, and the ways to make one.

`base` says what a link is; `memory` and `stream` are links, `tcp` and `local` make
stream links on sockets. `roam_trio.testing.link_conformance` holds what every link
must pass.
"""

from .base import Buffer, Link, LinkRx, LinkTx, LinkTxPermit, SplitLink, WriteSlot
from .local import LocalLink, LocalListener
from .memory import (
    MemoryLink,
    MemoryLinkRx,
    MemoryLinkTx,
    MemoryLinkTxPermit,
    MemoryWriteSlot,
    memory_link_pair,
)
from .stream import StreamLimits, StreamLink, StreamLinkRx, StreamLinkTx
from .tcp import connect_tcp, tcp_link

__all__ = [
    "Buffer",
    "Link",
    "LinkRx",
    "LinkTx",
    "LinkTxPermit",
    "LocalLink",
    "LocalListener",
    "MemoryLink",
    "MemoryLinkRx",
    "MemoryLinkTx",
    "MemoryLinkTxPermit",
    "MemoryWriteSlot",
    "SplitLink",
    "StreamLimits",
    "StreamLink",
    "StreamLinkRx",
    "StreamLinkTx",
    "WriteSlot",
    "connect_tcp",
    "memory_link_pair",
    "tcp_link",
]
