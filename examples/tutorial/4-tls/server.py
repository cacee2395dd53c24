import signal
import ssl

import trio
from roam_trio import dispatcher, serving

from access import authorise, identify
from notes import Notes, NotesImpl


def server_tls() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile="ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain("server.pem")
    return context


async def main() -> None:
    handler: Notes = NotesImpl()
    async with serving(
        "tls://127.0.0.1:7000",
        dispatcher(Notes, handler),
        ssl_context=server_tls(),
        middleware=[identify, authorise],
        drain_on=[signal.SIGINT, signal.SIGTERM],
    ) as server:
        print("listening at", server.url)
        await trio.sleep_forever()


trio.run(main)
