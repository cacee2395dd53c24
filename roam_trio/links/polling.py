"""Busy polling: looks at a socket, in place of a turn of trio's loop.

`poll_policy` decides. This module looks, and counts the tasks that are ready to run.
Trio's only public interface that tells them is an instrument: the number in
`trio.lowlevel.current_statistics` leaves out the tasks of the present turn that have
not run yet. The instrument is in use only while a session looks again and again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

import trio
from trio.lowlevel import (
    RunVar,
    checkpoint,
    checkpoint_if_cancelled,
    notify_closing,
    wait_readable,
)

from .byte_streams import ByteReceiver, SocketTransport
from .framing import RECEIVE_AT_ONCE, FrameDecoder
from .poll_policy import Found, PollPolicy

__all__ = ["PollWatch", "PolledSocket", "Poller", "poll_watch"]

# Not on Windows.
sched_yield: Final = getattr(os, "sched_yield", partial(time.sleep, 0))


class PollWatch(trio.abc.Instrument):
    """Tells the policy of a run of trio which tasks are ready."""

    def __init__(self) -> None:
        self.policy = PollPolicy()
        self._is_counting = False
        self._times = 0  # that it has begun to count

    async def turn(self) -> None:
        """Let every task run that is ready, and count those that are ready then. A
        checkpoint."""
        if self.policy.is_exact:
            await checkpoint()
            return
        if not self._is_counting:
            trio.lowlevel.add_instrument(self)
            self._is_counting = True
            self._times += 1
            self.policy.begin()
        times = self._times
        await checkpoint()  # those that were ready before run in this turn
        await checkpoint()
        if self._is_counting and self._times == times:
            self.policy.note_all()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        self.policy.on_scheduled(task)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if self.policy.on_step(task):
            self._is_counting = False
            trio.lowlevel.remove_instrument(self)
            self.policy.end()


_WATCH: RunVar[PollWatch] = RunVar("roam_trio.links.polling")


def poll_watch() -> PollWatch:
    """Return the watch of this run of trio."""
    try:
        return _WATCH.get()
    except LookupError:
        watch = PollWatch()
        _WATCH.set(watch)
        return watch


class PolledSocket(ByteReceiver):
    """A socket at which tasks look before they wait.

    Either the task that receives looks, or other tasks do while it waits. What those
    find and do not want is the next that it receives.

    Args:
        inner: the transport of the socket.
        seconds: number of seconds that a look takes at most.
        reader_looks: True if the task that receives looks.
    """

    def __init__(
        self, inner: SocketTransport, seconds: float, *, reader_looks: bool
    ) -> None:
        self._inner = inner
        self._socket = inner.sock
        self.seconds = seconds
        self._reader_looks = reader_looks
        self._watch = poll_watch()
        # Not this object: the policy would keep the socket.
        self._session = object()
        self._drained = False
        self._ahead: bytes | OSError | None = None

    # ------------------------------------------------ who looks

    async def prepare(self) -> None:
        """Take a turn of the loop if the next look needs one before it."""
        policy = self._watch.policy
        if policy.wants(self._session) and not policy.may_look(self._session):
            await self._watch.turn()
            if policy.ready:  # perhaps a handler, which has not had its turn yet
                await self._watch.turn()
            if policy.ready:
                policy.disturbed()

    def may_look(self) -> bool:
        """Return True if a look is right now, in place of waiting."""
        policy = self._watch.policy
        if policy.may_look(self._session) and self._ahead is None:
            return True
        if policy.ready:  # by what this task has done since
            policy.disturbed()
        return False

    def look_for(self, wanted: Callable[[bytes], bool], seconds: float) -> Found:
        """Look for bytes, for at most `seconds`, while another task waits to receive.
        Never waits otherwise.

        Args:
            wanted: takes what has come, or returns False: then it goes to that task.
        """
        policy = self._watch.policy
        try:
            chunk = self._look(RECEIVE_AT_ONCE, seconds)
        except OSError as error:
            self._leave(error)
            return Found.OTHER
        if chunk is None:
            policy.missed()
            return Found.NOTHING
        if not wanted(chunk):
            self._leave(chunk)
            return Found.OTHER
        policy.found()
        return Found.IT

    def _look(self, most: int, seconds: float) -> bytes | None:
        end = time.perf_counter() + seconds
        while True:
            try:
                return self._socket.recv(most)
            except BlockingIOError:
                if time.perf_counter() >= end:
                    return None
            sched_yield()

    def _leave(self, what: bytes | OSError) -> None:
        """Leave something to the task that receives, and wake it."""
        self._watch.policy.disturbed()
        self._ahead = what
        notify_closing(self._socket)

    # ------------------------------------------------ receiving

    async def receive_some(self, most: int) -> bytes:
        """See `ByteReceiver`. It is a schedule point at every ninth time at least."""
        if self._reader_looks and self._drained:
            await self.prepare()
            if self.may_look():
                await checkpoint_if_cancelled()
                chunk = self._look(most, self.seconds)
                if chunk is not None:
                    self._watch.policy.found()
                    self._drained = len(chunk) < most
                    return chunk
                self._watch.policy.missed()
        if self._drained:
            await self._wait()
        else:
            await checkpoint()
        while True:
            if self._ahead is not None:
                return self._take_ahead()
            try:
                chunk = self._socket.recv(most)
            except BlockingIOError:
                await self._wait()
            else:
                self._drained = len(chunk) < most
                return chunk

    async def _wait(self) -> None:
        try:
            await wait_readable(self._socket)
        except trio.ClosedResourceError:
            if self._ahead is None:
                raise

    def _take_ahead(self) -> bytes:
        ahead, self._ahead = self._ahead, None
        try:
            if isinstance(ahead, OSError):
                raise ahead
            assert ahead is not None, "there is something"
            return ahead
        finally:
            del ahead  # or the error and this frame would hold each other

    async def receive_into(self, buffer: memoryview) -> int:
        """See `ByteReceiver`. No task looks for a part of a payload."""
        return await self._inner.receive_into(buffer)

    async def end_receiving(self) -> None:
        """See `ByteReceiver`."""
        await self._inner.end_receiving()


class _Receiver(Protocol):
    """The interface of `StreamLinkRx` for tasks that look in its place."""

    @property
    def waits_for_new(self) -> bool: ...


class Poller:
    """Looks for one payload of a link on a socket; see `PayloadPoller`.

    Args:
        polled: the socket of the link.
        decoder: divides what comes into payloads.
        receiver: the receiving half of the link.
    """

    __slots__ = ("_decoder", "_polled", "_receiver", "seconds")

    def __init__(
        self, polled: PolledSocket, decoder: FrameDecoder, receiver: _Receiver
    ) -> None:
        self._polled = polled
        self._decoder = decoder
        self._receiver = receiver
        self.seconds = polled.seconds
        """Number of seconds that a look takes at most."""

    async def prepare(self) -> None:
        """See `PayloadPoller`."""
        await self._polled.prepare()

    def may_look(self) -> bool:
        """See `PayloadPoller`."""
        return self._polled.may_look() and self._receiver.waits_for_new

    def look_for(self, take: Callable[[bytes], bool], seconds: float) -> Found:
        """See `PayloadPoller`."""
        return self._polled.look_for(partial(self._take_alone, take), seconds)

    def _take_alone(self, take: Callable[[bytes], bool], chunk: bytes) -> bool:
        decoder = self._decoder
        payload = decoder.only(chunk)
        if payload is None or not take(payload):
            return False
        decoder.feed(chunk)  # which counts it
        decoder.payloads.clear()
        return True
