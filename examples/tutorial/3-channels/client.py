import trio
from roam_trio import connect, open_call

from notes import Notes


async def main() -> None:
    async with connect("tcp://127.0.0.1:7000", Notes) as notes:
        async with open_call(notes.load) as call:
            async with call.tx:
                for text in ("buy milk", "call Bea", "mend the bike"):
                    await call.tx.send(text)
            print("loaded:", await call.result())

        with trio.move_on_after(1):
            async with open_call(notes.watch, 1) as call:
                async for note in call.rx:
                    print(f"note {note.number}: {note.text}")
        print("watched for a second")


trio.run(main)
