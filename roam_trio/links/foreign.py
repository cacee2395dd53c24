"""Other protocols, recognised by the first bytes that a peer sends.

Connecting to a program that speaks another protocol is the most frequent mistake: a
wrong port, a URL with a wrong scheme, a load balancer in between. Framing would
interpret the first four bytes as a length, and TLS as a damaged record. The table here
names the protocol and the remedy.

This module does no I/O. `named` is called only after an error, so it costs nothing with
a correct peer.
"""

from __future__ import annotations

import codecs
import enum
import re
from collections.abc import Iterable
from typing import Final, assert_never

import attrs

from ..wire.backing import Backing

__all__ = [
    "NAMED_UP_TO",
    "Expected",
    "advice_on_hello",
    "named",
    "named_payload",
    "unmistakable",
]

NAMED_UP_TO: Final = 256
"""Number of bytes at the start of a stream that are enough to name its protocol."""

_QUOTED: Final = 40
"""Number of characters of a text that an error quotes."""


class Expected(enum.Enum):
    """Protocols that the layer which reads the first bytes can expect."""

    ROAM = "roam"
    TLS = "TLS"
    WEBSOCKET = "WebSocket"


class _Kind(enum.Enum):
    """Protocols with their own remedy."""

    ROAM = enum.auto()
    TLS = enum.auto()
    HTTP_REQUEST = enum.auto()
    HTTP_ANSWER = enum.auto()
    HTTP2 = enum.auto()
    PROXY = enum.auto()
    SUCCESSOR = enum.auto()
    TEXT = enum.auto()
    ELSE = enum.auto()


@attrs.frozen(eq=False)
class _Row:
    """One protocol.

    Attributes:
        kind: selects the remedy.
        name: the name of the protocol in errors.
        starts: a pattern for the start of its streams. `re` compiles and caches the
            patterns when the first wrong stream arrives; all rows take 2 ms.
        in_payload: whether a peer may also send it as the payload of a frame or of a
            WebSocket message.
    """

    kind: _Kind
    name: str
    starts: bytes
    in_payload: bool = False

    def matches(self, first: bytes) -> bool:
        return re.match(self.starts, first, re.DOTALL) is not None


_HTTP_METHODS: Final = (
    b"GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|PROPFIND|PROPPATCH|MKCOL|"
    b"COPY|MOVE|LOCK|UNLOCK|SEARCH|REPORT|QUERY|PURGE|SUBSCRIBE|NOTIFY|M-SEARCH"
)

# The frame decoder decides as soon as four bytes have arrived.
_CUT_SHORT: Final = b"|".join(
    method[:4] for method in _HTTP_METHODS.split(b"|") if len(method) > 4
)

