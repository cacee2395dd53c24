"""By what peers are counted, and by what they are recognised."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest

from roam_trio.peer_identity import host_of, identity_of, proof_of
from roam_trio.peers import Certificate, Credentials, Peer


def certificate(name: str = "ada", issuer: str = "ca", **fields: Any) -> Certificate:
    named: dict[str, Any] = {
        "issuer": ((("commonName", issuer),),),
        "subject": ((("commonName", name),),),
    }
    return Certificate(named | fields, b"DER")


@pytest.mark.parametrize(
    ("transport", "address", "host"),
    [
        ("tcp", "192.0.2.7:4711", "192.0.2.7"),
        ("wss", "192.0.2.7:4711", "192.0.2.7"),
        ("tcp", "[::ffff:192.0.2.7]:4711", "192.0.2.7"),
        ("tcp", "[2001:db8:0:1::5]:4711", bytes.fromhex("20010db800000001")),
        ("tls", "[2001:db8:0:1:ffff::]:1", bytes.fromhex("20010db800000001")),
        ("tcp", "[fe80::1%eth0]:4711", bytes.fromhex("fe80000000000000")),
        ("tcp", "[not an address]:4711", "[not an address]"),
        ("unix", "process 12 of user 1000", "this machine"),
        ("memory", "this process", "this process"),
        ("quic", "by pigeon: number 5a", "by pigeon: number 5a"),
    ],
)
def test_host_is_the_address_without_the_port(
    transport: str, address: str, host: Hashable
) -> None:
    assert host_of(Peer(transport, address)) == host


def test_clients_on_unix_sockets_are_one_host_below_any_transport() -> None:
    peers = [
        Peer("ws", f"process {pid} of user 1", credentials=Credentials(pid, 1, 1))
        for pid in (5, 6)
    ]
    assert host_of(peers[0]) == host_of(peers[1]) == host_of(Peer("unix", "/run/x"))


def test_proof_is_the_names_in_the_certificate_and_outlives_its_renewal() -> None:
    first = Peer("tls", "192.0.2.7:1", certificate("ada", serialNumber="1"))
    renewed = Peer("tls", "192.0.2.8:2", certificate("ada", serialNumber="2"))
    assert proof_of(first) == proof_of(renewed)
    others = [
        certificate("bob"),
        certificate("ada", issuer="another ca"),
        certificate("ada", subjectAltName=(("DNS", "ada.example"),)),
    ]
    for other in others:
        assert proof_of(Peer("tls", "192.0.2.7:1", other)) != proof_of(first)


def test_certificate_without_names_is_known_by_its_bytes() -> None:
    one, another = (
        Peer("tls", "192.0.2.7:1", Certificate({"issuer": ()}, der))
        for der in (b"one", b"another")
    )
    assert proof_of(one) is not None
    assert proof_of(one) != proof_of(another)


def test_proof_on_a_unix_socket_is_the_user_and_not_the_process() -> None:
    first, second, other = (
        Peer("unix", "a socket", credentials=Credentials(pid, uid, uid))
        for pid, uid in ((1, 1000), (2, 1000), (1, 1001))
    )
    assert proof_of(first) == proof_of(second)
    assert proof_of(first) != proof_of(other)
    assert proof_of(Peer("unix", "a socket")) is None
    assert proof_of(None) is None


def test_certificate_counts_before_the_user_of_a_process() -> None:
    peer = Peer("tls", "a socket", certificate(), Credentials(1, 1000, 1000))
    assert proof_of(peer) == proof_of(Peer("tls", "elsewhere", certificate()))


def test_identity_is_what_the_application_says_or_else_the_proof() -> None:
    peer = Peer("tls", "192.0.2.7:1", certificate())
    assert identity_of(peer) == proof_of(peer)
    peer.identity = "ada"
    assert identity_of(peer) == identity_of(Peer("tcp", "x", identity="ada"))
    assert identity_of(peer) != proof_of(peer)
    peer.identity = ["cannot be counted"]
    assert identity_of(peer) == proof_of(peer)
    assert identity_of(Peer("tcp", "192.0.2.7:1")) is None
