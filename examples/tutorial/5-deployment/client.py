import ssl
import sys

import trio
from roam_trio import stay_connected

from notes import Notes


def client_tls(name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile="ca.pem")
    context.load_cert_chain(f"{name}.pem")
    return context


async def main(name: str) -> None:
    tls = client_tls(name)
    print("adding a note every tenth of a second")
    async with stay_connected("tls://127.0.0.1:7000", Notes, ssl_context=tls) as notes:
        for count in range(1, 101):
            with trio.fail_after(20):
                await notes.add(f"note {count} of {name}")
            await trio.sleep(0.1)
    print("added 100 notes, and no call has failed")


trio.run(main, sys.argv[1])
