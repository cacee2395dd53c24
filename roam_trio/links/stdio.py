"""A link on the standard input and output of this process.

For a program that its peer has started. While the link exists and afterwards, printed
text goes to standard error, so that it cannot corrupt the payloads.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from typing import Final

import trio
from trio.abc import Stream

from ..peers import Peer
from .byte_streams import SocketTransport
from .stream import StreamLimits, StreamLink

__all__ = ["stdio_link", "take_over"]

_INPUT: Final = 0
_OUTPUT: Final = 1
_ERRORS: Final = 2

_taken = False


def stdio_link(*, limits: StreamLimits | None = None) -> StreamLink:
    """Make a link of standard input and output; once per process.

    The link then owns them, so that closing it ends the stream for the peer. Standard
    input is empty afterwards, and standard output is the same as standard error.

    Args:
        limits: bounds of the link.

    Raises:
        OSError: one of them is closed or a terminal, or the system is Windows.
        RuntimeError: a link on them was already made.
    """
    global _taken
    if _taken:
        raise RuntimeError("a link on standard input and output was already made")
    link = take_over(_INPUT, _OUTPUT, _ERRORS, limits=limits)
    _taken = True
    return link


def take_over(
    reads: int, writes: int, errors: int, *, limits: StreamLimits | None = None
) -> StreamLink:
    """Make a link of two file descriptors, and redirect the two.

    Args:
        reads: the descriptor to receive from; at its end afterwards.
        writes: the descriptor to send on; writes to `errors` afterwards.
        errors: the descriptor for output that is not for the peer.
        limits: bounds of the link.

    Raises:
        OSError: one of them is closed or a terminal, or the system is Windows.
    """
    _refuse_windows()
    for name, fd in (("input", reads), ("output", writes)):
        os.fstat(fd)  # raises if it is closed
        if os.isatty(fd):
            raise OSError(
                errno.EINVAL,
                f"standard {name} is a terminal, and no peer speaks there: this is a "
                "program for another one to start",
            )
    if sys.stdout is not None:
        sys.stdout.flush()  # text printed earlier must be written first
    elsewhere = _copy_or_nowhere(errors)
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        link = _link_on(reads, writes, limits)
        os.dup2(nothing, reads)
        os.dup2(elsewhere, writes)
    finally:
        os.close(nothing)
        os.close(elsewhere)
    return link


def fd_stream(fd: int) -> Stream:
    """Return a stream on the descriptor of a pipe, which the stream then owns.

    Raises:
        OSError: the system is Windows.
    """
    if sys.platform == "win32":
        raise _not_on_windows()
    else:  # type checkers leave it out on Windows
        return trio.lowlevel.FdStream(fd)


def _refuse_windows() -> None:
    if sys.platform == "win32":
        raise _not_on_windows()


def _not_on_windows() -> OSError:
    return OSError(
        errno.ENOSYS,
        "trio cannot wait for standard input on Windows; use tcp: or a pipe",
    )


def _copy_or_nowhere(fd: int) -> int:
    try:
        return os.dup(fd)
    except OSError:  # it is closed
        return os.open(os.devnull, os.O_WRONLY)


def _link_on(reads: int, writes: int, limits: StreamLimits | None) -> StreamLink:
    peer = Peer("stdio", "standard input and output")
    if _is_one_socket(reads, writes):
        sock = socket.socket(fileno=os.dup(reads))
        return StreamLink.over(SocketTransport(sock), limits=limits, peer=peer)
    # These make the pipes non-blocking, also for other processes that share them, and
    # undo it when they close.
    output = fd_stream(os.dup(writes))
    source = fd_stream(os.dup(reads))
    return StreamLink(output, source, limits=limits, peer=peer)


def _is_one_socket(reads: int, writes: int) -> bool:
    one, other = os.fstat(reads), os.fstat(writes)
    return stat.S_ISSOCK(one.st_mode) and os.path.samestat(one, other)
