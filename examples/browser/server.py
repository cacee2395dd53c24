"""A web page, and the service that it uses, in one trio program.

The page calls, streams in both directions, and is told when the server drains. It is
built with node, here from the folder above `examples`:

    roam-trio typescript examples.browser.server:Board roam_trio:Health \\
        --output examples/browser/board.ts
    npx -p typescript tsc -p examples/browser
    python -m examples.browser.server

Then open http://127.0.0.1:8000/. Control-C drains the server.
"""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from typing import Protocol

import attrs
import trio
from quart import Response
from quart_trio import QuartTrio

from roam_trio import Fallible, Rx, Tx, dispatcher, service, serving, u32

HERE = Path(__file__).parent
SCRIPTS = ("page", "board")


@attrs.define
class Missing(Exception):
    """There is not enough left."""

    missing: u32


@service
class Board(Protocol):
    """Counts."""

    async def add(self, left: u32, right: u32) -> u32:
        """Return the sum of two numbers."""
        ...

    async def withdraw(self, amount: u32) -> Fallible[u32, Missing]:
        """Take from a hundred, and return what is left."""
        ...

    async def double(self, numbers: Rx[u32], doubled: Tx[u32]) -> u32:
        """Send back each number, doubled, and return how many there were."""
        ...


class BoardImpl:
    async def add(self, left: int, right: int) -> int:
        return left + right

    async def withdraw(self, amount: int) -> int:
        if amount > 100:
            raise Missing(amount - 100)
        return 100 - amount

    async def double(self, numbers: Rx[int], doubled: Tx[int]) -> int:
        count = 0
        async with doubled:
            async for number in numbers:
                await doubled.send(2 * number)
                count += 1
        return count


def site(scripts: Path, url: str) -> QuartTrio:
    """Return a web application with the page.

    Args:
        scripts: the folder with what the compiler has made of the page's sources.
        url: where the service is.
    """
    app = QuartTrio(__name__)

    @app.get("/")
    async def page() -> Response:
        return Response((HERE / "page.html").read_text("utf-8"))

    @app.get("/<name>.js")
    async def script(name: str) -> Response:
        if name not in SCRIPTS:
            return Response("", 404)
        text = (scripts / f"{name}.js").read_text("utf-8")
        return Response(text, mimetype="text/javascript")

    @app.get("/url")
    async def url_of_service() -> str:
        return url

    return app


async def main(scripts: Path, port: int) -> None:
    """Serve the page at a port, and the service at the next one."""
    # region serve
    url = f"ws://127.0.0.1:{port + 1}/"
    page = f"http://127.0.0.1:{port}"
    handlers = {"board": dispatcher(Board, BoardImpl())}
    stop = [signal.SIGTERM, signal.SIGINT]
    async with (
        # A browser tells from which page it connects; others are refused.
        serving(
            url,
            handlers,
            origins=[page],
            reflection=True,
            grace=10,
            drain_on=stop,
        ),
        trio.open_nursery() as nursery,
    ):
        run_site = partial(
            site(scripts, url).run_task,
            "127.0.0.1",
            port,
            shutdown_trigger=trio.sleep_forever,
        )
        nursery.start_soon(run_site)
    # endregion serve


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    trio.run(main, Path(given.get(0, HERE / "out")), int(given.get(1, 8000)))
