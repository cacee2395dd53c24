from pathlib import Path

import pytest
from roam_trio import Refused, dispatcher, open_call
from roam_trio.testing import connected_pair

from access import authorise
from notes import NoSuchNote, Note, Notes, NotesImpl


@pytest.fixture
def handler(tmp_path: Path) -> NotesImpl:
    return NotesImpl(tmp_path / "notes.sqlite")


async def test_note_is_kept_with_its_author(handler: NotesImpl) -> None:
    async with connected_pair(Notes, handler, identity="ada") as notes:
        number = await notes.add("buy milk")
        assert await notes.get(number) == Note(1, "ada", "buy milk")


async def test_note_that_is_not_there_is_an_error(handler: NotesImpl) -> None:
    async with connected_pair(Notes, handler) as notes:
        with pytest.raises(NoSuchNote) as caught:
            await notes.get(7)
        assert caught.value.number == 7


async def test_author_alone_changes_a_note(handler: NotesImpl) -> None:
    async with (
        connected_pair(Notes, handler, identity="ada") as ada,
        connected_pair(Notes, handler, identity="bob") as bob,
    ):
        number = await ada.add("buy milk")
        with pytest.raises(Refused, match="ada has written"):
            await bob.change(number, "sell milk")
        await ada.change(number, "buy oat milk")
        assert await bob.get(number) == Note(1, "ada", "buy oat milk")


async def load(notes: Notes, *texts: str) -> int:
    async with open_call(notes.load) as call:
        await call.tx.send_many(texts)
        call.tx.close()
        return await call.result()


async def test_editors_alone_load_many_notes(handler: NotesImpl) -> None:
    guarded = dispatcher(Notes, handler, middleware=[authorise])
    async with (
        connected_pair(Notes, guarded, identity="ada") as ada,
        connected_pair(Notes, guarded, identity="bob") as bob,
    ):
        assert await load(ada, "one", "two", "three") == 3
        with pytest.raises(Refused, match="load is for editors"):
            await load(bob, "four")


async def test_watcher_gets_old_notes_and_new_ones(handler: NotesImpl) -> None:
    async with connected_pair(Notes, handler, identity="ada") as notes:
        await notes.add("old")
        async with open_call(notes.watch, 0) as call:
            assert await call.rx.recv() == Note(1, "ada", "old")
            await notes.add("new")
            assert await call.rx.recv() == Note(2, "ada", "new")
            call.cancel()


async def test_watcher_is_let_go_when_the_server_drains(handler: NotesImpl) -> None:
    pair = connected_pair(Notes, handler, identity="ada")
    async with pair as notes, open_call(notes.watch, 0) as call:
        await notes.add("old")
        assert await call.rx.recv() == Note(1, "ada", "old")
        await pair.server_session.shutdown(grace=5)
        assert [note async for note in call.rx] == []
