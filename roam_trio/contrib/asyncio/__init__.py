"""roam_trio for programs on asyncio, clients and servers.

    from roam_trio.contrib.asyncio import connect

    async with connect("tcp://127.0.0.1:7000", Adder) as adder:
        async with asyncio.timeout(2):
            assert await adder.add(3, 5) == 8

trio runs as the guest of asyncio's loop, in the same thread: one run of trio for each
loop, which its first user begins and its last one ends. The names are those of
`roam_trio`, and do the same; async functions are awaited in tasks of asyncio.
Cancelling such a task cancels the operation in trio, and waits for its end. There is
more in docs/how-to/asyncio.md.
"""

from .channels import Rx, Tx, channel
from .clients import aclose, client, state
from .connecting import connect, stay_connected
from .deadlines import timeout
from .guest import in_asyncio, in_trio
from .handlers import dispatcher
from .opening import Opening
from .serving import Server, serving
from .sessions import Session

__all__ = [
    "Opening",
    "Rx",
    "Server",
    "Session",
    "Tx",
    "aclose",
    "channel",
    "client",
    "connect",
    "dispatcher",
    "in_asyncio",
    "in_trio",
    "serving",
    "state",
    "stay_connected",
    "timeout",
]
