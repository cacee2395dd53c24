"""What a replay buffer holds, as a budget counts it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roam_trio.links.resuming.replay import MESSAGE_BYTES, STEP, ReplayBuffer


class Counting:
    """A budget of so many bytes."""

    def __init__(self, most: int = 10**9) -> None:
        self.most = most
        self.held = 0
        self.calls = 0

    def hold(self, size: int) -> bool:
        self.calls += 1
        if self.held + size > self.most:
            return False
        self.held += size
        return True

    def give(self, size: int) -> None:
        self.calls += 1
        self.held -= size

    wait, go_on = hold, give


def memory_of(replay: ReplayBuffer) -> int:
    return sum(len(body) + MESSAGE_BYTES for body in replay.bodies)


def counted_replay(budget: Counting) -> ReplayBuffer:
    replay = ReplayBuffer()
    replay.count_in(budget)
    return replay


def acknowledge_all(replay: ReplayBuffer) -> None:
    while replay.backlog:
        replay.take()
    replay.acknowledge(replay.next_seq - 1)


OPERATIONS = st.lists(
    st.sampled_from([1, 100, STEP - 100, STEP, 5 * STEP])
    | st.sampled_from(["take", "trim", "rewind"]),
    max_size=60,
)


@given(OPERATIONS, st.sampled_from([0, STEP, 4 * STEP, 10**9]))
def test_count_is_never_a_step_off_and_never_above_the_budget(
    operations: list[int | str], most: int
) -> None:
    budget = Counting(most)
    replay = counted_replay(budget)
    for operation in operations:
        if isinstance(operation, int):
            before = memory_of(replay)
            replay.add(bytes(operation))
            if memory_of(replay) == before:  # it was dropped
                assert before + operation + MESSAGE_BYTES > most
        elif operation == "take" and replay.backlog:
            replay.take()
        elif operation == "trim" and replay.backlog < len(replay.bodies):
            replay.acknowledge(replay.first)
        elif operation == "rewind":
            replay.rewind()
        assert 0 <= budget.held <= most
        uncounted = abs(memory_of(replay) - budget.held)
        assert uncounted <= STEP + MESSAGE_BYTES * len(operations)
        assert replay.bodies or not budget.held
    replay.forget()
    assert (budget.held, len(replay.bodies), replay.size) == (0, 0, 0)


def test_several_messages_are_counted_together_and_dropped_together() -> None:
    budget = Counting(3 * STEP)
    replay = counted_replay(budget)
    replay.add_all([b"a", b"b"], 2)
    assert budget.calls == 0
    replay.add_all([bytes(STEP), b"c"], STEP + 1)
    assert budget.held == memory_of(replay) == STEP + 3 + 4 * MESSAGE_BYTES
    replay.add_all([bytes(STEP)] * 2, 2 * STEP)
    assert (len(replay.bodies), replay.size) == (4, STEP + 3)
    assert (replay.total, replay.total_size) == (6, 3 * STEP + 3)
    assert budget.held == memory_of(replay)


def test_messages_that_are_acknowledged_soon_change_no_count() -> None:
    budget = Counting()
    replay = counted_replay(budget)
    for _ in range(1000):
        replay.add(bytes(1000))
        acknowledge_all(replay)
    assert budget.calls == 0


def test_short_messages_count_with_their_places() -> None:
    budget = Counting()
    replay = counted_replay(budget)
    for _ in range(4096):
        replay.add(b"12345")
    uncounted = memory_of(replay) - budget.held
    assert 0 <= uncounted <= STEP + MESSAGE_BYTES * (STEP // 5)


def test_buffer_that_forgets_goes_on_with_the_next_number() -> None:
    replay = counted_replay(Counting(0))
    replay.add(b"one")
    replay.take()
    replay.add(b"two")
    replay.add(bytes(2 * STEP))  # dropped
    assert list(replay.bodies) == [b"one", b"two"]
    replay.forget()
    replay.add(bytes(2 * STEP))  # counted no longer
    assert replay.take() == (2, bytes(2 * STEP))
    assert not replay.can_replay_after(None)
    assert replay.can_replay_after(2)
    replay.forget()
    assert replay.next_seq == 3
