"""Middleware, which wraps every call, on either side.

    async def timing(call: AnyCall, proceed: Proceed) -> Any:
        began = trio.current_time()
        try:
            return await proceed()
        finally:
            log.info("%s %.3f", call.method, trio.current_time() - began)

It has the same form for a handler (`dispatcher`, `serve`) and for a client (`client`,
`connect`, `Session.open`). Of several, the first is outermost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, SupportsIndex, TypeAlias, overload

from ..effective_deadline import effective_deadline
from ..errors import CallCancelled
from ..metadata import (
    NO_METADATA,
    Metadata,
    MetadataEntry,
    MetadataLike,
    MetadataValue,
)
from ..peers import Peer
from ..rpc.mapped import EachItem, map_items
from .call import Call
from .descriptor import MethodDescriptor

__all__ = [
    "AnyCall",
    "CallMetadata",
    "ClientCall",
    "Middleware",
    "Proceed",
    "ServerCall",
    "checked_middleware",
    "go_through",
]

Proceed: TypeAlias = Callable[[], Awaitable[Any]]
"""Continues with the call; returns its result, or raises its exception."""

Middleware: TypeAlias = Callable[["AnyCall", Proceed], Awaitable[Any]]
"""An async function with these two arguments, which wraps calls.

Its result is the result of the call, and its exception is the exception of the call:
usually those of ``await proceed()``. Values have the types that the method declares,
and declared errors are raised directly. If the call is cancelled, ``proceed`` raises
`trio.Cancelled`. To refuse a call, raise `Refused`.
"""


class CallMetadata(list[MetadataEntry]):
    """The metadata of a request, which a middleware of a client may change.

    ``call.metadata["tenant"] = "blue"`` sets the only value of a key; ``append`` adds
    an entry.
    """

    __slots__ = ()

    @overload
    def __setitem__(self, key: SupportsIndex, value: MetadataEntry, /) -> None: ...
    @overload
    def __setitem__(self, key: slice, value: Iterable[MetadataEntry], /) -> None: ...
    @overload
    def __setitem__(self, key: str, value: MetadataValue, /) -> None: ...
    def __setitem__(self, key: Any, value: Any, /) -> None:
        if isinstance(key, str):
            self[:] = [entry for entry in self if entry.key != key]
            self.append(MetadataEntry(key, value))
        else:
            super().__setitem__(key, value)

    def get(
        self, key: str, default: MetadataValue | None = None
    ) -> MetadataValue | None:
        """Return the first value of `key`."""
        return next((entry.value for entry in self if entry.key == key), default)

    def get_all(self, key: str) -> list[MetadataValue]:
        """Return every value of `key`, in order."""
        return [entry.value for entry in self if entry.key == key]


class AnyCall(ABC):
    """A call as middleware sees it, on either side.

    Attributes:
        side: the side of this program in the call.
        method: the called method; its text is ``Service.method``.
        args: the arguments, by position; a middleware may replace them before
            ``proceed``.
    """

    __slots__ = ("_metadata", "args", "method")

    side: ClassVar[Literal["client", "server"]]

    def __init__(self, method: MethodDescriptor, args: tuple[Any, ...]) -> None:
        self.method = method
        self.args = args
        self._metadata: CallMetadata | None = None

    @property
    def metadata(self) -> CallMetadata:
        """The metadata of the request.

        A client's middleware may change or replace it before ``proceed``. On a server
        it is a copy of the received metadata; changes have no effect on the handler.
        """
        if self._metadata is None:
            self._metadata = CallMetadata(self.given_metadata)
        return self._metadata

    @metadata.setter
    def metadata(self, metadata: MetadataLike) -> None:
        self._metadata = CallMetadata(Metadata.of(metadata))

    @property
    @abstractmethod
    def given_metadata(self) -> Metadata:
        """The metadata as they were given: to the client's method, and `send_too`, or
        by the peer."""

    @property
    @abstractmethod
    def response_metadata(self) -> Metadata:
        """The metadata of the response.

        On a client it is available after ``proceed`` has returned, or has raised the
        error of the response. A server's middleware may set it.
        """

    @property
    @abstractmethod
    def peer(self) -> Peer:
        """The peer at the other end."""

    @property
    @abstractmethod
    def deadline(self) -> float:
        """Time at which the caller gives up, by trio's clock; `math.inf` for never."""

    def each_item(self, function: EachItem) -> None:
        """Call `function` with each item of the call's channels.

        Call this before ``proceed``.

        Args:
            function: called with ``"out"`` and an item that this side sends, or with
                ``"in"`` and one that it receives. Its result replaces the item. Its
                exception is raised to the sender or receiver. It must not wait.
        """
        for end, _ in self.method.args_plan.collect_channels(self.args):
            map_items(end, function)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.method}>"


