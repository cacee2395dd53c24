"""Identities of peers, by which a server counts them and recognises them."""

from __future__ import annotations

import socket
from collections.abc import Hashable
from typing import Final

from .peers import Certificate, Peer

__all__ = ["holder_of", "host_of", "identity_of", "proof_of"]

_LOCAL: Final = "this machine"
_MAPPED: Final = bytes(10) + b"\xff\xff"
"""Start of an IPv6 address that holds an IPv4 address (RFC 4291, 2.5.5.2)."""


def host_of(peer: Peer) -> Hashable:
    """Return the host of a peer: its address without the port.

    The hosts of one IPv6 network of 64 bits are one host, because one machine can have
    every address of such a network. All clients on Unix sockets are one host.
    """
    if peer.credentials is not None or peer.transport == "unix":
        return _LOCAL
    host, colon, port = peer.address.rpartition(":")
    if not (colon and port.isdecimal()):
        return peer.address
    if not (host.startswith("[") and host.endswith("]")):
        return host
    text = host[1:-1].partition("%")[0]  # without the name of an interface
    try:
        address = socket.inet_pton(socket.AF_INET6, text)
    except OSError:
        return host
    if address.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, address[len(_MAPPED) :])
    return address[:8]


def identity_of(peer: Peer) -> Hashable | None:
    """Return the identity of a peer: the one that the application has set if it is
    hashable, or else `proof_of` it. None if there is none.
    """
    identity = peer.identity
    if identity is not None:
        try:
            hash(identity)
        except TypeError:
            pass
        else:
            return ("identity", identity)
    return proof_of(peer)


def holder_of(peer: Peer) -> Hashable:
    """Return by what the sessions of a peer are counted together: its identity, or its
    host if it has none."""
    identity = identity_of(peer)
    return ("host", host_of(peer)) if identity is None else identity


def proof_of(peer: Peer | None) -> Hashable | None:
    """Return what the transport has verified about a peer: the names in its
    certificate, or the user of its process. None if it has verified nothing, or if the
    peer is unknown.

    A renewed certificate has the same names and the same issuer, so it is the same
    proof.
    """
    if peer is None:
        return None
    if peer.certificate is not None:
        return ("certificate", _names_in(peer.certificate))
    if peer.credentials is not None:
        return ("user", peer.credentials.uid)
    return None


def _names_in(certificate: Certificate) -> Hashable:
    fields = certificate.fields
    subject, others = fields.get("subject", ()), fields.get("subjectAltName", ())
    if not subject and not others:
        return certificate.der
    return (fields.get("issuer", ()), subject, others)
