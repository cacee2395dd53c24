"""Services as data, made from a class of annotated async methods.

The decorator `service` does not change the class, and attaches a `ServiceDescriptor`,
from which clients and dispatchers are made.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Generator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

import attrs

from ..codec import ResultPlan, RpcPlan, SharedPlans, args_plan, result_plan
from ..errors import SchemaError
from ..rpc.method_names import remember_method_name
from ..schema import ArrayShape, BytesShape, Shape, kebab, method_id, split_fallible
from ..schema.shape import children
from ..wire.ids import MethodId
from .effects import Effect, effect_of
from .steps import run_through

if TYPE_CHECKING:
    from .description.model import ServiceSchema

__all__ = [
    "ArgDescriptor",
    "MethodDescriptor",
    "ServiceDescriptor",
    "attach_descriptor",
    "describe",
    "method_descriptor",
    "method_of_types",
]

C = TypeVar("C", bound=type[Any])

_ATTRIBUTE = "__roam_service__"


@attrs.frozen
class ArgDescriptor:
    """An argument of a method: its name, which is not on the wire, and its type."""

    name: str
    type: Any


@attrs.frozen(eq=False)
class MethodDescriptor:
    """A method of a service.

    Attributes:
        service: the name of the service.
        name: its name in Python.
        id: its id on the wire (`rpc.method-id`).
        args: its arguments, in order.
        return_type: its success type.
        error_type: its error type; None for an infallible method.
        doc: its docstring.
        signature: its signature in Python, without ``self``.
        args_plan: encodes and decodes the tuple of arguments.
        result_plan: encodes and decodes the result.
        keyword_only: the names of the last arguments, if they are given by name alone.
            On the wire all arguments go by position.
        effect: what calling it again can do, as `idempotent` has marked it.
    """

    service: str
    name: str
    id: MethodId
    args: tuple[ArgDescriptor, ...]
    return_type: Any
    error_type: Any
    doc: str
    signature: inspect.Signature = attrs.field(repr=False)
    args_plan: RpcPlan[tuple[Any, ...]] = attrs.field(repr=False)
    result_plan: ResultPlan = attrs.field(repr=False)
    keyword_only: tuple[str, ...] = ()
    effect: Effect = "any"

    @property
    def positional_count(self) -> int | None:
        """Number of arguments, if each can be given by position; else None."""
        return None if self.keyword_only else len(self.args)

    def by_position(
        self, args: tuple[Any, ...]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return all arguments, in order, as those to give by position and by name."""
        count = len(self.args) - len(self.keyword_only)
        return args[:count], dict(zip(self.keyword_only, args[count:], strict=True))

    def __str__(self) -> str:
        return f"{self.service}.{self.name}"


_Methods: TypeAlias = tuple[MethodDescriptor, ...]


@attrs.frozen(eq=False)
class ServiceDescriptor:
    """A service: its name, its methods in the order of the class, its docstring.

    It is equal only to itself, because annotations that Python considers equal can
    differ on the wire, such as ``A | B`` and ``B | A``.
    """

    name: str
    _methods: _Methods | Callable[[], _Methods] = attrs.field(
        alias="methods", repr=False
    )
    doc: str
    _told: ServiceSchema | None = attrs.field(default=None, alias="schema", repr=False)

    EMPTY: ClassVar[ServiceDescriptor]
    """A service without methods."""

    @cached_property
    def methods(self) -> _Methods:
        """The methods. Those of a service that a peer has described are made when this
        is first read, which takes some milliseconds for each."""
        return self._methods() if callable(self._methods) else self._methods

    @cached_property
    def schema(self) -> ServiceSchema:
        """The service as plain data: types, fields, errors, credit, defaults, docs.

        It is made when it is first read, unless the descriptor is made of one.
        """
        return run_through(self.schema_in_steps())

    def schema_in_steps(self) -> Generator[None, None, ServiceSchema]:
        """Make the schema, and yield after each method."""
        if self._told is not None:
            return self._told
        # Only now, because most programs describe nothing.
        from .description.making import SchemaMaker

        maker = SchemaMaker(self.name, self.doc)
        for method in self.methods:
            error = method.result_plan.error
            maker.add(
                method.name,
                method.id,
                method.args_plan.shape,
                method.result_plan.ok.shape,
                None if error is None else error.shape,
                method.signature,
                method.doc,
                method.effect,
            )
            yield
        return maker.made()

    @cached_property
    def fingerprint(self) -> bytes:
        """16 bytes that are the same for services that work alike; made when it is
        first read."""
        from .description.fingerprints import fingerprint

        return fingerprint(self.schema)

    @cached_property
    def deflated_schema(self) -> bytes | None:
        """The schema as it stands in metadata; None if it is too long for that."""
        from .description.encoding import schema_to_wire

        try:
            return schema_to_wire(self.schema)
        except SchemaError:
            return None

    def by_id(self, id: MethodId) -> MethodDescriptor | None:
        """Return the method with this id, or None."""
        return next((method for method in self.methods if method.id == id), None)


