"""Descriptors made from schemas, whose values are plain."""

from __future__ import annotations

import inspect
from typing import Any, Final

from attrs import evolve
from msgspec import UNSET

from ...codec.interpret import interpret_decode, interpret_encode
from ...codec.plan import RpcPlan
from ...codec.plans import SharedPlans
from ...codec.result import ResultPlan
from ...errors import CodecError, SchemaError
from ...legible import legible
from ...rpc.channel import Rx, Tx
from ...schema.derive import shape_of
from ...schema.shape import Field, Record, Shape, TupleShape
from ...schema.shared_work import SharedWork
from ..descriptor import (
    ArgDescriptor,
    MethodDescriptor,
    ServiceDescriptor,
    method_of_types,
)
from .annotations import Annotations
from .model import (
    ArgSchema,
    ChannelType,
    FieldSchema,
    MethodSchema,
    ServiceSchema,
    Type,
)
from .plain_values import STEPS_TO_MAKE_PLAIN, plain_arguments, plain_shape
from .safe_names import distinct_names
from .type_text import result_text, type_text

__all__ = ["MOST_SIGNATURES", "MethodMaker", "descriptor_of"]

MOST_SIGNATURES = 4 * 1024 * 1024
"""Length, in bytes, of the signatures of all types of a service together. A signature
has each type written out wherever it stands, so a short schema can have long ones, and
the time to derive types grows with it.
"""


def descriptor_of(
    schema: ServiceSchema, *, for_json: bool = False
) -> ServiceDescriptor:
    """Return the descriptor that a schema describes, for plain values.

    A client of it takes and returns dicts, lists and scalars: see
    docs/descriptions.md. It takes some milliseconds for each method.

    Args:
        schema: a schema from `schema_from_json`, or of another descriptor.
        for_json: whether values are those of JSON, where bytes are base64.

    Raises:
        SchemaError: a type cannot go on the wire, or a method has another id than its
            types give.
    """
    maker = MethodMaker(schema, for_json=for_json)
    methods = tuple(map(maker.make, schema.methods))
    return ServiceDescriptor(schema.name, methods, schema.doc, schema)


_HANDLES: Final = {"tx": Tx[Any], "rx": Rx[Any]}


def _direction(arg: ArgSchema) -> str:
    return arg.type.direction if isinstance(arg.type, ChannelType) else ""


