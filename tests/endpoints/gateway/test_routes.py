"""Routes by names of services and of clients, without I/O."""

from __future__ import annotations

from typing import Any

import pytest

from roam_trio import Metadata, Peer, Refused
from roam_trio.endpoints.gateway.routes import Route, RouteTable, names_of
from roam_trio.peers import Certificate, Credentials

EVE = Peer("tcp", "127.0.0.1:1")
ADA = Peer("tls", "127.0.0.1:2", identity="ada")
BANK = Route("bank", "tcp://a:1", ["ada"])
SHOP = Route("shop", ["tcp://a:1", "tcp://b:2"])
REST = Route("", "tcp://c:3")


def certificate(common_name: str, *names: str) -> Certificate:
    fields = {
        "subject": ((("organizationName", "Bank"),), (("commonName", common_name),)),
        "subjectAltName": tuple(("DNS", name) for name in names),
    }
    return Certificate(fields, b"")


@pytest.mark.parametrize(
    ("peer", "names"),
    [
        (EVE, set()),
        (ADA, {"ada"}),
        (Peer("tcp", "there", identity=("ada", 1)), set()),
        (Peer("unix", "there", credentials=Credentials(7, 1000, 100)), {"uid:1000"}),
        (
            Peer("tls", "there", certificate=certificate("ada", "ada.example")),
            {"ada", "CN=ada,O=Bank", "ada.example"},
        ),
        (
            Peer("tls", "there", certificate=certificate("uid:0", "uid:1", "ada")),
            {"CN=uid:0,O=Bank", "ada"},
        ),
        (Peer("tls", "there", certificate=Certificate({}, b"")), set()),
    ],
)
def test_client_is_known_by_what_the_transport_has_verified(
    peer: Peer, names: set[str]
) -> None:
    assert names_of(peer) == names


def test_route_is_found_by_the_name_of_the_service() -> None:
    table = RouteTable([BANK, SHOP])
    assert table.find(Metadata.of({"service": "bank"}), ADA) is BANK
    assert table.find(Metadata.of({"service": "shop"}), EVE) is SHOP
    assert table.root is None
    assert table.names == ("bank", "shop")


@pytest.mark.parametrize("name", ["till", "", 7, b"bank"])
def test_other_names_go_to_the_route_without_a_name(name: Any) -> None:
    asked = Metadata.of({"service": name})
    assert RouteTable([BANK, REST]).find(asked, EVE) is REST
    rejection = RouteTable([BANK, SHOP]).find(asked, EVE)
    assert isinstance(rejection, Metadata)
    assert str(rejection.get("error")).endswith("is not one of the services: shop")


def test_client_that_may_not_use_a_route_is_refused() -> None:
    table = RouteTable([BANK, REST])
    with pytest.raises(Refused, match="this client may not use 'bank'") as caught:
        table.find(Metadata.of({"service": "bank"}), EVE)
    assert (caught.value.code, caught.value.was_begun) == ("denied", False)


def test_nobody_may_use_a_route_for_nobody() -> None:
    assert not Route("bank", "tcp://a:1", []).may_use(ADA)


def test_routes_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one, got none"):
        RouteTable([])
    with pytest.raises(ValueError, match="one with each name, got two of 'bank'"):
        RouteTable([BANK, BANK])
    with pytest.raises(ValueError, match="two of the route without a name"):
        RouteTable([REST, REST])
    with pytest.raises(ValueError, match="another name than 'health'"):
        Route("health", "tcp://a:1")
    with pytest.raises(TypeError, match="a list of names, got the text 'ada'"):
        Route("bank", "tcp://a:1", "ada")
