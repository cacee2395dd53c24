"""`RpcPlan`: everything about a type, prepared once (`conduit.typeplan`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from attrs import field, frozen

from ..schema.annotations import type_name
from ..schema.shape import ChannelShape, Shape, has_channels
from ..schema.signature import signature_of
from ..wire.backing import Backing
from .compile import Collector, compile_collector
from .discovery import ChannelLocation, channel_locations
from .native import codec_of
from .python import Codec
from .weights import Weights

__all__ = ["ChannelPlan", "RpcPlan", "SelfRef"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class _Decode(Protocol[T_co]):
    def __call__(self, buffer: bytes | memoryview, start: int = 0, /) -> T_co: ...


class _EncodeRun(Protocol[T_contra]):
    def __call__(
        self, values: Iterable[T_contra], head: bytes, most_bytes: int, /
    ) -> tuple[Sequence[Any], bool, Exception | None]: ...


@frozen
class SelfRef(Generic[T]):
    """A decoded value and the buffer that its `memoryview` fields borrow from.

    `RpcPlan.borrow` and `Rx.recv_borrowed` return one (`zerocopy.recv.selfref`).

    A memoryview keeps its buffer alive by itself. A `SelfRef` is of use where the
    buffer matters: its length is what the value keeps in memory, and an encoded value
    can be written on without encoding it again.

    Attributes:
        value: the decoded value.
        backing: the buffer, which has the encoding of the value.
    """

    value: T
    backing: Backing

    def map(self, function: Callable[[T], U]) -> SelfRef[U]:
        """Return the result of `function` for the value, with the same buffer.

        For a part of a value that is to be handed on: ``message.map(lambda m: m.data)``
        still knows the buffer that the part keeps alive.
        """
        return SelfRef(function(self.value), self.backing)


@frozen(eq=False)
class ChannelPlan:
    """A channel in a type: its shape, and the plan of its items.

    Attributes:
        shape: its direction and credit.
        items: encodes and decodes the items.
    """

    shape: ChannelShape
    items: RpcPlan[Any] = field(repr=False)

    @classmethod
    def of(cls, shape: ChannelShape) -> ChannelPlan:
        """Make the plan of a channel."""
        return cls(shape, RpcPlan(shape.item_type, shape.item))


class RpcPlan(Generic[T]):
    """Encodes and decodes values of one type, and finds their channels.

    `rpc_plan` makes plans. The codec is compiled when it is first used.

    Attributes:
        type: the annotation.
        shape: its wire type.
        signature: its part of the signature of a method.
        has_channels: whether values of it can hold channels.
    """

    def __init__(self, type: Any, shape: Shape) -> None:
        self.type = type
        self.shape = shape
        self.has_channels = has_channels(shape)

    @cached_property
    def signature(self) -> bytes:
        return signature_of(self.shape)

    @cached_property
    def channels(self) -> tuple[ChannelLocation, ...]:
        """The places that can have a channel, in the order of the wire."""
        return tuple(channel_locations(self.shape))

    @cached_property
    def weights(self) -> Weights:
        """The memory of decoded values."""
        return Weights(self.shape)

    @cached_property
    def title(self) -> str:
        """The name of the type, for errors."""
        return type_name(self.type)

    @cached_property
    def _codec(self) -> Codec:
        return codec_of(self.shape, self.title)

    @cached_property
    def _collector(self) -> Collector:
        return compile_collector(self.shape, self.title, ChannelPlan.of)

    @cached_property
    def encode(self) -> Callable[[T], list[bytes | memoryview]]:
        """Encode a value into pieces (`zerocopy.scatter.plan`).

        Large byte strings, and views of them, become pieces without a copy. A buffer
        that can change is copied.

        Raises:
            EncodeError: the value does not match the type.
        """
        return self._codec.encode

    @cached_property
    def encode_into(self) -> Callable[[T, list[bytes | memoryview]], None]:
        """Encode to the end of a list, which is unchanged on an error; see `encode`."""
        return self._codec.encode_into

    @cached_property
    def encode_run(self) -> _EncodeRun[T]:
        """Encode several values that are sent together, each as `encode` does.

        Args:
            values: the values, up to the first that does not match the type.
            head: the start of the payload of each.
            most_bytes: encoded size, in bytes, from which it takes no further value.

        Returns:
            The encoded values, whether there are more bytes of them than `most_bytes`,
            and the exception of a value, or of the iterator, that has ended them.
        """
        return self._codec.encode_run

    @cached_property
    def decode(self) -> _Decode[T]:
        """Decode a value that extends from `start` to the end of a buffer.

        A field annotated as `memoryview` borrows from the buffer and keeps it alive;
        everything else is copied.

        Args:
            buffer: the bytes; a view must be one of bytes.
            start: the position of the first byte.

        Raises:
            DecodeError: the bytes are not the encoding of a value of the type.
        """
        return self._codec.decode

    @cached_property
    def decode_each(self) -> Callable[[Iterable[bytes | memoryview], list[T]], None]:
        """Decode several values to the end of `values`, each as `decode` does.

        On an error, `values` has those before the error.

        Raises:
            DecodeError: the bytes are not the encoding of a value of the type.
        """
        return self._codec.decode_each

    def borrow(self, backing: Backing) -> SelfRef[T]:
        """Decode a value that may borrow from the whole buffer `backing`.

        Returns:
            The value together with `backing`.

        Raises:
            DecodeError: as `decode`.
        """
        return SelfRef(self.decode(backing), backing)

    def collect_channels(self, value: T) -> list[tuple[Any, ChannelPlan]]:
        """Return the channels in a value, in the order of the wire
        (`rpc.channel.discovery`).

        Args:
            value: a value that this plan has encoded or decoded.

        Returns:
            Each handle with the plan of its place.
        """
        if not self.has_channels:
            return []
        found: list[tuple[Any, ChannelPlan]] = []
        self._collector(value, found.append)
        return found

    def __repr__(self) -> str:
        return f"<RpcPlan {self.title}>"
