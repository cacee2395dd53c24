"""The table of who writes what is committed, walked without a link."""

from __future__ import annotations

from itertools import product

import pytest

from roam_trio.links.write_policy import TABLE, Event, Mode, Write


def walk(mode: Mode, *events: Event) -> tuple[Mode, list[Write]]:
    """Return the mode after some events, and what was to be done at each."""
    done = []
    for event in events:
        mode, write = TABLE[mode][event]
        done.append(write)
    return mode, done


def test_every_mode_has_an_answer_to_every_event() -> None:
    assert {(mode, event) for mode in TABLE for event in TABLE[mode]} == set(
        product(Mode, Event)
    )


@pytest.mark.parametrize(("mode", "event"), list(product(Mode, Event)))
def test_the_attributes_of_a_mode_are_its_row(mode: Mode, event: Event) -> None:
    assert getattr(mode, f"on_{event.name.lower()}") == TABLE[mode][event]


def test_payloads_wake_the_pump_and_leave_the_writing_to_it() -> None:
    assert walk(Mode.PUMP, Event.COMMIT, Event.COMMIT) == (
        Mode.PUMP,
        [Write.WAKE, Write.WAKE],
    )


@pytest.mark.parametrize("mode", Mode)
def test_nothing_is_written_while_the_link_is_corked(mode: Mode) -> None:
    corked, done = walk(mode, Event.CORK, Event.COMMIT, Event.COMMIT, Event.CORK)
    assert corked is Mode.UNCORK
    assert done == [Write.NOTHING] * 4


@pytest.mark.parametrize("mode", Mode)
def test_uncorking_writes_at_once_what_is_unsent(mode: Mode) -> None:
    assert walk(mode, Event.UNCORK) == (Mode.PUMP, [Write.NOW])


@pytest.mark.parametrize("mode", Mode)
def test_one_payload_that_is_expected_alone_is_written_by_its_commit(
    mode: Mode,
) -> None:
    after, done = walk(mode, Event.UNCORK_PROMPT, Event.COMMIT, Event.COMMIT)
    assert after is Mode.PUMP
    assert done == [Write.NOTHING, Write.NOW, Write.WAKE]


@pytest.mark.parametrize("mode", Mode)
def test_without_such_an_expectation_the_pump_is_back(mode: Mode) -> None:
    assert walk(mode, Event.UNCORK_IDLE, Event.COMMIT) == (
        Mode.PUMP,
        [Write.NOTHING, Write.WAKE],
    )
