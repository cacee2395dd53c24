"""What an error of a link or a conduit is for a session: its reason to end.

Functions decide that, so nothing here runs in trio.
"""

from __future__ import annotations

import ssl

import pytest

from roam_trio.errors import (
    AnnouncedTooLarge,
    BareConduitError,
    ConduitError,
    DecodeError,
    ForeignProtocol,
    LimitExceeded,
    LinkClosed,
    LinkDead,
    LinkError,
    LocalProtocolError,
    Overloaded,
    RemoteProtocolError,
    RoamTrioError,
    SessionError,
    SessionIoError,
    SessionLost,
    StableConduitError,
    StableHandshakeError,
    TruncatedPayload,
)
from roam_trio.session.session_end import (
    LoggedAs,
    as_session_error,
    logged_as,
    message_at_end,
)
from roam_trio.wire.messages import ProtocolError


def caused(error: RoamTrioError, cause: BaseException) -> RoamTrioError:
    error.__cause__ = cause
    return error


def undecodable() -> DecodeError:
    return DecodeError("expected a whole message, but it ends after 0 bytes", "$")


# ------------------------------------------------------------ the reason


@pytest.mark.parametrize(
    "error",
    [
        SessionError("this side has shut the session down"),
        SessionIoError("the peer has closed the link"),
        RemoteProtocolError("it said Hello again"),
        LocalProtocolError("we said Hello again"),
        LimitExceeded("channels", "too many"),
        SessionLost("the server was restarted"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_session_is_the_reason_as_it_is(error: RoamTrioError) -> None:
    assert as_session_error(error) is error


FOREIGN: list[tuple[RoamTrioError, type[SessionError], str]] = [
    (
        caused(BareConduitError("not a message"), undecodable()),
        RemoteProtocolError,
        "the peer broke the protocol: not a message: "
        "expected a whole message, but it ends after 0 bytes - at $",
    ),
    (
        caused(StableConduitError("not a frame"), undecodable()),
        RemoteProtocolError,
        "the peer broke the protocol: not a message: "
        "expected a whole message, but it ends after 0 bytes - at $",
    ),
    (
        BareConduitError("the peer resumes sessions, and this side does not"),
        RemoteProtocolError,
        "the peer broke the protocol: the peer resumes sessions, and this side does "
        "not",
    ),
    (
        StableHandshakeError("no hello"),
        RemoteProtocolError,
        "the peer broke the protocol: no hello",
    ),
    (
        ForeignProtocol("that is HTTP"),
        RemoteProtocolError,
        "the peer broke the protocol: that is HTTP",
    ),
    (
        AnnouncedTooLarge(5000, 1000),
        LimitExceeded,
        "the peer broke the protocol: a payload of 5000 bytes came "
        "(limit: max_payload)",
    ),
    (TruncatedPayload("cut in two"), SessionIoError, "cut in two"),
    (LinkClosed("closed"), SessionIoError, "closed"),
    (LinkError("broken"), SessionIoError, "broken"),
    (LinkDead("no other link"), SessionIoError, "no other link"),
    (ConduitError("ended"), SessionIoError, "ended"),
    (LinkError(""), SessionIoError, "LinkError"),
]


@pytest.mark.rule("session.protocol-error")
@pytest.mark.parametrize(
    ("error", "kind", "text"), FOREIGN, ids=lambda value: type(value).__name__
)
def test_any_other_error_is_the_peers_fault_or_the_worlds(
    error: RoamTrioError, kind: type[SessionError], text: str
) -> None:
    reason = as_session_error(error)
    assert type(reason) is kind
    assert str(reason) == text
    assert reason.__cause__ is error


def test_the_limit_of_a_payload_that_is_too_large_is_named() -> None:
    reason = as_session_error(AnnouncedTooLarge(5000, 1000))
    assert isinstance(reason, LimitExceeded)
    assert reason.limit == "max_payload"


# ------------------------------------------------------------ what the peer is told


@pytest.mark.rule("session.protocol-error")
@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (RemoteProtocolError("it said Hello again"), "it said Hello again"),
        (LimitExceeded("channels", "too many"), "too many (limit: channels)"),
        (
            LimitExceeded("memory", "too much", of_server=True),
            "refused: overloaded: too much (limit: memory; whoever runs the server can "
            "raise it in serve())",
        ),
    ],
)
def test_a_peer_that_broke_the_protocol_is_told_so(
    reason: RoamTrioError, told: str
) -> None:
    assert message_at_end(reason) == ProtocolError(0, told)


@pytest.mark.rule("session.protocol-error")
@pytest.mark.parametrize(
    "reason",
    [
        LocalProtocolError("we said Hello again"),
        SessionIoError("the peer has closed the link"),
        SessionError("this side has shut the session down"),
        SessionLost("the server was restarted"),
    ],
    ids=lambda reason: type(reason).__name__,
)
def test_nothing_is_said_at_any_other_end(reason: RoamTrioError) -> None:
    assert message_at_end(reason) is None


# ------------------------------------------------------------ what is logged


LOGGED = [
    (SessionError("this side has shut the session down"), LoggedAs.NOTHING),
    (SessionIoError("the peer has closed the link"), LoggedAs.FAILURE),
    (RemoteProtocolError("it said Hello again"), LoggedAs.FAILURE),
    (LocalProtocolError("we said Hello again"), LoggedAs.FAILURE),
    (SessionLost("the server was restarted"), LoggedAs.FAILURE),
    (Overloaded(text="there is no room"), LoggedAs.FAILURE),
    (caused(SessionIoError("reset"), ConnectionResetError()), LoggedAs.LOSS),
    (
        caused(SessionIoError("reset"), caused(LinkError("x"), BrokenPipeError())),
        LoggedAs.LOSS,
    ),
    (caused(SessionIoError("bad record"), ssl.SSLError()), LoggedAs.FAILURE),
    (caused(SessionIoError("bug"), ValueError()), LoggedAs.FAILURE),
]


@pytest.mark.parametrize(("reason", "how"), LOGGED)
def test_an_end_is_logged_by_who_has_brought_it_about(
    reason: RoamTrioError, how: LoggedAs
) -> None:
    assert logged_as(reason, peer_has_left=False) is how


@pytest.mark.parametrize(("reason", "how"), LOGGED)
def test_a_peer_that_has_left_in_good_order_is_not_logged(
    reason: RoamTrioError, how: LoggedAs
) -> None:
    if isinstance(reason, SessionIoError):
        how = LoggedAs.NOTHING
    assert logged_as(reason, peer_has_left=True) is how
