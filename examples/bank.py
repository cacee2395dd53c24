"""A bank: who calls, what goes around every call, how long it may take, and an orderly
end: `python examples/bank.py`.

    client ── front desk ── ledger

The front desk knows its clients by a token and by what their connection proves. Clerks
alone move money, and the ledger keeps the books. A deadline of the client holds in the
ledger too.
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from roam_trio import (
    AnyCall,
    Peer,
    Proceed,
    Refused,
    Rx,
    Tx,
    Unavailable,
    connect,
    current_call,
    dispatcher,
    open_call,
    service,
    serving,
    u32,
)

TOKENS = {"token of a clerk": "Ada", "token of a guest": "Bob"}
CLERKS = {"Ada"}


# ---------------------------------------------------------------- the ledger


@service
class Ledger(Protocol):
    async def add(self, amount: u32) -> u32: ...
    async def audit(self) -> None: ...


class LedgerImpl:
    def __init__(self) -> None:
        self._total = 0

    async def add(self, amount: int) -> int:
        self._total += amount
        return self._total

    async def audit(self) -> None:
        left = current_call().deadline - trio.current_time()
        print(f"  [ledger] an audit, for {left:.1f} seconds at most")
        try:
            await trio.sleep_forever()
        finally:
            print("  [ledger] gave the audit up")


# ---------------------------------------------------------------- the front desk


@service
class Desk(Protocol):
    async def greet(self) -> str: ...
    async def pay_in(self, amounts: Rx[u32]) -> u32: ...
    async def count(self, coins: u32, out: Tx[u32]) -> u32: ...
    async def audit(self) -> None: ...
    async def close(self, notes: Tx[str]) -> str: ...


class DeskImpl:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.closing = trio.Event()

    async def greet(self) -> str:
        call = current_call()
        return f"Good morning, {call.identity}, over {call.peer.transport}."

    async def pay_in(self, amounts: Rx[u32]) -> u32:
        total = 0
        async for amount in amounts:
            total = await self._ledger.add(amount)
        return total

    async def count(self, coins: u32, out: Tx[u32]) -> u32:
        async with out:
            for coin in range(1, coins + 1):
                await out.send(coin)
        return coins

    async def audit(self) -> None:
        await self._ledger.audit()  # under the deadline of the caller

    async def close(self, notes: Tx[str]) -> str:
        """End the day: this call goes on while the server drains."""
        self.closing.set()
        await trio.sleep(0.05)
        await notes.send("closing")
        await trio.sleep(0.05)
        return "closed"


async def welcome(peer: Peer) -> None:
    """Find out who a client is, before its session begins."""
    token = peer.metadata.get("authorization")
    user = TOKENS.get(token) if isinstance(token, str) else None
    if user is None:
        raise Refused("denied", "unknown token")
    proof = peer.certificate or peer.credentials
    if proof is None:
        raise Refused("denied", "come over tls:// with a certificate, or over unix://")
    peer.identity = user


async def authorise(call: AnyCall, proceed: Proceed) -> Any:
    """Let clerks alone move money."""
    if call.method.name in ("pay_in", "audit") and call.peer.identity not in CLERKS:
        raise Refused("denied", f"{call.method.name} is for clerks")
    return await proceed()


@attrs.define
class Timing:
    """Counts calls, and the time that they take."""

    calls: int = 0
    seconds: float = 0.0

    async def __call__(self, call: AnyCall, proceed: Proceed) -> Any:
        began = trio.current_time()
        try:
            return await proceed()
        finally:
            self.calls += 1
            self.seconds += trio.current_time() - began


# ---------------------------------------------------------------- the client


async def use(url: str, tls: ssl.SSLContext | None) -> None:
    try:
        async with connect(url, Desk, metadata={"authorization": "?"}, ssl_context=tls):
            raise AssertionError("a stranger came in")
    except Refused as refusal:
        print(f"stranger: {refusal.code}: {refusal.text}")

    guest = {"authorization": "token of a guest"}
    async with connect(url, Desk, metadata=guest, ssl_context=tls) as desk:
        print(await desk.greet())
        try:
            await desk.audit()
        except Refused as refusal:
            print(f"Bob: {refusal.code}: {refusal.text}")

    clerk = {"authorization": "token of a clerk"}
    async with connect(url, Desk, metadata=clerk, ssl_context=tls) as desk:
        print(await desk.greet())
        async with open_call(desk.pay_in) as call:
            for amount in (100, 20, 3):
                await call.tx.send(amount)
            call.tx.close()
            print("paid in:", await call.result())
        async with open_call(desk.count, 5) as call:
            print("coins:", [coin async for coin in call.rx], await call.result())
        with trio.move_on_after(0.2) as scope:
            await desk.audit()
        print("audit:", "gave up" if scope.cancelled_caught else "done")
        async with open_call(desk.close) as call:
            print("desk:", await call.rx.recv())
            try:
                await desk.greet()
            except Unavailable:
                print("desk: takes no new calls")
            print("desk:", await call.result())


async def run(
    url: str,
    server_tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
) -> None:
    """Open the bank at a URL for one day."""
    timing = Timing()
    async with (
        serving("tcp://127.0.0.1:0", dispatcher(Ledger, LedgerImpl())) as books,
        connect(books.url, Ledger) as ledger,
    ):
        desk = DeskImpl(ledger)
        async with (
            serving(
                url,
                dispatcher(Desk, desk),
                on_session=welcome,
                middleware=[timing, authorise],
                ssl_context=server_tls,
            ) as server,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(use, server.url, client_tls)
            await desk.closing.wait()
            await server.shutdown(grace=5)
    print("calls at the desk:", timing.calls)


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        await run(f"unix://{Path(directory) / 'bank.sock'}")


if __name__ == "__main__":
    trio.run(main)
