"""Links: how payloads get from one peer to the other, and the ways to make one.

`base` says what a link is; `memory`, `stream` and `websocket` are links. `tcp`, `local`
and `tls` make stream links on sockets, `stdio` on this process's own input and output,
and `child` on those of a program it starts. `roam_trio.testing.link_conformance` holds
what every link must pass.
"""

from .base import Buffer, Link, LinkRx, LinkTx, LinkTxPermit, SplitLink, WriteSlot
from .child import SpawnedLink, spawn_link
from .local import LocalLink, LocalListener
from .memory import (
    MemoryLink,
    MemoryLinkRx,
    MemoryLinkTx,
    MemoryLinkTxPermit,
    MemoryWriteSlot,
    memory_link_pair,
)
from .stdio import stdio_link
from .stream import StreamLimits, StreamLink, StreamLinkRx, StreamLinkTx
from .tcp import connect_tcp, tcp_link
from .tls import accept_tls, connect_tls

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
    "SpawnedLink",
    "SplitLink",
    "StreamLimits",
    "StreamLink",
    "StreamLinkRx",
    "StreamLinkTx",
    "WriteSlot",
    "accept_tls",
    "connect_tcp",
    "connect_tls",
    "memory_link_pair",
    "spawn_link",
    "stdio_link",
    "tcp_link",
]
