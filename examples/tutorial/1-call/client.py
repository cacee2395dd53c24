import trio
from roam_trio import connect

from notes import Notes


async def main() -> None:
    async with connect("tcp://127.0.0.1:7000", Notes) as notes:
        number = await notes.add("buy milk")
        print(f"note {number}: {await notes.get(number)}")


trio.run(main)
