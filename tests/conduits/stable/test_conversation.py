"""What two peers say and agree is decided without links: these tests run no trio."""

from __future__ import annotations

import pytest

from roam_trio.errors import LinkDead, SessionLost, StableConduitError
from roam_trio.links.resuming.conversation import (
    FEWEST_FILLERS,
    GOODBYE,
    Conversation,
    Due,
    Phase,
)
from roam_trio.links.resuming.hello import ClientHello, ServerHello
from roam_trio.links.resuming.keys import KeyRing
from roam_trio.links.resuming.limits import StableLimits
from roam_trio.wire.backing import Backing

FILLER = b"nothing meant"


class Peers:
    """A client and a server, and the frames that are on their way between them."""

    def __init__(self, filler: bytes = FILLER, **limits: int) -> None:
        bounds = StableLimits(**limits)  # type: ignore[arg-type]
        self.index: dict[bytes, object] = {}
        self.client = Conversation(filler, bounds, KeyRing({}, None))
        self.server = Conversation(filler, bounds, KeyRing(self.index, "the server"))

    def shake_hands(self) -> None:
        """Agree on a new link, on which nothing has come yet."""
        hello = self.client.client_hello()
        assert self.server.reason_to_refuse(hello, None) == ""
        self.client.take_server_hello(self.server.take_client_hello(hello, None))

    def other(self, one: Conversation) -> Conversation:
        return self.server if one is self.client else self.client

    def say(self, speaker: Conversation, *bodies: bytes) -> None:
        for body in bodies:
            speaker.exchange.replay.add(body)

    def carry(self, speaker: Conversation) -> list[tuple[Backing | None, Due]]:
        """Carry what `speaker` has to send; return what it is to the other."""
        came = []
        while speaker.exchange.replay.backlog:
            came.append(self.receive(self.other(speaker), frame_of(speaker)))
        return came

    def receive(self, one: Conversation, frame: bytes) -> tuple[Backing | None, Due]:
        """Have one frame received; return its message, and what to do."""
        messages, due = one.receive((frame,))
        if one.refusal is not None:
            raise one.refusal
        assert len(messages) <= 1
        return (messages[0] if messages else None), due


def frame_of(speaker: Conversation) -> bytes:
    return b"".join(speaker.exchange.next_frame())


@pytest.fixture
def peers() -> Peers:
    peers = Peers()
    peers.shake_hands()
    return peers


# ------------------------------------------------------------ frames


def test_messages_come_as_they_were_said(peers: Peers) -> None:
    peers.say(peers.client, b"one", b"two")
    assert peers.carry(peers.client) == [
        (b"one", Due.ACKNOWLEDGE_SOON),
        (b"two", Due.ACKNOWLEDGE_SOON),
    ]


def test_message_that_comes_again_is_ignored(peers: Peers) -> None:
    peers.say(peers.client, b"one")
    frame = frame_of(peers.client)
    assert peers.receive(peers.server, frame) == (b"one", Due.ACKNOWLEDGE_SOON)
    assert peers.receive(peers.server, frame) == (None, Due.NOTHING)


def test_large_message_is_a_view_of_the_frame_and_a_small_one_a_copy(
    peers: Peers,
) -> None:
    peers.say(peers.client, bytes(2047), bytes(2048))
    small, large = (message for message, _ in peers.carry(peers.client))
    assert isinstance(small, bytes)
    assert isinstance(large, memoryview)
    assert (len(small), len(large)) == (2047, 2048)


def test_payload_that_is_no_frame_fails_the_conversation(peers: Peers) -> None:
    with pytest.raises(StableConduitError, match="a payload of 2 bytes is not a frame"):
        peers.receive(peers.server, b"\0\7")


def test_acknowledgement_of_what_was_never_sent_is_no_frame(peers: Peers) -> None:
    with pytest.raises(StableConduitError, match="expected the number of a frame"):
        peers.receive(peers.server, b"\0\1\5body")


# ------------------------------------------------------------ answers


@pytest.mark.parametrize(
    ("limits", "bodies"),
    [
        ({"acknowledge_frames": 3}, [b"1", b"2", b"3"]),
        ({"acknowledge_bytes": 40}, [bytes(10), bytes(10), bytes(20)]),
    ],
)
def test_answer_is_due_at_once_when_as_much_is_owed_as_may_be(
    limits: dict[str, int], bodies: list[bytes]
) -> None:
    peers = Peers(**limits)
    peers.shake_hands()
    peers.say(peers.client, *bodies)
    due = [each for _, each in peers.carry(peers.client)]
    assert due == [Due.ACKNOWLEDGE_SOON, Due.ACKNOWLEDGE_SOON, Due.ACKNOWLEDGE]


