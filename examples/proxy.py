"""A proxy between clients and a server: `python examples/proxy.py`.

It knows none of their services. What a client opens, it opens at the server, and joins
the two: calls, cancellation, channels and metadata pass both ways.
"""

from __future__ import annotations

from typing import Protocol

import trio

from roam_trio import (
    ProxyAcceptor,
    Rx,
    Tx,
    acceptor,
    channel,
    connect,
    dispatcher,
    serve,
    service,
)
from roam_trio.links.tcp import tcp_link


@service
class Text(Protocol):
    async def shout(self, text: str) -> str: ...

    async def shout_all(self, texts: Rx[str], shouts: Tx[str]) -> None: ...


class TextImpl:
    async def shout(self, text: str) -> str:
        return f"{text.upper()}!"

    async def shout_all(self, texts: Rx[str], shouts: Tx[str]) -> None:
        async with shouts:
            async for text in texts:
                await shouts.send(await self.shout(text))


async def proxy(
    server_url: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Listen, and pass on what comes; reports its own URL."""
    async with connect(server_url) as server, trio.open_nursery() as nursery:

        async def pass_on(stream: trio.SocketStream) -> None:
            link = tcp_link(stream)
            async with acceptor(
                link, on_connection=ProxyAcceptor(server)
            ).open() as client:
                await client.closed()

        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        task_status.started(f"tcp://127.0.0.1:{port}")
        await trio.serve_listeners(pass_on, [listener], handler_nursery=nursery)


async def send_all(words: str, texts: Tx[str]) -> None:
    async with texts:
        for word in words.split():
            await texts.send(word)


async def use(url: str) -> None:
    async with connect(url) as session, session.open(Text) as text:
        print(await text.shout("hello"))
        texts, taken = channel[str]()
        given, shouts = channel[str]()
        async with trio.open_nursery() as calling:
            calling.start_soon(send_all, "to be or not", texts)
            calling.start_soon(text.shout_all, taken, given)
            print(" ".join([shout async for shout in shouts]))


async def main() -> None:
    async with trio.open_nursery() as nursery:
        offered = {"text": dispatcher(Text, TextImpl())}
        server = await nursery.start(serve, "tcp://127.0.0.1:0", offered)
        proxy_url = await nursery.start(proxy, server.url)
        await use(proxy_url)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
