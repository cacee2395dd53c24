"""The tutorial, followed to the letter: each page in a directory with all its files."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .following import follow
from .pages import ROOT, files_of, steps_of, write_files

PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
ROAM_TRIO = [sys.executable, "-m", "roam_trio"]
EXAMPLES = ROOT / "examples" / "tutorial"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture
def directory(page: Path, tmp_path: Path) -> Path:
    """A directory with the files of a reader who has come to this page."""
    write_files(PAGES[: PAGES.index(page) + 1], tmp_path)
    if page.stem > "4-tls":
        make_certificates(tmp_path)
    return tmp_path


def make_certificates(directory: Path) -> None:
    subprocess.run([sys.executable, "certificates.py"], cwd=directory, check=True)


@each_page
def test_page_shows_all_its_files_and_says_what_comes_next(page: Path) -> None:
    shown = set(files_of(page))
    assert shown == {
        each for each in (EXAMPLES / page.stem).iterdir() if each.is_file()
    }
    assert "\nNext: [" in page.read_text("utf-8")


@pytest.mark.slow
@each_page
def test_terminals_show_what_the_page_says(page: Path, directory: Path) -> None:
    assert steps_of(page)
    for name, pattern, shown in follow(page, directory):
        assert re.fullmatch(pattern, shown), f"{name}:\n{shown}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES[-1:], ids=["5-deployment"])
def test_unit_of_systemd_serves_on_its_socket_and_ends(directory: Path) -> None:
    unit = (directory / "notes.service").read_text("utf-8").replace("\\\n", "")
    (command,) = re.findall(r"^ExecStart=\S+/roam-trio (.*)", unit, re.M)
    (reload,) = re.findall(r"^ExecReload=/bin/kill -(\w+) \$MAINPID", unit, re.M)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"tls://127.0.0.1:{listening.getsockname()[1]}"
        # As systemd does, which gives the first socket the number 3.
        start = ["bash", "-c", f'exec "$@" 3<&{listening.fileno()}', "start"]
        with subprocess.Popen(
            [*start, *ROAM_TRIO, *shlex.split(command)],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[listening.fileno()],
        ) as server:
            assert server.stdout is not None
            assert server.stderr is not None
            try:
                assert url in server.stdout.readline()
                assert '"serving"' in health_of(url, directory)
                server.send_signal(getattr(signal, f"SIG{reload}"))
                assert "is replaced" in server.stderr.readline()
            finally:
                server.terminate()
                server.communicate()
    assert server.returncode == 0


def health_of(url: str, directory: Path) -> str:
    options = ["--ca", "ca.pem", "--cert", "bob.pem"]
    command = [*ROAM_TRIO, "health", url, *options]
    return subprocess.run(
        command, cwd=directory, stdout=subprocess.PIPE, text=True
    ).stdout
