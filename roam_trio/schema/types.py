"""Annotations that select the wire type.

Type checkers see plain Python types: `u32` is `int` to them, ``Fallible[T, E]`` is
``T``, ``Array[T, Literal[4]]`` is ``list[T]``. The schema reads the markers behind
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
)

from attrs import field, frozen

from ..errors import SchemaError

__all__ = [
    "DEFAULT_CREDIT",
    "Array",
    "Credit",
    "Fallible",
    "Length",
    "Slice",
    "char",
    "f32",
    "f64",
    "i8",
    "i16",
    "i32",
    "i64",
    "i128",
    "isize",
    "split_fallible",
    "transparent",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "usize",
]

DEFAULT_CREDIT: Final = 16
"""Default initial credit of a channel."""

_U32_MAX = 2**32 - 1
_USIZE_MAX = 2**64 - 1


def _length(value: int) -> int:
    return _whole_number("the length of an array", value, _USIZE_MAX)


def _credit(value: int) -> int:
    return _whole_number("the initial credit", value, _U32_MAX)


def _whole_number(what: str, value: object, maximum: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= maximum:
        return value
    raise SchemaError(f"{what} is a whole number from 0 to {maximum}, not {value!r}")


@frozen
class Wire:
    """Marks a number or text with its primitive on the wire: ``Wire("u8")``."""

    name: str


@frozen
class Length:
    """Makes a list, a ``tuple[T, ...]`` or `bytes` an array of exactly `items` items.

    ``Annotated[bytes, Length(16)]`` is ``[u8; 16]`` with `bytes` as the Python value.
    """

    items: int = field(converter=_length)


@frozen
class Slice:
    """Makes a list or `bytes` a slice, which differs from a list only in the signature.

    Peers that declare ``&[u8]`` or ``Box<[u8]>`` have another method id than those that
    declare ``Vec<u8>``; ``Annotated[bytes, Slice()]`` matches the former.
    """


@frozen
class Credit:
    """Declares a channel's initial credit: ``Annotated[Tx[T], Credit(32)]``.

    It is the number of items that the sender may send before the receiver grants more,
    and the capacity of the receiver's window. With 0, even the first item waits for a
    grant (`rpc.flow-control.credit.initial`, `rpc.flow-control.credit.initial.zero`).
    """

    items: int = field(converter=_credit)


class Conversion(NamedTuple):
    """The conversion of the values of an annotated type.

    Attributes:
        cls: the class of the values.
        wire_type: an annotation that has a wire form.
        unstructure: makes a value of `wire_type` from an instance.
        structure: makes an instance from a value of `wire_type`, and `cls`.
    """

    cls: type[Any]
    wire_type: Any
    unstructure: Callable[[Any], Any]
    structure: Callable[[Any, Any], Any]


class WireForm:
    """A marker that gives the annotated type the wire form of another type.

    The markers of `roam_trio.contrib` derive from it. They are hashable.
    """

    __slots__ = ()

    def conversion(self, inner: Any) -> Conversion:
        """Return how values are converted.

        Args:
            inner: the normal form of the annotated type.

        Raises:
            SchemaError: the marker is not for this type.
        """
        raise NotImplementedError


@frozen
class ErrorType:
    """Marks the success type of a fallible method with the method's error type."""

    error: Any


u8: TypeAlias = Annotated[int, Wire("u8")]
"""An integer from 0 to 255."""
u16: TypeAlias = Annotated[int, Wire("u16")]
"""An integer from 0 to ``2**16 - 1``."""
u32: TypeAlias = Annotated[int, Wire("u32")]
"""An integer from 0 to ``2**32 - 1``."""
u64: TypeAlias = Annotated[int, Wire("u64")]
"""An integer from 0 to ``2**64 - 1``."""
u128: TypeAlias = Annotated[int, Wire("u128")]
"""An integer from 0 to ``2**128 - 1``."""
usize: TypeAlias = Annotated[int, Wire("usize")]
"""An integer from 0 to ``2**64 - 1``; a ``usize`` to peers in Rust."""
i8: TypeAlias = Annotated[int, Wire("i8")]
"""An integer from -128 to 127."""
i16: TypeAlias = Annotated[int, Wire("i16")]
"""An integer from ``-2**15`` to ``2**15 - 1``."""
i32: TypeAlias = Annotated[int, Wire("i32")]
"""An integer from ``-2**31`` to ``2**31 - 1``."""
i64: TypeAlias = Annotated[int, Wire("i64")]
"""An integer from ``-2**63`` to ``2**63 - 1``."""
i128: TypeAlias = Annotated[int, Wire("i128")]
"""An integer from ``-2**127`` to ``2**127 - 1``."""
isize: TypeAlias = Annotated[int, Wire("isize")]
"""An integer from ``-2**63`` to ``2**63 - 1``; an ``isize`` to peers in Rust."""
f32: TypeAlias = Annotated[float, Wire("f32")]
"""A floating-point number, rounded to 32 bits."""
f64: TypeAlias = Annotated[float, Wire("f64")]
"""A floating-point number of 64 bits, as `float` is."""
char: TypeAlias = Annotated[str, Wire("char")]
"""A text of one character."""

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import TypeAliasType

    E = TypeVar("E")
    N = TypeVar("N")
    Array = TypeAliasType("Array", list[T], type_params=(T, N))
    Fallible = TypeAliasType("Fallible", T, type_params=(T, E))
else:

    class Array:
        """``Array[T, Literal[N]]``: exactly N items of T, a `list` in Python."""

        def __class_getitem__(cls, parameters: tuple[Any, Any]) -> Any:
            item, length = _pair(parameters, "Array[T, Literal[4]]")
            if get_origin(length) is Literal:
                (length,) = get_args(length)
            return Annotated[list[item], Length(length)]

    class Fallible:
        """``Fallible[T, E]``: the result of a method that returns T or fails with E.

        E is an enum, a class, an exception class made with attrs, a union of classes,
        or None for an error without data. It is allowed only as the return type of a
        method (`rpc.fallible`).
        """

        def __class_getitem__(cls, parameters: tuple[Any, Any]) -> Any:
            ok, error = _pair(parameters, "Fallible[T, E]")
            return Annotated[ok, ErrorType(type(None) if error is None else error)]


def _pair(parameters: tuple[Any, ...] | type[Any], form: str) -> tuple[Any, Any]:
    if isinstance(parameters, tuple) and len(parameters) == 2:
        return parameters[0], parameters[1]
    raise SchemaError(f"two parameters are needed, as in {form}")


def split_fallible(annotation: object) -> tuple[Any, Any | None]:
    """Split the return annotation of a method.

    Returns:
        The success type, and the error type, or None if the method declares none.
    """
    if get_origin(annotation) is not Annotated:
        return annotation, None
    inner, *markers = get_args(annotation)
    errors = [marker.error for marker in markers if isinstance(marker, ErrorType)]
    if not errors:
        return annotation, None
    if len(errors) > 1:
        raise SchemaError("Fallible within Fallible: a method has one error type")
    kept = [marker for marker in markers if not isinstance(marker, ErrorType)]
    ok: Any = inner
    for marker in kept:
        ok = Annotated[ok, marker]
    return ok, errors[0]


C = TypeVar("C")


def transparent(cls: type[C]) -> type[C]:
    """Give a class with exactly one field the wire form of that field.

    It works with attrs classes, dataclasses and msgspec Structs, above or below their
    decorators. Subclasses are transparent only if they are decorated, too.
    """
    type.__setattr__(cls, "__roam_transparent__", True)
    return cls
