import signal

import trio
from roam_trio import dispatcher, serving

from notes import Notes, NotesImpl


async def main() -> None:
    handler: Notes = NotesImpl()
    async with serving(
        "tcp://127.0.0.1:7000",
        dispatcher(Notes, handler),
        drain_on=[signal.SIGINT, signal.SIGTERM],
    ) as server:
        print("listening at", server.url)
        await trio.sleep_forever()


trio.run(main)
