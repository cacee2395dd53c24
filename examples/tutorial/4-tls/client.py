import ssl
import sys

import trio
from roam_trio import Refused, connect, open_call

from notes import Notes


def client_tls(name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile="ca.pem")
    context.load_cert_chain(f"{name}.pem")
    return context


async def main(name: str) -> None:
    tls = client_tls(name)
    async with connect("tls://127.0.0.1:7000", Notes, ssl_context=tls) as notes:
        print("added note", await notes.add(f"{name} was here"))
        try:
            await notes.change(1, "buy oat milk")
            print("changed note 1")
        except Refused as refusal:
            print("change:", refusal.text)
        try:
            async with open_call(notes.load) as call:
                await call.tx.send_many(["call Bea", "mend the bike"])
                call.tx.close()
                print("loaded:", await call.result())
        except Refused as refusal:
            print("load:", refusal.text)


trio.run(main, sys.argv[1])
