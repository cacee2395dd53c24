"""The parts of telemetry that need no run of trio."""

from __future__ import annotations

import asyncio
import logging
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
from roam_trio.contrib.otel.outcomes import OK, at_client, at_server, outcome
from roam_trio.contrib.otel.places import Places, server_attributes
from roam_trio.contrib.otel.propagation import Propagation
from roam_trio.contrib.otel.sampling import follows_parents
from roam_trio.contrib.otel.well_formed import well_formed
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


def test_measurements_of_no_server_are_refused() -> None:
    with pytest.raises(ValueError, match="measured_servers: expected a whole number"):
        Telemetry(measured_servers=0)


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


def test_measurements_tell_a_limited_number_of_servers_apart() -> None:
    places, method = Places(), Methods({}).named("Bank/add", is_known=True)
    told = [places.of(Peer("tcp", f"10.0.0.1:{port}")) for port in range(1, 3000)]
    measured = [method.measured(OK, place) for place in told]
    servers = {each["server.port"] for each in measured if "server.port" in each}
    assert servers == set(range(1, 129))
    assert all(place.as_server["server.port"] for place in told)
    # Also after those that were kept have gone.
    for port, is_told in ((128, True), (129, False)):
        again = method.measured(OK, places.of(Peer("tcp", f"10.0.0.1:{port}")))
        assert ("server.port" in again) is is_told


@pytest.mark.parametrize(
    ("is_late", "code"), [(False, "cancelled"), (True, "deadline")]
)
def test_a_call_that_asyncio_cancels_is_cancelled(is_late: bool, code: str) -> None:
    from roam_trio import describe

    from .test_spans import Bank

    method, error = describe(Bank).methods[0], asyncio.CancelledError()
    here = at_client(error, method, is_known=True, is_late=is_late)
    assert (here.code, here.error_type) == (code, code)
    assert at_server(error, method, is_late=is_late).code == code


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


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("baggage", "a=1,b=2", "a=1,b=2"),
        ("baggage", " a = 1 ;p ; q=r\t,\tb=%20", "a=1;p;q=r,b=%20"),
        ("baggage", "a\nb=1,c,d=e f,=1,g=\x80,,h=i", "h=i"),
        ("baggage", "a=" + "1" * 4095 + ",b=2", "b=2"),
        ("baggage", "a=1" + " " * 8000 + ",b=2", "a=1,b=2"),
        ("baggage", "a=" + " " * 4000 + "1", "a=1"),
        ("baggage", "a=1," * 2000, ",".join(["a=1"] * 180)),
        ("baggage", "a=1" + "1" * 8192, ""),
        ("trace-state", " a=1 ,,b@c=x y\t", "a=1,b@c=x y"),
        ("trace-state", "a=1,b=\n", ""),
        ("trace-state", "a=1,a=2", ""),
        ("trace-state", ",".join(f"k{n}=1" for n in range(32)), None),
        ("trace-state", ",".join(f"k{n}=1" for n in range(33)), ""),
        ("trace-parent", "00-1-2-00", None),
        ("trace-parent", "0" * 257, ""),
        ("trace-parent", "00-\u0661-2-00", ""),
        ("x-b3", "1-2", None),
        ("x-b3", "1\n2", ""),
    ],
)
def test_a_propagator_is_given_what_it_does_not_refuse(
    key: str, text: str, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    from opentelemetry.propagate import get_global_textmap

    assert well_formed(key, text) == (text if expected is None else expected)
    parent = {"trace-parent": f"00-{1:032x}-{1:016x}-01"}
    caplog.set_level(logging.DEBUG)
    propagation = Propagation(get_global_textmap(), follows_parents=True)
    propagation.extract(Metadata.of({**parent, key: text}))
    assert caplog.messages == []


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
