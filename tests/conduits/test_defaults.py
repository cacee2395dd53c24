"""What a conduit of one's own need not write: the defaults of its two halves."""

from __future__ import annotations

from typing import Any

import pytest

from roam_trio.conduits.base import ConduitTx
from roam_trio.errors import ConduitError


class Tx(ConduitTx[int]):
    """Sends single messages, of which it takes so many, and refuses some."""

    def __init__(self, room: int, refused: set[int]) -> None:
        self.sent: list[int] = []
        self._room = room
        self._refused = refused

    async def reserve(self) -> Any:
        raise AssertionError

    def reserve_nowait(self) -> Any:
        raise AssertionError

    def has_room(self) -> bool:
        return len(self.sent) < self._room

    def send_nowait(self, message: int) -> None:
        if message in self._refused:
            raise ConduitError(f"{message} cannot be sent")
        self.sent.append(message)

    def statistics(self) -> Any:
        raise AssertionError

    async def pump(self) -> None:
        raise AssertionError

    async def close(self) -> None:
        raise AssertionError

    async def abort(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("room", "refused", "sent"),
    [(9, set(), [1, 2, 3]), (2, set(), [1, 2]), (0, set(), []), (9, {3}, [1, 2])],
)
def test_several_messages_are_sent_one_by_one_as_far_as_they_go(
    room: int, refused: set[int], sent: list[int]
) -> None:
    tx = Tx(room, refused)
    assert tx.send_many_nowait([1, 2, 3]) == len(sent)
    assert tx.sent == sent


def test_the_first_of_several_messages_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises(ConduitError, match="1 cannot be sent"):
        Tx(9, {1}).send_many_nowait([1, 2, 3])


def test_messages_are_unchanged_where_nothing_encodes_them() -> None:
    assert Tx(9, set()).encode_all([1, 2]) == [1, 2]