class HasPeer(Protocol):
    """The side of a call that knows who answers it."""

    @property
    def peer(self) -> Peer:
        """The peer that answers the call."""
        ...


class ClientCall(AnyCall):
    """A call that this side makes."""

    __slots__ = (
        "_caller",
        "_response_metadata",
        "_sent",
        "known_deadline",
        "was_made",
    )

    side = "client"

    def __init__(
        self,
        method: MethodDescriptor,
        args: tuple[Any, ...],
        sent: Metadata,
        caller: HasPeer,
    ) -> None:
        super().__init__(method, args)
        self._sent = sent
        self._caller = caller
        self._response_metadata = NO_METADATA
        self.was_made = False
        """True once a middleware has gone on to make the call."""
        self.known_deadline: float | None = None
        """The deadline, if middleware runs where trio cannot be asked for it."""

    @property
    def given_metadata(self) -> Metadata:
        return self._sent

    def send_too(self, metadata: Metadata) -> None:
        """Add checked entries, as setting items of `metadata` does, in fewer steps."""
        if self._metadata is None and not self._sent:
            self._sent = metadata
        else:
            for entry in metadata:
                self.metadata[entry.key] = entry.value

    def note_refusal(self, refusal: CallCancelled) -> None:
        """A middleware has raised `refusal`, or let it pass."""
        if not self.was_made and not refusal.by_peer and refusal.was_begun is None:
            refusal.was_begun = False

    @property
    def metadata_to_send(self) -> Metadata:
        """The checked metadata to send.

        Raises:
            ValueError, TypeError: a middleware has put invalid values into it.
        """
        given = self._metadata
        return self._sent if given is None else Metadata.of(list(given))

    @property
    def response_metadata(self) -> Metadata:
        return self._response_metadata

    @response_metadata.setter
    def response_metadata(self, metadata: Metadata) -> None:
        self._response_metadata = metadata

    @property
    def peer(self) -> Peer:
        return self._caller.peer

    @property
    def deadline(self) -> float:
        known = self.known_deadline
        return effective_deadline() if known is None else known


class ServerCall(AnyCall):
    """A call that a handler of this side answers."""

    __slots__ = ("_call", "was_begun")

    side = "server"

    def __init__(self, call: Call[Any, Any], args: tuple[Any, ...]) -> None:
        super().__init__(call.method, args)
        self._call = call
        self.was_begun = False
        """True once the handler has been called."""

    @property
    def given_metadata(self) -> Metadata:
        return self._call.metadata

    @property
    def response_metadata(self) -> Metadata:
        return self._call.response_metadata

    @response_metadata.setter
    def response_metadata(self, metadata: MetadataLike) -> None:
        self._call.response_metadata = metadata

    @property
    def peer(self) -> Peer:
        return self._call.peer

    @property
    def deadline(self) -> float:
        return self._call.deadline


def go_through(
    middleware: tuple[Middleware, ...], call: AnyCall, proceed: Proceed
) -> Awaitable[Any]:
    """Make a call through middleware, of which the first is outermost.

    It is no coroutine itself, which would cost each call another one.
    """
    for each in middleware[:0:-1]:
        proceed = partial(each, call, proceed)
    return middleware[0](call, proceed)


def checked_middleware(middleware: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Return middleware as a tuple, checked before the first call.

    Raises:
        TypeError: it is not a list of functions.
    """
    if callable(middleware):
        raise TypeError(f"expected a list of middleware, got {middleware!r} alone")
    checked = tuple(middleware)
    for each in checked:
        if not callable(each):
            raise TypeError(
                f"middleware: expected async functions (call, proceed), got {each!r}"
            )
    return checked
