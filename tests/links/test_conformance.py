"""Every kind of link passes every check of the conformance kit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio.testing.link_conformance import CHECKS, Check, LinkUnderTest, carry

from . import pairs

LINKS = {
    "memory": LinkUnderTest(pairs.memory_pair),
    "memory, as views": LinkUnderTest(pairs.pair_on_views),
    "tightest memory": LinkUnderTest(pairs.tightest_memory_pair),
    "memory stream": LinkUnderTest(pairs.memory_stream_pair, pairs.MAX_PAYLOAD),
    "lockstep stream": LinkUnderTest(pairs.lockstep_stream_pair, pairs.MAX_PAYLOAD),
    "one-way streams": LinkUnderTest(pairs.one_way_streams_pair, pairs.MAX_PAYLOAD),
    "tcp": LinkUnderTest(pairs.tcp_pair, pairs.MAX_PAYLOAD),
    "local": LinkUnderTest(pairs.local_pair, pairs.MAX_PAYLOAD),
    "tls": LinkUnderTest(pairs.tls_pair, pairs.MAX_PAYLOAD),
    "websocket": LinkUnderTest(pairs.websocket_pair, pairs.MAX_PAYLOAD),
    "websocket, the other way": LinkUnderTest(
        pairs.websocket_pair_the_other_way, pairs.MAX_PAYLOAD
    ),
    "websocket on a stream": LinkUnderTest(
        pairs.websocket_stream_pair, pairs.MAX_PAYLOAD
    ),
    "secure websocket": LinkUnderTest(pairs.secure_websocket_pair, pairs.MAX_PAYLOAD),
    "tcp as stream": LinkUnderTest(pairs.tcp_as_plain_stream_pair, pairs.MAX_PAYLOAD),
    "split": LinkUnderTest(pairs.split_pair),
}

KIND_RULES = {
    "memory": ("transport.memory", "zerocopy.framing.link.memory"),
    "memory, as views": ("zerocopy.backing",),
    "memory stream": ("transport.stream.kinds",),
    "one-way streams": ("transport.stream.kinds",),
    "tcp": ("transport.stream.kinds",),
    "websocket": (
        "transport.websocket",
        "transport.websocket.platforms",
        "zerocopy.framing.link.websocket",
    ),
    "local": ("transport.stream.local", "transport.stream.kinds"),
}


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        pytest.param(
            kind,
            check,
            id=f"{kind}-{check}",
            marks=pytest.mark.rule(*check.rules, *KIND_RULES.get(kind, ())),
        )
        for kind in LINKS
        for check in CHECKS
    ],
)
async def test_link_passes(kind: str, check: Check) -> None:
    await check(LINKS[kind])


@pytest.mark.rule("link.message", "link.order", "link.message.empty")
@pytest.mark.parametrize(
    "kind", ["memory", "lockstep stream", "tcp", "websocket", "tls"]
)
@given(
    lengths=st.lists(
        st.integers(0, 20)
        | st.integers(0, 200_000)
        | st.sampled_from([65_532, 65_533]),
        max_size=12,
    )
)
async def test_payloads_of_random_lengths_arrive(kind: str, lengths: list[int]) -> None:
    payloads = [bytes([n % 256]) * length for n, length in enumerate(lengths)]
    await carry(LINKS[kind], payloads)
