from roam_trio.testing import connected_pair

from notes import Notes, NotesImpl


async def test_note_is_kept() -> None:
    async with connected_pair(Notes, NotesImpl()) as notes:
        number = await notes.add("buy milk")
        assert await notes.get(number) == "buy milk"
