import pytest
import trio
from roam_trio.testing import connected_pair
from trio.testing import MockClock

from notes import NoSuchNote, Notes, NotesImpl


async def test_note_is_kept() -> None:
    async with connected_pair(Notes, NotesImpl()) as notes:
        number = await notes.add("buy milk")
        assert await notes.get(number) == "buy milk"


async def test_note_that_is_not_there_is_an_error() -> None:
    async with connected_pair(Notes, NotesImpl()) as notes:
        with pytest.raises(NoSuchNote) as caught:
            await notes.get(7)
        assert caught.value.number == 7


async def test_nothing_comes_in_an_hour(autojump_clock: MockClock) -> None:
    async with connected_pair(Notes, NotesImpl()) as notes:
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(3600):
                await notes.next()
