"""Requirements of the conformance kits: their form, and how they are checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

import attrs

__all__ = ["TIME_LIMIT", "Requirement", "expect_equal", "refused", "refused_async"]

T = TypeVar("T")

TIME_LIMIT: Final = 20.0
"""Time limit of a check, in seconds: far more than a successful check needs."""


@attrs.frozen
class Requirement(Generic[T]):
    """A requirement; call it with what is under test, to check it.

    Attributes:
        name: the requirement.
        rules: the rules of the protocol that it verifies.
        run: the check itself.
    """

    name: str
    rules: tuple[str, ...]
    run: Callable[[T], Awaitable[None]]

    async def __call__(self, under_test: T) -> None:
        await self.run(under_test)

    def __str__(self) -> str:
        return self.name


def expect_equal(got: object, expected: object) -> None:
    """Check that a value is the expected one."""
    if got != expected:
        raise AssertionError(f"expected {_short(expected)}, and got {_short(got)}")


def refused(
    error: type[Exception], function: Callable[..., object], *args: object
) -> None:
    """Check that a function raises an error of a class."""
    try:
        got = function(*args)
    except error:
        return
    raise AssertionError(f"expected {error.__name__}, and got {_short(got)}")


async def refused_async(
    error: type[Exception], function: Callable[[], Awaitable[object]]
) -> None:
    """As `refused`, for an async function."""
    try:
        got = await function()
    except error:
        return
    raise AssertionError(f"expected {error.__name__}, and got {_short(got)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:200]}… ({len(text)} characters)"
