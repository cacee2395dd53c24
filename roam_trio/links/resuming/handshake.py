"""The hellos on a new link, for both sides; `hello` encodes them."""

from __future__ import annotations

import trio

from ...errors import (
    AnnouncedTooLarge,
    DecodeError,
    ForeignProtocol,
    LinkError,
    StableHandshakeError,
)
from ...wire.backing import Backing
from ..base import Link, LinkRx, LinkTx, PayloadBound
from ..foreign import named_payload
from .hello import HELLO_LENGTH, ClientHello, ServerHello
from .limits import DEFAULT_STABLE_LIMITS
from .source import Attachment

__all__ = ["greet", "prepare_acceptor_attachment", "refuse"]


class _HelloAlone:
    """Counts nothing: a hello is short."""

    arrivals = None
    first = PayloadBound(HELLO_LENGTH, "the length of a hello")

    def hold(self, size: int) -> bool:
        return True

    def give(self, size: int) -> None:
        pass

    wait, go_on = hold, give


_OF_HELLO = _HelloAlone()


async def prepare_acceptor_attachment(
    link: Link, *, seconds: float = DEFAULT_STABLE_LIMITS.handshake_seconds
) -> Attachment:
    """Read the hello of a client on a link that the client has opened.

    This owns the link, and closes it on failure. If the client sends anything else, it
    gets a rejection.

    Args:
        link: the link.
        seconds: number of seconds that the client may take.

    Raises:
        StableHandshakeError: the client sent anything else, or nothing in time.
        LinkError: the link failed.
    """
    peer = link.peer()
    tx, rx = link.split()
    attachment = Attachment(tx, rx)
    try:
        hello = await _read_client_hello(rx, seconds)
    except StableHandshakeError:
        await refuse(attachment, seconds=seconds)
        raise
    except BaseException:
        await attachment.close()
        raise
    return Attachment(tx, rx, hello, peer)


async def _read_client_hello(rx: LinkRx, seconds: float) -> ClientHello:
    with trio.move_on_after(seconds):
        payload: Backing | None = b""
        try:
            payload = await _first_of(rx)
            if payload is not None:
                return ClientHello.decode(payload)
        except (DecodeError, AnnouncedTooLarge) as error:
            raise StableHandshakeError(
                named_payload(payload or b"")
                or "the client connects without resume=True, and this server serves "
                f"with it; give both sides resume=True, or neither ({error})"
            ) from error
        raise LinkError("the client has closed the link; expected its ClientHello")
    raise StableHandshakeError(
        f"no ClientHello arrived within {seconds} s (limit: handshake_seconds)"
    )


async def greet(tx: LinkTx, rx: LinkRx, hello: ClientHello) -> ServerHello:
    """Send the hello of a client, and return the answer. The link's pump must run.

    Raises:
        StableHandshakeError: the answer is not a ServerHello, or, to a new client, is
            of another protocol.
        LinkError: the link failed, or the server has closed it.
    """
    (await tx.reserve()).send((hello.encode(),))
    payload: Backing | None = b""
    try:
        payload = await _first_of(rx)
        if payload is not None:
            return ServerHello.decode(payload)
    except ForeignProtocol as error:
        if hello.resume_key is not None:
            raise  # for example by a load balancer while the server restarts
        raise StableHandshakeError(str(error)) from error
    except (DecodeError, AnnouncedTooLarge) as error:
        raise StableHandshakeError(
            named_payload(payload or b"")
            or "the server serves without resume=True, and this client connects with "
            f"it; give both sides resume=True, or neither ({error})"
        ) from error
    raise LinkError("the server has closed the link; expected its ServerHello")


async def _first_of(rx: LinkRx) -> Backing | None:
    """Receive a hello, and nothing longer; further payloads may be of any length."""
    rx.count_in(_OF_HELLO)
    return await rx.recv()


async def refuse(attachment: Attachment, *, seconds: float) -> None:
    """Tell a client that its session is unknown, and close the link.

    Waits until the client has read that, but no longer than `seconds`.
    """
    try:
        with trio.move_on_after(seconds):
            attachment.tx.reserve_nowait().send((ServerHello(rejected=True).encode(),))
            await attachment.tx.close()
    except (LinkError, trio.WouldBlock):
        pass  # there is no peer left to tell
    finally:
        await attachment.close()
