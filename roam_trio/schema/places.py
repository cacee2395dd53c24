"""Places of types within other types, and errors that name them."""

from __future__ import annotations

import collections.abc
import enum
import typing
from typing import Any, Literal

from attrs import evolve, frozen

from ..errors import SchemaError
from .annotations import Applied, Opaque, type_name

__all__ = ["Place", "advice_on_variant", "class_and_args", "no_wire_form"]

_ADVICE: dict[Any, str] = {
    Any: "write the type that is meant",
    object: "write the type that is meant",
    list: "write its item type, as in list[u32]",
    set: "write its item type, as in set[u32]",
    frozenset: "write its item type, as in frozenset[u32]",
    tuple: "write its item types, as in tuple[u32, str]",
    dict: "write its key and value types, as in dict[str, u32]",
    bytearray: "use bytes",
    collections.abc.Sequence: "use list[T] or tuple[T, ...]",
    collections.abc.Iterable: "use list[T] or tuple[T, ...]",
    collections.abc.Mapping: "use dict[K, V]",
    collections.abc.Set: "use frozenset[T]",
    typing.Unpack: "write the items of the tuple one by one, or put them in a tuple",
    typing.Final: "write the type that is meant, as in Final[u32]",
    typing.get_origin(typing.Callable): "functions cannot be sent",
    Literal: "use an enum.Enum",
    enum.Enum: "use an enum class of your own",
}
_LAST_ADVICE = (
    "make it a msgspec Struct, an attrs class or a dataclass, "
    "or give it a wire type with register_wire_type"
)
_ADVICE_ON_MODELS = (
    "call roam_trio.contrib.pydantic.register_models() before the service is defined"
)
_ADVICE_ON_ARRAYS = (
    "annotate it with a marker of roam_trio.contrib.numpy, as in "
    "Annotated[NDArray[np.float32], ArrayOf()]"
)


@frozen
class Place:
    """Place of a type.

    Attributes:
        path: its path.
        no_channels: the reason why channels are forbidden here; None if they are
            allowed.
        depth: number of enclosing types.
        repeated: whether a collection encloses it.
    """

    path: str
    no_channels: str | None
    depth: int = 0
    repeated: bool = False

    def at(self, step: str, no_channels: str | None = None) -> Place:
        return evolve(
            self,
            path=self.path + step,
            no_channels=self.no_channels or no_channels,
            depth=self.depth + 1,
        )

    def item(self, step: str, where: str) -> Place:
        return evolve(self.at(step, where), repeated=True)

    def refuse(self, problem: str) -> SchemaError:
        return SchemaError(problem, self.path)


def class_and_args(closed: Any) -> tuple[Any, tuple[Any, ...]]:
    if isinstance(closed, Applied):
        return closed.origin, closed.args
    return closed, ()


def no_wire_form(closed: Any, place: Place) -> SchemaError:
    annotation = closed.annotation if isinstance(closed, Opaque) else closed
    origin, _ = class_and_args(annotation)
    advice = _LAST_ADVICE
    if _is_model(origin):
        advice = _ADVICE_ON_MODELS
    elif _is_array(origin):
        advice = _ADVICE_ON_ARRAYS
    elif isinstance(origin, type) and hasattr(origin, "__roam_channel__"):
        advice = f"write its item type, as in {origin.__name__}[u32]"
    elif isinstance(origin, type) and issubclass(origin, tuple) and origin is not tuple:
        advice = "make it a msgspec Struct with array_like=True"
    elif isinstance(origin, type) and issubclass(origin, dict) and origin is not dict:
        advice = "make it a msgspec Struct"
    elif isinstance(origin, type) and issubclass(origin, BaseException):
        advice = _advice_on_exception(origin)
    else:
        advice = _ADVICE.get(origin, advice)
    return place.refuse(f"{type_name(annotation)} has no wire form; {advice}")


def advice_on_variant(cls: object) -> str:
    """Return what to do about a class that cannot be a variant of a union."""
    return _ADVICE_ON_MODELS if _is_model(cls) else "wrap it in a class of its own"


def _is_model(cls: object) -> bool:
    """Return True for a class of pydantic, which is not imported for this."""
    return isinstance(cls, type) and hasattr(cls, "__pydantic_decorators__")


def _is_array(cls: object) -> bool:
    """Return True for arrays of numpy, which is not imported for this."""
    return isinstance(cls, type) and (cls.__module__, cls.__name__) == (
        "numpy",
        "ndarray",
    )


def _advice_on_exception(cls: type[BaseException]) -> str:
    """Return the remedy for an exception class, which cannot be a Struct."""
    if cls.__module__ == "builtins":
        return (
            "define an exception of your own, decorated with @attrs.define, whose "
            "annotated fields contain what the caller must know"
        )
    return (
        "decorate it with @attrs.define and annotate its fields, which "
        "are sent; remove its own __init__"
    )
