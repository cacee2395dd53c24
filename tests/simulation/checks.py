"""What sessions may hold at any time, and at rest."""

from __future__ import annotations

from roam_trio import Session
from roam_trio.conduits.stable import StableConduitTx
from roam_trio.links.resuming.replay import MESSAGE_BYTES, STEP
from roam_trio.links.resuming.tx import StableTxStatistics
from roam_trio.session.budgets import TASK_BYTES
from roam_trio.session.connection_run import ConnectionRun, memory_of_connection

from .broken import require
from .script import Setup
from .stage import MOST_HELD, MOST_UNREAD

__all__ = ["check_budgets", "check_nothing_is_held"]


def check_budgets(session: Session, setup: Setup) -> None:
    """Check that a session holds no more than it may."""
    for run in session.connections.runs.values():
        _check_connection(run, setup.requests)
    budget = session._run.terms.budget
    require(
        0 <= budget.bytes <= MOST_HELD and 0 <= budget.tasks <= setup.tasks,
        "a budget is exceeded: session_bytes or session_tasks",
        budget,
    )
    sent = session._run.tx.statistics()
    if isinstance(sent, StableTxStatistics):
        # Acknowledgements without a message go beyond the limit: one for each frame
        # that the peer may have sent meanwhile.
        require(
            sent.unacknowledged_frames <= 2 * setup.frames + 2,
            "a budget is exceeded: unacknowledged_frames",
            sent,
        )


def _check_connection(run: ConnectionRun, requests: int) -> None:
    table = run.requests.table
    require(
        len(run.answering) <= requests and len(table.in_flight) <= requests,
        "a budget is exceeded: max_concurrent_requests",
        run,
    )
    require(table.free >= 0, "a budget is exceeded: free slots", run)
    require(
        0 <= run.port.unread_bytes <= MOST_UNREAD,
        "a budget is exceeded: unread_bytes",
        run,
    )
    require(run.answering.bytes >= 0, "a count is negative: request bytes", run)


def check_nothing_is_held(session: Session) -> None:
    """Check a session without calls and channels, of which nothing is under way."""
    statistics = session.statistics()
    require(statistics.messages_kept == 0, "messages are kept at rest", statistics)
    sent = statistics.sent
    require(
        not (sent.permits or sent.tasks_waiting or sent.unsent_payloads),
        "something waits to be sent at rest",
        sent,
    )
    for connection in statistics.connections:
        require(
            not (connection.calling or connection.answering or connection.channels),
            "calls or channels are left at rest",
            connection,
        )
    budget, runs = session._run.terms.budget, session.connections.runs.values()
    open_now = sum(
        memory_of_connection(run.port.connection_id, run.port.peer_metadata)
        for run in runs
    )
    unacknowledged = _counted_by_link(session)
    require(
        budget.bytes == budget.tasks * TASK_BYTES + open_now + unacknowledged,
        "a budget counts more or less than is held at rest",
        (budget, open_now, unacknowledged),
    )
    for run in runs:
        held = run.channels.held
        require(
            held is None or not (held.count or held.bytes),
            "early messages are left at rest",
            held,
        )
        table = run.requests.table
        require(table.is_idle, "a slot is not given back", table)
        require(run.port.unread_bytes == 0, "unread bytes are left at rest", run)
        require(run.answering.bytes == 0, "request bytes are left at rest", run)


def _counted_by_link(session: Session) -> int:
    """Return what the link of a session counts in its budget: about what it keeps."""
    tx = session._run.tx
    if not isinstance(tx, StableConduitTx):
        return 0
    replay = tx._resuming._replay
    assert replay._counted is not None, "a session that is set up counts"
    counted = replay._counted._counted
    # Before the next count, messages of STEP bytes in all may come or go.
    most = STEP + MESSAGE_BYTES * (STEP // 8 + len(replay.bodies))
    require(
        abs(counted - replay.size) <= most and (replay.bodies or not counted),
        "a link counts more or less than it keeps",
        (counted, replay),
    )
    return counted