# The first matching row counts.
_TABLE: Final = (
    _Row(_Kind.HTTP2, "HTTP/2", rb"PRI \* ?"),
    _Row(_Kind.ELSE, "NATS", rb"INFO \{|CONNECT \{"),
    _Row(_Kind.HTTP_REQUEST, "HTTP", rb"(?:%b)(?: |\Z)" % _HTTP_METHODS),
    _Row(_Kind.HTTP_REQUEST, "HTTP", rb"(?:%b)\Z" % _CUT_SHORT),
    _Row(_Kind.HTTP_REQUEST, "HTTP", rb"[A-Z-]{3,20} [^\r\n]{1,200} HTTP/1\.\d"),
    _Row(_Kind.HTTP_ANSWER, "HTTP", rb"HTTP/?"),
    # SETTINGS, GOAWAY: the first frames of a server, on stream 0.
    _Row(_Kind.HTTP2, "HTTP/2", rb"\x00..\x04[\x00\x01]\x00\x00\x00\x00"),
    _Row(_Kind.HTTP2, "HTTP/2", rb"\x00..\x07\x00\x00\x00\x00\x00"),
    # A handshake record with a ClientHello or ServerHello, or an alert.
    _Row(
        _Kind.TLS, "TLS", rb"\x16\x03[\x00-\x04](?:..(?:[\x01\x02](?:\x00|\Z)|\Z)|.?\Z)"
    ),
    _Row(
        _Kind.TLS, "TLS", rb"\x15\x03[\x00-\x04](?:\x00\x02(?:[\x01\x02]|\Z)|\x00?\Z)"
    ),
    _Row(_Kind.TLS, "TLS", rb"[\x14\x17]\x03[\x01-\x04]"),
    _Row(_Kind.PROXY, "the PROXY protocol, version 1", rb"PROXY?(?: |\Z)"),
    _Row(
        _Kind.PROXY,
        "the PROXY protocol, version 2",
        rb"\r\n\r\n(?:\Z|\x00(?:\Z|\r\n(?:\Z|QUIT)))",
    ),
    _Row(_Kind.SUCCESSOR, "vox", rb"VOXL|VOT[HAR]", in_payload=True),
    _Row(_Kind.ELSE, "SSH", rb"SSH-"),
    _Row(_Kind.ELSE, "Redis", rb"[*$]-?\d+\r|[*$]\d{1,3}\Z"),
    _Row(_Kind.ELSE, "Redis", rb"-(?:ERR|NOAU|NOPE|DENI|WRON|LOAD|MOVE)"),
    _Row(_Kind.ELSE, "Redis", rb"\+(?:OK\r|PON)|%\d+\r|PING(?:\r|\Z)|HELLO [23]"),
    _Row(_Kind.ELSE, "PostgreSQL", rb"\x00\x00\x00\x08\x04\xd2\x16[\x2e-\x30]"),
    _Row(_Kind.ELSE, "PostgreSQL", rb"\x00\x00..\x00\x03\x00[\x00-\x03][a-z]"),
    _Row(_Kind.ELSE, "MySQL", rb"..\x00\x00\x0a\d+\.\d+\.\d"),
    _Row(_Kind.ELSE, "MySQL", rb"\x0a\d+\.\d+\.\d", in_payload=True),
    _Row(_Kind.ELSE, "MQTT", rb"\x10..?.?\x00(?:\x04MQTT|\x06MQIsdp)"),
    _Row(_Kind.ELSE, "AMQP", rb"AMQP"),
    _Row(_Kind.ELSE, "RTSP", rb"RTSP/|DESCRIBE |ANNOUNCE |SETUP |TEARDOWN "),
    _Row(_Kind.ELSE, "SIP", rb"SIP/|INVITE |REGISTER "),
    _Row(_Kind.ELSE, "VNC", rb"RFB \d"),
    _Row(_Kind.ELSE, "RDP", rb"\x03\x00\x00[\x0b-\xff].\xe0"),
    _Row(_Kind.ELSE, "rsync", rb"@RSY"),
    _Row(_Kind.ELSE, "SMTP", rb"(?:EHLO|HELO|LHLO)(?: |\Z)"),
    _Row(_Kind.ELSE, "SMTP or FTP", rb"220[ -]|[45]\d\d[ -]"),
    _Row(_Kind.ELSE, "IMAP", rb"\* (?:OK|BYE|PREAUTH) ?"),
    _Row(_Kind.ELSE, "POP3", rb"\+OK "),
    _Row(_Kind.ELSE, "SOCKS, version 5", rb"\x05[\x01-\x04][\x00-\x03]{1,4}\Z"),
    _Row(_Kind.ELSE, "SOCKS, version 4", rb"\x04[\x01\x02]..[^\x00]...[^\r\n]*\x00"),
)

# Framed handshakes of a session: Hello, HelloYourself and ProtocolError on connection
# 0, and the hellos of a stable conduit.
_ROAM: Final = _Row(
    _Kind.ROAM,
    "roam",
    rb"..\x00\x00\x00[\x00-\x02]|\x19\x00\x00\x00RO[CS]H|.\x00\x00\x00\Z",
)

_RECORD: Final = re.compile(rb"[\x14-\x17](?:\x03|\Z)", re.DOTALL)
"""The start of every record of TLS."""

_LOOKED_AT: Final = 32
"""Number of bytes at the start of a stream that must be text for it to count as text.
"""

_SHORTEST_LINE: Final = 8
"""Length of a first line, in bytes, that counts as text whatever follows it."""

_OTHER_SCHEME: Final = {
    (_Kind.TLS, Expected.ROAM): (
        "give both sides a URL with the same scheme: tls:// with TLS, tcp:// without"
    ),
    (_Kind.TLS, Expected.WEBSOCKET): (
        "give both sides a URL with the same scheme: wss:// with TLS, ws:// without"
    ),
    (_Kind.ROAM, Expected.TLS): (
        "it speaks it without TLS; give both sides a URL with the same scheme: tls:// "
        "with TLS, tcp:// without"
    ),
    (_Kind.ROAM, Expected.WEBSOCKET): (
        "it speaks it without WebSocket; give both sides a URL with the same scheme, "
        "tcp:// or ws://"
    ),
    (_Kind.HTTP_REQUEST, Expected.ROAM): (
        "browsers and other clients of WebSocket need a server at ws:// or wss://, and "
        "other requests of HTTP belong to another port"
    ),
    (_Kind.HTTP_REQUEST, Expected.TLS): (
        "it speaks it without TLS; connect with wss:// to wss://, or go to the port "
        "of the web server"
    ),
    (_Kind.HTTP_ANSWER, Expected.ROAM): (
        "is the URL that of a web server? a server of WebSocket is at ws:// or wss://, "
        "and any other has another port"
    ),
    (_Kind.HTTP_ANSWER, Expected.TLS): (
        "it speaks it without TLS; use ws:// for a server of WebSocket without TLS, or "
        "check the port"
    ),
}

