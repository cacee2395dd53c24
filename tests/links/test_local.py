"""Links on Unix sockets, and whose files a listener takes over."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from roam_trio.links.local import LocalLink, LocalListener

local_rule = pytest.mark.rule("transport.stream.local", "transport.stream.kinds")


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "socket")


def exists(address: str) -> bool:
    return os.path.lexists(address)


async def close(link: LocalLink) -> None:
    tx, rx = link.split()
    await tx.abort()
    await rx.close()


async def exchange(near: LocalLink, far: LocalLink) -> None:
    """Send something each way, and close both."""
    (tx, rx), (far_tx, far_rx) = near.split(), far.split()
    (await tx.reserve()).send((b"question",))
    await tx.close()
    assert await far_rx.recv() == b"question"
    (await far_tx.reserve()).send((b"answer",))
    await far_tx.close()
    assert await rx.recv() == b"answer"
    assert (await rx.recv(), await far_rx.recv()) == (None, None)
    await rx.close()
    await far_rx.close()


@local_rule
async def test_link_reaches_a_listener_by_a_string(address: str) -> None:
    listener = await LocalListener.bind(address)
    near = await LocalLink.connect(address)
    await exchange(near, await listener.accept())
    assert repr(listener) == f"<LocalListener {address!r}, open>"
    listener.close()
    assert repr(listener) == f"<LocalListener {address!r}, closed>"
    listener.close()


async def test_file_is_removed_when_the_listener_closes(address: str) -> None:
    listener = await LocalListener.bind(address)
    assert stat.S_ISSOCK(os.lstat(address).st_mode)
    listener.close()
    assert not exists(address)
    with pytest.raises(FileNotFoundError, match="socket"):
        await LocalLink.connect(address)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o777])
async def test_file_has_the_mode_asked_for(address: str, mode: int) -> None:
    listener = await LocalListener.bind(address, mode=mode)
    assert stat.S_IMODE(os.lstat(address).st_mode) == mode
    listener.close()


def leave_stale_socket(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address)
        dead.listen()


async def test_file_of_a_dead_server_is_taken_over(address: str) -> None:
    leave_stale_socket(address)
    with pytest.raises(ConnectionRefusedError, match="socket"):
        await LocalLink.connect(address)
    listener = await LocalListener.bind(address)
    near = await LocalLink.connect(address)
    await exchange(near, await listener.accept())
    listener.close()


async def test_socket_of_a_live_server_is_not_stolen(address: str) -> None:
    listener = await LocalListener.bind(address)
    with pytest.raises(OSError, match=r"a server already listens there.*socket"):
        await LocalListener.bind(address)
    near = await LocalLink.connect(address)
    await close(await listener.accept())  # it was the probe's
    await exchange(near, await listener.accept())
    listener.close()


async def test_server_whose_queue_is_full_counts_as_alive(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(address)
        busy.listen(0)
        waiting: list[socket.socket] = []
        try:
            while True:
                waiting.append(client := socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(address)
        except BlockingIOError:
            pass
        with pytest.raises(OSError, match="a server already listens there"):
            await LocalListener.bind(address)
        for client in waiting:
            client.close()
    os.unlink(address)


async def test_client_waits_while_the_queue_is_full(
    address: str, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.setblocking(False)
        busy.bind(address)
        busy.listen(0)
        links: list[LocalLink] = []

        async def connect() -> None:
            links.append(await LocalLink.connect(address))

        for _ in range(5):
            nursery.start_soon(connect)
        await trio.sleep(10)
        assert len(links) == 1
        while len(links) < 5:
            busy.accept()[0].close()
            await trio.sleep(10)
        for link in links:
            await close(link)
    os.unlink(address)


def make_file(path: Path) -> None:
    path.write_text("precious")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [make_file, make_directory, make_dangling_link])
async def test_what_is_no_socket_is_never_removed(
    address: str, make: Callable[[Path], None]
) -> None:
    make(Path(address))
    before = os.lstat(address)
    with pytest.raises(OSError, match=r"a file that is not a socket is there.*socket"):
        await LocalListener.bind(address)
    after = os.lstat(address)
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


async def test_file_that_has_become_anothers_is_not_removed(address: str) -> None:
    first = await LocalListener.bind(address)
    os.unlink(address)
    second = await LocalListener.bind(address)
    first.close()
    near = await LocalLink.connect(address)
    await exchange(near, await second.accept())
    second.close()


async def test_of_many_listeners_that_find_a_stale_file_one_gets_it(
    address: str,
) -> None:
    leave_stale_socket(address)
    won: list[LocalListener] = []
    lost: list[OSError] = []

    async def bind() -> None:
        try:
            won.append(await LocalListener.bind(address))
        except OSError as error:
            lost.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(bind)
    assert (len(won), len(lost)) == (1, 9)
    won[0].close()


async def test_listener_waits_while_another_process_binds_there(
    address: str, autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    import fcntl

    bound: list[LocalListener] = []

    async def bind() -> None:
        bound.append(await LocalListener.bind(address))

    directory = os.open(os.path.dirname(address), os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        nursery.start_soon(bind)
        await trio.sleep(10)
        assert not bound
        assert not exists(address)
        with trio.move_on_after(1) as scope:
            await bind()
        assert scope.cancelled_caught
    finally:
        os.close(directory)
    await trio.sleep(10)
    bound[0].close()


async def test_a_directory_that_stays_locked_is_an_error_that_says_so(
    address: str, autojump_clock: trio.testing.MockClock
) -> None:
    import fcntl

    directory = os.open(os.path.dirname(address), os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_SH)  # to read it is enough
        with trio.fail_after(60), pytest.raises(OSError, match="flock") as caught:
            await LocalListener.bind(address)
    finally:
        os.close(directory)
    assert caught.value.errno == errno.EBUSY
    assert caught.value.filename == address
    assert os.path.dirname(address) in str(caught.value)
    assert not exists(address)
    (await LocalListener.bind(address)).close()


async def test_nobody_can_connect_before_the_mode_is_set(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def chmod(path: str, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as early:
            try:
                early.connect(path)
            except OSError as error:
                tried.append(type(error).__name__)
        raise PermissionError(1, "not here")

    monkeypatch.setattr("os.chmod", chmod)
    with pytest.raises(PermissionError, match=r"not here.*socket"):
        await LocalListener.bind(address, mode=0o600)
    assert tried == ["ConnectionRefusedError"]
    assert not exists(address)


@pytest.mark.parametrize("wrong", ["", "a\0b"])
async def test_what_is_no_path_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="expected the path of a socket"):
        await LocalLink.connect(wrong)
    with pytest.raises(ValueError, match="expected the path of a socket"):
        await LocalListener.bind(wrong)


async def test_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    address = str(tmp_path / ("x" * 120))
    with pytest.raises(OSError, match=r"too long.*xxxx"):
        await LocalLink.connect(address)
    with pytest.raises(OSError, match=r"too long.*xxxx"):
        await LocalListener.bind(address)


async def test_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        await LocalListener.bind(str(tmp_path / "nowhere" / "socket"))


async def test_system_without_unix_sockets_says_so(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("socket.AF_UNIX")
    with pytest.raises(OSError, match="this system has no Unix sockets; use tcp:"):
        await LocalLink.connect(address)
    with pytest.raises(OSError, match="this system has no Unix sockets; use tcp:"):
        await LocalListener.bind(address)


async def test_accepting_and_connecting_can_be_cancelled(address: str) -> None:
    listener = await LocalListener.bind(address)
    with trio.CancelScope() as scope:
        scope.cancel()
        await LocalLink.connect(address)
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.cancel()
        await listener.accept()
    assert scope.cancelled_caught
    with trio.CancelScope() as scope:
        scope.cancel()
        await LocalListener.bind(address + "2")
    assert scope.cancelled_caught
    near = await LocalLink.connect(address)
    await exchange(near, await listener.accept())
    listener.close()
    with pytest.raises(trio.ClosedResourceError):
        await listener.accept()
