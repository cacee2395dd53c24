"""Targets: URLs, texts of peers, and Rust source."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from unittest.mock import patch

from roam_trio.codegen.rust import RustError, write_python, write_rust
from roam_trio.codegen.rust.read import read_rust
from roam_trio.legible import (
    MOST_SHOWN,
    legible,
    legible_str,
    urls_without_secrets,
    without_secrets,
)
from roam_trio.rpc.failure_metadata import cut_text
from roam_trio.transports import LinkOptions, dialer, registry, transport_for

from .checks import require
from .target import Target

__all__ = ["TEXTS"]

_SECRET = "hunter2"
_OPTIONS = LinkOptions()
_entry_points = cache(registry._entry_points)


def urls(data: bytes) -> None:
    """Read a URL to connect to and to listen at; errors tell no password."""
    url = data.decode("utf-8", "surrogateescape")
    for read in (
        lambda: transport_for(url).to_connect(url, _OPTIONS),
        lambda: transport_for(url).to_listen(url, _OPTIONS),
        lambda: dialer(url),
    ):
        try:
            # What is installed is not read again for each unknown scheme.
            with patch.object(registry, "_entry_points", _entry_points):
                read()
        except ValueError as error:
            text = str(error)
            require(len(text.splitlines()) <= 1, "the text has lines", text)
            if _SECRET not in without_secrets(url):
                require(_SECRET not in text, "the error tells the password", text)


def _urls() -> Iterator[bytes]:
    yield from (
        b"tcp://127.0.0.1:7000",
        b"tcp://[::1%25eth0]:7000",
        b"tcp://user:hunter2@host:1?x=y#z",
        b"tls://example.org:443",
        b"unix:///run/adder.sock?mode=600",
        b"unix:///a%20b",
        b"ws://host:80/path?token=hunter2",
        b"wss://us%40er:hunter2@h\xc3\xa9.org/a%2Fb",
        b"memory://adder",
        b"stdio:",
        b"http://host",
    )


def texts(data: bytes) -> None:
    """Make a text of a peer legible, and hide the secrets of URLs in it."""
    text = data.decode("utf-8", "surrogateescape")
    for most in (MOST_SHOWN, 40, 0):
        shown = legible(text, most)
        require(len(shown) <= most, "it is longer than it may be", shown)
        require(len(shown.splitlines()) <= 1, "it has lines", shown)
        require("\x1b" not in shown, "it has an escape", shown)
        require(len(shown) > most - 1 or legible(shown, most) == shown, "twice", shown)
    legible_str(ValueError(text))
    without_secrets(text)
    urls_without_secrets(text)
    cut = cut_text(text, 60)
    require(len(cut.encode()) <= 60, "it is not cut", cut)


def _texts() -> Iterator[bytes]:
    yield "\x1b[31mred\x1b[0m, \u202eturned\u202c, \u200b, line\u2028two".encode()
    yield b"see tcp://me:hunter2@host:1/?a=b and wss://x/#c:d@e, or not"
    yield ("é" * 500).encode()
    yield b"\xed\xa0\x80"  # no UTF-8


def rust_source(data: bytes) -> None:
    """Read Rust source, and write what it says in Python and in Rust."""
    source = data.decode("utf-8", "replace")
    try:
        interface = read_rust(source).interface
        python = write_python(interface)
        rust = write_rust(interface)
    except RustError as error:
        str(error)
        return
    compile(python, "<python>", "exec")
    again = read_rust(rust).interface
    require(
        [service.name for service in again.services]
        == [service.name for service in interface.services],
        "services are lost on the way through Rust",
        rust,
    )


def _sources() -> Iterator[bytes]:
    directory = Path(__file__).parents[1] / "rust" / "sources"
    for path in sorted(directory.glob("*.rs")):
        blocks = path.read_bytes().split(b"\n\n")
        for count in (1, 3, 8):
            for start in range(0, len(blocks), count):
                yield b"\n\n".join(blocks[start : start + count])
    yield b"""#[roam::service]
pub trait Adder {
    async fn add(&self, left: u32, right: u32) -> u32;
    async fn sum(&self, numbers: roam::Rx<i32>) -> Result<i64, Failure>;
}
#[derive(facet::Facet)]
#[repr(u8)]
pub enum Failure { None, Some { why: String } }
"""


TEXTS = (
    Target("urls", urls, _urls, 200),
    Target("texts", texts, _texts, 600),
    Target("rust_source", rust_source, _sources, 2048),
)
