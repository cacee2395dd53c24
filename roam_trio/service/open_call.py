"""Calls with channels for the length of a block, without a nursery.

    async with open_call(calc.count, 1000) as call:
        async for n in call.rx:
            ...
        total = await call.result()

Each argument that is a channel may be left out. `open_call` makes a pair for it, and
the block has the other end.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import (
    Annotated,
    Any,
    Generic,
    Never,
    ParamSpec,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

import trio

from ..errors import CallCancelled, ChannelError
from ..failures import ends_programs
from ..rpc.channel import Rx, Tx, channel
from .descriptor import MethodDescriptor
from .signatures import show_signature

__all__ = ["OpenCall", "open_call"]

P = ParamSpec("P")
T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")


@overload
def open_call(
    method: Callable[[Tx[In]], Awaitable[T]], /
) -> OpenCall[T, In, Never]: ...
@overload
def open_call(
    method: Callable[[Rx[Out]], Awaitable[T]], /
) -> OpenCall[T, Never, Out]: ...
@overload
def open_call(
    method: Callable[[Rx[Out], Tx[In]], Awaitable[T]], /
) -> OpenCall[T, In, Out]: ...
@overload
def open_call(
    method: Callable[[Tx[In], Rx[Out]], Awaitable[T]], /
) -> OpenCall[T, In, Out]: ...
@overload
def open_call(
    method: Callable[[A1, Tx[In]], Awaitable[T]], first: A1, /
) -> OpenCall[T, In, Never]: ...
@overload
def open_call(
    method: Callable[[A1, Rx[Out]], Awaitable[T]], first: A1, /
) -> OpenCall[T, Never, Out]: ...
@overload
def open_call(
    method: Callable[[A1, Rx[Out], Tx[In]], Awaitable[T]], first: A1, /
) -> OpenCall[T, In, Out]: ...
@overload
def open_call(
    method: Callable[[A1, Tx[In], Rx[Out]], Awaitable[T]], first: A1, /
) -> OpenCall[T, In, Out]: ...
@overload
def open_call(
    method: Callable[[A1, A2, Tx[In]], Awaitable[T]], first: A1, second: A2, /
) -> OpenCall[T, In, Never]: ...
@overload
def open_call(
    method: Callable[[A1, A2, Rx[Out]], Awaitable[T]], first: A1, second: A2, /
) -> OpenCall[T, Never, Out]: ...
@overload
def open_call(
    method: Callable[[A1, A2, Rx[Out], Tx[In]], Awaitable[T]],
    first: A1,
    second: A2,
    /,
) -> OpenCall[T, In, Out]: ...
@overload
def open_call(
    method: Callable[[A1, A2, A3, Tx[In]], Awaitable[T]],
    first: A1,
    second: A2,
    third: A3,
    /,
) -> OpenCall[T, In, Never]: ...
@overload
def open_call(
    method: Callable[[A1, A2, A3, Rx[Out]], Awaitable[T]],
    first: A1,
    second: A2,
    third: A3,
    /,
) -> OpenCall[T, Never, Out]: ...
@overload
def open_call(
    method: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
) -> OpenCall[T, Any, Any]: ...
def open_call(
    method: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any
) -> OpenCall[Any, Any, Any]:
    """Make a call for the length of an ``async with`` block.

    Args:
        method: a method of a client, or the result of `with_metadata` for one.
        args: its arguments. Channels may be left out, or given as for any call. For
            each that is left out, a pair is made, and the block has the other end.
        kwargs: its keyword arguments.

    The block runs while the call runs. The end of the block closes the channels that
    were made, and waits for the result. An exception of the call is raised without a
    group and once: by `OpenCall.result`, or by the end of the block. If the block ends
    with an exception or is cancelled, the call is cancelled, and the block waits for it
    as for any cancelled call. If the exception of the block is a `ChannelError` and the
    call has raised an exception too, the block raises the exception of the call. If
    that of the call is a `KeyboardInterrupt` or a `SystemExit`, the block raises both
    in a group.

    Type checkers know the item types of channels that are the last arguments. Give
    other channels as for any call.

    Raises:
        TypeError: `method` is not a method of a client, or the arguments do not fit.
    """
    descriptor = getattr(method, "__roam_method__", None)
    if not isinstance(descriptor, MethodDescriptor):
        raise TypeError(f"open_call: expected a method of a client, got {method!r}")
    arguments, ends = _with_channels(descriptor, args, kwargs)
    return OpenCall(method, arguments, ends)


class OpenCall(Generic[T, In, Out]):
    """A call for the length of a block; `open_call` makes it.

    Attributes:
        channels: this side's ends of the channels that were made, by the names of the
            arguments.
    """

    def __init__(
        self,
        method: Callable[..., Awaitable[T]],
        arguments: inspect.BoundArguments,
        channels: Mapping[str, Tx[Any] | Rx[Any]],
    ) -> None:
        self.channels = channels
        self._method = method
        self._arguments: inspect.BoundArguments | None = arguments
        self._manager = trio.open_nursery()
        self._scope = trio.CancelScope()
        self._ended = trio.Event()
        self._values: list[T] = []
        self._error: BaseException | None = None
        self._is_told = False
        self._failed = False

    @property
    def tx(self) -> Tx[Out]:
        """The end to send with, if there is one channel on which the block sends.

        Raises:
            LookupError: there are none, or several.
        """
        end: Tx[Out] = self._only_end(Tx, "tx")
        return end

    @property
    def rx(self) -> Rx[In]:
        """The end to receive with, if there is one channel on which the block receives.

        Raises:
            LookupError: there are none, or several.
        """
        end: Rx[In] = self._only_end(Rx, "rx")
        return end

    def _only_end(self, kind: type[Any], name: str) -> Any:
        found = {k: end for k, end in self.channels.items() if isinstance(end, kind)}
        if len(found) == 1:
            return next(iter(found.values()))
        names = ", ".join(found) or "there are none"
        raise LookupError(
            f"{name}: expected one channel of this kind that was made for the call, "
            f"got {len(found)}: use channels[...] ({names})"
        )

    async def result(self) -> T:
        """Wait for the result of the call, and return it.

        A checkpoint. Cancelling it does not cancel the call.

        Raises:
            Exception: what the call raises; within the block.
            RuntimeError: the call was cancelled, by `cancel` or the end of the block,
                or it has failed and the block has ended.
        """
        await self._ended.wait()
        if self._error is not None:
            self._is_told = True
            raise self._error
        if not self._values:
            await trio.lowlevel.checkpoint_if_cancelled()
            why = (
                "has failed, and its block is over" if self._failed else "was cancelled"
            )
            raise RuntimeError(f"this call {why}, so it has no result")
        return self._values[0]

    def cancel(self) -> None:
        """Cancel the call, such as one that would send items for ever.

        The end of the block waits for it as for any cancelled call, and raises nothing
        on that account. Does nothing if the call has ended.
        """
        self._scope.cancel()

    async def __aenter__(self) -> OpenCall[T, In, Out]:
        if self._arguments is None:
            raise RuntimeError("this call was made already; open another")
        await trio.lowlevel.checkpoint()
        arguments, self._arguments = self._arguments, None
        nursery = await self._manager.__aenter__()
        nursery.start_soon(self._run, arguments.args, arguments.kwargs)
        return self

    async def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        try:
            with self._scope:
                running = self._method(*args, **kwargs)
                del args, kwargs  # or they would keep the channels of the handler open
                self._values.append(await running)
        except trio.Cancelled:
            pass  # leaving the block is cancelled as well, and raises it there
        except BaseException as error:
            # Kept, as the nursery would put it into a group.
            self._error = error
        finally:
            self._ended.set()
            self._end_what_is_unbound()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_cut_off = self._end_channels()
        if exc is not None:
            self._scope.cancel()
        try:
            await self._manager.__aexit__(None, None, None)
        finally:
            error, self._error = self._error, None
            self._failed = error is not None
        try:
            if error is None:
                if exc is None and not self._values:
                    await trio.lowlevel.checkpoint_if_cancelled()
            elif exc is None:
                if not self._is_expected(error, is_cut_off):
                    raise error
            elif exc is not error:
                if isinstance(exc, ChannelError):
                    raise error from exc
                if ends_programs(error):
                    raise BaseExceptionGroup("a call and its block", [exc, error])
        finally:
            # The frames of these errors must not refer to them: a caller's frame may
            # hold the last reference to a channel, which has to end with it.
            del error, exc, traceback

    def _is_expected(self, error: BaseException, is_cut_off: bool) -> bool:
        """Return True if `result` has raised it, or a channel was cut off: a handler
        whose channel was reset is expected to fail."""
        return self._is_told or (is_cut_off and type(error) is CallCancelled)

    def _end_what_is_unbound(self) -> None:
        """End the channels of a call that was never sent; the block must not wait.

        References to their other ends can remain in the traceback of the error.
        """
        for end in self.channels.values():
            if end.binding.is_pending:
                lose = (
                    end.binding.lose_rx if isinstance(end, Tx) else end.binding.lose_tx
                )
                lose()

    def _end_channels(self) -> bool:
        """End the channels; return True if one that receives has not ended."""
        is_cut_off = False
        for end in self.channels.values():
            if isinstance(end, Tx):
                end.close()
            else:
                is_cut_off |= not _has_ended(end)
                end.reset()
        return is_cut_off

    def __repr__(self) -> str:
        state = "ended" if self._ended.is_set() else "open"
        return f"<OpenCall of {self._method.__name__}, {state}>"


def _has_ended(rx: Rx[Any]) -> bool:
    try:
        rx.recv_nowait()
    except trio.EndOfChannel:
        return True
    except (trio.WouldBlock, ChannelError):
        pass
    return False


def _with_channels(
    method: MethodDescriptor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[inspect.BoundArguments, dict[str, Tx[Any] | Rx[Any]]]:
    """Return the arguments of a call, and this side's ends of the channels made.

    Raises:
        TypeError: the arguments do not fit the method.
    """
    ends: dict[str, Tx[Any] | Rx[Any]] = {}
    left, positional, named = list(args), list[Any](), dict(kwargs)
    for arg in method.args:
        kind = _channel_kind(arg.type)
        by_name = arg.name in named or arg.name in method.keyword_only
        if left and not by_name and (kind is None or isinstance(left[0], kind)):
            value = left.pop(0)
        elif kind is None or arg.name in named:
            continue  # its default, or an error below
        else:
            tx, rx = channel[Any]()
            value, ends[arg.name] = (tx, rx) if kind is Tx else (rx, tx)
        if by_name or len(positional) < method.args.index(arg):
            named[arg.name] = value
        else:
            positional.append(value)
    try:
        bound = method.signature.bind(*positional, *left, **named)
    except TypeError as error:
        signature = show_signature(method.signature)
        raise TypeError(f"open_call: {method}{signature}: {error}") from None
    return bound, ends


def _channel_kind(annotation: Any) -> type[Tx[Any]] | type[Rx[Any]] | None:
    """Return Tx or Rx for the annotation of an argument that is a channel."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin = get_origin(annotation)
    return origin if origin is Tx or origin is Rx else None
