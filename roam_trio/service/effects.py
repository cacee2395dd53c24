"""`idempotent`: the mark of methods that may be called again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, overload

__all__ = ["Effect", "effect_of", "idempotent"]

F = TypeVar("F", bound=Callable[..., Any])

Effect: TypeAlias = Literal["any", "idempotent", "read-only"]
"""The effect of calling a method again: any; none beyond that of the first call; or
none at all, since the method changes nothing.
"""

_ATTRIBUTE = "__roam_effect__"


@overload
def idempotent(method: F, /) -> F: ...
@overload
def idempotent(*, read_only: bool = False) -> Callable[[F], F]: ...
def idempotent(
    method: F | None = None, /, *, read_only: bool = False
) -> F | Callable[[F], F]:
    """Mark a method of a service as one that may be called again after a failure.

    Calling it twice with the same arguments must do no more than calling it once. The
    mark is part of the description of the service, and does not change the wire.

    Args:
        method: the method.
        read_only: whether the method changes nothing at all.
    """

    def mark(method: F) -> F:
        effect: Effect = "read-only" if read_only else "idempotent"
        setattr(method, _ATTRIBUTE, effect)
        return method

    return mark if method is None else mark(method)


def effect_of(method: Any) -> Effect:
    """Return what the mark of a method says; "any" without one."""
    effect: Effect = getattr(method, _ATTRIBUTE, "any")
    return effect
