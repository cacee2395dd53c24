"""Random services, over random types, with values for their arguments."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from roam_trio import Credit, Fallible, Rx, SchemaError, Tx, describe, service
from roam_trio.codegen.rust import interface_of
from tests.schema.strategies import Spec, restart_numbers, specs

METHODS = [
    "add",
    "get_http2_page",
    "getHTTPSUrl",
    "V2Api",
    "parse_XML_file",
    "x1",
    "base64Encode",
    "OAuth2_token",
    "IDs",
    "a__b",
    "with_end_",
    "from",
]
SERVICES = ["Adder", "HTTPServer2", "xml_parser", "SMTPRelay", "Vec", "V2Api"]


class Sample(NamedTuple):
    """A service, and for each of its methods one value of every argument.

    The value of a channel is None, and none of them is to be sent.
    """

    service: Any
    values: dict[str, list[Any]]


class _Drawn(NamedTuple):
    args: list[tuple[Any, Any]]
    result: Any


def method(name: str, args: Sequence[Any], result: Any) -> Any:
    """An async method with arguments of these types."""

    async def function(self: Any, *args: Any) -> Any: ...

    names = [f"a{index}" for index in range(len(args))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(each, kind) for each in ("self", *names)]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {**dict(zip(names, args, strict=True)), "return": result}
    function.__name__ = function.__qualname__ = name
    return function


def service_of(name: str, methods: dict[str, tuple[Sequence[Any], Any]]) -> Any:
    """A service with methods of these arguments and results."""
    members = {each: method(each, *types) for each, types in methods.items()}
    return service(type(name, (), members))


def samples() -> st.SearchStrategy[Sample]:
    """Services that have a counterpart in Rust."""
    taken = specs()
    argument = st.one_of(
        st.tuples(taken.map(lambda spec: spec.annotation), st.none()),
        taken.flatmap(lambda s: st.tuples(st.just(s.annotation), s.values)),
        st.builds(_channel, st.sampled_from([Tx, Rx]), taken, st.integers(0, 20)),
    )
    result = st.one_of(
        taken.map(lambda spec: spec.annotation),
        st.builds(_fallible, taken, taken),
    )
    drawn = st.builds(_Drawn, st.lists(argument, max_size=5), result)
    methods = st.dictionaries(st.sampled_from(METHODS), drawn, min_size=1, max_size=6)
    return st.builds(_sample, st.sampled_from(SERVICES), methods)


def _channel(handle: Any, item: Spec, credit: int) -> tuple[Any, Any]:
    return Annotated[handle[item.annotation], Credit(credit)], None


def _fallible(ok: Spec, error: Spec) -> Any:
    return Fallible[ok.annotation, error.annotation]


def _sample(name: str, methods: dict[str, _Drawn]) -> Sample:
    types = {
        each: ([annotation for annotation, _ in drawn.args], drawn.result)
        for each, drawn in methods.items()
    }
    values = {
        each: [value for _, value in drawn.args] for each, drawn in methods.items()
    }
    try:
        made = service_of(name, types)
    except SchemaError:  # no service of Python's either
        reject()
    try:
        interface_of([describe(made)])
    except SchemaError as error:
        # Names that differ in Python, and not in Rust, and keys without an order.
        if "same method in Rust" in error.problem or "floats" in error.problem:
            reject()
        raise
    return Sample(made, values)


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """Examples, the same ones every time."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    restart_numbers()
    collect()
    return found