@pytest.mark.parametrize("frames", [4, FEWEST_FILLERS + 4])
def test_peer_that_never_acknowledges_gets_a_bounded_number_of_answers(
    frames: int,
) -> None:
    peers = Peers(unacknowledged_frames=frames)
    peers.shake_hands()
    most = frames + max(frames, FEWEST_FILLERS)
    under_way: list[bytes] = []
    for number in range(most):
        answer = peers.server.filler_to_send()
        assert answer is not None, number
        peers.say(peers.server, answer)
        under_way.append(frame_of(peers.server))
    with pytest.raises(StableConduitError, match="limit: unacknowledged_frames"):
        peers.server.filler_to_send()
    assert peers.client.receive(under_way) == ([], Due.NOTHING)
    peers.say(peers.client, b"which acknowledges them all")
    peers.carry(peers.client)
    assert peers.server.filler_to_send() == FILLER


def test_answer_acknowledges_and_gets_no_answer(peers: Peers) -> None:
    peers.say(peers.client, b"one")
    peers.carry(peers.client)
    answer = peers.server.filler_to_send()
    assert answer == FILLER
    peers.say(peers.server, answer)
    assert peers.carry(peers.server) == [(None, Due.NOTHING)]
    assert not peers.client.exchange.replay.bodies
    assert peers.client.exchange.owed == 0


def test_answers_among_messages_are_neither_delivered_nor_answered(
    peers: Peers,
) -> None:
    peers.say(peers.client, b"one", FILLER, b"two", FILLER)
    frames = [b"".join(each) for each in peers.client.exchange.next_frames(4)]
    assert peers.server.receive(frames) == ([b"one", b"two"], Due.ACKNOWLEDGE_SOON)
    assert peers.server.exchange.owed == 2


def test_payload_that_is_no_frame_is_refused_after_the_messages_before_it(
    peers: Peers,
) -> None:
    peers.say(peers.client, b"one", b"two")
    one, two = (b"".join(each) for each in peers.client.exchange.next_frames(2))
    assert peers.server.receive([one, b"\1", two])[0] == [b"one"]
    assert not peers.server.can_receive
    assert "a payload of 1 bytes is not a frame" in str(peers.server.refusal)


def test_nothing_is_answered_where_messages_are_about_to_do_it(peers: Peers) -> None:
    peers.say(peers.server, b"about to be sent")
    assert peers.server.filler_to_send() is None


def test_nothing_is_answered_after_goodbye(peers: Peers) -> None:
    peers.server.say_goodbye()
    assert peers.server.filler_to_send() is None


def test_without_a_filler_nothing_is_ever_owed_an_answer() -> None:
    peers = Peers(filler=b"")
    peers.shake_hands()
    peers.say(peers.client, b"one", b"")
    assert peers.carry(peers.client) == [(b"one", Due.NOTHING), (None, Due.END)]
    assert peers.server.filler_to_send() is None


# ------------------------------------------------------------ hellos


def test_what_was_lost_with_a_link_is_sent_on_the_next(peers: Peers) -> None:
    peers.say(peers.client, b"one", b"two", b"three")
    peers.receive(peers.server, frame_of(peers.client))
    frame_of(peers.client)  # is lost
    peers.shake_hands()
    assert [message for message, _ in peers.carry(peers.client)] == [b"two", b"three"]


def test_each_link_brings_a_new_key_and_the_one_before_is_good_until_it_is_proved(
    peers: Peers,
) -> None:
    first = peers.client.client_hello()
    peers.server.take_client_hello(first, None)  # the answer is lost
    assert peers.server.reason_to_refuse(first, None) == ""
    peers.shake_hands()
    peers.server.prove_key()
    assert peers.server.reason_to_refuse(first, None) == "its key is of no session"
    assert len(peers.index) == 1


def test_forgotten_keys_let_nobody_in(peers: Peers) -> None:
    hello = peers.client.client_hello()
    peers.server.forget_keys()
    assert peers.server.reason_to_refuse(hello, None) == "its key is of no session"
    assert peers.index == {}


def test_keys_are_bound_to_what_the_first_link_has_verified() -> None:
    peers = Peers()
    first = peers.server.take_client_hello(peers.client.client_hello(), "ada")
    peers.client.take_server_hello(first)
    hello = peers.client.client_hello()
    for proof in (None, "bob"):
        assert peers.server.reason_to_refuse(hello, proof) == (
            "its key is of a session with another certificate or user"
        )
    assert peers.server.reason_to_refuse(hello, "ada") == ""
    peers.client.take_server_hello(peers.server.take_client_hello(hello, "ada"))
    again = peers.client.client_hello()
    assert peers.server.reason_to_refuse(again, "ada") == ""
    assert peers.server.reason_to_refuse(again, None) != ""


def test_keys_of_a_session_without_proof_are_refused_with_one(peers: Peers) -> None:
    hello = peers.client.client_hello()
    assert peers.server.reason_to_refuse(hello, "ada") != ""


