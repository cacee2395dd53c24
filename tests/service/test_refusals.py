"""A class that cannot be a service is refused when it is defined; the error has the
place.
"""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Protocol

import attrs
import msgspec
import pytest

from roam_trio import (
    Fallible,
    Length,
    Rx,
    SchemaError,
    Tx,
    UserError,
    describe,
    service,
    u8,
    u32,
)
from tests.service.services import NotFound, Point


def method(function: Any, **hints: Any) -> type[Any]:
    """A class `Bad` with the one method `call`."""
    if hints:
        function.__annotations__ = hints
    return type("Bad", (), {"call": function})


def refusal(cls: type[Any]) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        service(cls)
    return caught.value


async def one(self: Any, arg: Any) -> Any: ...


def refused(argument: Any, result: Any = None) -> SchemaError:
    return refusal(method(one, arg=argument, **{"return": result}))


class NoException(BaseException): ...


class Stop(StopIteration): ...


class Several(ExceptionGroup[Exception]): ...


@pytest.mark.parametrize(
    ("base", "why"),
    [
        (StopIteration, "leaves a coroutine"),
        (StopAsyncIteration, "leaves a coroutine"),
        (Stop, "leaves a coroutine"),
        (BaseException, "derive from Exception"),
        (NoException, "derive from Exception"),
        (GeneratorExit, "derive from Exception"),
        (KeyboardInterrupt, "derive from Exception"),
        (SystemExit, "derive from Exception"),
        (asyncio.CancelledError, "derive from Exception"),
        (BaseExceptionGroup, "the errors in it"),
        (Several, "the errors in it"),
        (UserError, "the error in it"),
    ],
)
@pytest.mark.parametrize("in_union", [False, True])
def test_an_error_that_cannot_arrive_is_refused(
    base: type[Any], why: str, in_union: bool
) -> None:
    error = attrs.make_class("Error", {"code": attrs.field(type=u8)}, bases=(base,))
    error = refused(u8, Fallible[u8, NotFound | error if in_union else error])
    assert error.path == "Bad.call -> error"
    assert re.search(f"Error cannot be an error of a method: .*{why}", error.problem)


def test_a_method_that_is_not_async_is_refused() -> None:
    def call(self: Any) -> None: ...

    error = refusal(method(call))
    assert error.path == "Bad.call"
    assert "expected an async method" in error.problem
    assert "underscore" in error.problem


@pytest.mark.parametrize("kind", [property, staticmethod, classmethod])
def test_what_is_no_plain_method_is_refused(kind: Any) -> None:
    async def call(self: Any) -> None: ...

    error = refusal(type("Bad", (), {"call": kind(call)}))
    assert error.path == "Bad.call"
    assert "expected an async method" in error.problem


def test_an_async_generator_is_refused() -> None:
    async def call(self: Any) -> Any:
        yield 1

    assert "expected an async method" in refusal(method(call)).problem


async def no_parameter() -> None: ...
async def only_arguments(left: u8, right: u8) -> None: ...
async def only_variadic(*left: u8) -> None: ...
async def only_keywords(*, left: u8) -> None: ...


@pytest.mark.parametrize(
    "function", [no_parameter, only_arguments, only_variadic, only_keywords]
)
def test_a_method_without_self_is_refused(function: Any) -> None:
    error = refusal(method(function))
    assert error.path == "Bad.call"
    assert (
        error.problem == "the first parameter of a method must be self; is it missing?"
    )


def test_self_may_have_a_type_or_another_name() -> None:
    async def typed(self: Any, arg: u8) -> None: ...
    async def named(this, arg: u8) -> None: ...  # type: ignore[no-untyped-def]

    for function in (typed, named):
        (described,) = describe(service(method(function))).methods
        assert [arg.name for arg in described.args] == ["arg"]


def test_a_hint_that_is_missing_is_refused_with_the_argument() -> None:
    async def call(self: Any, left: u8, right) -> None: ...  # type: ignore[no-untyped-def]

    error = refusal(method(call))
    assert (error.path, error.problem) == ("Bad.call(right)", "a type hint is missing")


def test_a_return_hint_that_is_missing_is_refused() -> None:
    async def call(self): ...  # type: ignore[no-untyped-def]

    error = refusal(method(call))
    assert (error.path, error.problem) == (
        "Bad.call -> return",
        "a type hint is missing",
    )


async def variadic(self: Any, *args: u8) -> None: ...
async def keywords(self: Any, **args: u8) -> None: ...


