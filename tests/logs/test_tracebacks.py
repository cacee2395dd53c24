"""A traceback in a log is as Python prints it, but texts stay on their lines."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeAlias

import pytest

from roam_trio.errors import DecodeError
from roam_trio.tracebacks import traceback_of

HOSTILE = "no\nTraceback (most recent call last):\n  2030 CRITICAL \x1b[2J\u202e"


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def with_cause() -> BaseException:
    try:
        try:
            raise LookupError("first")
        except LookupError as first:
            raise ValueError("second") from first
    except ValueError as second:
        return second


def with_context() -> BaseException:
    try:
        try:
            raise LookupError("first")
        except LookupError:
            raise ValueError("second")  # noqa: B904
    except ValueError as second:
        return second


@pytest.mark.parametrize(
    "make", [lambda: raised(KeyError("a")), with_cause, with_context]
)
def test_a_harmless_one_is_as_python_prints_it(make) -> None:  # type: ignore[no-untyped-def]
    error = make()
    assert traceback_of(error) == "".join(traceback.format_exception(error)).rstrip()


Wrap: TypeAlias = Callable[[BaseException], BaseException]


def a_group(error: BaseException) -> BaseException:
    return raised(BaseExceptionGroup("several", [error, ValueError("other")]))


def a_cause(error: BaseException) -> BaseException:
    outer = ValueError("outer")
    outer.__cause__ = error
    return outer


def a_context(error: BaseException) -> BaseException:
    outer = ValueError("outer")
    outer.__context__ = error
    return outer


def a_note(error: BaseException) -> BaseException:
    outer = ValueError("outer")
    outer.add_note(str(error))
    return outer


@pytest.mark.parametrize("wrap", [raised, a_group, a_cause, a_context, a_note])
def test_the_text_of_an_error_stays_on_its_line(wrap: Wrap) -> None:
    told = traceback_of(wrap(ValueError(HOSTILE)))
    assert "no\\nTraceback (most recent" in told
    assert all(line.isprintable() for line in told.split("\n"))
    assert not any(line.lstrip(" |").startswith("2030") for line in told.split("\n"))


@pytest.mark.parametrize("wrap", [raised, a_group, a_cause, a_context, a_note])
def test_a_traceback_is_not_long(wrap: Wrap) -> None:
    assert len(traceback_of(wrap(ValueError("x" * 10**7)))) < 5000


def test_a_large_group_is_cut() -> None:
    told = traceback_of(
        ExceptionGroup("many", [ValueError(str(n)) for n in range(999)])
    )
    assert "... (more exceptions)" in told
    assert told.count("ValueError") < 50


def test_a_long_chain_is_cut() -> None:
    error = ValueError("0")
    for number in range(1, 2000):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    told = traceback_of(error)
    assert "ValueError: 1999" in told
    assert told.count("ValueError") < 50


def test_a_circle_of_errors_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__context__, other.__context__ = other, one
    assert "ValueError: one" in traceback_of(one)


def test_what_an_error_of_a_codec_comes_of_is_not_told() -> None:
    error = DecodeError("got 'hunter2'", without_values="got str")
    error.__cause__ = ValueError("hunter2")
    assert "hunter2" not in traceback_of(a_cause(error))
    assert "DecodeError: got str" in traceback_of(a_cause(error))


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("never")


def test_an_error_without_a_text_is_told() -> None:
    assert "Unspeakable: <Unspeakable, whose str() fails>" in traceback_of(
        Unspeakable()
    )


def test_an_error_that_is_twice_in_a_group_is_told_once() -> None:
    error = raised(ValueError("again"))
    told = traceback_of(ExceptionGroup("both", [error, error]))
    assert told.count("ValueError: again") == 1
