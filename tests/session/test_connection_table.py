"""The table of connections: every phase with every message, and the limits.

Nothing here runs in trio: the table decides, and somebody else does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from roam_trio.errors import (
    ConnectionClosed,
    ConnectionLost,
    RemoteProtocolError,
    SessionError,
    SessionRejected,
    Unavailable,
)
from roam_trio.limits import Limits
from roam_trio.metadata import NO_METADATA, Metadata
from roam_trio.session.connection_table import (
    _NEXT,
    Act,
    Action,
    ConnectionTable,
    End,
    Event,
    Fail,
    Phase,
    Reject,
    _Entries,
)
from roam_trio.session.held_messages import weight_of
from roam_trio.wire.ids import Parity
from roam_trio.wire.messages import (
    ChannelItem,
    ConnectionAccept,
    ConnectionClose,
    ConnectionOpen,
    ConnectionReject,
    ConnectionSettings,
    Message,
)

EVEN = ConnectionSettings(Parity.EVEN, 64)
WHY = Metadata.of({"error": "no room"})


def new_table(
    *, strict: bool = False, has_acceptor: bool = True, **limits: int
) -> ConnectionTable:
    """The table of a side that opens odd numbers; the peer opens even ones."""
    return ConnectionTable(
        Parity.ODD, Limits(**limits), has_acceptor=has_acceptor, strict=strict
    )


def in_phase(table: ConnectionTable, *phases: Phase) -> set[int]:
    entries = table._entries._entries
    return {number for number, entry in entries.items() if entry.phase in phases}


def ask(table: ConnectionTable) -> int:
    table.plan()
    number = table.allocate()
    table.ask(number)
    return number


def feed(table: ConnectionTable, message: Message) -> Action:
    """Hand the table a message, as the reader of a session does."""
    match message:
        case ConnectionOpen():
            return table.on_open(message)
        case ConnectionAccept():
            return table.on_accept(message)
        case ConnectionReject():
            return table.on_reject(message)
        case ConnectionClose():
            return table.on_close(message)
        case _:
            table.on_stray(message)
            return Act.IGNORE


# ------------------------------------------------------------ every phase and message


def opening(table: ConnectionTable) -> int:
    return ask(table)


def open_of_ours(table: ConnectionTable) -> int:
    number = ask(table)
    assert table.on_accept(ConnectionAccept(number, EVEN)) is Act.START
    return number


def rejected(table: ConnectionTable) -> int:
    number = ask(table)
    assert isinstance(table.on_reject(ConnectionReject(number)), Fail)
    return number


def given_up(table: ConnectionTable) -> int:
    number = ask(table)
    assert table.give_up(number)
    return number


def deciding(table: ConnectionTable) -> int:
    assert table.on_open(ConnectionOpen(2, EVEN)) is Act.DECIDE
    return 2


def withdrawn(table: ConnectionTable) -> int:
    number = deciding(table)
    assert table.on_close(ConnectionClose(number)) is Act.STOP_DECIDING
    return number


def open_of_theirs(table: ConnectionTable) -> int:
    number = deciding(table)
    assert table.allow(number) is Act.START
    return number


def closed_by_peer(table: ConnectionTable) -> int:
    number = open_of_theirs(table)
    assert isinstance(table.on_close(ConnectionClose(number)), End)
    return number


def closed_by_us(table: ConnectionTable) -> int:
    number = open_of_theirs(table)
    assert table.close(number)
    return number


def root(table: ConnectionTable) -> int:
    return 0


def never_asked_by_us(table: ConnectionTable) -> int:
    return 7


def never_asked_by_peer(table: ConnectionTable) -> int:
    return 8


OPEN, ACCEPT, REJECT, CLOSE, OTHER = "open", "accept", "reject", "close", "other"

MESSAGES: dict[str, Callable[[int], Message]] = {
    OPEN: lambda number: ConnectionOpen(number, EVEN),
    ACCEPT: lambda number: ConnectionAccept(number, EVEN),
    REJECT: ConnectionReject,
    CLOSE: ConnectionClose,
    OTHER: lambda number: ChannelItem(number, 1, b""),
}

AGAIN = "was opened again"
PARITY = "has not the parity of its opener, even"
NOT_OPEN = "is not open"
NOT_OPENING = "is not being opened"

Expected = tuple[object, Phase | None, str | None]
"""What is done if not strict, the phase after it, and what is wrong if strict."""


def ignored(phase: Phase | None, wrong: str | None = None) -> Expected:
    return Act.IGNORE, phase, wrong


TABLE: dict[Callable[[ConnectionTable], int], dict[str, Expected]] = {
    root: {
        OPEN: (Reject, Phase.OPEN, "connection 0 is the root, and was opened again"),
        ACCEPT: ignored(Phase.OPEN, NOT_OPENING),
        REJECT: ignored(Phase.OPEN, NOT_OPENING),
    },
    opening: {
        OPEN: (Reject, Phase.OPENING, PARITY),
        ACCEPT: (Act.START, Phase.OPEN, None),
        REJECT: (Fail, Phase.OVER, None),
        CLOSE: (Fail, Phase.OVER, None),
        OTHER: ignored(Phase.OPENING, NOT_OPEN),
    },
    open_of_ours: {
        OPEN: (Reject, Phase.OPEN, PARITY),
        ACCEPT: ignored(Phase.OPEN, NOT_OPENING),
        REJECT: ignored(Phase.OPEN, NOT_OPENING),
        CLOSE: (End, Phase.OVER, None),
    },
    rejected: {
        OPEN: (Reject, Phase.OVER, PARITY),
        ACCEPT: ignored(Phase.OVER, NOT_OPEN),
        REJECT: ignored(Phase.OVER, NOT_OPEN),
        CLOSE: ignored(Phase.OVER, NOT_OPEN),
        OTHER: ignored(Phase.OVER, NOT_OPEN),
    },
    given_up: {
        OPEN: (Reject, None, PARITY),
        ACCEPT: ignored(None),
        REJECT: ignored(Phase.OVER),
        CLOSE: ignored(Phase.OVER),
        OTHER: ignored(None),
    },
    never_asked_by_us: {
        OPEN: (Reject, None, PARITY),
        ACCEPT: ignored(None, NOT_OPEN),
        REJECT: ignored(None, NOT_OPEN),
        CLOSE: ignored(None, NOT_OPEN),
        OTHER: ignored(None, NOT_OPEN),
    },
    deciding: {
        OPEN: (Reject, Phase.DECIDING, AGAIN),
        ACCEPT: ignored(Phase.DECIDING, NOT_OPENING),
        REJECT: ignored(Phase.DECIDING, NOT_OPENING),
        CLOSE: (Act.STOP_DECIDING, Phase.WITHDRAWN, None),
        OTHER: ignored(Phase.DECIDING, NOT_OPEN),
    },
    withdrawn: {
        OPEN: (Reject, Phase.WITHDRAWN, AGAIN),
        ACCEPT: ignored(Phase.WITHDRAWN, NOT_OPENING),
        REJECT: ignored(Phase.WITHDRAWN, NOT_OPENING),
        CLOSE: ignored(Phase.WITHDRAWN, NOT_OPEN),
        OTHER: ignored(Phase.WITHDRAWN, NOT_OPEN),
    },
    open_of_theirs: {
        OPEN: (Reject, Phase.OPEN, AGAIN),
        ACCEPT: ignored(Phase.OPEN, NOT_OPENING),
        REJECT: ignored(Phase.OPEN, NOT_OPENING),
        CLOSE: (End, Phase.OVER, None),
    },
    closed_by_peer: {
        OPEN: (Act.DECIDE, Phase.DECIDING, None),
        ACCEPT: ignored(Phase.OVER, NOT_OPENING),
        REJECT: ignored(Phase.OVER, NOT_OPENING),
        CLOSE: ignored(Phase.OVER, NOT_OPEN),
        OTHER: ignored(Phase.OVER, NOT_OPEN),
    },
    closed_by_us: {
        OPEN: (Act.DECIDE, Phase.DECIDING, None),
        ACCEPT: ignored(None, NOT_OPENING),
        REJECT: ignored(Phase.OVER, NOT_OPENING),
        CLOSE: ignored(Phase.OVER),
        OTHER: ignored(None),
    },
    never_asked_by_peer: {
        OPEN: (Act.DECIDE, Phase.DECIDING, None),
        ACCEPT: ignored(None, NOT_OPENING),
        REJECT: ignored(None, NOT_OPENING),
        CLOSE: ignored(None, NOT_OPEN),
        OTHER: ignored(None, NOT_OPEN),
    },
}

ROWS = [
    pytest.param(situation, message, *expected, id=f"{situation.__name__}-{message}")
    for situation, by_message in TABLE.items()
    for message, expected in by_message.items()
]


@pytest.mark.rule(
    "connection.open", "connection.open.rejection", "connection.close.semantics"
)
@pytest.mark.parametrize(("situation", "name", "done", "after", "wrong"), ROWS)
def test_every_message_in_every_phase(
    situation: Callable[[ConnectionTable], int],
    name: str,
    done: Any,
    after: Phase | None,
    wrong: str | None,
) -> None:
    table = new_table()
    number = situation(table)
    action = feed(table, MESSAGES[name](number))
    if isinstance(done, Act):
        assert action is done
    else:
        assert isinstance(action, done)
    if isinstance(action, Reject):
        assert str(action.metadata.get("error")).endswith(str(wrong))
    assert table.phase(number) is after


@pytest.mark.rule("connection.open", "session.parity", "session.protocol-error")
@pytest.mark.parametrize(("situation", "name", "done", "after", "wrong"), ROWS)
def test_every_message_in_every_phase_if_strict(
    situation: Callable[[ConnectionTable], int],
    name: str,
    done: Any,
    after: Phase | None,
    wrong: str | None,
) -> None:
    table = new_table(strict=True)
    number = situation(table)
    before = table.phase(number)
    message = MESSAGES[name](number)
    if wrong is None:
        feed(table, message)
        assert table.phase(number) is after
    else:
        with pytest.raises(RemoteProtocolError) as caught:
            feed(table, message)
        assert caught.value.description.endswith(wrong)
        assert f"connection {number}" in caught.value.description
        assert table.phase(number) is before


@pytest.mark.rule("connection.root")
@pytest.mark.parametrize("strict", [False, True])
def test_the_root_cannot_be_closed_by_the_peer(strict: bool) -> None:
    table = new_table(strict=strict)
    with pytest.raises(RemoteProtocolError, match="connection 0, the root, was closed"):
        table.on_close(ConnectionClose(0))
    assert table.phase(0) is Phase.OPEN


@pytest.mark.parametrize("phase", [None, *Phase])
@pytest.mark.parametrize("event", Event)
def test_what_is_no_transition_raises_and_changes_nothing(
    phase: Phase | None, event: Event
) -> None:
    entries = _Entries(10)
    if phase is not None:
        entries._add(3, phase, 0)
    if (phase, event) in _NEXT:
        entries.move(3, event)
        assert entries.phase(3) is _NEXT[phase, event]
    else:
        with pytest.raises(RuntimeError, match=f"expected no {event.name}$"):
            entries.move(3, event)
        assert entries.phase(3) is phase


# ------------------------------------------------------------ errors for the opener


def test_a_rejection_tells_the_opener_why() -> None:
    table = new_table()
    action = table.on_reject(ConnectionReject(ask(table), WHY))
    assert isinstance(action, Fail)
    assert isinstance(action.error, SessionRejected)
    assert str(action.error) == "the peer rejected the connection: error='no room'"
    assert action.error.metadata == WHY
    assert not action.close


def test_a_rejection_without_a_reason_says_what_it_may_be() -> None:
    table = new_table()
    action = table.on_reject(ConnectionReject(ask(table)))
    assert isinstance(action, Fail)
    assert "it may offer no services by name" in str(action.error)


@pytest.mark.rule("connection.close.semantics")
def test_a_close_instead_of_an_answer_fails_the_opener() -> None:
    table = new_table()
    action = table.on_close(ConnectionClose(ask(table), WHY))
    assert isinstance(action, Fail)
    assert isinstance(action.error, ConnectionLost)
    assert isinstance(action.error.__cause__, ConnectionClosed)
    assert str(action.error) == "the peer has closed the connection: error='no room'"


def test_a_close_of_an_open_connection_ends_it_with_what_the_peer_says() -> None:
    table = new_table()
    action = table.on_close(ConnectionClose(open_of_ours(table), WHY))
    assert isinstance(action, End)
    assert isinstance(action.because, ConnectionClosed)
    assert (action.because.by, action.because.metadata) == ("peer", WHY)


# ------------------------------------------------------------ wishes of this side


@pytest.mark.rule("session.parity", "connection.open")
@pytest.mark.parametrize(
    ("parity", "numbers"), [(Parity.ODD, [1, 3, 5]), (Parity.EVEN, [2, 4, 6])]
)
def test_numbers_have_the_parity_of_the_session_and_are_used_once(
    parity: Parity, numbers: list[int]
) -> None:
    table = ConnectionTable(parity, Limits(), has_acceptor=False, strict=True)
    first = ask(table)
    assert table.give_up(first)
    assert [first, ask(table), ask(table)] == numbers


def test_giving_up_tells_the_peer_if_it_has_not_answered() -> None:
    table = new_table()
    assert table.give_up(opening(table))
    assert not table.has_virtual


@pytest.mark.parametrize("situation", [open_of_ours, rejected, given_up])
def test_giving_up_after_the_answer_changes_nothing(
    situation: Callable[[ConnectionTable], int],
) -> None:
    table = new_table()
    number = situation(table)
    before = table.phase(number)
    assert not table.give_up(number)
    assert table.phase(number) is before


@pytest.mark.parametrize(
    "situation",
    [
        root,
        opening,
        rejected,
        given_up,
        deciding,
        withdrawn,
        closed_by_peer,
        closed_by_us,
        never_asked_by_us,
    ],
)
def test_closing_what_is_not_open_does_nothing(
    situation: Callable[[ConnectionTable], int],
) -> None:
    table = new_table()
    number = situation(table)
    before = table.phase(number)
    assert not table.close(number)
    assert table.phase(number) is before


@pytest.mark.parametrize("situation", [open_of_ours, open_of_theirs])
def test_closing_what_is_open_forgets_it(
    situation: Callable[[ConnectionTable], int],
) -> None:
    table = new_table()
    number = situation(table)
    assert table.close(number)
    assert table.phase(number) is None
    assert not table.has_virtual


@pytest.mark.rule("rpc.caller.liveness.root-teardown-condition")
@pytest.mark.parametrize(
    ("situation", "is_needed"),
    [
        (root, False),
        (opening, True),
        (open_of_ours, True),
        (rejected, False),
        (given_up, False),
        (deciding, True),
        (withdrawn, True),
        (open_of_theirs, True),
        (closed_by_peer, False),
        (closed_by_us, False),
    ],
)
def test_a_session_is_needed_for_its_root_or_a_virtual_connection(
    situation: Callable[[ConnectionTable], int], is_needed: bool
) -> None:
    table = new_table()
    situation(table)
    assert not table.is_unneeded
    table.is_root_unused = True
    assert table.is_unneeded is not is_needed


@pytest.mark.rule("rpc.caller.liveness.root-teardown-condition")
def test_a_connection_that_is_going_to_be_asked_for_keeps_the_session() -> None:
    table = new_table()
    table.is_root_unused = True
    table.plan()
    assert not table.is_unneeded
    table.drop_plan()
    assert table.is_unneeded


# ------------------------------------------------------------ the acceptor's verdict


def test_what_the_acceptor_accepts_is_open() -> None:
    table = new_table()
    assert table.allow(deciding(table)) is Act.START
    assert table.phase(2) is Phase.OPEN


@pytest.mark.rule("connection.open.rejection")
def test_what_the_acceptor_rejects_is_forgotten_and_the_peer_told_why() -> None:
    table = new_table()
    assert table.deny(deciding(table), WHY) == Reject(WHY)
    assert table.phase(2) is None


@pytest.mark.rule("connection.open.rejection")
def test_an_acceptor_that_fails_rejects() -> None:
    table = new_table()
    told = Metadata.of({"error": "the acceptor failed"})
    assert table.deny(deciding(table), None) == Reject(told)


def verdicts(table: ConnectionTable) -> dict[str, Callable[[int], Action]]:
    return {
        "allow": table.allow,
        "deny": lambda number: table.deny(number, WHY),
        "fail": lambda number: table.deny(number, None),
    }


@pytest.mark.rule("connection.close.semantics")
@pytest.mark.parametrize("verdict", ["allow", "deny", "fail"])
def test_a_verdict_on_what_the_peer_has_closed_is_not_sent(verdict: str) -> None:
    table = new_table()
    number = withdrawn(table)
    assert verdicts(table)[verdict](number) is Act.IGNORE
    assert table.phase(number) is Phase.OVER


@pytest.mark.parametrize("verdict", ["allow", "deny", "fail"])
def test_a_verdict_after_the_end_of_the_session_is_not_sent(verdict: str) -> None:
    table = new_table()
    number = deciding(table)
    table.end(SessionError("gone"))
    assert verdicts(table)[verdict](number) is Act.IGNORE
    assert table.phase(number) is None


@pytest.mark.parametrize("verdict", ["allow", "deny", "fail"])
def test_a_verdict_while_new_connections_are_refused_is_a_rejection(
    verdict: str,
) -> None:
    table = new_table()
    number = deciding(table)
    table.refusing = "shutting down"
    assert_unavailable(verdicts(table)[verdict](number))
    assert not table.has_virtual


def assert_unavailable(action: Action) -> None:
    assert isinstance(action, Reject)
    refusal = action.refusal
    assert isinstance(refusal, Unavailable)
    assert (refusal.text, refusal.was_begun) == ("shutting down", False)


# ------------------------------------------------------------ refusing, and the end


def test_while_refusing_openings_are_rejected_with_the_reason() -> None:
    table = new_table()
    table.refusing = "shutting down"
    assert_unavailable(table.on_open(ConnectionOpen(2, EVEN)))
    with pytest.raises(ConnectionLost, match="shutting down"):
        table.plan()
    assert not table.has_virtual


def test_while_refusing_messages_on_a_rejected_opening_are_no_fault() -> None:
    table = new_table(strict=True)
    table.refusing = "shutting down"
    table.on_open(ConnectionOpen(2, EVEN))
    table.on_stray(ChannelItem(2, 1, b""))
    with pytest.raises(RemoteProtocolError):
        table.on_stray(ChannelItem(4, 1, b""))


def test_the_end_forgets_everything() -> None:
    table = new_table()
    opening(table)
    open_of_ours(table)
    rejected(table)
    withdrawn(table)
    reason = SessionError("gone")
    table.end(reason)
    assert not table.has_virtual
    assert in_phase(table, *Phase) == set()
    with pytest.raises(ConnectionLost, match="the session has ended: gone") as caught:
        table.plan()
    assert caught.value.__cause__ is reason


def test_after_the_end_nobody_needs_to_be_told_that_the_session_is_unused() -> None:
    table = new_table()
    table.is_root_unused = True
    table.end(SessionError("gone"))
    assert not table.is_unneeded


# ------------------------------------------------------------ limits


@pytest.mark.rule("connection.open.rejection")
@pytest.mark.parametrize("situation", [opening, open_of_ours, open_of_theirs, deciding])
def test_connections_are_limited_whoever_opens_them(
    situation: Callable[[ConnectionTable], int],
) -> None:
    table = new_table(connections=1)
    situation(table)
    told = Metadata.of({"error": "too many connections (limit: connections)"})
    assert table.on_open(ConnectionOpen(4, EVEN)) == Reject(told)
    with pytest.raises(
        ConnectionLost,
        match=r"^1 virtual connections are open already \(limit: connections\)$",
    ):
        table.plan()


@pytest.mark.parametrize("situation", [rejected, given_up, closed_by_peer])
def test_what_is_over_does_not_count(
    situation: Callable[[ConnectionTable], int],
) -> None:
    table = new_table(connections=1)
    situation(table)
    assert table.on_open(ConnectionOpen(4, EVEN)) is Act.DECIDE


def test_the_limit_is_checked_again_when_there_is_room_to_ask() -> None:
    table = new_table(connections=1)
    table.plan()
    open_of_theirs(table)
    with pytest.raises(ConnectionLost, match="limit: connections"):
        table.check_may_ask()


@pytest.mark.rule("connection.open.rejection")
def test_decisions_are_limited_and_withdrawn_ones_count_until_they_stop() -> None:
    table = new_table(pending_opens=1)
    number = withdrawn(table)
    told = Metadata.of({"error": "too many pending (limit: pending_opens)"})
    assert table.on_open(ConnectionOpen(4, EVEN)) == Reject(told)
    table.deny(number, None)
    assert table.on_open(ConnectionOpen(6, EVEN)) is Act.DECIDE
    assert table.allow(6) is Act.START
    assert table.on_open(ConnectionOpen(8, EVEN)) is Act.DECIDE


@pytest.mark.rule("connection.open.rejection")
def test_without_an_acceptor_openings_are_rejected_with_advice() -> None:
    table = new_table(has_acceptor=False)
    action = table.on_open(ConnectionOpen(2, EVEN))
    assert isinstance(action, Reject)
    assert "serve(url, {name: handler})" in str(action.metadata.get("error"))
    assert not table.has_virtual


LARGE = Metadata.of({"blob": bytes(1000)})
SIZE = weight_of(LARGE)
TOO_MUCH = (
    "too much metadata has come with virtual connections (limit: connection_bytes)"
)


def open_large(table: ConnectionTable, number: int) -> Action:
    return table.on_open(ConnectionOpen(number, EVEN, LARGE))


def test_metadata_is_counted_by_the_memory_that_it_takes() -> None:
    table = new_table(connection_bytes=SIZE)
    assert open_large(table, 2) is Act.DECIDE
    assert table._entries.bytes == SIZE
    assert open_large(table, 4) == Reject(Metadata.of({"error": TOO_MUCH}))
    assert table.phase(4) is None
    assert table.on_open(ConnectionOpen(6, EVEN, NO_METADATA)) is Act.DECIDE


def test_one_byte_less_is_too_little() -> None:
    table = new_table(connection_bytes=SIZE - 1)
    assert isinstance(open_large(table, 2), Reject)
    assert table._entries.bytes == 0


@pytest.mark.parametrize(
    "end",
    [
        lambda table: table.deny(2, None),
        lambda table: (table.allow(2), table.close(2)),
        lambda table: (table.allow(2), table.on_close(ConnectionClose(2))),
        lambda table: (table.on_close(ConnectionClose(2)), table.deny(2, None)),
        lambda table: table.end(SessionError("gone")),
    ],
    ids=["denied", "closed by us", "closed by the peer", "withdrawn", "end"],
)
def test_metadata_counts_until_its_connection_is_gone(
    end: Callable[[ConnectionTable], object],
) -> None:
    table = new_table()
    open_large(table, 2)
    end(table)
    assert table._entries.bytes == 0


def test_metadata_counts_while_the_acceptor_of_a_withdrawn_opening_runs_on() -> None:
    table = new_table()
    open_large(table, 2)
    table.on_close(ConnectionClose(2))
    assert table._entries.bytes == SIZE


def test_an_acceptance_with_too_much_metadata_is_closed_and_fails_the_opener() -> None:
    table = new_table(connection_bytes=SIZE - 1)
    number = ask(table)
    action = table.on_accept(ConnectionAccept(number, EVEN, LARGE))
    assert isinstance(action, Fail)
    assert action.close
    assert isinstance(action.error, ConnectionLost)
    assert str(action.error) == TOO_MUCH
    assert table.phase(number) is None


def test_metadata_of_an_acceptance_counts_as_long_as_the_connection() -> None:
    table = new_table()
    number = ask(table)
    accept = ConnectionAccept(number, EVEN, LARGE)
    assert table.on_accept(accept) is Act.START
    assert table._entries.bytes == SIZE
    table.close(number)
    assert table._entries.bytes == 0


def test_as_many_are_remembered_as_over_as_may_be_open() -> None:
    table = new_table(connections=3, strict=True)
    for number in (2, 4, 6, 8):
        assert table.on_open(ConnectionOpen(number, EVEN)) is Act.DECIDE
        assert table.allow(number) is Act.START
        table.on_close(ConnectionClose(number))
    assert in_phase(table, Phase.OVER) == {4, 6, 8}
    table.on_stray(ChannelItem(2, 1, b""))  # forgotten, and so no fault to be seen
    with pytest.raises(RemoteProtocolError):
        table.on_stray(ChannelItem(4, 1, b""))


def test_a_number_that_is_opened_again_is_not_the_first_to_be_forgotten() -> None:
    table = new_table(connections=2)
    for number in (2, 4, 2):
        table.on_open(ConnectionOpen(number, EVEN))
        table.allow(number)
        table.on_close(ConnectionClose(number))
    table.on_open(ConnectionOpen(6, EVEN))
    table.allow(6)
    table.on_close(ConnectionClose(6))
    assert in_phase(table, Phase.OVER) == {2, 6}


@pytest.mark.rule("connection.close.semantics")
def test_messages_may_cross_the_close_of_a_number_that_was_opened_again() -> None:
    table = new_table(strict=True)
    number = closed_by_peer(table)
    assert table.on_open(ConnectionOpen(number, EVEN)) is Act.DECIDE
    assert table.allow(number) is Act.START
    assert table.close(number)
    table.on_stray(ChannelItem(number, 1, b""))


@pytest.mark.parametrize(
    "situation", [s for s in TABLE if s not in (never_asked_by_us, never_asked_by_peer)]
)
def test_the_counts_are_those_of_the_entries(
    situation: Callable[[ConnectionTable], int],
) -> None:
    table = new_table()
    open_large(table, 10)
    situation(table)
    entries = table._entries
    pending = in_phase(table, Phase.DECIDING, Phase.WITHDRAWN)
    virtual = pending | in_phase(table, Phase.OPENING, Phase.OPEN) - {0}
    assert (entries.virtual, entries.pending) == (len(virtual), len(pending))
    assert entries.bytes == SIZE
    assert set(entries._over) == in_phase(table, Phase.OVER)
    assert repr(table) == (
        f"<ConnectionTable {len(virtual)} virtual, {len(pending)} of them being "
        f"decided on, {SIZE} bytes>"
    )
