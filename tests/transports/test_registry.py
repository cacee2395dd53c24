"""Known schemes, and registration of schemes by other packages."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest
import trio

from roam_trio import connect, dispatcher, serve
from roam_trio.transports import (
    ENTRY_POINTS,
    LinkFactory,
    LinkOptions,
    ListenerFactory,
    Transport,
    known_schemes,
    register_transport,
    registry,
    transport_for,
)

from ..test_schemes import Echo, EchoImpl


class Pigeons(Transport):
    """Another package's: behind another name, it is the transport in memory."""

    example = "pigeon://loft"

    def to_connect(self, url: str, options: LinkOptions) -> LinkFactory:
        return transport_for("memory:").to_connect(self._renamed(url), options)

    def to_listen(self, url: str, options: LinkOptions) -> ListenerFactory:
        return transport_for("memory:").to_listen(self._renamed(url), options)

    def _renamed(self, url: str) -> str:
        return url.replace("pigeon:", "memory:", 1)


@pytest.fixture(autouse=True)
def _registrations_are_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_transports", dict(registry._transports))


async def test_a_registered_scheme_is_served_and_connected_to(
    nursery: trio.Nursery,
) -> None:
    register_transport("pigeon", Pigeons())
    assert "pigeon" in known_schemes()
    await nursery.start(serve, "pigeon://loft", dispatcher(Echo, EchoImpl()))
    async with connect("pigeon://loft", Echo) as echo:
        assert await echo.echo("coo") == "coo"


def test_registering_the_same_again_is_harmless_and_another_refused() -> None:
    pigeons = Pigeons()
    register_transport("pigeon", pigeons)
    register_transport("pigeon", pigeons)
    for taken in ("pigeon", "tcp"):
        with pytest.raises(ValueError, match=f"'{taken}' already belongs to"):
            register_transport(taken, Pigeons())


@pytest.mark.parametrize("scheme", ["", "Pigeon", "1st", "a b", "a:"])
def test_what_is_no_scheme_is_refused(scheme: str) -> None:
    with pytest.raises(ValueError, match="expected a scheme such as 'pigeon'"):
        register_transport(scheme, Pigeons())


def test_what_is_no_transport_is_refused() -> None:
    no_transport: Any = Pigeons
    with pytest.raises(TypeError, match="expected a Transport for 'pigeon', got"):
        register_transport("pigeon", no_transport)


def entry_points_with(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    installed = EntryPoints(
        EntryPoint(value.partition(":")[2].lower(), value, ENTRY_POINTS)
        for value in values
    )
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda **what: installed.select(**what)
    )


INSTANCE = Pigeons()
WRONG = object()


@pytest.mark.parametrize("name", ["Pigeons", "INSTANCE"])
def test_a_scheme_of_an_installed_package_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry_points_with(monkeypatch, f"{__name__}:{name}")
    assert name.lower() in known_schemes()
    found = transport_for(f"{name}://loft")
    assert isinstance(found, Pigeons)
    assert transport_for(f"{name.lower()}://attic") is found


def test_what_an_installed_package_names_has_to_be_a_transport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry_points_with(monkeypatch, f"{__name__}:WRONG")
    with pytest.raises(
        TypeError, match=r"entry point '.*WRONG' for the scheme 'wrong'"
    ):
        transport_for("wrong://loft")


def test_an_installed_package_cannot_take_a_scheme_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = EntryPoints([EntryPoint("tcp", f"{__name__}:WRONG", ENTRY_POINTS)])
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda **what: installed.select(**what)
    )
    assert transport_for("tcp://loft:1") is not WRONG


def test_an_unknown_scheme_is_refused_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry_points_with(monkeypatch, f"{__name__}:Pigeons")
    with pytest.raises(ValueError, match=r"are: fd, .*memory, pigeons, .*unix"):
        transport_for("http://host")
    with pytest.raises(ValueError, match=r"; did you mean pigeons:\?"):
        transport_for("pigeon://loft")
    with pytest.raises(ValueError, match=r"; did you mean memory:\?"):
        transport_for("memroy://loft")
