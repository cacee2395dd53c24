"""The layout of a model: its fields on the wire, and how to construct it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    RootModel,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, ValidationError

from ...errors import SchemaError
from ...schema.annotations import normalise
from ...schema.kinds import (
    NOTHING,
    Explained,
    Layout,
    LayoutField,
    register_kind,
)
from .explaining import explained

__all__ = ["register_models"]

_OBJECT = 80
"""Memory of an instance without its dict and its set of names, in bytes."""


def register_models() -> None:
    """Give the models of pydantic a wire form, in all services of the program.

    Call it before the first service that uses a model is defined. Further calls do
    nothing. Without a call, a model in a service is a `SchemaError` that says so.

    A model has the wire form of a class with the same fields, in the order of the
    class. A field is named by its serialization alias, if it has one. A `RootModel` has
    the wire form of its root. Fields with ``exclude=True``, and those of a `Literal`
    with one value, are not sent and need a default; computed fields are not sent.

    A received model is constructed by its class, so constraints and validators run.
    What they refuse is a `DecodeError` with the place of the field. The caller of a
    method gets `InvalidPayload` instead, without the value. A sent model is read by its
    attributes: nothing is validated again, and serializers are not used.
    """
    register_kind(_MODELS)


class _Models:
    """The kind of the classes of pydantic."""

    def owns(self, cls: type[Any]) -> bool:
        return issubclass(cls, BaseModel)

    def layout(self, cls: type[BaseModel], path: str) -> Layout:
        _complete(cls, path)
        _check_config(cls, path)
        is_root = issubclass(cls, RootModel)
        fields = tuple(
            _field(cls, name, field, f"{path}.{name}")
            for name, field in cls.model_fields.items()
            if is_root or _is_sent(field, f"{path}.{name}")
        )
        _check_names(cls, fields, path)
        return Layout(
            fields,
            positional=False,
            tuple_like=False,
            tag=(cls.__pydantic_generic_metadata__["origin"] or cls).__name__,
            transparent=is_root,
        )

    def declared(self, cls: type[BaseModel]) -> Iterable[str]:
        return cls.model_fields

    def generic(self, cls: type[BaseModel]) -> tuple[type[Any], tuple[Any, ...]] | None:
        made = cls.__pydantic_generic_metadata__
        return None if made["origin"] is None else (made["origin"], made["args"])

    def default(self, cls: type[BaseModel], attribute: str) -> tuple[Any, Any]:
        field = cls.model_fields[attribute]
        if field.default_factory is not None:
            return NOTHING, field.default_factory
        missing = field.default is PydanticUndefined
        return NOTHING if missing else field.default, None

    def explain(self, cls: type[BaseModel], error: Exception) -> Explained | None:
        if not isinstance(error, ValidationError):
            return None
        names = {
            _keyword(cls, name, field): name for name, field in cls.model_fields.items()
        }
        return explained(cls.__qualname__, names, error)

    def weight(self, cls: type[BaseModel]) -> int:
        names = cls.model_fields
        return _OBJECT + sys.getsizeof(dict.fromkeys(names)) + sys.getsizeof(set(names))


_MODELS = _Models()


# ---------------------------------------------------------------- the class


def _complete(cls: type[BaseModel], path: str) -> None:
    """Resolve the names in the annotations of a class."""
    try:
        cls.model_rebuild()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise SchemaError(
            f"the model cannot be completed: {error.message}; define the type before "
            "the service",
            path,
        ) from error


def _check_config(cls: type[BaseModel], path: str) -> None:
    if cls.model_config.get("extra") == "allow":
        raise SchemaError(
            f"{cls.__qualname__} allows extra fields, which have no place on the "
            "wire; take extra='ignore' or 'forbid', or declare a dict[str, str] field",
            path,
        )
    if cls.model_config.get("use_enum_values"):
        raise SchemaError(
            f"{cls.__qualname__} holds the values of enums in place of their members "
            "(use_enum_values), and members are sent; take use_enum_values=False",
            path,
        )


# ---------------------------------------------------------------- fields


def _is_sent(field: FieldInfo, path: str) -> bool:
    if field.exclude:
        why = "with exclude=True is not sent"
    elif (
        get_origin(field.annotation) is Literal and len(get_args(field.annotation)) < 2
    ):
        why = "of a Literal with one value is not sent, as it says nothing"
    else:
        return True
    if field.is_required():
        raise SchemaError(
            f"a field {why}, so it needs a default for when a value arrives", path
        )
    return False


def _field(cls: type[BaseModel], name: str, field: FieldInfo, path: str) -> LayoutField:
    annotation: Any = field.annotation
    if _refers_to_itself(annotation):
        raise SchemaError(
            "a generic model cannot refer to itself; derive a class from it that is "
            "not generic, and declare the field there",
            path,
        )
    for marker in field.metadata:
        annotation = Annotated[annotation, marker]
    keyword = _keyword(cls, name, field)
    if keyword is None:
        raise SchemaError(
            "the field is taken from within another one by its AliasPath, so a value "
            "cannot be constructed; set validate_by_name=True in model_config",
            path,
        )
    return LayoutField(
        field.serialization_alias or name,
        name,
        keyword,
        normalise(annotation, path=path),
    )


def _refers_to_itself(annotation: Any) -> bool:
    """Return True if pydantic left a mark in place of a generic class itself."""
    return type(annotation).__name__ == "PydanticRecursiveRef" or any(
        map(_refers_to_itself, get_args(annotation))
    )


def _keyword(cls: type[BaseModel], name: str, field: FieldInfo) -> str | None:
    """Return the argument of the constructor for a field; None if there is none."""
    config = cls.model_config
    if config.get("validate_by_name") or config.get("populate_by_name"):
        return name
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        found = (each for each in alias.choices if isinstance(each, str))
        return next(found, None)
    return None if isinstance(alias, AliasPath) else alias or name


def _check_names(
    cls: type[BaseModel], fields: tuple[LayoutField, ...], path: str
) -> None:
    for which in ("name", "keyword"):
        counts = Counter(getattr(each, which) for each in fields)
        for name, count in counts.items():
            if count > 1:
                raise SchemaError(
                    f"two fields of {cls.__qualname__} have the alias {name!r}", path
                )
