"""The search of the site in Chromium, from the disk and from a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trio

from ..chromium import CHROMIUM, Page, browsing
from ..two_processes.processes import within

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium was not found"),
]

# The parts of the search lie in the shadow of the element that has the focus.
DIALOG = "document.activeElement.shadowRoot"
FOUND = f"""
[...({DIALOG}?.querySelectorAll("[role=listbox] a") ?? [])].map(each => each.href)
"""
# A page from the disk has no entries for what it has loaded.
LOADED = """
[...performance.getEntriesByType("resource").map(each => each.name),
 ...[...document.querySelectorAll("script[src], img[src], iframe[src]")]
     .map(each => each.src)]
"""


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(site: Path, how: str) -> Iterator[str]:
    """Yield the URL of the site."""
    if how == "from the disk":
        yield site.as_uri()
        return
    handler = partial(Silent, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def until(page: Page, expression: str) -> Any:
    """Wait until an expression has a value, and return it."""
    while True:
        if value := await page.evaluate(expression):
            return value
        await trio.sleep(0.05)


@within(120)
@pytest.mark.parametrize("how", ["from the disk", "from a server"])
async def test_search_finds_pages_and_loads_nothing_from_elsewhere(
    site: Path, tmp_path: Path, how: str
) -> None:
    with served(site, how) as url:
        async with browsing(tmp_path) as page:
            await page.open(f"{url}/reference/limits.html")
            button = "document.querySelector('.md-search__button')"
            await until(page, f"document.readyState === 'complete' && !!{button}")
            await page.evaluate(f"{button}.click()")
            await until(page, f"!!{DIALOG}?.querySelector('input')")
            await page.ask("Input.insertText", text="stay_connected")
            found = await until(page, f"(found => found.length && found)({FOUND})")
            loaded = await page.evaluate(LOADED)
    pages = {link.partition("#")[0].partition("?")[0] for link in found}
    assert f"{url}/reference/lasting.html" in pages, json.dumps(found)
    assert loaded
    assert [each for each in loaded if not each.startswith(url)] == []
