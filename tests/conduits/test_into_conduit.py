"""What carries a session: links, conduits, and whatever makes a conduit of itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from roam_trio import (
    BareConduit,
    Conduit,
    IntoConduit,
    Link,
    Message,
    MessageFamily,
    StableConduit,
    acceptor,
    client,
    initiator,
    memory_link_pair,
)
from roam_trio.conduits.into import as_conduit
from tests.session.connecting import add
from tests.session.running import Streams, streams


class Address:
    """Makes a conduit of itself, as a class of a user's may."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.calls = 0

    def into_conduit(self) -> Conduit[Message]:
        self.calls += 1
        return BareConduit(self._link, MessageFamily())


async def test_sessions_run_on_what_makes_a_conduit_of_itself(
    nursery: trio.Nursery,
) -> None:
    near, far = map(Address, memory_link_pair(16))
    nursery.start_soon(acceptor(far).run, streams(add=add))
    async with initiator(near).open() as session:
        assert await client(Streams, session.caller).add(3, 5) == 8
    assert (near.calls, far.calls) == (1, 1)


def test_a_conduit_is_carried_by_itself_and_a_link_by_a_bare_conduit() -> None:
    link, other = memory_link_pair(1)
    conduit = BareConduit(link, MessageFamily())
    assert isinstance(conduit, IntoConduit)
    assert as_conduit(conduit) is conduit
    assert isinstance(as_conduit(other), BareConduit)
    assert issubclass(StableConduit, IntoConduit)


class Returns:
    def __init__(self, value: object) -> None:
        self._value = value

    def into_conduit(self) -> Any:
        return self._value


@pytest.mark.parametrize("role", [initiator, acceptor])
@pytest.mark.parametrize(
    ("carrier", "told"),
    [
        (7000, "type int"),
        ("tcp://u:secret@host:1", "type str; connect() and serve() take URLs"),
        (memory_link_pair(1), "type tuple; memory_link_pair() and split() return two"),
        (trio.testing.memory_stream_pair()[0], "StreamLink(stream) makes a link"),
        (Address, "the class Address itself"),
        (None, "type NoneType"),
    ],
)
def test_anything_else_is_refused_at_once_with_what_is_expected(
    role: Callable[..., object], carrier: object, told: str
) -> None:
    expected = "expected a Link, a Conduit, or an object with into_conduit(), got "
    with pytest.raises(TypeError) as caught:
        role(carrier)
    assert str(caught.value).startswith(expected)
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)


def test_into_conduit_that_returns_no_conduit_is_named() -> None:
    with socket.socket() as sock, pytest.raises(TypeError) as caught:
        initiator(Returns(sock))
    assert str(caught.value) == (
        "Returns.into_conduit(): expected it to return a Conduit, "
        "got an object of type socket"
    )
