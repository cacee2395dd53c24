"""Conversion of the syntax of a Rust type to the type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import evolve, field, frozen

from ...schema.types import DEFAULT_CREDIT
from .identity import PRIMITIVES
from .model import (
    MAX_SIZE,
    Array,
    Boxed,
    Channel,
    List,
    Map,
    Named,
    Option,
    Primitive,
    Set,
    Slice,
    Tuple,
    Type,
)
from .names import words
from .scope import Local, Module
from .syntax import Node, refuse, text

__all__ = ["Scope", "TypeReader"]

MAX_DEPTH: Final = 64

_MAX_CREDIT: Final = 2**32 - 1
_MAX_LENGTH: Final = 2**64 - 1

# The crates of the known types; nothing for names in the prelude.
_KNOWN_CRATES: Final = words("std alloc core roam roam_types roam_core")
_CHANNELS: Final = words("Tx Rx")
_NON_ZERO: Final = {
    f"NonZero{sign.upper()}{bits}": Primitive(f"{sign}{bits}")
    for sign in ("u", "i")
    for bits in ("8", "16", "32", "64", "128", "size")
}
_ARGUMENTS: Final = {
    **dict.fromkeys(["Vec", "Option", "Box", "Arc", "Rc", "Cow"], (1, 1)),
    **dict.fromkeys(["BTreeSet", "NonZero", "Tx", "Rx"], (1, 1)),
    **dict.fromkeys(["HashSet"], (1, 2)),
    **dict.fromkeys(["BTreeMap"], (2, 2)),
    **dict.fromkeys(["HashMap"], (2, 3)),
}
_ADVICE: Final = {
    "Result": "only the return type of a method is a Result, written out as "
    "Result<T, E>; make it an enum",
    "PhantomData": "the crates cannot decode it; leave the field out",
    "Infallible": "it has no values to send; leave the error out",
    "VecDeque": "facet does not know it; use a Vec",
    "LinkedList": "facet does not know it; use a Vec",
}
_NO_SIGNATURE: Final = words(
    "Duration Instant SystemTime Path PathBuf OsString IpAddr Ipv4Addr Ipv6Addr "
    "SocketAddr SocketAddrV4 SocketAddrV6 Utf8Path Utf8PathBuf Uuid DateTime Url"
)


@frozen
class Scope:
    """The place of a type, and the names in scope.

    Attributes:
        module: the module whose names are in scope.
        given: the values of the type parameters.
        this: the meaning of ``Self``.
        depth: number of types and aliases around it.
    """

    module: Module
    given: Mapping[str, Type] = field(factory=dict[str, Type])
    this: Type | None = None
    depth: int = 0


class TypeReader:
    """Reads types.

    Args:
        defined: returns the name of a struct or an enum of the source, for the number
        of its type arguments.
    """

    def __init__(self, defined: Callable[[Local, int, Node], str]) -> None:
        self._defined = defined
        self._read = 0

    def read(self, node: Node, scope: Scope) -> Type:
        """Return the type at a node.

        Raises:
            Unreadable: it or a part of it has no counterpart, or it is too large.
        """
        self._read = 1 if scope.depth == 0 else self._read + 1
        if self._read > MAX_SIZE:
            raise refuse(
                node,
                f"its aliases make it grow to more than {MAX_SIZE} types; make what is "
                "repeated again and again a struct",
            )
        if scope.depth > MAX_DEPTH:
            raise refuse(node, f"types are nested more than {MAX_DEPTH} deep")
        scope = evolve(scope, depth=scope.depth + 1)
        match node.type:
            case "primitive_type":
                name = text(node)
                return Primitive("String" if name == "str" else name)
            case "unit_type":
                return Primitive("()")
            case "tuple_type":
                return self._tuple(node, scope)
            case "array_type":
                return self._array(node, scope)
            case "reference_type":
                inner = node.child_by_field_name("type")
                assert inner is not None
                return _pointer(self.read(inner, scope))
            case "type_identifier" | "scoped_type_identifier":
                return self._named(node, node, [], scope)
            case "generic_type":
                name_node = node.child_by_field_name("type")
                given = node.child_by_field_name("type_arguments")
                assert name_node is not None
                assert given is not None
                return self._named(node, name_node, given.named_children, scope)
            case _:
                raise refuse(node, f"{text(node)} has no counterpart in Python")

    def _tuple(self, node: Node, scope: Scope) -> Type:
        found = [self.read(each, scope) for each in node.named_children]
        in_brackets = len(found) == 1 and not any(c.type == "," for c in node.children)
        return found[0] if in_brackets else Tuple(tuple(found))

    def _array(self, node: Node, scope: Scope) -> Type:
        element = node.child_by_field_name("element")
        length = node.child_by_field_name("length")
        assert element is not None
        item = self.read(element, scope)
        if length is None:
            return Slice(item)
        number = _number(length, scope.module, "the length of an array", _MAX_LENGTH)
        return Array(item, number)

    # ------------------------------------------------------------ names

    def _named(
        self, node: Node, name: Node, given: Sequence[Node], scope: Scope
    ) -> Type:
        path = [each.strip() for each in text(name).split("::")]
        given = [each for each in given if each.type not in ("lifetime", ",")]
        if len(path) == 1 and path[0] in scope.given:
            return scope.given[path[0]]
        if path == ["Self"] and scope.this is not None:
            return scope.this
        found = scope.module.find(path)
        if isinstance(found, Local):
            return self._local(found, node, given, scope)
        last = found.path[-1]
        if len(found.path) > 1 and found.path[0] not in _KNOWN_CRATES:
            raise refuse(
                node,
                f"{'::'.join(found.path)} is not in this file, and so its fields are "
                "not known; put what is on the wire into one file",
            )
        return self._known(last, node, given, scope)

    def _local(
        self, found: Local, node: Node, given: Sequence[Node], scope: Scope
    ) -> Type:
        item = found.item
        if item.node.type == "type_item":
            return self._alias(found, node, given, scope)
        if item.node.type not in ("struct_item", "enum_item"):
            raise refuse(node, f"{item.name} is neither a struct nor an enum")
        name = self._defined(found, len(given), node)
        return Named(name, tuple(self.read(each, scope) for each in given))

    def _alias(
        self, found: Local, node: Node, given: Sequence[Node], scope: Scope
    ) -> Type:
        meant = found.item.node.child_by_field_name("type")
        parameters = found.item.node.child_by_field_name("type_parameters")
        names = [
            text(each.child_by_field_name("name") or each)
            for each in ([] if parameters is None else parameters.named_children)
            if each.type == "type_parameter"
        ]
        if meant is None or len(names) != len(given):
            raise refuse(
                node, f"{found.item.name} takes {len(names)} types, not {len(given)}"
            )
        args = [self.read(each, scope) for each in given]
        inside = Scope(
            found.module, dict(zip(names, args, strict=True)), None, scope.depth
        )
        return self.read(meant, inside)

    def _known(
        self, name: str, node: Node, given: Sequence[Node], scope: Scope
    ) -> Type:
        if name in _CHANNELS:
            return self._channel(name, node, given, scope)
        if name in _NON_ZERO:
            return _NON_ZERO[name]
        if name in ("String", "str") or name in PRIMITIVES:
            return Primitive("String" if name == "str" else name)
        if name not in _ARGUMENTS:
            raise refuse(node, _unknown(name))
        fewest, most = _ARGUMENTS[name]
        if not fewest <= len(given) <= most:
            raise refuse(node, f"{name} takes {fewest} types, not {len(given)}")
        args = [self.read(each, scope) for each in given[:fewest]]
        match name:
            case "Vec" if _is_non_zero_byte(given[0]):
                # The crate does not treat it as a byte, and so not the list as bytes.
                return Slice(args[0])
            case "Vec":
                return List(args[0])
            case "Option":
                return Option(args[0])
            case "BTreeSet" | "HashSet":
                return Set(args[0])
            case "BTreeMap" | "HashMap":
                return Map(args[0], args[1])
            case "NonZero":
                return args[0]
            case _:
                return _pointer(args[0])

    def _channel(
        self, name: str, node: Node, given: Sequence[Node], scope: Scope
    ) -> Type:
        if not 1 <= len(given) <= 2:
            raise refuse(node, f"{name} takes a type, and a credit")
        item = self.read(given[0], scope)
        credit = DEFAULT_CREDIT
        if len(given) == 2:
            what = "the credit of a channel"
            credit = _number(given[1], scope.module, what, _MAX_CREDIT)
        return Channel("tx" if name == "Tx" else "rx", item, credit)


def _is_non_zero_byte(node: Node) -> bool:
    name = text(node).rpartition("::")[2]
    return name in ("NonZeroU8", "NonZero<u8>")


def _pointer(inner: Type) -> Type:
    """Return a pointer to a type: a slice or a text itself, anything else boxed."""
    if isinstance(inner, Slice) or inner == Primitive("String"):
        return inner
    return Boxed(inner)


def _unknown(name: str) -> str:
    if name in _ADVICE:
        return f"{name}: {_ADVICE[name]}"
    if name in _NO_SIGNATURE:
        return (
            f"{name} has no signature of its own in the crate roam, which takes it for "
            "(); send a number or a text instead"
        )
    return (
        f"{name} is not known here: it is neither in this file, nor a type of the "
        "standard library that can travel"
    )


def _number(node: Node, module: Module, what: str, most: int) -> int:
    """Return a whole number: a literal, or a constant of the source."""
    for _ in range(MAX_DEPTH):
        if node.type == "block" and len(node.named_children) == 1:
            node = node.named_children[0]
        elif node.type in ("identifier", "type_identifier"):
            value = module.constants.get(text(node))
            if value is None:
                break
            node = value
        else:
            break
    number = None
    if node.type == "integer_literal":
        number = _integer(text(node))
    if number is None or number > most:
        raise refuse(
            node, f"{what} must be a whole number of at most {most}, written out"
        )
    return number


def _integer(written: str) -> int | None:
    for suffix in ("usize", "u64", "u32", "u16", "u8", "u128"):
        written = written.removesuffix(suffix)
    try:
        return int(written.replace("_", ""), 0)
    except ValueError:
        return int(written) if written.isdecimal() else None
