"""The descriptors that `service` makes of classes."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Protocol

import pytest

from roam_trio import (
    Credit,
    Fallible,
    NoopCaller,
    Rx,
    ServiceDescriptor,
    Tx,
    describe,
    i32,
    i64,
    service,
    u8,
    u32,
)
from roam_trio.schema import TupleShape
from tests.service.services import MathError, Point
from tests.service.services import Testbed as Bed

IDS = {
    "echo": 0x9AABC4BA61FD5DF3,
    "divide": 0xC3964CBEE4B1D590,
    "sum": 0x855B3A25D97BFEFD,
    "echo_point": 0x453FA9BF6932528C,
}


def ids(cls: Any) -> dict[str, int]:
    return {method.name: method.id for method in describe(cls).methods}


@pytest.mark.rule(
    "service-macro.is-source-of-truth",
    "rpc.service.methods",
    "rpc.method-id",
    "rpc.method-id.algorithm",
    "method.identity.computation",
    "signature.method",
)
def test_methods_have_the_ids_that_other_implementations_give_them() -> None:
    assert ids(Bed) == IDS


@pytest.mark.rule("rpc.service")
def test_a_descriptor_tells_names_in_the_order_of_the_class() -> None:
    descriptor = describe(Bed)
    assert descriptor.name == "Testbed"
    assert [method.name for method in descriptor.methods] == list(IDS)
    assert {str(method) for method in descriptor.methods} == {
        f"Testbed.{name}" for name in IDS
    }


def test_a_descriptor_tells_the_docstrings_without_their_indentation() -> None:
    descriptor = describe(Bed)
    assert descriptor.doc == (
        "What the tests of other implementations serve.\n\nSome of it."
    )
    assert [method.doc for method in descriptor.methods] == [
        "Say it again.",
        "",
        "",
        "",
    ]


@pytest.mark.rule("rpc.fallible")
def test_a_descriptor_tells_arguments_results_and_errors() -> None:
    echo, divide, total, _ = describe(Bed).methods
    assert [(arg.name, arg.type) for arg in divide.args] == [
        ("dividend", i64),
        ("divisor", i64),
    ]
    assert (divide.return_type, divide.error_type) == (i64, MathError)
    assert (echo.return_type, echo.error_type) == (str, None)
    assert [(arg.name, arg.type) for arg in total.args] == [("numbers", Rx[i32])]
    assert [total.args_plan.has_channels, echo.args_plan.has_channels] == [True, False]


def test_a_method_is_found_by_its_id_and_no_other() -> None:
    descriptor = describe(Bed)
    for method in descriptor.methods:
        assert descriptor.by_id(method.id) is method
    assert descriptor.by_id(0) is None


def test_the_empty_descriptor_has_no_methods() -> None:
    assert ServiceDescriptor.EMPTY.methods == ()
    assert ServiceDescriptor.EMPTY.by_id(IDS["echo"]) is None


def test_the_class_stays_as_it_is() -> None:
    class Plain:
        async def ping(self) -> None: ...

    before = dict(vars(Plain))
    assert service(Plain) is Plain
    assert {name for name in vars(Plain) if name not in before} == {
        "__roam_service__",
        "__roam_service_class__",
    }
    assert all(vars(Plain)[name] is member for name, member in before.items())


@pytest.mark.rule("rpc.method-id", "rpc.schema-evolution")
def test_a_name_of_its_own_replaces_that_of_the_class() -> None:
    @service(name="Testbed")
    class NewTestbed(Protocol):
        async def echo(self, message: str) -> str: ...

    assert describe(NewTestbed).name == "Testbed"
    assert ids(NewTestbed) == {"echo": IDS["echo"]}


def test_methods_of_base_services_come_first_and_get_ids_of_the_new_service() -> None:
    @service
    class Base(Protocol):
        async def first(self) -> u8: ...
        async def second(self) -> u8: ...

    @service
    class Derived(Base, Protocol):
        async def third(self) -> u8: ...
        async def first(self) -> u32: ...

    assert [method.name for method in describe(Derived).methods] == [
        "first",
        "second",
        "third",
    ]
    assert describe(Derived).methods[0].return_type == u32
    assert not set(ids(Base).values()) & set(ids(Derived).values())
    assert [method.name for method in describe(Base).methods] == ["first", "second"]


def test_a_subclass_is_no_service_until_it_says_so() -> None:
    class Undecorated(Bed, Protocol):
        async def more(self) -> None: ...

    with pytest.raises(TypeError, match=r"decorated with @roam_trio.service.*Undecor"):
        describe(Undecorated)


@pytest.mark.parametrize("other", [int, NoopCaller, lambda: None, 3])
def test_what_is_no_service_is_told_so(other: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a class decorated with @roam_trio"):
        describe(other)


def test_what_starts_with_an_underscore_is_not_of_the_service() -> None:
    @service
    class Careful:
        LIMIT = 3

        def __init__(self) -> None: ...
        def _helper(self, anything: Any) -> Any: ...
        async def ping(self) -> None: ...
        async def _later(self) -> None: ...

    assert list(ids(Careful)) == ["ping"]


@pytest.mark.rule("rpc.method-id.no-collisions")
def test_services_may_share_the_names_of_methods() -> None:
    @service
    class Other(Protocol):
        async def echo(self, message: str) -> str: ...

    assert ids(Other)["echo"] != IDS["echo"]


def method_id_of(**hints: Any) -> int:
    """The id of ``Evolving.call`` with these annotations."""

    async def call(self: Any, first: Any, second: Any = None) -> Any: ...

    call.__annotations__ = hints
    cls = type("Evolving", (), {"call": call})
    return describe(service(cls)).methods[0].id


class Moved(Point, frozen=True):
    """A point by another name."""


PLAIN = method_id_of(first=u32, second=Point, **{"return": list[u32]})


@pytest.mark.rule("rpc.schema-evolution", "rpc.method-id.no-collisions")
@pytest.mark.parametrize(
    "changed",
    [
        {"first": u8, "second": Point, "return": list[u32]},
        {"first": Point, "second": u32, "return": list[u32]},
        {"first": u32, "second": tuple[i32, i32], "return": list[u32]},
        {"first": u32, "second": Point, "return": set[u32]},
        {"first": u32, "second": Point | None, "return": list[u32]},
    ],
    ids=["type", "order", "structure", "container", "optional"],
)
def test_a_change_of_types_changes_the_id(changed: dict[str, Any]) -> None:
    assert method_id_of(**changed) != PLAIN


@pytest.mark.rule("rpc.schema-evolution")
def test_the_name_of_a_struct_and_of_an_argument_may_change() -> None:
    async def call(self: Any, un: u32, deux: Moved) -> list[u32]: ...

    call.__annotations__ = {"un": u32, "deux": Moved, "return": list[u32]}
    renamed = service(type("Evolving", (), {"call": call}))
    assert describe(renamed).methods[0].id == PLAIN


@pytest.mark.rule("rpc.method-id.no-collisions", "rpc.fallible")
def test_the_types_of_a_fallible_result_are_not_part_of_the_id() -> None:
    # As in other implementations, though the rule would have it otherwise.
    first = method_id_of(first=u32, second=u32, **{"return": Fallible[u32, MathError]})
    second = method_id_of(first=u32, second=u32, **{"return": Fallible[str, Point]})
    assert first == second


def test_the_credit_of_a_channel_is_not_part_of_the_id() -> None:
    first = method_id_of(first=Tx[u32], second=u32, **{"return": None})
    second = method_id_of(
        first=Annotated[Tx[u32], Credit(1)], second=u32, **{"return": None}
    )
    assert first == second


def test_descriptors_are_equal_only_to_themselves() -> None:
    # `Point | MathError == MathError | Point` in Python, but not on the wire.
    def described() -> ServiceDescriptor:
        async def call(self: Any) -> None: ...

        return describe(service(type("Same", (), {"call": call})))

    assert described() != described()


def test_a_decorated_method_keeps_its_hints() -> None:
    def traced(function: Any) -> Any:
        @functools.wraps(function)
        async def traced_function(*args: Any) -> Any:
            return await function(*args)

        return traced_function

    class Traced:
        @traced
        async def echo(self, message: str) -> str:
            return message

    assert ids(service(name="Testbed")(Traced)) == {"echo": IDS["echo"]}


def test_a_method_without_arguments_takes_the_empty_tuple() -> None:
    @service
    class Pinger(Protocol):
        async def ping(self) -> None: ...

    (ping,) = describe(Pinger).methods
    shape = ping.args_plan.shape
    assert isinstance(shape, TupleShape)
    assert shape.items == ()
    assert ping.args_plan.signature + ping.result_plan.signature == b"\x10\x10"