class MethodMaker:
    """Makes the descriptors of methods of one schema.

    A type that several methods have is derived once.

    Args:
        schema: the schema.
        for_json: whether values are those of JSON.
        work: counts the steps of the derivations; by default without a bound.
    """

    def __init__(
        self,
        schema: ServiceSchema,
        *,
        for_json: bool = False,
        work: SharedWork | None = None,
    ) -> None:
        self._service = schema.name
        self._for_json = for_json
        self._annotations = Annotations(schema)
        self._work = work or SharedWork()
        self._plans = SharedPlans(self._work)
        self._defaults: dict[tuple[Type, str], Any] = {}
        self._for_defaults: dict[Type, tuple[Shape, Shape]] = {}
        self._signatures = 0

    def make(self, method: MethodSchema) -> MethodDescriptor:
        """Return the descriptor of a method, for plain values.

        Raises:
            SchemaError: see `descriptor_of`.
        """
        typed = self.checked(method)
        arguments = typed.args_plan.shape
        assert isinstance(arguments, TupleShape)
        plain = plain_arguments(
            arguments, for_json=self._for_json, default_of=self._default_of
        )
        result = typed.result_plan
        return evolve(
            typed,
            args=tuple(
                ArgDescriptor(described.name, _HANDLES.get(_direction(arg), Any))
                for arg, described in zip(method.args, typed.args, strict=True)
            ),
            keyword_only=tuple(each.name for each in typed.args),
            args_plan=RpcPlan(typed.args_plan.type, plain),
            result_plan=ResultPlan(
                self._plain(result.ok), result.error and self._plain(result.error)
            ),
        )

    def checked(self, method: MethodSchema) -> MethodDescriptor:
        """Return the descriptor of a method, for values of no use to a program.

        Raises:
            SchemaError: see `descriptor_of`.
        """
        path = f"{legible(self._service)}.{legible(method.name)}"
        typed = self._typed(method, path)
        if typed.id != method.id:
            raise SchemaError(
                f"its types give the id {typed.id:#018x}, and the schema has "
                f"{method.id:#018x}, so one of the two is wrong",
                path,
            )
        return typed

    def _typed(self, method: MethodSchema, path: str) -> MethodDescriptor:
        of = self._annotations.of
        names = distinct_names(arg.name for arg in method.args)
        typed = method_of_types(
            self._service,
            method.name,
            dict(zip(names, (of(arg.type) for arg in method.args), strict=True)),
            of(method.returns),
            None if method.fails is None else of(method.fails),
            self._signature(method, path),
            doc=method.doc,
            effect=method.effect,
            plans=self._plans,
        )
        result = typed.result_plan
        plans = [typed.args_plan, result.ok, *([result.error] if result.error else [])]
        self._signatures += sum(len(plan.signature) for plan in plans)
        if self._signatures > MOST_SIGNATURES:
            raise SchemaError(
                f"the signatures up to this method have more than {MOST_SIGNATURES} "
                "bytes: its types hold one another too often",
                path,
            )
        return typed

    def _plain(self, plan: RpcPlan[Any]) -> RpcPlan[Any]:
        shape = plain_shape(
            plan.shape, for_json=self._for_json, default_of=self._default_of
        )
        return RpcPlan(plan.type, shape)

    def _signature(self, method: MethodSchema, path: str) -> inspect.Signature:
        """Return the signature, whose defaults are plain values."""
        names = distinct_names(arg.name for arg in method.args)
        return inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=self._default(arg, f"{path}({legible(arg.name)})"),
                    annotation=type_text(arg.type),
                )
                for name, arg in zip(names, method.args, strict=True)
            ],
            return_annotation=result_text(method),
        )

    def _default_of(self, record: Record, field: Field) -> Any:
        schema = self._annotations.field_of(record, field)
        return self._plain_default(schema, legible(field.name))

    def _default(self, arg: ArgSchema, path: str) -> Any:
        default = self._plain_default(arg, path)
        return inspect.Parameter.empty if default is UNSET else default

    def _plain_default(self, schema: FieldSchema | ArgSchema, path: str) -> Any:
        """Return a default as a plain value; UNSET if there is none."""
        if schema.default is UNSET:
            return UNSET
        key = schema.type, repr(schema.default)
        self._work.count_text(key[1])
        if key in self._defaults:
            return self._defaults[key]
        value = self._checked_default(schema, path)
        if value is None or isinstance(value, bool | int | float | str | bytes):
            # Methods may share what cannot change.
            self._defaults[key] = value
        return value

    def _checked_default(self, schema: FieldSchema | ArgSchema, path: str) -> Any:
        in_json, plain = self._shapes_for_default(schema.type, path)
        # The interpreters look at all parts.
        self._work.count_parts(in_json, 2)
        try:
            encoded = interpret_encode(in_json, schema.default)
            if self._for_json:
                return schema.default
            return interpret_decode(plain, encoded)
        except CodecError as cause:
            raise SchemaError(f"its default has another type: {cause}", path) from cause

    def _shapes_for_default(self, type: Type, path: str) -> tuple[Shape, Shape]:
        """Return the shape of a default in JSON, and of it as a plain value."""
        if type not in self._for_defaults:
            shape = shape_of(self._annotations.of(type), path, work=self._work)
            self._work.count_parts(shape, 2 * STEPS_TO_MAKE_PLAIN)
            in_json = plain_shape(shape, for_json=True)
            self._for_defaults[type] = in_json, plain_shape(shape)
        return self._for_defaults[type]
