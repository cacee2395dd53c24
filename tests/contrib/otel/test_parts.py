"""The parts of telemetry that need no run of trio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.context import Context, get_value, set_value
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import NoOpTracerProvider

from roam_trio import Metadata, MetadataEntry, Peer
from roam_trio.contrib.otel import Telemetry
from roam_trio.contrib.otel.methods import Methods
from roam_trio.contrib.otel.outcomes import OK, outcome
from roam_trio.contrib.otel.places import Places, server_attributes
from roam_trio.contrib.otel.propagation import Propagation
from roam_trio.contrib.otel.sampling import follows_parents
from roam_trio.service.middleware import CallMetadata


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "tcp://bank.example:4000",
            {"server.address": "bank.example", "server.port": 4000},
        ),
        ("wss://[::1]:443/calls", {"server.address": "::1", "server.port": 443}),
        ("tls://bank.example", {"server.address": "bank.example"}),
        ("unix:///run/bank.sock", {"server.address": "/run/bank.sock"}),
    ],
)
def test_a_url_tells_the_server(url: str, expected: dict[str, Any]) -> None:
    assert server_attributes(url) == expected


def test_a_url_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a URL with a host or a path"):
        Telemetry(server="tcp:")


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (
            Peer("tcp", "10.0.0.1:80"),
            {"address": "10.0.0.1", "port": 80, "transport": "tcp"},
        ),
        (Peer("wss", "[::1]:443"), {"address": "::1", "port": 443, "transport": "tcp"}),
        (Peer("unix", "/run/b.sock"), {"address": "/run/b.sock", "transport": "unix"}),
        (Peer("unix", "an unnamed socket"), {"transport": "unix"}),
        (Peer("stdio", "process 7, roam-trio"), {"transport": "pipe"}),
        (Peer("tcp", "somewhere: else"), {"transport": "tcp"}),
        (Peer("carrier pigeon", "10.0.0.1:80"), {}),
        (
            Peer("unix", "@\x1b[2J" + "x" * 999),
            {
                "address": "@\\x1b[2J" + "x" * 226 + "... (1004 characters)",
                "transport": "unix",
            },
        ),
    ],
)
def test_a_peer_is_told_by_its_address(peer: Peer, expected: dict[str, Any]) -> None:
    place = Places().of(peer)
    transport = expected.pop("transport", None)
    assert place.as_server == {f"server.{key}": v for key, v in expected.items()}
    more = {} if transport is None else {"network.transport": transport}
    assert place.as_peer == {
        **{f"network.peer.{key}": v for key, v in expected.items()},
        **more,
    }


def test_what_is_kept_of_peers_and_methods_is_bounded() -> None:
    places, methods = Places(), Methods({})
    first = places.of(Peer("tcp", "10.0.0.1:1"))
    assert places.of(Peer("tcp", "10.0.0.1:1")) is first
    for port in range(2, 1100):
        places.of(Peer("tcp", f"10.0.0.1:{port}"))
    assert places.of(Peer("tcp", "10.0.0.1:1")) is not first

    method = methods.named("Bank/add", is_known=True)
    ok = method.measured(OK, first)
    assert method.measured(OK, first) is ok
    for number in range(300):
        method.measured(outcome(None, f"error{number}"), None)
    assert method.measured(OK, first) is not ok


def test_descriptors_that_come_and_go_are_not_kept_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from roam_trio import describe
    from roam_trio.contrib.otel import methods as module

    from .test_spans import Bank

    monkeypatch.setattr(module, "_MOST_METHODS", 2)
    kept = Methods({})
    add, do, count = describe(Bank).methods
    first = kept.of(add)
    assert kept.of(add) is first
    kept.of(do)
    kept.of(count)
    assert kept.of(add) is not first


def test_a_method_of_a_peer_has_a_bounded_and_legible_name() -> None:
    method = Methods({}).named("Ba\x1bnk/" + "x" * 999, is_known=False)
    assert method.span_name == "roam"
    assert method.attributes["rpc.method"] == "_OTHER"
    original = method.attributes["rpc.method_original"]
    assert isinstance(original, str)
    assert original.startswith("Ba\\x1bnk/xxx")
    assert len(original) <= 200
    assert "rpc.method_original" not in method.measured(OK, None)


# ---------------------------------------------------------------- metadata


class Stamping(TextMapPropagator):
    """Carries one value, and notes the keys that it is shown."""

    keys: Sequence[str] = ()

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Context:
        self.keys = getter.keys(carrier)
        found = getter.get(carrier, "x-stamp")
        return set_value("stamp", found, context)

    def inject(self, carrier: Any, context: Any = None, setter: Any = None) -> None:
        setter.set(carrier, "x-stamp", str(get_value("stamp", context)))

    @property
    def fields(self) -> set[str]:
        return {"x-stamp", "traceparent"}


def test_any_propagator_works_and_sees_its_own_entries_alone() -> None:
    stamping = Stamping()
    propagation = Propagation(stamping, follows_parents=True)
    metadata = Metadata.of(
        [
            MetadataEntry("trace-parent", "00"),
            MetadataEntry("authorization", "secret"),
            MetadataEntry("x-stamp", 7),
            MetadataEntry("x-stamp", "y" * 9000),
            MetadataEntry("x-stamp", "blue"),
        ]
    )
    context, is_unsampled = propagation.extract(metadata)
    assert not is_unsampled
    assert get_value("stamp", context) == ["blue"]
    assert stamping.keys == ["traceparent", "x-stamp", "x-stamp", "x-stamp"]
    assert propagation.extract(metadata)[0] is context
    for nothing in (Metadata(), Metadata.of({"authorization": "secret"})):
        assert propagation.extract(nothing) == (Context(), False)
    sent = CallMetadata()
    propagation.inject(sent, set_value("stamp", "red", Context()))
    assert list(sent) == [MetadataEntry("x-stamp", "red")]


def test_texts_that_are_no_trace_are_ignored() -> None:
    from opentelemetry.propagate import get_global_textmap
    from opentelemetry.trace import get_current_span

    propagation = Propagation(get_global_textmap(), follows_parents=True)
    for text in (
        "",
        "00-0-0-0",
        "ff" * 4000,
        "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
    ):
        context, _ = propagation.extract(Metadata.of({"trace-parent": text}))
        assert not get_current_span(context).get_span_context().is_valid


# ---------------------------------------------------------------- samplers


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (ParentBased(ALWAYS_ON), True),
        (ParentBased(TraceIdRatioBased(0.1)), True),
        (ALWAYS_OFF, False),
        (TraceIdRatioBased(0.1), False),
        (ParentBased(ALWAYS_ON, local_parent_not_sampled=ALWAYS_ON), False),
        (ParentBased(ALWAYS_ON, remote_parent_not_sampled=ALWAYS_ON), False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_sampler_that_heeds_unsampled_parents_is_known(
    sampler: Sampler, expected: bool
) -> None:
    provider = TracerProvider(sampler, shutdown_on_exit=False)
    assert follows_parents(provider.get_tracer("x")) is expected


def test_the_sampler_of_a_tracer_without_one_is_not_known() -> None:
    assert not follows_parents(NoOpTracerProvider().get_tracer("x"))
