"""Links between processes of one machine: Unix sockets.

These links use the socket directly, like those over TCP. An address is the path of the
socket's file. A listener replaces the file of a server that has died without removing
it. It replaces neither the socket of a running server nor any other file.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio
from trio.lowlevel import checkpoint

from .byte_streams import SocketTransport
from .sockets import take_socket
from .stream import StreamLimits, StreamLink

if TYPE_CHECKING:
    from typing import Self

__all__ = ["LocalLink", "LocalListener"]

_FIRST_WAIT: Final = 0.001
_LONGEST_WAIT: Final = 0.1
"""Longest pause, in seconds, between attempts that the system offers no other way to
await.
"""

_LOCKED_SECONDS: Final = 15
"""Time, in seconds, to wait for a lock. A server holds it for less than a millisecond,
but any process that can read the directory can take and keep it.
"""

_BACKLOG: Final = 1024


class LocalLink(StreamLink):
    """A link on a Unix socket: each payload after its length.

    `connect` makes it on one side, and a `LocalListener` on the other.
    """

    @classmethod
    async def connect(
        cls, address: str, *, limits: StreamLimits | None = None
    ) -> LocalLink:
        """Connect to a server on this machine.

        It waits while the server's queue of connections is full: use a time limit. A
        checkpoint. If cancelled, it leaves nothing open.

        Args:
            address: the path of the server's socket.
            limits: bounds of the link.

        Raises:
            OSError: no server listens there, or this process lacks the permission, or
                the system has no Unix sockets.
            ValueError: `address` is not a valid address.
        """
        sock = _new_socket(address)
        try:
            await _connect(sock, address)
            return cls.on(sock, limits=limits)
        except BaseException:
            sock.close()
            raise

    @classmethod
    def on(
        cls, sock: socket.socket, *, limits: StreamLimits | None = None
    ) -> LocalLink:
        """Return a link on a connected socket, which the link owns."""
        return cls.over(SocketTransport(sock), limits=limits)


class LocalListener:
    """Listens at an address of this machine until closed; `bind` makes one."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self._address = address
        self._file = _identity(os.lstat(address))
        self._accepting = trio.SocketListener(trio.socket.from_stdlib_socket(sock))

    @classmethod
    async def bind(cls, address: str, *, mode: int | None = None) -> Self:
        """Listen at `address`. A checkpoint. If cancelled, it leaves nothing behind.

        Args:
            address: the path of the socket to make.
            mode: the permissions of its file, such as ``0o600``; write permission
                allows to connect. None uses the umask of the process. No client can
                connect before the permissions are set.

        Raises:
            OSError: a server already listens there, a file there is not a socket, no
                socket can be made there, another process has locked the directory for
                more than 15 seconds, or the system has no Unix sockets.
            ValueError: `address` is not a valid address.
        """
        sock = _new_socket(address)
        try:
            await _listen(sock, address, mode)
            return cls(sock, address)
        except BaseException:
            sock.close()
            raise

    @property
    def address(self) -> str:
        """The path of its socket."""
        return self._address

    def fileno(self) -> int:
        """Return the descriptor of its socket."""
        return self._accepting.socket.fileno()

    async def accept(self, *, limits: StreamLimits | None = None) -> LocalLink:
        """Wait for the next client. A checkpoint. If cancelled, it loses no client.

        Raises:
            OSError: the system lacks the resources for another connection.
            trio.ClosedResourceError: the listener is closed.
        """
        return LocalLink.on(take_socket(await self.accept_stream()), limits=limits)

    async def accept_stream(self) -> trio.SocketStream:
        """As `accept`, but return the connection, without a link."""
        return await self._accepting.accept()

    def close(self) -> None:
        """Stop listening, and remove the socket's file unless another server has
        replaced it.
        """
        if self._accepting.socket.fileno() == -1:
            return
        with suppress(OSError):
            if _identity(os.lstat(self._address)) == self._file:
                os.unlink(self._address)
        self._accepting.socket.close()

    def __repr__(self) -> str:
        closed = self._accepting.socket.fileno() == -1
        return f"<LocalListener {self._address!r}, {'closed' if closed else 'open'}>"


def _new_socket(address: str) -> socket.socket:
    if not address or "\0" in address:
        raise ValueError(
            f"expected the path of a socket, such as '/run/adder.sock', got {address!r}"
        )
    family: int | None = getattr(socket, "AF_UNIX", None)
    if family is None:
        raise OSError(
            errno.EAFNOSUPPORT,
            "this system has no Unix sockets; use tcp://127.0.0.1:0 instead",
            address,
        )
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock


async def _connect(sock: socket.socket, address: str) -> None:
    await checkpoint()
    wait = _FIRST_WAIT
    while True:
        try:
            return sock.connect(address)
        except BlockingIOError:
            # The server's queue is full. The system does not notify a non-blocking
            # socket when it has room again, so try again after a pause.
            await trio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        except OSError as error:
            raise _about(address, error) from error


async def _listen(sock: socket.socket, address: str, mode: int | None) -> None:
    await checkpoint()
    wait = _FIRST_WAIT
    with trio.move_on_after(_LOCKED_SECONDS):
        while True:
            with _directory_locked(address) as locked:
                if locked:
                    return _listen_now(sock, address, mode)
            await trio.sleep(wait)  # another server is about to unlock it
            wait = min(2 * wait, _LONGEST_WAIT)
    raise OSError(
        errno.EBUSY,
        f"another process has held a lock (flock) on {_directory(address)!r} for "
        f"{_LOCKED_SECONDS} seconds; servers lock the directory of a socket for a "
        "moment, to bind it. End that process (lslocks shows it), or use a directory "
        "that belongs to the server alone",
        address,
    )


def _directory(address: str) -> str:
    return os.path.dirname(address) or "."


@contextmanager
def _directory_locked(address: str) -> Generator[bool, None, None]:
    """Lock the directory of `address`; yield True if no other process binds there.

    Without the lock, a socket that is bound and does not listen yet looks like that of
    a server that has died.
    """

    try:
        directory = os.open(_directory(address), os.O_RDONLY)
    except OSError as error:
        raise _about(address, error) from error
    try:
        try:
            _lock(directory)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(directory)  # unlocks it


def _lock(directory: int) -> None:
    if sys.platform != "win32":  # there are no Unix sockets
        import fcntl

        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _listen_now(sock: socket.socket, address: str, mode: int | None) -> None:
    try:
        _bind(sock, address)
        try:
            if mode is not None:
                os.chmod(address, mode)
            sock.listen(_BACKLOG)
        except BaseException:
            os.unlink(address)
            raise
    except OSError as error:
        raise _about(address, error) from error


def _bind(sock: socket.socket, address: str) -> None:
    try:
        sock.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        _remove_what_a_dead_server_left(address, sock.family)
        sock.bind(address)


def _remove_what_a_dead_server_left(address: str, family: int) -> None:
    if not stat.S_ISSOCK(os.lstat(address).st_mode):
        raise FileExistsError(
            errno.EADDRINUSE, "a file that is not a socket is there", address
        )
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            os.unlink(address)
            return
        except BlockingIOError:
            pass  # its queue is full, so it is running
    raise OSError(errno.EADDRINUSE, "a server already listens there", address)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _about(address: str, error: OSError) -> OSError:
    """Return the same error with the address, which the system seldom adds."""
    if error.errno is None:  # the path is too long for an address
        return OSError(errno.ENAMETOOLONG, str(error), address)
    return OSError(error.errno, error.strerror or str(error), address)
