"""Plans for a type, and for the arguments of a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar, overload

from ..schema.annotations import Applied, normalise
from ..schema.derive import arguments_shape, shape_of
from ..schema.shared_work import SharedWork
from .plan import RpcPlan

__all__ = ["SharedPlans", "args_plan", "part_plan", "rpc_plan"]

T = TypeVar("T")

_plans: Final[dict[Any, RpcPlan[Any]]] = {}


@overload
def rpc_plan(annotation: type[T]) -> RpcPlan[T]: ...
@overload
def rpc_plan(annotation: Any) -> RpcPlan[Any]: ...
def rpc_plan(annotation: Any) -> RpcPlan[Any]:
    """Return the plan of a type; always the same object for the same type.

    Raises:
        SchemaError: the type, or a part of it, has no wire form.
    """
    # Types that are equal in Python can differ on the wire, such as A | B and B | A,
    # but their normal forms differ as well. A plain class is its own normal form.
    key = annotation if isinstance(annotation, type) else normalise(annotation)
    plan = _plans.get(key)
    if plan is None:
        plan = _plans[key] = RpcPlan(annotation, shape_of(annotation))
    return plan


def args_plan(
    types: Sequence[Any],
    names: Sequence[str],
    path: str,
    work: SharedWork | None = None,
) -> RpcPlan[tuple[Any, ...]]:
    """Return the plan of a method's argument tuple; its errors name the argument.

    Args:
        types: the annotations of the arguments.
        names: their names.
        path: the method, with which the paths of errors begin: ``Adder.add``.
        work: what it shares with other derivations.

    Raises:
        SchemaError: an argument has no wire form, or the work has too many steps.
    """
    shape = arguments_shape(types, names, path, work)
    return RpcPlan(Applied(tuple, tuple(map(normalise, types))), shape)


def part_plan(
    annotation: Any, path: str, no_channels: str, work: SharedWork | None = None
) -> RpcPlan[Any]:
    """Return the plan of a type in a result.

    Args:
        annotation: the annotation.
        path: its place, for errors.
        no_channels: the reason why channels are forbidden in it.
        work: what it shares with other derivations.

    Raises:
        SchemaError: the type has no wire form, or contains channels, or the work has
            too many steps.
    """
    shape = shape_of(annotation, path, no_channels=no_channels, work=work)
    return RpcPlan(annotation, shape)


class SharedPlans:
    """Plans of the types of several methods, one for each type.

    The types are normal forms of annotations.

    Args:
        work: what the derivations of the types share.
    """

    def __init__(self, work: SharedWork) -> None:
        self._work = work
        self._arguments: dict[Any, RpcPlan[tuple[Any, ...]]] = {}
        self._parts: dict[Any, RpcPlan[Any]] = {}

    def arguments(
        self, types: Sequence[Any], names: Sequence[str], path: str
    ) -> RpcPlan[tuple[Any, ...]]:
        """Return what `args_plan` does.

        Raises:
            SchemaError: as `args_plan`.
        """
        key = tuple(types), tuple(names)
        if key not in self._arguments:
            self._arguments[key] = args_plan(types, names, path, self._work)
        return self._arguments[key]

    def part(self, annotation: Any, path: str, no_channels: str) -> RpcPlan[Any]:
        """Return what `part_plan` does.

        Raises:
            SchemaError: as `part_plan`.
        """
        if annotation not in self._parts:
            self._parts[annotation] = part_plan(
                annotation, path, no_channels, self._work
            )
        return self._parts[annotation]
