"""Strangers that come and go, guess keys or have one, beside an honest client."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roam_trio import LinkDead, StableLimits, prepare_acceptor_attachment
from roam_trio.links.memory import memory_link_pair
from roam_trio.links.resuming.acceptor import _Returns
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.links.resuming.keys import new_key
from roam_trio.peers import Certificate, Credentials, Peer

from .lines import Line
from .test_acceptor import Hall, LinkOf, Served

HONEST = "192.0.2.1:4711"


def one_host(number: int) -> str:
    return f"198.51.100.1:{number}"


def host_of_the_honest_one(number: int) -> str:
    return f"192.0.2.1:{number}"


def many_hosts(number: int) -> str:
    return f"198.51.{number // 256}.{number % 256}:1"


def one_network(number: int) -> str:
    return f"[2001:db8::{number:x}]:1"


from_anywhere = pytest.mark.parametrize(
    "address", [one_host, many_hosts, one_network, host_of_the_honest_one]
)


async def lose(line: Line) -> None:
    await line.break_off()
    await wait_all_tasks_blocked()


async def honest_client(
    hall: Hall, seconds: float = 0.0, peer: Peer | None = None, *, messages: int = 1
) -> tuple[bytes, Served]:
    """Let a client work for some seconds and lose its link; return its key."""
    line, key, served = await hall.new_client(peer or Peer("tcp", HONEST))
    await line.say_frame(0, "handshake")
    for seq in range(messages):
        await line.say_frame(seq + 1, "work")
    await wait_all_tasks_blocked()
    await trio.sleep(seconds)
    await lose(line)
    return key, served


async def come_and_go(
    hall: Hall, count: int, address: Callable[[int], str], messages: int = 0
) -> None:
    """Let strangers come, send some messages and lose their links."""
    for number in range(count):
        line, _, _ = await hall.new_client(Peer("tcp", address(number)))
        for seq in range(messages):
            await line.say_frame(seq, "hello")
        await wait_all_tasks_blocked()
        await lose(line)


def error_of(served: Served) -> Exception | None:
    return served.error


async def returns(hall: Hall, key: bytes, served: Served) -> bool:
    """Return True if the honest client goes on where it was."""
    if served.error is not None or await hall.is_refused(
        key, None, Peer("tcp", HONEST)
    ):
        return False
    await wait_all_tasks_blocked()
    return served.error is None


@from_anywhere
@pytest.mark.parametrize("messages", [0, 1])
async def test_300_strangers_without_work_do_not_replace_a_lost_client(
    address: Callable[[int], str],
    messages: int,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    hall = Hall(nursery, StableLimits())
    key, served = await honest_client(hall)
    await come_and_go(hall, 300, address, messages)
    assert "257 conduits" not in repr(hall.acceptor)
    assert "256 of them without a client" in repr(hall.acceptor)
    await trio.sleep(59)
    assert await returns(hall, key, served)


@pytest.mark.parametrize("address", [one_host, many_hosts])
async def test_3000_strangers_without_work_do_not_replace_a_lost_client(
    address: Callable[[int], str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits())
    key, served = await honest_client(hall)
    await come_and_go(hall, 3000, address)
    await trio.sleep(59)
    assert await returns(hall, key, served)


@from_anywhere
async def test_strangers_that_work_and_go_at_once_do_not_replace_a_lost_client(
    address: Callable[[int], str], nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits(lost_clients=20))
    key, served = await honest_client(hall, seconds=0.5)
    await come_and_go(hall, 60, address, messages=2)
    assert await returns(hall, key, served)


async def test_host_that_stays_for_long_has_only_its_share(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits(lost_clients=20))
    lines: list[Line] = []
    for number in range(60):
        line, _, _ = await hall.new_client(Peer("tcp", one_host(number)))
        await line.say_frame(0, "handshake")
        await line.say_frame(1, "work")
        lines.append(line)
    await trio.sleep(1000)
    key, served = await honest_client(hall)
    for line in lines:
        await lose(line)
    assert await returns(hall, key, served)


async def test_as_many_hosts_as_lost_clients_that_stay_longer_replace_one(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """The bound: so many that have worked, each from a host of its own, and each for
    longer than the honest client."""
    hall = Hall(nursery, StableLimits(lost_clients=20))
    lines: list[Line] = []
    for number in range(20):
        line, _, _ = await hall.new_client(Peer("tcp", many_hosts(number)))
        await line.say_frame(0, "handshake")
        await line.say_frame(1, "work")
        lines.append(line)
    await trio.sleep(10)
    _, served = await honest_client(hall, seconds=5)
    for line in lines[:19]:
        await lose(line)
    assert error_of(served) is None
    await lose(lines[19])
    assert isinstance(served.error, LinkDead)
    assert str(served.error) == (
        "the client is gone, and the server waits for 20 others (limit: lost_clients)"
    )


async def test_time_with_a_link_is_counted_over_all_links(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits(lost_clients=1, resume_seconds=1000))
    peer = Peer("tcp", HONEST)
    key, served = await honest_client(hall, seconds=6, messages=2)
    await trio.sleep(500)  # without a link
    line = hall.come(peer)
    assert await line.greet(key) is not None
    await trio.sleep(6)
    await lose(line)
    _, other = await honest_client(hall, 11, Peer("tcp", many_hosts(1)), messages=2)
    assert error_of(served) is None
    assert isinstance(other.error, LinkDead)
    _, longer = await honest_client(hall, 13, Peer("tcp", many_hosts(2)), messages=2)
    assert isinstance(served.error, LinkDead)
    assert longer.error is None


async def test_identity_that_the_application_has_set_has_one_share(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits(lost_clients=4))
    key, served = await honest_client(hall)
    for number in range(8):
        peer = Peer("tcp", many_hosts(number))
        line, _, other = await hall.new_client(peer)
        # As `on_session` does; the acceptor describes the client by its own `Peer`.
        other.conduit.peer().identity = "stolen"
        await line.say_frame(0, "handshake")
        await line.say_frame(1, "work")
        await trio.sleep(1)
        await lose(line)
    assert await returns(hall, key, served)


async def test_client_that_returns_as_it_is_given_up_goes_on(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits())
    key, served = await honest_client(hall)
    ours, theirs = memory_link_pair(16)
    line, link = Line(ours), LinkOf(theirs, Peer("tcp", HONEST))
    await line.say(ClientHello(key).encode())
    attachment = await prepare_acceptor_attachment(link)
    source = served.conduit.resuming._source
    assert isinstance(source, _Returns)
    source.give_up("others are waited for")
    await source.hand_over(attachment)  # before any other task runs
    await line.say_frame(2, "here again")
    await wait_all_tasks_blocked()
    assert served.got == ["handshake", "work", "here again"]
    await lose(line)
    await trio.sleep(59)
    assert served.error is None  # it is waited for as any other


async def test_link_that_arrives_at_the_end_of_its_session_is_closed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits())
    line, key, served = await hall.new_client()
    source = served.conduit.resuming._source
    assert isinstance(source, _Returns)
    lines: list[Line] = []
    for end in (False, True):
        ours, theirs = memory_link_pair(16)
        lines.append(Line(ours))
        await lines[-1].say(ClientHello(key).encode())
        attachment = await prepare_acceptor_attachment(theirs)
        if end:  # the link before this one has arrived, and was not taken
            await served.tx.abort()
        await source.hand_over(attachment)
    assert [await each.hear() for each in (line, *lines)] == [None, None, None]
    assert hall.acceptor.is_idle


async def test_repr_of_an_acceptor_of_links_counts_them(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits())
    line, _, _ = await hall.new_client()
    await lose(line)
    text = "<ResumingAcceptor of 1 links, 1 without a client>"
    assert repr(hall.acceptor._links) == text


# ------------------------------------------------------------ new clients


async def test_new_client_takes_the_place_of_one_without_work(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits(), max_sessions=10)
    key, served = await honest_client(hall)
    await come_and_go(hall, 30, one_host)
    assert "10 conduits, 10 of them without a client" in repr(hall.acceptor)
    assert [isinstance(each.error, LinkDead) for each in hall.served] == (
        [False, *[True] * 21, *[False] * 9]
    )
    assert str(hall.served[1].error) == (
        "the client is gone, and its session has made room for another client "
        "(limit: max_sessions)"
    )
    await hall.new_client(Peer("tcp", many_hosts(1)))
    assert "10 conduits, 9 of them without a client" in repr(hall.acceptor)
    assert await returns(hall, key, served)


@from_anywhere
@pytest.mark.parametrize("seconds", [0.0, 9.0])
async def test_lost_strangers_that_have_worked_keep_no_new_client_out(
    address: Callable[[int], str],
    seconds: float,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    hall = Hall(nursery, StableLimits(), max_sessions=10)
    lines = [await stay(hall, address(number)) for number in range(10)]
    await trio.sleep(seconds)
    for line in lines:
        await lose(line)
    for number in range(10):
        await hall.new_client(Peer("tcp", f"203.0.113.{number}:1"))
    assert "10 conduits, 0 of them without a client" in repr(hall.acceptor)


async def stay(hall: Hall, address: str, messages: int = 10) -> Line:
    """Let a client come, send some messages, and keep its link."""
    line, _, _ = await hall.new_client(Peer("tcp", address))
    for seq in range(messages + 1):
        await line.say_frame(seq, "work")
    return line


async def test_honest_client_has_its_full_time_although_new_ones_come_and_go(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits(), max_sessions=10)
    key, served = await honest_client(hall, seconds=70, messages=7)
    for number in range(59):
        line = await stay(hall, many_hosts(number))
        await trio.sleep(1)
        await lose(line)
    assert "10 conduits, 10 of them without a client" in repr(hall.acceptor)
    assert await returns(hall, key, served)


async def test_host_with_many_lost_clients_makes_room_for_those_of_others(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits(), max_sessions=10)
    lines = [await stay(hall, one_host(number)) for number in range(9)]
    await trio.sleep(100)
    key, served = await honest_client(hall, seconds=20, messages=10)
    for line in lines:
        await lose(line)
    for number in range(8):
        await hall.new_client(Peer("tcp", many_hosts(number)))
    assert await hall.is_refused(None, None, Peer("tcp", many_hosts(100)))
    assert await returns(hall, key, served)


async def test_new_client_is_refused_if_all_others_have_a_link_or_keep_their_places(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits(), max_sessions=2)
    key, served = await honest_client(hall, seconds=20, messages=2)
    await hall.new_client()
    assert await hall.is_refused(None, None)
    assert await returns(hall, key, served)


# ------------------------------------------------------------ keys


@from_anywhere
async def test_guessed_keys_leave_nothing_and_cost_the_lost_client_nothing(
    address: Callable[[int], str],
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    hall = Hall(nursery, StableLimits())
    key, served = await honest_client(hall)
    before, tasks = repr(hall.acceptor), len(nursery.child_tasks)
    for number in range(1000):
        peer = Peer("tcp", address(number))
        assert await hall.is_refused(new_key(), None, peer)
    await wait_all_tasks_blocked()
    assert repr(hall.acceptor) == before
    assert len(nursery.child_tasks) == tasks
    assert len(hall.served) == 1
    assert await returns(hall, key, served)


async def test_link_has_one_guess_and_a_bounded_time(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A guesser that reads no answer holds its link no longer than two handshakes."""
    limits = StableLimits(handshake_seconds=5)
    hall = Hall(nursery, limits)
    lines = [hall.come() for _ in range(100)]
    await trio.sleep(4.9)
    for line in lines:
        await line.say(b"ROCH\1" + new_key() + bytes(4))
        await line.say(b"ROCH\1" + new_key() + bytes(4))
    await trio.sleep(5.2)
    assert len(nursery.child_tasks) == 0
    assert "0 conduits" in repr(hall.acceptor)


