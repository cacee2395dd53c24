"""A normal form of type annotations.

Python has several spellings of one type (``Optional[X]`` and ``X | None``, aliases,
`typing.NewType`). Its equality differs from that of the wire: ``A | B == B | A``,
although the order of a union numbers its variants. `normalise` reduces an annotation to
classes and `Applied` forms, which are hashable and equal exactly if they are the same
type on the wire. The plan cache and the recursion check use them as keys.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Final,
    ForwardRef,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from attrs import Factory, field, frozen

from ..errors import SchemaError
from .kinds import generic_of
from .types import Credit, ErrorType, Length, Slice, Wire, WireForm

__all__ = ["Applied", "Opaque", "field_types", "normalise", "type_name"]

Marker = Wire | Length | Slice | Credit | ErrorType | WireForm
MARKERS = (Wire, Length, Slice, Credit, ErrorType, WireForm)
MAX_ALIASES = 100
MAX_SIZE = 4096
_SELF: Any = typing.Self


@frozen(cache_hash=True)
class Applied:
    """A generic with its arguments: a union, Annotated, a collection, a class.

    Attributes:
        size: number of types in it; a type that occurs twice counts twice.
    """

    origin: Any
    args: tuple[Any, ...]
    size: int = field(
        init=False,
        eq=False,
        repr=False,
        default=Factory(lambda self: _size_of_args(self.args), takes_self=True),
    )


@frozen(eq=False)
class Opaque:
    """An unhashable annotation, which is equal only to itself."""

    annotation: Any


def _size_of_args(args: tuple[Any, ...]) -> int:
    return 1 + sum(map(_size_of, args))


def _size_of(closed: Any) -> int:
    return closed.size if isinstance(closed, Applied) else 1


def normalise(
    annotation: Any, scope: Mapping[Any, Any] | None = None, *, path: str = ""
) -> Any:
    """Reduce an annotation to its normal form.

    Args:
        annotation: any annotation, or a normal form.
        scope: the values of type variables and `typing.Self`.
        path: the place of the annotation, for errors.

    Raises:
        SchemaError: an alias refers to itself, or the type has too many parts.
    """
    return _Normaliser(path).reduce(annotation, scope or {})


class _Normaliser:
    def __init__(self, path: str) -> None:
        self.path = path
        self.aliases = 0
        # Memoise by identity and scope, both kept alive: without this, an alias that
        # nests another twice at each level would take exponential time.
        self.reduced: dict[tuple[int, int], tuple[Any, Any, Any]] = {}

    def reduce(self, annotation: Any, scope: Mapping[Any, Any]) -> Any:
        key = id(annotation), id(scope)
        if key not in self.reduced:
            closed = self.reduce_anew(annotation, scope)
            if _size_of(closed) > MAX_SIZE:
                raise too_large(closed.size, self.path or type_name(closed.origin))
            self.reduced[key] = closed, annotation, scope
        return self.reduced[key][0]

    def reduce_anew(self, annotation: Any, scope: Mapping[Any, Any]) -> Any:
        if annotation is None:
            return type(None)
        if isinstance(annotation, Applied | Opaque):
            return annotation
        if isinstance(annotation, TypeVar):
            return self.type_variable(annotation, scope)
        if annotation is _SELF:
            return scope.get(annotation, annotation)
        if isinstance(annotation, typing.NewType):
            return self.reduce(annotation.__supertype__, scope)
        if _is_alias(annotation):
            return self.reduce(self.alias_value(annotation), {})
        origin = get_origin(annotation)
        if origin is None:
            return self.reduce_plain(annotation)
        return self.reduce_applied(annotation, origin, scope)

    def reduce_plain(self, annotation: Any) -> Any:
        """Reduce an annotation without arguments."""
        if not _hashable(annotation):
            return Opaque(annotation)
        if not isinstance(annotation, type):
            return annotation
        # A generic class whose parameters all have defaults equals its use with the
        # defaults.
        args = self.with_defaults(_parameters(annotation), ())
        return Applied(annotation, args) if args else annotation

    def type_variable(self, variable: Any, scope: Mapping[Any, Any]) -> Any:
        if variable in scope or not _has_default(variable):
            return scope.get(variable, variable)
        self.count(variable)
        names = _module_names(variable.__module__)
        path = self.path or str(variable)
        return self.reduce(_resolve(variable.__default__, dict(names), path), scope)

    def with_defaults(
        self, parameters: Sequence[Any], args: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """Return arguments for all parameters, or unchanged if one has no default."""
        missing = parameters[len(args) :]
        if not all(map(_has_default, missing)):
            return args
        scope = dict(zip(parameters, args, strict=False))
        for parameter in missing:
            scope[parameter] = self.type_variable(parameter, scope)
        return (*args, *(scope[parameter] for parameter in missing))

    def reduce_applied(
        self, annotation: Any, origin: Any, scope: Mapping[Any, Any]
    ) -> Any:
        if origin is Annotated:
            return self.reduce_annotated(annotation, scope)
        if _is_qualifier(origin):
            return self.reduce(get_args(annotation)[0], scope)
        if getattr(annotation, "__unpacked__", False):
            # ``*tuple[str, ...]`` has tuple as its origin, too.
            packed = origin[get_args(annotation)]
            return Applied(typing.Unpack, (self.reduce(packed, scope),))
        given = _written(get_args(annotation), origin, scope)
        args = tuple(self.reduce(arg, scope) for arg in given)
        if origin in (Union, types.UnionType):
            return _union(args)
        if _is_alias(origin):
            parameters = origin.__type_params__
            args = self.with_defaults(parameters, args)
            if len(parameters) != len(args):
                return Opaque(annotation)
            value = self.alias_value(origin)
            return self.reduce(value, dict(zip(parameters, args, strict=True)))
        return Applied(origin, self.with_defaults(_parameters(origin), args))

    def reduce_annotated(self, annotation: Any, scope: Mapping[Any, Any]) -> Any:
        inner, *metadata = get_args(annotation)
        markers = [each for each in metadata if isinstance(each, MARKERS)]
        inner = self.reduce(inner, scope)
        if isinstance(inner, Applied) and inner.origin is Annotated:
            inner, *within = inner.args
            markers = [*within, *markers]
        return Applied(Annotated, (inner, *markers)) if markers else inner

    def alias_value(self, alias: Any) -> Any:
        path = self.path or str(alias)
        self.count(alias)
        try:
            value = alias.__value__
        except NameError as error:
            raise unresolved(str(error), path) from error
        return _resolve(value, dict(_module_names(alias.__module__)), path)

    def count(self, alias: Any) -> None:
        """Bound the number of aliases and defaults that one annotation expands."""
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise SchemaError(
                f"the type alias {alias} refers to itself without a class in between; "
                "make one of the types in between a class",
                self.path or str(alias),
            )


def _is_alias(annotation: Any) -> bool:
    # typing.TypeAliasType exists from Python 3.12 on; typing_extensions has its own.
    return type(annotation).__name__ == "TypeAliasType"


def _parameters(origin: Any) -> tuple[Any, ...]:
    # A class implemented in C may have a descriptor of this name.
    found: Any = getattr(origin, "__parameters__", ())
    parameters: tuple[Any, ...] = found if hasattr(found, "__len__") else ()
    return parameters


def _written(
    args: tuple[Any, ...], origin: Any, scope: Mapping[Any, Any]
) -> tuple[Any, ...]:
    """Return the arguments without those that `typing` has filled in.

    If the default of a parameter contains type variables, `typing` fills it in
    unchanged. The variables then refer to earlier arguments, and not to the scope of
    the type.
    """
    parameters = _parameters(origin)
    count = len(args)
    while (
        0 < count <= len(parameters)
        and _has_default(parameters[count - 1])
        and parameters[count - 1].__default__ is args[count - 1]
        and not (isinstance(args[count - 1], TypeVar) and args[count - 1] in scope)
    ):
        count -= 1
    return args[:count]


def _is_qualifier(origin: Any) -> bool:
    """Return True if a form qualifies a field and does not affect its values."""
    # typing.ReadOnly exists from Python 3.13 on; typing_extensions has its own.
    return origin is Final or getattr(origin, "_name", None) == "ReadOnly"


def _has_default(parameter: Any) -> bool:
    # Defaults exist from Python 3.13 on, and earlier in typing_extensions.
    has_default = getattr(parameter, "has_default", None)
    return has_default is not None and bool(has_default())


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _union(args: Sequence[Any]) -> Any:
    members: dict[Any, None] = {}
    for arg in args:
        if isinstance(arg, Applied) and arg.origin is Union:
            members.update(dict.fromkeys(arg.args))
        else:
            members[arg] = None
    # The position of None does not matter: it makes the union optional.
    if type(None) in members:
        del members[type(None)]
        members[type(None)] = None
    if len(members) == 1:
        return next(iter(members))
    return Applied(Union, tuple(members))


def type_name(annotation: Any) -> str:
    """Return the name of a type for errors, similar to its source."""
    match annotation:
        case Opaque(inner):
            return str(inner).removeprefix("typing.")
        case Applied(origin, (inner, *_)) if origin is Annotated:
            wire = [m.name for m in annotation.args if isinstance(m, Wire)]
            return wire[-1] if wire else type_name(inner)
        case Applied(origin, args) if origin is Union:
            return " | ".join(map(type_name, args))
        case Applied(origin, (packed,)) if origin is typing.Unpack:
            return f"*{type_name(packed)}"
        case Applied(origin, args):
            return f"{type_name(origin)}[{', '.join(map(type_name, args))}]"
        case type():
            return _name_of_class(annotation)
        case ForwardRef():
            return repr(annotation.__forward_arg__)
        case builtins.Ellipsis:
            return "..."
        case str():
            return repr(annotation)
        case _ if get_origin(annotation) is not None:
            return type_name(normalise(annotation))
        case _:
            return str(annotation).removeprefix("typing.")


def _name_of_class(cls: type[Any]) -> str:
    generic = generic_of(cls)
    if generic is None:
        return "None" if cls is type(None) else cls.__qualname__
    origin, args = generic
    return f"{type_name(origin)}[{', '.join(map(type_name, args))}]"


def too_large(size: int, path: str) -> SchemaError:
    return SchemaError(
        f"the type grows to {size} types, and at most {MAX_SIZE} may stand in one; a "
        "generic class must not hold itself applied to ever larger types, and what an "
        "alias repeats again and again can be a class",
        path,
    )


def unresolved(what: str, path: str) -> SchemaError:
    return SchemaError(
        f"the annotation cannot be resolved: {what}; define the type at the top level "
        "of its module, or before the class that names it, and quote the annotation "
        "as a whole",
        path,
    )


def field_types(
    cls: type[Any], args: Sequence[Any], names: Sequence[str], path: str
) -> dict[str, Any]:
    """Return the normal forms of a class's field annotations, as they are declared.

    Args:
        cls: a class, generic or not.
        args: normal forms of its arguments.
        names: the names of the fields. Fields without an annotation are left out.
        path: the place of the class, for errors.

    Raises:
        SchemaError: an annotation cannot be resolved.
    """
    found: dict[str, Any] = {}
    scopes = _scopes(cls, args)
    this: Any = Applied(cls, tuple(args)) if args else cls
    wanted = frozenset(names)
    for base in reversed(cls.__mro__):
        annotations = _own_annotations(base, path)
        if wanted.isdisjoint(annotations):
            continue
        known = _names_in(base, cls)  # once, because a class can have many fields
        scope: dict[Any, Any] = {**scopes.get(base, {}), _SELF: this}
        for name, annotation in annotations.items():
            if name in wanted:
                where = f"{path}.{name}"
                closed = _resolve(annotation, known, where)
                found[name] = normalise(closed, scope, path=where)
    return found


def _own_annotations(cls: type[Any], path: str) -> Mapping[str, Any]:
    try:
        return inspect.get_annotations(cls)
    except NameError as error:  # pragma: no cover - evaluated here from Python 3.14 on
        raise unresolved(str(error), path) from error


def _scopes(cls: type[Any], args: Sequence[Any]) -> dict[type[Any], dict[Any, Any]]:
    """Return the values of the type variables of each base class."""
    scopes: dict[type[Any], dict[Any, Any]] = {}

    def visit(base: Any, base_args: Sequence[Any]) -> None:
        scopes[base] = scope = dict(zip(_parameters(base), base_args, strict=False))
        bases: Sequence[Any] = base.__dict__.get("__orig_bases__", base.__bases__)
        for each in bases:
            origin = get_origin(each) or each
            if isinstance(origin, type) and origin not in scopes:
                applied = normalise(each, scope)
                visit(origin, applied.args if isinstance(applied, Applied) else ())

    visit(cls, args)
    return scopes


def _names_in(base: type[Any], cls: type[Any]) -> dict[str, Any]:
    """Return the names that annotations of a class can contain, in a new dict."""
    nested = {key: value for key, value in vars(base).items() if inspect.isclass(value)}
    return {
        **nested,
        **_module_names(base.__module__),
        **{each.__name__: each for each in getattr(base, "__type_params__", ())},
        cls.__name__: cls,
        base.__name__: base,
    }


def _module_names(module: str | None) -> Mapping[str, Any]:
    found = sys.modules.get(module or "")
    return {} if found is None else vars(found)


def _resolve(annotation: Any, names: dict[str, Any], path: str) -> Any:
    """Resolve the names in an annotation that is text.

    Args:
        annotation: the annotation.
        names: what the names in it mean; evaluation adds the built-in names.
        path: the place of the annotation.
    """
    for part in _named_in(annotation, names):
        _check_size(part, path)
    # Resolve it as a class attribute, where Final is allowed.
    holder = type("holder", (), {"__annotations__": {"field": annotation}})
    try:
        return typing.get_type_hints(holder, names, names, include_extras=True)["field"]
    except (NameError, AttributeError, SyntaxError) as error:
        raise unresolved(str(error), path) from error
    except TypeError as error:
        raise SchemaError(f"not a type annotation: {error}", path) from error


def _named_in(annotation: Any, names: Mapping[str, Any]) -> list[Any]:
    """Return the annotation, with the names in its text resolved."""
    if not isinstance(annotation, str):
        return [annotation]
    try:
        tree = ast.parse(annotation.strip(), mode="eval")
    except SyntaxError:
        return []  # for which typing has an error text
    found = (each.id for each in ast.walk(tree) if isinstance(each, ast.Name))
    return [names[name] for name in found if name in names]


def _check_size(annotation: Any, path: str) -> None:
    """Bound the size, because `typing` processes repeated types each time."""
    sizes: dict[int, int] = {}

    def size_of(part: Any) -> int:
        if id(part) not in sizes:
            sizes[id(part)] = 1  # while its size is unknown
            sizes[id(part)] += sum(map(size_of, get_args(part)))
        return sizes[id(part)]

    if not isinstance(annotation, type) and size_of(annotation) > MAX_SIZE:
        raise too_large(size_of(annotation), path)