ServiceDescriptor.EMPTY = ServiceDescriptor("Empty", (), "")


def attach_descriptor(cls: type[Any], name: str) -> ServiceDescriptor:
    """Describe a class, and attach the descriptor to it."""
    descriptor = _describe_class(cls, name)
    setattr(cls, _ATTRIBUTE, descriptor)
    for method in descriptor.methods:
        remember_method_name(method.id, str(method))
    return descriptor


def describe(service: Callable[..., Any]) -> ServiceDescriptor:
    """Return the descriptor of a class that `service` has decorated.

    Raises:
        TypeError: `service` has not decorated the class.
    """
    descriptor = getattr(service, "__dict__", {}).get(_ATTRIBUTE)
    if not isinstance(descriptor, ServiceDescriptor):
        raise TypeError(
            f"expected a class decorated with @roam_trio.service, got {service!r}"
        )
    return descriptor


def _describe_class(cls: type[Any], name: str) -> ServiceDescriptor:
    methods = tuple(
        _describe_method(name, method_name, function)
        for method_name, function in _public_functions(cls).items()
    )
    _require_distinct_ids(methods)
    return ServiceDescriptor(name, methods, inspect.cleandoc(cls.__doc__ or ""))


def _require_distinct_ids(methods: tuple[MethodDescriptor, ...]) -> None:
    """Check that no two methods have one id, as get_it and getIt would."""
    found: dict[MethodId, MethodDescriptor] = {}
    for method in methods:
        other = found.setdefault(method.id, method)
        if other is not method:
            raise SchemaError(
                f"it has the identity of {other}: their types and their names on the "
                f"wire, {kebab(method.name)!r}, are the same; rename one",
                str(method),
            )