def test_new_client_is_refused_by_a_conversation_that_has_begun(peers: Peers) -> None:
    assert peers.server.reason_to_refuse(ClientHello(), None) == (
        "it wants a new session where there is one"
    )


def test_client_that_says_it_has_got_what_was_not_sent_is_refused(
    peers: Peers,
) -> None:
    known = peers.client.client_hello()
    hello = ClientHello(known.resume_key, last_received=7)
    assert peers.server.reason_to_refuse(hello, None) == (
        "it cannot have got 7 as the last frame"
    )


@pytest.mark.parametrize(
    ("is_new", "told"),
    [(True, "limit: max_sessions"), (False, "does not know the session any more")],
)
def test_rejection_tells_a_new_client_something_else_than_an_old_one(
    is_new: bool, told: str
) -> None:
    peers = Peers()
    if not is_new:
        peers.shake_hands()
    with pytest.raises(SessionLost, match=told):
        peers.client.take_server_hello(ServerHello(rejected=True))


def test_server_that_says_it_has_got_what_was_not_sent_has_lost_the_session(
    peers: Peers,
) -> None:
    with pytest.raises(SessionLost, match="it has got 3 as the last frame"):
        peers.client.take_server_hello(ServerHello(bytes(16), last_received=3))


# ------------------------------------------------------------ the end


def end(peers: Peers, one: Conversation) -> None:
    one.say_goodbye()
    peers.say(one, GOODBYE)


def test_conversation_is_complete_when_both_have_said_and_got_goodbye(
    peers: Peers,
) -> None:
    client, server = peers.client, peers.server
    end(peers, client)
    assert peers.carry(client) == [(None, Due.END)]
    assert server.is_at_end
    assert not client.is_goodbye_acknowledged
    end(peers, server)
    assert peers.carry(server) == [(None, Due.END)]
    assert client.is_complete
    assert not server.is_complete  # its own goodbye is not acknowledged
    assert server.needs_no_link  # but a peer that is gone will not do it
    assert client.needs_no_link


def test_goodbye_to_a_peer_that_has_not_ended_needs_another_link(peers: Peers) -> None:
    end(peers, peers.client)
    assert not peers.client.needs_no_link
    peers.carry(peers.client)
    peers.client.is_receiver_closed = True
    assert not peers.client.needs_no_link  # it may not have got it
    peers.say(peers.server, b"which acknowledges")
    peers.carry(peers.server)
    assert peers.client.needs_no_link


def test_goodbye_cannot_be_said_twice(peers: Peers) -> None:
    peers.client.say_goodbye()
    with pytest.raises(AssertionError):
        peers.client.say_goodbye()


def move(conversation: Conversation, step: str) -> None:
    if step == "fail":
        conversation.fail(LinkDead("there is no other link"))
    else:
        getattr(conversation, step)()


@pytest.mark.parametrize(
    ("steps", "phase"),
    [
        ("", Phase.OPEN),
        ("finish", Phase.OPEN),
        ("say_goodbye", Phase.CLOSING),
        ("say_goodbye finish", Phase.CLOSED),
        ("say_goodbye finish fail", Phase.CLOSED),
        ("say_goodbye fail", Phase.FAILED),
        ("say_goodbye fail finish close", Phase.FAILED),
        ("close", Phase.CLOSED),
        ("close fail", Phase.CLOSED),
        ("fail", Phase.FAILED),
        ("fail close", Phase.FAILED),
    ],
)
def test_phase_after_steps(steps: str, phase: Phase) -> None:
    conversation = Peers().client
    for step in steps.split():
        move(conversation, step)
    assert conversation.phase is phase
    assert conversation.is_live is (phase in (Phase.OPEN, Phase.CLOSING))
    assert conversation.needs_no_link is (phase in (Phase.CLOSED, Phase.FAILED))
    assert (conversation.failure is not None) is (phase is Phase.FAILED)


def test_first_failure_counts_and_everybody_gets_an_exception_of_their_own() -> None:
    conversation = Peers().client
    conversation.raise_failure()  # there is none
    cause = OSError("no route")
    first = LinkDead("there is no other link")
    first.__cause__ = cause
    assert conversation.fail(first)
    assert not conversation.fail(LinkDead("another"))
    raised = []
    for _ in range(2):
        with pytest.raises(LinkDead, match="there is no other link") as caught:
            conversation.raise_failure()
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert raised[0].__cause__ is cause


def test_repr_tells_the_phase_and_the_numbers(peers: Peers) -> None:
    peers.say(peers.client, b"one")
    assert repr(peers.client) == (
        "<Conversation open, "
        "<Exchange received None, <ReplayBuffer of 1 from 0, 1 to be sent>>>"
    )