_ADVICE: Final = {
    _Kind.HTTP2: (
        "it may be gRPC or a web server; WebSocket goes over HTTP/1.1 here, so check "
        "the port, and that a proxy in between speaks HTTP/1.1"
    ),
    _Kind.PROXY: (
        "a balancer in between adds its header, which is not read here; switch that "
        "off at the balancer"
    ),
    _Kind.SUCCESSOR: (
        "that is roam's successor, with other bytes on the wire; build the peer with a "
        "release of roam that speaks version 7 of its protocol"
    ),
    _Kind.TEXT: (
        "a program that speaks on its standard output must print nothing there before "
        'it serves "stdio:"; otherwise check the port'
    ),
    _Kind.ELSE: "check the host and the port",
    _Kind.TLS: "check the host and the port",
    _Kind.ROAM: "check the host and the port",
    _Kind.HTTP_REQUEST: "check the host and the port",
    _Kind.HTTP_ANSWER: "check the host and the port",
}


def named(first: bytes, expected: Expected = Expected.ROAM) -> str | None:
    """Return an error text with the protocol of a peer and the remedy.

    Args:
        first: the first bytes; at most `NAMED_UP_TO` of them are examined.
        expected: the protocol that was expected.

    Returns:
        The text; None if the bytes are of no known protocol, or of the expected one.
    """
    first = first[:NAMED_UP_TO]
    if _is_expected(first, expected):
        return None
    row = _row_of(first, _TABLE)
    if row is None and expected is not Expected.ROAM and _ROAM.matches(first):
        row = _ROAM
    if row is not None:
        return _told(row.kind, f"{row.name}{_status(row, first)}", expected)
    # A program that prints a line may then continue in the expected protocol.
    line = first[:_LOOKED_AT].partition(b"\n")[0]
    if _is_text(line if len(line) >= _SHORTEST_LINE else first[:_LOOKED_AT]):
        return _told(_Kind.TEXT, f"text, {_quoted(first)}", expected)
    return None


def named_payload(payload: Backing) -> str | None:
    """Return an error text for a first payload that is not a message of a session.

    Framing does not detect it, because it had a valid length or was a WebSocket
    message. Return None if the payload is of no known protocol.
    """
    row = _row_of(
        bytes(payload[:NAMED_UP_TO]), [row for row in _TABLE if row.in_payload]
    )
    if row is None:
        return None
    return _told(row.kind, row.name, Expected.ROAM)


def advice_on_hello(payload: Backing) -> str | None:
    """Return the remedy if a payload is a hello: only the peer resumes sessions.

    Return None if the payload is not a hello of a stable conduit.
    """
    hello = re.match(rb"RO[CS]H.{21}\Z", payload, re.DOTALL)
    if hello is None:
        return None
    does, does_not = (
        ("client connects", "server")
        if payload[:4] == b"ROCH"
        else ("server serves", "client")
    )
    return (
        f"the {does} with resume=True, and this {does_not} does not resume sessions; "
        "give both sides resume=True, or neither"
    )


def unmistakable(first: bytes) -> bool:
    """Return True for the start of a ClientHello or ServerHello of TLS.

    Its first four bytes can be an allowed length, so the link would wait for the frame
    until the handshake times out. A payload cannot match by chance, because the type,
    two related lengths and two versions are checked.
    """
    if len(first) < 11 or first[0] != 0x16 or first[1] != 3 or first[5] not in (1, 2):
        return False
    record = int.from_bytes(first[3:5], "big")
    message = int.from_bytes(first[6:9], "big")
    return record == message + 4 and first[9] == 3 and first[10] <= 4


def _is_expected(first: bytes, expected: Expected) -> bool:
    match expected:
        case Expected.ROAM:
            return False
        case Expected.TLS:
            return _RECORD.match(first) is not None
        case Expected.WEBSOCKET:
            row = _row_of(first, _TABLE)
            return row is not None and row.kind in (
                _Kind.HTTP_REQUEST,
                _Kind.HTTP_ANSWER,
            )
        case _:
            assert_never(expected)


def _row_of(first: bytes, rows: Iterable[_Row]) -> _Row | None:
    return next((row for row in rows if row.matches(first)), None)


def _status(row: _Row, first: bytes) -> str:
    """Return the status of an HTTP response: three digits, without any text of the
    peer.
    """
    found = re.match(rb"HTTP/\d(?:\.\d)? (\d{3})", first)
    if row.kind is not _Kind.HTTP_ANSWER or found is None:
        return ""
    return f" (status {found[1].decode()})"


def _is_text(first: bytes) -> bool:
    """Return True for UTF-8 text that a program may have printed, also with colour
    codes.
    """
    try:
        # A truncated last character is not an error.
        text = codecs.getincrementaldecoder("utf-8")().decode(first)
    except UnicodeDecodeError:
        return False
    return len(text) >= 3 and all(
        char.isprintable() or char in "\t\r\n\x1b" for char in text
    )


def _quoted(first: bytes) -> str:
    line = first.partition(b"\n")[0].decode("utf-8", "replace")
    more = " …" if len(line) > _QUOTED else ""
    return f"{line[:_QUOTED]!a}{more}"


def _told(kind: _Kind, name: str, expected: Expected) -> str:
    advice = _OTHER_SCHEME.get((kind, expected), _ADVICE[kind])
    if kind is _Kind.TEXT:
        return f"expected {expected.value}, but the peer sent {name}: {advice}"
    return f"expected {expected.value}, but the peer speaks {name}: {advice}"
