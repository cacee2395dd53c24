"""Methods of a caller, and those of a peer with another version of the service."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import IncompatibleService
from ...schema.signature import kebab
from .convertible import Fault, Translation
from .model import MethodSchema, ServiceSchema
from .type_text import type_text

__all__ = ["matched_methods"]


def matched_methods(
    mine: ServiceSchema, theirs: ServiceSchema
) -> dict[str, MethodSchema]:
    """Return the methods of the peer by the names of the methods of this side.

    Args:
        mine: the service as this side, the caller, knows it.
        theirs: the service as the peer, the callee, offers it.

    Raises:
        IncompatibleService: a method of this side cannot be called; names the place of
            the first fault.
        SchemaError: there are too many pairs of types to look at.
    """
    translation = Translation.between(
        {each.name: each for each in mine.types},
        {each.name: each for each in theirs.types},
    )
    by_name = {kebab(each.name): each for each in theirs.methods}
    matched: dict[str, MethodSchema] = {}
    for method in mine.methods:
        fault = _fault(translation, method, by_name)
        if fault is not None:
            raise IncompatibleService(
                f"calls cannot be translated for the peer, which offers another version"
                f" of the service: {fault.problem}",
                f"{mine.name}.{method.name}{fault.where}",
            )
        matched[method.name] = by_name[kebab(method.name)]
    return matched


def _fault(
    translation: Translation, method: MethodSchema, theirs: Mapping[str, MethodSchema]
) -> Fault | None:
    other = theirs.get(kebab(method.name))
    if other is None:
        return Fault("", "it does not have the method")
    return (
        translation.to_callee.fault_of_members(
            {each.name: each for each in method.args},
            {each.name: each for each in other.args},
            "({})",
        )
        or _of_result(translation, method, other)
        or _of_error(translation, method, other)
    )


def _of_result(
    translation: Translation, method: MethodSchema, other: MethodSchema
) -> Fault | None:
    fault = translation.from_callee.fault(other.returns, method.returns)
    return None if fault is None else fault.at(" -> return")


def _of_error(
    translation: Translation, method: MethodSchema, other: MethodSchema
) -> Fault | None:
    if other.fails is None:
        return None
    if method.fails is None:
        text = f"it can fail with {type_text(other.fails)}, and here it declares none"
        return Fault(" -> error", text)
    fault = translation.from_callee.fault(other.fails, method.fails)
    return None if fault is None else fault.at(" -> error")