def _public_functions(cls: type[Any]) -> dict[str, Any]:
    """Return the methods, those of base classes first, in the order of definition."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__ in ("builtins", "typing", "typing_extensions", "abc"):
            continue
        for name, member in vars(base).items():
            if not name.startswith("_") and (
                callable(member) or isinstance(member, property | classmethod)
            ):
                found[name] = member
    return found


def _describe_method(service_name: str, name: str, function: Any) -> MethodDescriptor:
    path = f"{service_name}.{name}"
    if not inspect.iscoroutinefunction(function):
        raise SchemaError(
            f"expected an async method, got {function!r}; start the "
            "names of other methods with an underscore",
            path,
        )
    signature = _without_self(inspect.signature(function), path)
    hints = _resolve_hints(function, path)
    ok, error = _split_result(_hint(hints, "return", path), path)
    return method_of_types(
        service_name,
        name,
        {arg: _hint(hints, arg, path) for arg in signature.parameters},
        ok,
        error,
        signature,
        doc=function.__doc__ or "",
        effect=effect_of(function),
    )


def method_descriptor(
    service: str,
    name: str,
    args: Mapping[str, Any],
    return_type: Any,
    *,
    doc: str = "",
) -> MethodDescriptor:
    """Return the descriptor of a method that is in no class.

    For what learns of a service when it runs, such as a gateway or a shell.

    Args:
        service: the name of the service.
        name: the name of the method; `hash.kebab` makes one of both, so that their case
            does not matter.
        args: the types of the arguments by their names, in order.
        return_type: what it returns, as it would stand in an annotation:
            ``Fallible[T, E]`` if it can fail.
        doc: says what it does.

    Raises:
        SchemaError: one of the types cannot go on the wire, or the result has a channel
            in it, or an argument's name is none in Python.
    """
    path = f"{service}.{name}"
    signature = inspect.Signature(
        [_parameter(arg, hint, path) for arg, hint in args.items()],
        return_annotation=return_type,
    )
    ok, error = _split_result(return_type, path)
    return method_of_types(service, name, args, ok, error, signature, doc=doc)


def _parameter(name: str, hint: Any, path: str) -> inspect.Parameter:
    try:
        return inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=hint
        )
    except ValueError as error:
        raise SchemaError(
            f"expected a name for an argument that Python allows, got {name!r}", path
        ) from error


def method_of_types(
    service_name: str,
    name: str,
    hints: Mapping[str, Any],
    return_type: Any,
    error_type: Any,
    signature: inspect.Signature,
    *,
    doc: str = "",
    effect: Effect = "any",
    plans: SharedPlans | None = None,
) -> MethodDescriptor:
    """Return the descriptor of a method, from annotations or their normal forms.

    Args:
        service_name: the name of the service.
        name: the name of the method.
        hints: the types of the arguments by their names, in order.
        return_type: its success type.
        error_type: its error type; None for a method that declares none.
        signature: its signature in Python, without ``self``.
        doc: says what it does.
        effect: what calling it again can do.
        plans: has the plans of types that are in several methods.

    Raises:
        SchemaError: as `method_descriptor` does.
    """
    path = f"{service_name}.{name}"
    args = tuple(ArgDescriptor(arg, hint) for arg, hint in hints.items())
    arguments_of = args_plan if plans is None else plans.arguments
    arguments = arguments_of([a.type for a in args], [a.name for a in args], path)
    result = result_plan(return_type, error_type, path, plans)
    if result.error is not None and _borrows(result.error.shape):
        raise SchemaError(
            "an error cannot borrow from the response it came in; use bytes in place "
            "of memoryview",
            f"{path} -> error",
        )
    return MethodDescriptor(
        service_name,
        name,
        method_id(service_name, name, arguments.signature + result.signature),
        args,
        return_type,
        error_type,
        inspect.cleandoc(doc),
        signature,
        arguments,
        result,
        tuple(
            name
            for name, parameter in signature.parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ),
        effect,
    )


def _borrows(shape: Shape) -> bool:
    match shape:
        case BytesShape(view=True) | ArrayShape(python="memoryview"):
            return True
        case _:
            return any(map(_borrows, children(shape)))


_POSITIONAL = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.POSITIONAL_ONLY,
)


_SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _without_self(signature: inspect.Signature, path: str) -> inspect.Signature:
    parameters = list(signature.parameters.values())
    if not parameters or not _is_self(parameters.pop(0)):
        raise SchemaError(
            "the first parameter of a method must be self; is it missing?", path
        )
    for parameter in parameters:
        if parameter.kind in _SEVERAL:
            raise SchemaError(
                f"expected a parameter for each argument, got {parameter}: the number "
                "of arguments of a method is fixed",
                f"{path}({parameter.name})",
            )
    return signature.replace(parameters=parameters)


def _is_self(parameter: inspect.Parameter) -> bool:
    """Return True for `self`. A first parameter of another name with a type is an
    argument.
    """
    return parameter.kind in _POSITIONAL and (
        parameter.name == "self" or parameter.annotation is parameter.empty
    )


def _resolve_hints(function: Any, path: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise SchemaError(
            f"{error}; the types of a service must be defined at module level, "
            "before the service",
            path,
        ) from error
    except (AttributeError, SyntaxError, TypeError) as error:
        raise SchemaError(f"a type hint cannot be resolved: {error}", path) from error
    except SchemaError as error:
        raise SchemaError(error.problem, path) from error


def _split_result(hint: Any, path: str) -> tuple[Any, Any]:
    try:
        return split_fallible(hint)
    except SchemaError as error:
        raise SchemaError(error.problem, f"{path} -> return") from error


def _hint(hints: dict[str, Any], name: str, path: str) -> Any:
    if name not in hints:
        where = f"{path} -> return" if name == "return" else f"{path}({name})"
        raise SchemaError("a type hint is missing", where)
    return hints[name]
