import pytest
from roam_trio import open_call
from roam_trio.testing import connected_pair

from notes import NoSuchNote, Note, Notes, NotesImpl


async def test_note_is_kept() -> None:
    async with connected_pair(Notes, NotesImpl()) as notes:
        number = await notes.add("buy milk")
        assert await notes.get(number) == Note(1, "buy milk")


async def test_note_that_is_not_there_is_an_error() -> None:
    async with connected_pair(Notes, NotesImpl()) as notes:
        with pytest.raises(NoSuchNote) as caught:
            await notes.get(7)
        assert caught.value.number == 7


async def test_many_notes_are_loaded() -> None:
    async with (
        connected_pair(Notes, NotesImpl()) as notes,
        open_call(notes.load) as call,
    ):
        await call.tx.send_many(["one", "two", "three"])
        call.tx.close()
        assert await call.result() == 3


async def test_watcher_gets_old_notes_and_new_ones() -> None:
    async with connected_pair(Notes, NotesImpl()) as notes:
        await notes.add("old")
        async with open_call(notes.watch, 0) as call:
            assert await call.rx.recv() == Note(1, "old")
            await notes.add("new")
            assert await call.rx.recv() == Note(2, "new")
            call.cancel()
