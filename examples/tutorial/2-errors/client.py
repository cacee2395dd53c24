import trio
from roam_trio import HandlerFailed, connect

from notes import NoSuchNote, Notes


async def main() -> None:
    async with connect("tcp://127.0.0.1:7000", Notes) as notes:
        try:
            await notes.get(7)
        except NoSuchNote as error:
            print(f"there is no note {error.number}")

        try:
            await notes.longest()
        except HandlerFailed as error:
            print("a bug:", error)

        with trio.move_on_after(0.5):
            print("next:", await notes.next())
        print("waited long enough")


trio.run(main)
