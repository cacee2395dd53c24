"""Clients of services that are known by their description alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from types import MethodType
from typing import Any, TypeAlias, cast

from ..legible import legible
from ..metadata import Metadata, MetadataLike
from ..rpc.caller import Caller, check_caller
from ..rpc.connection import AnySession
from ..rpc.service_class import ServiceClass, set_service_class
from .client import BaseClient, client_method
from .description.model import MethodSchema, ServiceSchema
from .description.rebuilding import MethodMaker
from .descriptor import ServiceDescriptor
from .middleware import Middleware, checked_middleware
from .remote import RemoteServices

__all__ = ["Described", "DynamicClient", "dynamic", "dynamic_client"]

Described: TypeAlias = ServiceDescriptor | ServiceSchema
"""A description of a service."""


class DynamicClient(BaseClient):
    """A client whose methods are found by name, and whose values are plain.

    `dynamic` makes one. docs/descriptions.md says what is plain. Everything about a
    method is made when it is first asked for.
    """

    __slots__ = ("__roam_dynamic__", "__roam_maker__", "__roam_schemas__")

    def __init__(
        self,
        schema: ServiceSchema,
        caller: Caller,
        middleware: tuple[Middleware, ...],
        metadata: Metadata,
        *,
        for_json: bool = False,
    ) -> None:
        super().__init__(caller, middleware, metadata)
        self.__roam_maker__ = MethodMaker(schema, for_json=for_json)
        self.__roam_schemas__ = {each.name: each for each in schema.methods}
        self.__roam_dynamic__: dict[str, Callable[..., Any]] = {}

    async def call(
        self, method: str, args: Mapping[str, Any] | Sequence[Any] = ()
    ) -> Any:
        """Call a method, and return its result as a plain value.

        A checkpoint. Cancelled, it does what a cancelled call of any client does.

        Args:
            method: the name of the method.
            args: plain values of the arguments, by name or in order. Those with a
                default may be left out.

        Raises:
            LookupError: there is no such method.
            SchemaError: the description of the method is wrong.
            TypeError: an argument is missing, or there is no such argument.
            EncodeError: an argument does not match its type.
            UserError: the method has failed; `error` is the plain value of its error.
            RoamError: another outcome of the call, as for any client.
        """
        return await self.method(method)(**self.arguments(method, args))

    def arguments(
        self, method: str, args: Mapping[str, Any] | Sequence[Any]
    ) -> dict[str, Any]:
        """Return arguments as `method` takes them, by the names that Python allows.

        Args:
            method: the name of the method.
            args: see `call`.

        Raises:
            LookupError: there is no such method.
            SchemaError: the description of the method is wrong.
            TypeError: there is no such argument.
        """
        parameters = inspect.signature(self.method(method)).parameters
        return _by_name(self._schema(method), parameters, args)

    def method(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        """Return a method that takes plain arguments by name.

        For `open_call` and `with_metadata`. Names that Python does not allow for
        arguments are changed: `arguments` returns them.

        Raises:
            LookupError: there is no such method.
            SchemaError: the description of the method is wrong.
        """
        function = self.__roam_dynamic__.get(name)
        if function is None:
            function = client_method(self.__roam_maker__.make(self._schema(name)))
            self.__roam_dynamic__[name] = function
        return MethodType(function, self)

    def _schema(self, name: str) -> MethodSchema:
        schema = self.__roam_schemas__.get(name)
        if schema is None:
            known = ", ".join(self.__roam_schemas__)
            raise LookupError(
                legible(f"expected a method of the service ({known}), got {name!r}")
            )
        return schema


def dynamic(
    session: AnySession,
    name: str,
    described: Described | Mapping[str, Described],
    *,
    metadata: MetadataLike = (),
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    for_json: bool = False,
) -> AbstractAsyncContextManager[DynamicClient]:
    """Return a client of a service without its class, on a connection of its own.

    ``async with dynamic(session, "shop", described) as shop:`` opens a virtual
    connection for the length of the block. `DynamicClient.call` makes a call.

    A service that `describe_remote` has found on the root connection is called there.

    Args:
        session: the session with the peer.
        name: the name under which the peer offers the service.
        described: the description of the service; or several, by such names.
        metadata: sent along when the connection is opened.
        middleware: wraps the calls; see `Middleware`.
        metadata_for_calls: metadata of each call.
        for_json: whether values are those of JSON, where bytes are base64.

    Raises:
        LookupError: the service is not among those that are described.
        SessionRejected: (on entering) the peer does not offer it.
        ConnectionLost: (on entering) see `Session.open_connection`.
    """
    if isinstance(described, Mapping):
        if name not in described:
            known = ", ".join(described)
            raise LookupError(
                legible(f"expected one of the described services ({known}): {name!r}")
            )
        if isinstance(described, RemoteServices) and described.is_on_root(name):
            return _on_root(
                session,
                described[name],
                middleware,
                metadata_for_calls,
                for_json=for_json,
            )
        described = described[name]

    class Dynamic:
        """A service by its description."""

    schema = _schema_of(described)

    def made(
        caller: Caller,
        /,
        *,
        middleware: Iterable[Middleware] = (),
        metadata_for_calls: MetadataLike = (),
        offered: object = None,
    ) -> DynamicClient:
        assert offered is None, "nothing is expected of a described service"
        return dynamic_client(
            schema,
            caller,
            for_json=for_json,
            middleware=middleware,
            metadata_for_calls=metadata_for_calls,
        )

    set_service_class(Dynamic, ServiceClass(schema.name, made))
    return session.open(
        cast("Callable[..., DynamicClient]", Dynamic),
        name,
        metadata=metadata,
        middleware=middleware,
        metadata_for_calls=metadata_for_calls,
    )


def _on_root(
    session: AnySession,
    described: Described,
    middleware: Iterable[Middleware],
    metadata_for_calls: MetadataLike,
    *,
    for_json: bool,
) -> AbstractAsyncContextManager[DynamicClient]:
    shared = session.for_clients
    client = dynamic_client(
        described,
        session.caller,
        middleware=shared.middleware_with(middleware),
        metadata_for_calls=shared.metadata_with(metadata_for_calls),
        for_json=for_json,
    )
    return nullcontext(client)


def dynamic_client(
    described: Described,
    caller: Caller,
    *,
    middleware: Iterable[Middleware] = (),
    metadata_for_calls: MetadataLike = (),
    for_json: bool = False,
) -> DynamicClient:
    """Return a client of a service without its class, on a connection that is open.

    Args:
        described: the description of the service.
        caller: makes the calls, on its connection.
        middleware: wraps each call, the first outermost; see `Middleware`.
        metadata_for_calls: metadata of each call.
        for_json: whether values are those of JSON, where bytes are base64.

    Raises:
        TypeError: `caller` is not a `Caller`.
    """
    check_caller(caller, "dynamic_client")
    return DynamicClient(
        _schema_of(described),
        caller,
        checked_middleware(middleware),
        Metadata.of(metadata_for_calls),
        for_json=for_json,
    )


def _schema_of(described: Described) -> ServiceSchema:
    if isinstance(described, ServiceDescriptor):
        return described.schema
    return described


def _by_name(
    schema: MethodSchema,
    parameters: Iterable[str],
    args: Mapping[str, Any] | Sequence[Any],
) -> dict[str, Any]:
    """Return arguments by the names of the parameters in Python.

    Raises:
        TypeError: there are more arguments than parameters, or unknown names.
    """
    names = {arg.name: name for arg, name in zip(schema.args, parameters, strict=True)}
    if not isinstance(args, Mapping):
        if len(args) > len(names):
            raise TypeError(
                legible(
                    f"{schema.name}: expected at most {len(names)} arguments, got "
                    f"{len(args)}"
                )
            )
        args = dict(zip(names, args, strict=False))
    unknown = [name for name in args if name not in names]
    if unknown:
        raise TypeError(
            legible(
                f"{schema.name}: expected no argument {unknown[0]!r}; its arguments "
                f"are ({', '.join(names)})"
            )
        )
    return {names[name]: value for name, value in args.items()}
