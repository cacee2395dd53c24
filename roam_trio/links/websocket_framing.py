"""Payloads as WebSocket messages: each is one binary frame (`transport.websocket`).

This module does no I/O. The websockets package encodes and decodes frames, and this
module handles them.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import ClassVar, Final

from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Close, Frame, Opcode

from ..errors import AnnouncedTooLarge, LinkError, TruncatedPayload
from ..legible import legible
from ..wire.frames import Frames
from .arrivals import LARGE
from .base import Buffer, PayloadBound
from .framing import FrameEncoder

__all__ = ["NORMAL", "WebSocketDecoder", "WebSocketEncoder"]

NORMAL: Final = 1000
_GOING_AWAY: Final = 1001
_PROTOCOL_ERROR: Final = 1002
_UNSUPPORTED_DATA: Final = 1003
_NO_STATUS: Final = 1005
_TOO_BIG: Final = 1009
"""Close codes of the WebSocket protocol."""

_LARGEST_CONTROL: Final = 125
"""Length of the longest ping, which does not count as a payload."""


class WebSocketEncoder(FrameEncoder):
    """Converts payloads to buffers to write; see `FrameEncoder`.

    A payload is copied once, into its frame (`zerocopy.send.websocket`).

    Args:
        mask: whether to mask frames: clients do, servers do not.
    """

    __slots__ = ("_mask", "_pong")

    takes_frames: ClassVar[bool] = False

    def __init__(self, *, mask: bool) -> None:
        super().__init__()
        self._mask = mask
        self._pong = b""

    def add(self, pieces: Sequence[Buffer], length: int) -> None:
        self._add_piece(self._frame(Opcode.BINARY, b"".join(pieces)))

    def add_frames(self, frames: Frames) -> None:
        for payload in frames.payloads():
            self._add_piece(self._frame(Opcode.BINARY, payload))

    def answer(self, ping: bytes) -> None:
        """Answer a ping. Of several unanswered ones, only the last is answered."""
        self._pong = self._frame(Opcode.PONG, ping)

    @property
    def answer_length(self) -> int:
        """Length of the unwritten answer, if any."""
        return len(self._pong)

    def close_frame(self, code: int) -> bytes:
        """Return the frame that ends all sending."""
        return self._frame(Opcode.CLOSE, Close(code, "").serialize())

    def take(self) -> list[Buffer]:
        taken = super().take()
        if self._pong:
            # Do not put it in front, where the rest of a frame may have been put back.
            taken.append(self._pong)
            self._pong = b""
        return taken

    def _frame(self, opcode: Opcode, data: bytes) -> bytes:
        return Frame(opcode, data).serialize(mask=self._mask)


class WebSocketDecoder:
    """Converts received bytes to payloads; see `FrameDecoder`.

    Args:
        max_payload: length of the longest payload to accept, in bytes.
        masked: whether frames must be masked, as those of clients.
        on_ping: called with each ping.
    """

    def __init__(
        self, max_payload: int, *, masked: bool, on_ping: Callable[[bytes], None]
    ) -> None:
        self.payloads: list[bytes] = []
        self.count = 0
        """Number of payloads received so far."""
        self.payload_bytes = 0
        """Their total length."""
        self.begun = 0
        """Number of bytes received of a message, or of a ping beside it, that is not
        complete; 0 for none.
        """
        self.number = 0
        """A number of that message; each has another."""
        self.at_end = False
        """True if the peer has announced the end of its data."""
        self.close_code = NORMAL
        """The close code that this side must send when it closes."""
        self._max_payload = max_payload
        self._first: PayloadBound | None = None
        self._masked = masked
        self._on_ping = on_ping
        self._unread = bytearray()
        self._inside_frame = False
        self._fragments: bytearray | None = None
        self._parser = self._parse()
        next(self._parser)

    ahead = 0

    @property
    def announced(self) -> int:
        """Length of the longest payload, as fragments do not announce what they are
        together; 0 if little has come."""
        return self._max_payload if self.begun >= LARGE else 0

    @property
    def memory(self) -> int:
        """Number of bytes of memory for what is not complete, with the copy that
        completes it."""
        return 2 * self.begun

    @property
    def large_buffer(self) -> None:
        """None: a large payload has no buffer of its own, because it may arrive in
        fragments.
        """
        return None

    def filled(self, count: int) -> None:
        """Never called: only what `large_buffer` has returned can be filled."""
        raise AssertionError("there is no large_buffer to fill")

    def feed(self, chunk: bytes) -> None:
        """Accept received bytes.

        Raises:
            PayloadTooLarge: the announced frame makes a payload too long.
            LinkError: the data is not a binary message or not a WebSocket frame, or the
                peer has closed with an error.
        """
        if not self.at_end:
            self._unread += chunk
            # Ignore bytes after a failure, when the parser has ended.
            next(self._parser, None)
            self.begun = len(self._unread)
            if self._inside_frame or self._fragments is not None:
                # The head of a frame was taken out, so there may be nothing unread.
                self.begun += 1 + len(self._fragments or b"")

    def accept_up_to(self, bound: PayloadBound | None) -> None:
        """Refuse a longer next payload, even if it has begun; see `LinkRx.count_in`."""
        self._first = bound

    def stop(self) -> None:
        """Ignore all further bytes, and drop the reference to the ping handler."""
        self._on_ping = _ignore
        self._parser.close()

    def ended(self) -> None:
        """Accept the end of the stream, which may come without a closing handshake.

        Raises:
            TruncatedPayload: the stream ended inside a message.
        """
        if self._unread or self._inside_frame or self._fragments is not None:
            raise TruncatedPayload("the stream ended inside a WebSocket message")

    def named(self) -> None:
        """Return None: the handshake has shown that the peer speaks WebSocket."""
        return None

    def _parse(self) -> Generator[None, None, None]:
        yield
        while not self.at_end:
            self._inside_frame = False
            held = len(self._fragments or b"")
            most = self._max_payload - held
            try:
                frame = yield from Frame.parse(
                    self._read_exact,
                    mask=self._masked,
                    max_size=max(most, _LARGEST_CONTROL),
                )
            except PayloadTooBig as error:
                raise self._too_large(held + (error.size or 0)) from None
            except ProtocolError as error:
                raise self._broken(str(error)) from error
            if len(frame.data) > most and frame.opcode in _DATA:
                raise self._too_large(held + len(frame.data))
            self._take(frame)
            if self._fragments is None:
                self.number += 1
        self._unread.clear()  # ignore frames after the end
        yield

    def _read_exact(self, count: int) -> Generator[None, None, bytes]:
        if self._first is not None:
            self._check_first(self._first, count)
        while len(self._unread) < count:
            yield
            if self._first is not None:
                self._check_first(self._first, count)
        self._inside_frame = True
        read = bytes(memoryview(self._unread)[:count])
        del self._unread[:count]
        return read

    def _check_first(self, bound: PayloadBound, count: int) -> None:
        """Refuse data of so many bytes if it makes the first payload too long."""
        size = count + len(self._fragments or b"")
        if size > max(bound.length, _LARGEST_CONTROL):
            self.close_code = _TOO_BIG
            raise AnnouncedTooLarge(size, bound.length, bound.limit)

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            self._on_ping(bytes(frame.data))
        elif frame.opcode is Opcode.CLOSE:
            self._take_close(bytes(frame.data))
        elif frame.opcode is Opcode.TEXT:
            self.close_code = _UNSUPPORTED_DATA
            raise LinkError(
                "the peer sent a text message; payloads are binary messages"
            )
        elif frame.opcode in _DATA:
            self._take_data(frame)

    def _take_data(self, frame: Frame) -> None:
        continues = frame.opcode is Opcode.CONT
        if continues != (self._fragments is not None):
            raise self._broken(
                "a continuation without a message"
                if continues
                else "a new message before the last one is complete"
            )
        if self._fragments is None and frame.fin:
            return self._add(bytes(frame.data))
        self._fragments = self._fragments or bytearray()
        self._fragments += frame.data
        if frame.fin:
            payload, self._fragments = bytes(self._fragments), None
            self._add(payload)

    def _add(self, payload: bytes) -> None:
        self._first = None
        self.payloads.append(payload)
        self.count += 1
        self.payload_bytes += len(payload)

    def _take_close(self, data: bytes) -> None:
        if self._fragments is not None:
            raise self._broken("it is closed in the middle of a message")
        try:
            close = Close.parse(data)
        except (ProtocolError, UnicodeDecodeError) as error:
            raise self._broken(str(error)) from error
        if close.code not in (NORMAL, _GOING_AWAY, _NO_STATUS):
            said = legible(str(close))
            raise LinkError(f"the peer has closed the WebSocket: {said}")
        self.at_end = True

    def _too_large(self, size: int) -> LinkError:
        self.close_code = _TOO_BIG
        return AnnouncedTooLarge(size, self._max_payload)

    def _broken(self, how: str) -> LinkError:
        self.close_code = _PROTOCOL_ERROR
        return LinkError(f"the peer broke the WebSocket protocol: {legible(how)}")


_DATA: Final = (Opcode.BINARY, Opcode.CONT, Opcode.TEXT)


def _ignore(ping: bytes) -> None:
    pass
