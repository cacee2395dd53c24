"""Classes that are whole numbers, and calculate in a way of their own.

They stand in for those of numpy and its kin: a number wraps at its width when it is
shifted, masked, added or negated, as in C, and so does what it is compared with.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any, SupportsIndex


class Indexed:
    """A number that nothing can be done with but to ask for it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.number})"

    def __hash__(self) -> int:
        return hash(self.number)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SupportsIndex) and operator.index(other) == self.number


class Symbol(Indexed):
    """A number whose comparisons are expressions, which are all true."""

    def _expression(self, other: object) -> Symbol:
        return self

    __lt__ = __le__ = __gt__ = __ge__ = _expression
    __and__ = __rand__ = __rshift__ = __lshift__ = __invert__ = _expression  # type: ignore[assignment]


def wrap(number: int, bits: int, *, signed: bool) -> int:
    number &= (1 << bits) - 1
    return number - (1 << bits) if signed and number >> bits - 1 else number


@cache
def fixed_width(bits: int, signed: bool, base: type[Any] = Indexed) -> type[Any]:
    """A class of numbers of so many bits.

    Args:
        bits: the width.
        signed: whether it has a sign.
        base: `Indexed`, or `int`, whose own value it then has, too.
    """

    def method(name: str) -> Callable[..., Any]:
        calculate: Callable[..., Any] = getattr(operator, name)

        def call(self: Any, *others: Any) -> Any:
            operands = [
                wrap(int(operator.index(each)), bits, signed=signed)
                for each in (self, *others)
            ]
            if "shift" in name:
                operands[1] %= bits
            result = calculate(*operands)
            return result if isinstance(result, bool) else cls(result)

        return call

    def new(kind: type[Any], number: int) -> Any:
        return int.__new__(kind, wrap(number, bits, signed=signed))

    def init(self: Indexed, number: int) -> None:
        self.number = wrap(number, bits, signed=signed)

    names = "lt le gt ge and_ or_ xor rshift lshift add sub mul neg invert abs"
    methods = {f"__{name.rstrip('_')}__": method(name) for name in names.split()}
    methods["__new__" if base is int else "__init__"] = new if base is int else init
    name = f"{'Int' if signed else 'UInt'}{bits}"
    cls: type[Any] = type(name, (base,), methods)
    return cls


KINDS: list[type[Any]] = [
    Indexed,
    Symbol,
    *(
        fixed_width(bits, signed, base)
        for bits in (4, 8, 16, 32, 64, 128)
        for signed in (False, True)
        for base in (Indexed, int)
    ),
]
"""Every class that takes part."""


def number_of(value: SupportsIndex) -> int:
    """The number itself, as a plain `int`."""
    return int(operator.index(value))
