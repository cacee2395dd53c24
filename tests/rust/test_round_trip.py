"""From Python to Rust and back, and from Rust to Python and back."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings

from roam_trio import describe
from roam_trio.codegen.rust import interface_of, write_rust
from roam_trio.codegen.rust.read import read_rust

from .importing import services_of
from .services import SERVICES
from .strategies import Sample, samples
from .wire import wire_of


def rust_of(*services: Any) -> str:
    return write_rust(interface_of([describe(each) for each in services]))


def test_services_come_back_from_rust_as_they_were() -> None:
    back = services_of(rust_of(*SERVICES))
    assert list(map(wire_of, back)) == list(map(wire_of, SERVICES))


@settings(max_examples=settings.default.max_examples // 5)  # each takes long
@given(samples())
def test_random_services_come_back_from_rust_as_they_were(sample: Sample) -> None:
    interface = interface_of([describe(sample.service)])
    rust = write_rust(interface)
    assert read_rust(rust, "case.rs").interface == interface
    (back,) = services_of(rust)
    assert wire_of(back) == wire_of(sample.service)