def ada(serial: str = "1") -> Certificate:
    return certificate("ada", serial)


def certificate(name: str, serial: str = "1") -> Certificate:
    subject = ((("commonName", name),),)
    return Certificate({"subject": subject, "serialNumber": serial}, serial.encode())


@pytest.mark.parametrize(
    ("owner", "thief"),
    [
        (Peer("tls", HONEST, ada()), Peer("tls", HONEST, certificate("bob"))),
        (Peer("tls", HONEST, ada()), Peer("tls", HONEST)),
        (Peer("tls", HONEST, ada()), Peer("tcp", HONEST)),
        (Peer("tls", HONEST), Peer("tls", HONEST, ada())),
        (
            Peer("unix", "a socket", credentials=Credentials(1, 1000, 1000)),
            Peer("unix", "a socket", credentials=Credentials(2, 1001, 1001)),
        ),
        (
            Peer("unix", "a socket", credentials=Credentials(1, 1000, 1000)),
            Peer("tcp", HONEST),
        ),
    ],
    ids=["another", "none", "no TLS", "none before", "user", "no user"],
)
async def test_stolen_key_is_refused_to_another_identity_as_an_unknown_one(
    owner: Peer,
    thief: Peer,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hall = Hall(nursery, StableLimits())
    line, key, served = await hall.new_client(owner)
    await line.say_frame(0, "handshake")
    await line.say_frame(1, "work")
    await wait_all_tasks_blocked()
    # While the link is in use, and when it is lost.
    assert await hall.is_refused(key, None, thief)
    await line.say_frame(2, "not disturbed")
    await wait_all_tasks_blocked()
    assert served.got == ["handshake", "work", "not disturbed"]
    await lose(line)
    assert await hall.is_refused(key, None, thief)
    assert "another certificate or user" in caplog.text
    assert await hall.is_refused(new_key(), None, thief)
    assert served.error is None
    assert not await hall.is_refused(key, None, owner)


async def test_key_that_became_invalid_while_its_link_waited_is_refused(
    nursery: trio.Nursery, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    hall = Hall(nursery, StableLimits())
    _, served = await honest_client(hall)
    ours, theirs = memory_link_pair(16)
    line = Line(ours)
    await line.say(ClientHello(new_key()).encode())
    attachment = await prepare_acceptor_attachment(theirs)
    # As if the key had been that of the session when the link arrived.
    source = served.conduit.resuming._source
    assert isinstance(source, _Returns)
    await source.hand_over(attachment)
    answer = await line.hear()
    assert answer is not None
    assert ServerHello.decode(answer) == ServerHello(rejected=True)
    assert await line.hear() is None
    assert "that wants to resume: its key is of no session" in caplog.text
    await trio.sleep(59)
    assert served.error is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Peer("tls", HONEST, ada("1")), Peer("tls", many_hosts(1), ada("2"))),
        (
            Peer("unix", "a socket", credentials=Credentials(1, 1000, 1000)),
            Peer("unix", "a socket", credentials=Credentials(2, 1000, 5)),
        ),
        (Peer("tcp", HONEST), Peer("ws", many_hosts(1))),
    ],
    ids=["renewed certificate", "another process", "another address"],
)
async def test_client_with_the_same_identity_goes_on(
    before: Peer, after: Peer, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    hall = Hall(nursery, StableLimits())
    line, key, served = await hall.new_client(before)
    await lose(line)
    assert not await hall.is_refused(key, None, after)
    assert served.error is None
    assert served.conduit.peer().address == after.address
