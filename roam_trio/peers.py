"""Descriptions of peers: transport, handshake metadata and identity.

A link describes its peer (`Link.peer`), the session adds the metadata of the handshake,
and the application sets the identity (`Peer.identity`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, cast

import attrs

from .metadata import NO_METADATA, Metadata

__all__ = ["Certificate", "Credentials", "Peer"]

_Name: TypeAlias = tuple[tuple[tuple[str, str], ...], ...]
"""A distinguished name, in the form in which `ssl` has it."""


@attrs.frozen
class Certificate:
    """The certificate of a peer, which TLS has verified.

    Attributes:
        fields: the result of `ssl.SSLSocket.getpeercert`.
        der: the certificate itself, in DER.
    """

    fields: Mapping[str, Any] = attrs.field(repr=False)
    der: bytes = attrs.field(repr=False)

    @property
    def subject(self) -> str:
        """The distinguished name of the peer, such as ``"CN=ada,O=Example"``.

        The text is for people. A comma within a name is escaped with a backslash, so
        that one name cannot pass for another.
        """
        return ",".join(
            f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in self._parts
        )

    @property
    def common_name(self) -> str | None:
        """The common name of the subject; None if there is not exactly one."""
        found = [value for kind, value in self._parts if kind == "commonName"]
        return found[0] if len(found) == 1 else None

    @property
    def names(self) -> tuple[str, ...]:
        """The alternative names of the peer: host names, addresses and URIs."""
        pairs: tuple[tuple[str, str], ...] = self.fields.get("subjectAltName", ())
        return tuple(value for _, value in pairs)

    @property
    def _parts(self) -> Iterator[tuple[str, str]]:
        """The parts of the subject, the last first, as RFC 4514 writes them."""
        subject = cast("_Name", self.fields.get("subject", ()))
        for part in reversed(subject):
            yield from part

    def __repr__(self) -> str:
        return f"Certificate({self.subject!r}, names={self.names!r})"


_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}


def _escaped(value: str) -> str:
    return "".join(f"\\{each}" if each in ',+"\\<>;=' else each for each in value)


@attrs.frozen
class Credentials:
    """The process that has connected a Unix socket, as the system describes it.

    The numbers are those at the time of the connection.

    Attributes:
        pid: number of the process.
        uid: number of its user.
        gid: number of its group.
    """

    pid: int
    uid: int
    gid: int


@attrs.define(eq=False)
class Peer:
    """The peer of a session.

    Attributes:
        transport: the transport of the link: ``"tcp"``, ``"tls"``, ``"unix"``,
            ``"ws"``, ``"wss"``, ``"stdio"`` or ``"memory"``, or the name that a link
            from elsewhere has given.
        address: where the peer is, as a text for logs; never empty.
        certificate: its certificate, if TLS has asked for one and verified it.
        credentials: its process, on a Unix socket of a system that tells it (Linux).
        metadata: the metadata of its handshake; empty until it has arrived.
        identity: the identity that the application has determined; handlers read it
            from ``current_call().identity``.
    """

    transport: str
    address: str
    certificate: Certificate | None = None
    credentials: Credentials | None = None
    metadata: Metadata = NO_METADATA
    identity: Any = None

    def follow(self, other: Peer) -> None:
        """Take over the description of the same peer by another link.

        The metadata of the handshake and the identity belong to the session, and do not
        change.
        """
        self.transport, self.address = other.transport, other.address
        self.certificate, self.credentials = other.certificate, other.credentials
