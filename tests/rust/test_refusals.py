"""What has no counterpart in Rust, and how that is said."""

from __future__ import annotations

import enum
from typing import Any, Protocol

import attrs
import msgspec
import pytest

from roam_trio import Fallible, SchemaError, describe, service, u8
from roam_trio.codegen.rust import interface_of

from .services import Chicken
from .strategies import service_of


def refused(*services: Any) -> str:
    with pytest.raises(SchemaError) as caught:
        interface_of([describe(each) for each in services])
    return str(caught.value)


def refused_as_argument(annotation: Any) -> str:
    return refused(service_of("Probe", {"probe": ([annotation], None)}))


class Dashed(msgspec.Struct, rename="kebab"):
    first_name: str


class Refusal(enum.Enum):
    SELF = "Self"
    OTHER = "other"


class Tagged(msgspec.Struct, tag="no such"):
    value: u8


@attrs.frozen
class Prices:
    by_weight: tuple[float, ...]


@attrs.define
class Link:
    """Its tuple is one type with ``tuple[bytes, Link | None]`` to Rust alone."""

    next: tuple[list[u8], Link | None]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (
            tuple[u8, Chicken | None],
            "Probe.probe(a0)[1].egg.chicken: a tuple that contains itself has no "
            "counterpart in Rust; make it a class",
        ),
        (
            list[Dashed],
            "Probe.probe(a0)[0].first_name: the field is named 'first-name' on the "
            "wire, which no field in Rust can be; rename it, at its peers too",
        ),
        (
            Refusal,
            "Probe.probe(a0).SELF: the variant is named 'Self' on the wire, which no "
            "variant in Rust can be; rename it, at its peers too",
        ),
        (
            Prices | Tagged,
            "Probe.probe(a0).Tagged: the variant is named 'no such' on the wire, which "
            "no variant in Rust can be; rename it, at its peers too",
        ),
        (
            dict[Prices, str],
            "Probe.probe(a0).keys()[0]: floats have no order in Rust, so they cannot "
            "be in the key of a map or the item of a set; use a list of pairs, or an "
            "integer",
        ),
        (
            tuple[(u8,) * 13],
            "Probe.probe(a0): the crate facet knows tuples of at most 12 items, and "
            "this one has 13; make it a class",
        ),
        (
            tuple[bytes, Link | None],
            "Probe.probe: its types are recursive in a way that Rust does not "
            "distinguish, so its id would differ; make a tuple or a generic "
            "class in them a class of its own",
        ),
    ],
    ids=["tuple in itself", "field", "variant", "tag", "key", "tuple", "identity"],
)
def test_type_without_a_counterpart_is_refused(annotation: Any, expected: str) -> None:
    assert refused_as_argument(annotation) == expected


def test_places_in_results_and_errors_are_named() -> None:
    services = [
        service_of("Probe", {"probe": ((), dict[str, Dashed])}),
        service_of("Probe", {"probe": ((), Fallible[None, Dashed])}),
    ]
    returned, failed = map(refused, services)
    assert returned.startswith("Probe.probe -> return.values()[0].first_name: ")
    assert failed.startswith("Probe.probe -> error.first_name: ")


def test_too_many_arguments_are_refused() -> None:
    assert refused(service_of("Probe", {"probe": ([u8] * 13, None)})) == (
        "Probe.probe: it has 13 arguments, and the crate facet knows tuples of at most "
        "12; put some into a class"
    )


@pytest.mark.parametrize("name", ["match", "type_", "Move"])
def test_method_named_as_a_keyword_is_refused(name: str) -> None:
    assert refused(service_of("Probe", {name: ((), None)})).endswith(
        "and the service macro of roam takes no other name with the same id; rename "
        "the method"
    )


@pytest.mark.parametrize("name", ["new", "isConnected", "clone", "into"])
def test_method_that_the_macro_makes_is_refused(name: str) -> None:
    assert "what the service macro of roam makes has a method" in refused(
        service_of("Probe", {name: ((), None)})
    )


def test_methods_of_one_name_in_rust_are_refused() -> None:
    assert refused(
        service_of("Probe", {"get_it": ((), None), "getIt": ([u8], None)})
    ) == ("Probe.getIt: get_it is the same method in Rust, get_it; rename one of them")


def test_services_of_one_name_are_refused() -> None:
    first = service_of("Probe", {"a": ((), None)})
    second = service_of("probe", {"b": ((), None)})
    assert refused(first, second) == (
        "probe: Probe is the same name on the wire, 'probe'; write them to files of "
        "their own"
    )


def test_service_without_a_name_in_rust_is_refused() -> None:
    @service(name="9 lives")
    class Cat(Protocol): ...

    assert refused(Cat).startswith("9 lives: no name of a trait in Rust is '9-lives'")
