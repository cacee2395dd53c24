"""Every example prints what it is there to show: by itself, and over every scheme."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from roam_trio import Handler, OfferedServices, acceptor, dispatcher, serve
from roam_trio.links.child import spawn_link

from .schemes import SCHEMES, Scheme, trusted_certificates
from .test_bank_example import DAY
from .using_examples import example, use_examples

ROOT = Path(__file__).parent.parent
EXAMPLES = {path.stem: path for path in (ROOT / "examples").glob("*.py")}

SHOWN = {
    "adder": "3 + 5 = 8\n",
    "streaming": (
        "mean: 18.0\n"
        "countdown: [3, 2, 1]\n"
        "smoothed: [12.0, 13.5, 15.0, 21.0, 22.0, 21.0]\n"
    ),
    "library": (
        "Good morning, Ada.\n"
        "Bertie: Refusal.NO_SUCH_MEMBER\n"
        "  [server] lend, asked for by 'Ada'\n"
        "Emma: for 14 days, from desk 'north'\n"
        "  [server] lend, asked for by 'Ada'\n"
        "Ulysses: lent out, back in 9 days\n"
        "  [server] lend, asked for by 'Ada'\n"
        "Dune: there is no such book\n"
    ),
    "features": (
        "counter: 3 7\n"
        "text: HELLO!\n"
        "votes: 1\n"
        "abacus: 'abacus' is not one of the services: counter, text, votes\n"
    ),
    "callback": "  [Ada] Tea at five.\n  [Bea] Tea at five.\nread by 2\n",
    "weather": ("Rome: sun, 23.0\nRome: sun, 23.0\nOslo: [11.5, 16.0, 19.5, 14.0]\n"),
    "proxy": "HELLO!\nTO! BE! OR! NOT!\n",
}

BY_THEMSELVES = {
    **SHOWN,
    "from_asyncio": (
        "mean: 18.0\n"
        "count: [0, 1, 2, 3, 4]\n"
        "  [server] the caller has given up\n"
        "think: no answer in time\n"
        "mean: at least 1\n"
    ),
    "bank": DAY.format(transport="unix"),
    "logs": (
        '{"levelname": "DEBUG", "name": "roam_trio.service", "message": "Shop.buy: the '
        "handler has refused the call: sold-out: there is no more tea "
        '(this process)", "roam_method": "Shop.buy", "roam_peer": "this process", '
        '"roam_connection": 0, "roam_error_id": null}\n'
        '{"event": "Shop.buy: the handler has refused the call: sold-out: there is no '
        'more tea (this process)", "level": "debug", "logger": "roam_trio.service", '
        '"roam_connection": 0, "roam_error_id": null, "roam_method": "Shop.buy", '
        '"roam_peer": "this process"}\n'
        "refused: sold-out\n"
    ),
    "numpy_arrays": (
        "copied on receipt: False\n"
        "largest level: 0.75\n"
        "refused: argument 'sound': expected an array of shape (any, 2), got (3,) "
        "- at $.sound\n"
    ),
    "pydantic_models": (
        "to pay: 12\n"
        "sold out: left=100\n"
        "  [server] Shop.buy: undecodable arguments: argument 'order': Order refused "
        "its fields: ValueError: more than ten are paid by card - at $.order "
        "(this process)\n"
        "refused: Shop.buy: the peer could not decode the arguments\n"
    ),
    "telemetry": (
        "12 for tea\n"
        "prices of the day: [12, 13]\n"
        "INTERNAL a day\n"
        "  CLIENT Shop/price ok (retry)\n"
        "    SERVER Shop/price unavailable\n"
        "    SERVER Shop/price ok\n"
        "  CLIENT Shop/watch ok\n"
        "    SERVER Shop/watch ok\n"
    ),
    "first": "8\n",
    "starlette_on_asyncio": "{'balance': 150}\n",
    "starlette_on_trio": "Monday: {'balance': 150}\nTuesday: {'balance': 150}\n",
    "web": "Monday: {'balance': 150}\nTuesday: {'balance': 150}\n",
    "gateway": "served by ['north', 'south'], one after the other\n",
}
"""With those that run on transports of their choice alone."""


def test_every_example_is_run() -> None:
    assert EXAMPLES.keys() == BY_THEMSELVES.keys()


@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_example_shows_what_it_is_for(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES[name]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        BY_THEMSELVES[name],
        "",
    )


# ---------------------------------------------------------------- over every scheme


def served(name: str) -> Handler | dict[str, Handler]:
    """What the server of an example answers with."""
    module = example(name)
    if name == "features":
        offered: dict[str, Handler] = module.offered()
        return offered
    if name == "weather":
        by_name: dict[str, Handler] = module.handlers()
        return by_name
    if name == "proxy":
        return {"text": dispatcher(module.Text, module.TextImpl())}
    service, implementation = {
        "adder": ("Adder", "AdderImpl"),
        "callback": ("Board", "BoardImpl"),
        "library": ("Library", "LibraryImpl"),
        "streaming": ("Thermometer", "ThermometerImpl"),
    }[name]
    made = getattr(module, implementation)()
    return dispatcher(getattr(module, service), made)


async def started(
    nursery: trio.Nursery, name: str, scheme: Scheme, directory: Path
) -> str:
    """Start the server of an example; returns where its clients connect to."""
    run = partial(serve, **scheme.to_serve())
    if name == "callback":
        board = example(name).BoardImpl()
        handler: Any = dispatcher(example(name).Board, board)
        server = board.server = await nursery.start(
            run, scheme.url(directory, name), handler
        )
    else:
        server = await nursery.start(run, scheme.url(directory, name), served(name))
    url: str = server.url
    if name == "proxy":
        url = await nursery.start(example(name).proxy, url)
    return url


def shown_by_clients(names: Iterable[str]) -> str:
    """What the clients of these examples print, without what their servers do."""
    lines = "".join(SHOWN[name] for name in names).splitlines(keepends=True)
    return "".join(line for line in lines if "[server]" not in line)


@pytest.mark.parametrize(
    "scheme",
    [
        pytest.param(
            scheme, marks=[] if scheme.name in ("memory", "tcp") else pytest.mark.slow
        )
        for scheme in SCHEMES
    ],
    ids=str,
)
async def test_examples_show_it_over_every_scheme(
    scheme: Scheme,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trusted_certificates(tmp_path))
    async with trio.open_nursery() as nursery:
        urls = {name: await started(nursery, name, scheme, tmp_path) for name in SHOWN}
        if scheme.name == "memory":
            await use_examples(urls)
            printed = capsys.readouterr().out
        else:
            done = await trio.run_process(using(urls), capture_stdout=True, cwd=ROOT)
            printed = done.stdout.decode()
        nursery.cancel_scope.cancel()
    lines = printed.splitlines(keepends=True)
    by_clients = "".join(line for line in lines if "[server]" not in line)
    assert by_clients == shown_by_clients(SHOWN)


def using(urls: dict[str, str]) -> list[str]:
    """The command for a client of examples."""
    arguments = [each for item in urls.items() for each in item]
    return [sys.executable, "-W", "error", "-m", "tests.using_examples", *arguments]


# Not those that need two clients, or another listener.
OF_ONE_CLIENT = [name for name in SHOWN if name not in ("callback", "proxy")]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "library" else pytest.mark.slow)
        for name in OF_ONE_CLIENT
    ],
)
async def test_example_shows_it_to_a_program_on_its_standard_streams(
    name: str, tmp_path: Path
) -> None:
    handler = served(name)
    offered = OfferedServices(handler) if isinstance(handler, dict) else None
    root = None if isinstance(handler, dict) else handler
    with open(tmp_path / "errors", "w+b") as printed:  # noqa: ASYNC230
        async with spawn_link(
            using({name: "stdio:"}), cwd=ROOT, stderr=printed.fileno()
        ) as link:
            builder = acceptor(link, on_connection=offered)
            async with builder.open(root) as session:
                await session.closed()
        printed.seek(0)
        assert printed.read().decode() == shown_by_clients([name])