@pytest.mark.parametrize("function", [variadic, keywords])
def test_a_number_of_arguments_that_is_not_fixed_is_refused(function: Any) -> None:
    error = refusal(method(function))
    assert error.path == "Bad.call(args)"
    assert "expected a parameter for each argument" in error.problem


@pytest.mark.parametrize(
    ("hint", "problem"),
    [
        ("Missing", "Missing.*at module level"),
        ("Point.Missing", "Missing"),
        ("list[", "cannot be resolved"),
        ("1 + None", "cannot be resolved"),
        ("Annotated[bytes, Length(-1)]", "length of an array.*-1"),
        ("Fallible[int]", re.escape("Fallible[T, E]")),
    ],
)
def test_a_hint_that_cannot_be_resolved_is_refused(hint: str, problem: str) -> None:
    error = refused(hint)
    assert error.path.startswith("Bad.call")
    assert re.search(problem, error.problem)


def test_a_type_defined_in_a_function_is_refused_with_the_remedy() -> None:
    class Local: ...

    with pytest.raises(SchemaError, match=r"^Inner\.call: .*Local.*module level"):

        @service
        class Inner(Protocol):
            async def call(self, arg: Local) -> None: ...


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        (Any, "Bad.call(arg)"),
        (object, "Bad.call(arg)"),
        (list, "Bad.call(arg)"),
        (list[Any], "Bad.call(arg)[0]"),
        (dict[str, list[object]], "Bad.call(arg).values()[0][0]"),
    ],
)
def test_a_type_without_a_wire_form_is_refused_with_the_way_to_it(
    argument: Any, path: str
) -> None:
    error = refused(argument)
    assert error.path == path
    assert str(error).startswith(f"{path}: ")


def test_a_result_without_a_wire_form_is_refused() -> None:
    assert refused(u8, Any).path == "Bad.call -> return"
    assert refused(u8, Fallible[u8, object]).path == "Bad.call -> error"


@pytest.mark.rule("rpc.channel.no-collections")
@pytest.mark.parametrize(
    "argument",
    [
        list[Tx[u32]],
        tuple[Rx[u32], ...],
        dict[str, Tx[u32]],
        Annotated[list[Rx[u32]], Length(2)],
        Tx[Rx[u32]],
    ],
)
def test_a_channel_in_a_collection_is_refused(argument: Any) -> None:
    error = refused(argument)
    assert error.path.startswith("Bad.call(arg)")
    assert "a channel cannot be in" in error.problem


@pytest.mark.rule("rpc.channel.placement")
@pytest.mark.parametrize(
    ("result", "path"),
    [
        (Tx[u32], "Bad.call -> return"),
        (Rx[u32], "Bad.call -> return"),
        (tuple[u8, Rx[u32]], "Bad.call -> return[1]"),
        (Fallible[Tx[u32], Point], "Bad.call -> return"),
        (Fallible[u8, Tx[u32]], "Bad.call -> error"),
    ],
)
def test_a_channel_in_a_result_is_refused(result: Any, path: str) -> None:
    error = refused(u8, result)
    assert error.path == path
    assert "a channel cannot be in" in error.problem


@attrs.define
class Borrowing(Exception):
    data: memoryview


class Holding(msgspec.Struct):
    inner: list[Annotated[memoryview, Length(4)] | None]


@pytest.mark.rule("rpc.fallible.caller-signature")
@pytest.mark.parametrize("error_type", [memoryview, Borrowing, Holding | Borrowing])
def test_an_error_that_borrows_is_refused(error_type: Any) -> None:
    error = refused(u8, Fallible[memoryview, error_type])
    assert error.path == "Bad.call -> error"
    assert "use bytes" in error.problem


def test_fallible_is_for_results_only() -> None:
    assert refused(Fallible[u8, Point]).path == "Bad.call(arg)"
    nested = refused(u8, Fallible[Fallible[u8, Point], Point])
    assert nested.path == "Bad.call -> return"
    assert "one error type" in nested.problem


@pytest.mark.rule("rpc.method-id.no-collisions")
def test_two_methods_of_one_identity_are_refused() -> None:
    async def again(self: Any, arg: u8) -> None: ...

    cls = type("Bad", (), {"get_it": again, "getIt": again})
    error = refusal(cls)
    assert error.path == "Bad.getIt"
    assert "Bad.get_it" in error.problem
    assert "rename one" in error.problem
