"""Plans for a type, and for the arguments of a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar, overload

from ..schema.annotations import Applied, normalise
from ..schema.derive import arguments_shape, shape_of
from .plan import RpcPlan

__all__ = ["args_plan", "rpc_plan"]

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
    types: Sequence[Any], names: Sequence[str], path: str
) -> RpcPlan[tuple[Any, ...]]:
    """Return the plan of a method's argument tuple; its errors name the argument.

    Args:
        types: the annotations of the arguments.
        names: their names.
        path: the method, with which the paths of errors begin: ``Adder.add``.

    Raises:
        SchemaError: an argument has no wire form.
    """
    shape = arguments_shape(types, names, path)
    return RpcPlan(Applied(tuple, tuple(map(normalise, types))), shape)
