"""Servers of one machine among which a returning client finds its session.

Several processes serve the same address, and a client that has lost its link may come
to another process than before. The keys of each server begin with its number. A server
that gets a key of another one passes the link on: it connects to the private socket of
that server, tells it about the client, and copies payloads in both directions as long
as the link lasts.
"""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from typing import Any, Final, cast

import attrs
import trio

from ...errors import LinkError
from ...peers import Certificate, Credentials, Peer
from ..base import Link, LinkRx, LinkTx, SplitLink
from ..local import LocalLink
from ..stream import StreamLimits
from .keys import new_key
from .source import Attachment

__all__ = ["Siblings", "told_by_sibling"]

_NUMBER_LENGTH: Final = 2

_CLOSE_SECONDS: Final = 5.0
"""Time to write the rest when one of the two links has ended."""


def _number(instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if not 0 <= value < 256**_NUMBER_LENGTH:
        raise ValueError(f"number: expected a number below 65,536, got {value!r}")


@attrs.frozen
class Siblings:
    """The place of a server among those of one machine, for ``serve(resume=...)``.

    Attributes:
        directory: an existing directory for the private sockets of all of them. Its
            permissions must keep others out: a process that can connect to these
            sockets can pretend to be any client.
        number: the number of this server, from 0 to 65,535. No other one has or had it
            as long as clients may return.
    """

    directory: str
    number: int = attrs.field(validator=_number)

    def new_key(self) -> bytes:
        """Return an unguessable key that names this server (`stable.resume-key`)."""
        own = self.number.to_bytes(_NUMBER_LENGTH, "big")
        return own + new_key()[_NUMBER_LENGTH:]

    @property
    def path(self) -> str:
        """The path of the private socket of this server."""
        return self._path_of(self.number)

    def _path_of(self, number: int) -> str:
        return os.path.join(self.directory, str(number))

    async def pass_on(
        self, attachment: Attachment, *, max_payload: int, seconds: float
    ) -> bool:
        """Pass the link of a client to the server that its key names.

        Return when the link has ended. If cancelled, close it.

        Args:
            attachment: the link, with the hello that has come on it.
            max_payload: length of the longest payload, in bytes.
            seconds: time to connect to the other server.

        Returns:
            False if there is no such server, or if it is this one. Then nothing has
            been sent.
        """
        hello, peer = attachment.client_hello, attachment.peer
        assert hello is not None
        assert hello.resume_key is not None
        assert peer is not None
        number = int.from_bytes(hello.resume_key[:_NUMBER_LENGTH], "big")
        if number == self.number:
            return False
        limits = StreamLimits(max_payload=max_payload)
        link: Link | None = None
        with trio.move_on_after(seconds):
            try:
                link = await LocalLink.connect(self._path_of(number), limits=limits)
            except OSError:
                return False
        if link is None:
            return False
        other = Attachment(*link.split())
        try:
            await _relay(attachment, other, (_described(peer), hello.encode()))
        finally:
            await attachment.close()
            await other.close()
        return True


async def _relay(here: Attachment, there: Attachment, first: tuple[bytes, ...]) -> None:
    """Copy payloads between two links until one of them ends.

    Args:
        here: one of them.
        there: the other one.
        first: payloads to send `there` at first.
    """
    async with trio.open_nursery() as nursery:

        async def copy(rx: LinkRx, tx: LinkTx, *begin: bytes) -> None:
            try:
                for payload in begin:
                    (await tx.reserve()).send((payload,))
                while (received := await rx.recv()) is not None:
                    (await tx.reserve()).send((received,))
                with trio.move_on_after(_CLOSE_SECONDS):
                    await tx.close()
            except LinkError:
                pass  # both ends notice, and the client comes back
            nursery.cancel_scope.cancel()

        async def pump(tx: LinkTx) -> None:
            with suppress(LinkError):  # `copy` gets it, too
                await tx.pump()

        for each in (here, there):
            nursery.start_soon(pump, each.tx)
        nursery.start_soon(copy, here.rx, there.tx, *first)
        nursery.start_soon(copy, there.rx, here.tx)


async def told_by_sibling(link: Link) -> Link:
    """Return the link of a client that another server has passed on.

    Args:
        link: the link to that server.

    Raises:
        LinkError: the link ends before it is complete.
    """
    tx, rx = link.split()
    try:
        told = await rx.recv()
        if told is None:
            raise LinkError("the other server has closed the link of a client")
        return _PassedLink(tx, rx, _peer_of(bytes(told)))
    except BaseException:
        await Attachment(tx, rx).close()
        raise


class _PassedLink(SplitLink):
    """A link that another server has passed on."""

    def __init__(self, tx: LinkTx, rx: LinkRx, peer: Peer) -> None:
        super().__init__(tx, rx)
        self._peer = peer

    def peer(self) -> Peer:
        return self._peer


def _described(peer: Peer) -> bytes:
    """Return what a transport has verified about a peer, for another server."""
    certificate, credentials = peer.certificate, peer.credentials
    told: dict[str, Any] = {"transport": peer.transport, "address": peer.address}
    if certificate is not None:
        told["fields"] = certificate.fields
        told["der"] = base64.b64encode(certificate.der).decode()
    if credentials is not None:
        told["credentials"] = attrs.astuple(credentials)
    return json.dumps(told).encode()


def _peer_of(told: bytes) -> Peer:
    found: dict[str, Any] = json.loads(told)
    peer = Peer(found["transport"], found["address"])
    if "der" in found:
        fields = {key: _with_tuples(each) for key, each in found["fields"].items()}
        peer.certificate = Certificate(fields, base64.b64decode(found["der"]))
    if "credentials" in found:
        peer.credentials = Credentials(*found["credentials"])
    return peer


def _with_tuples(value: object) -> object:
    """Return a value of JSON with tuples in place of lists, as `ssl` has them."""
    if isinstance(value, list):
        return tuple(map(_with_tuples, cast("list[object]", value)))
    return value
