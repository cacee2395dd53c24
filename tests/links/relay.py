"""A program that passes on what it reads: to a socket, and from there to its output.

    python relay.py PATH

It needs nothing but the standard library, and so it starts quickly.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress


def pass_on(source: int, target: int) -> None:
    while chunk := os.read(source, 65_536):
        while chunk:
            chunk = chunk[os.write(target, chunk) :]


def main(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)

        def upward() -> None:
            with suppress(OSError):  # nobody reads any more
                pass_on(0, sock.fileno())
            with suppress(OSError):
                sock.shutdown(socket.SHUT_WR)

        passing = threading.Thread(target=upward)
        passing.start()
        with suppress(OSError):
            pass_on(sock.fileno(), 1)
        os.close(1)
        passing.join()


if __name__ == "__main__":
    main(sys.argv[1])
