"""The state that the two ends of a pair share until a call has bound it, and then."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio

from ..logs import Log
from ..running import check_run
from .limits_here import limits_here
from .sinks import ChannelSink, ChannelSource

__all__ = ["Binding"]

logger = Log("roam_trio.rpc")


class Binding:
    """State that the two ends of a pair share: a sink or a source, never both.

    An end that was decoded from a call has its own binding (`rpc.channel.pair`). If one
    end of a pair is gone, the other can still be bound, to a channel that ends at once.
    """

    __slots__ = (
        "_hooks",
        "_token",
        "_waiting",
        "rx_gone",
        "sink",
        "source",
        "tx_gone",
    )

    def __init__(self) -> None:
        self.sink: ChannelSink | None = None
        self.source: ChannelSource | None = None
        self.tx_gone = False
        """True if the `Tx` was closed or dropped before anything was bound."""
        self.rx_gone = False
        """True if the `Rx` was reset or dropped before anything was bound."""
        self._waiting: trio.lowlevel.ParkingLot | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._hooks: tuple[Callable[[Binding], None], ...] = ()

    @property
    def is_bound(self) -> bool:
        """Return True if the pair belongs to a call."""
        return self.sink is not None or self.source is not None

    @property
    def is_pending(self) -> bool:
        """Return True if both ends exist and the pair can still be bound."""
        return not (self.is_bound or self.tx_gone or self.rx_gone)

    def bind(
        self, *, sink: ChannelSink | None = None, source: ChannelSource | None = None
    ) -> None:
        """Bind the pair, once, and wake the tasks that wait for it."""
        self.sink = sink
        self.source = source
        hooks, self._hooks = self._hooks, ()
        for hook in hooks:
            hook(self)
        self.wake()

    def on_change(self, hook: Callable[[Binding], None]) -> None:
        """Have `hook` called when the pair is bound, and when an end is gone before.

        It is called in the order of these calls, before any task is woken; in another
        thread if the garbage collector finds an end there.
        """
        self._hooks += (hook,)

    def map_ends(
        self,
        map_sink: Callable[[ChannelSink], ChannelSink],
        map_source: Callable[[ChannelSource], ChannelSource],
    ) -> None:
        """Put something around the sink or source, now or once the pair is bound."""
        if self.is_bound:
            self._map(map_sink, map_source)
        else:
            self.on_change(lambda binding: binding._map(map_sink, map_source))

    def _map(
        self,
        map_sink: Callable[[ChannelSink], ChannelSink],
        map_source: Callable[[ChannelSource], ChannelSource],
    ) -> None:
        if self.sink is not None:
            self.sink = map_sink(self.sink)
        if self.source is not None:
            self.source = map_source(self.source)

    @property
    def tasks_waiting(self) -> int:
        """Number of tasks in `wait`."""
        return 0 if self._waiting is None else len(self._waiting)

    async def wait(self) -> None:
        """Wait until the pair is bound, or an end is gone."""
        self.check_run()
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
            self._token = trio.lowlevel.current_trio_token()
        # No session watches this wait, since none has the channel yet. It is rare: once
        # for a channel.
        seconds = limits_here().warn_after
        with trio.move_on_after(seconds):
            await self._waiting.park()
            return
        if not (self.is_bound or self.tx_gone or self.rx_gone):
            logger.warning(
                "an end of a channel has waited for %g s for a call to bind its pair: "
                "give the other end to a call (limit: warn_after)",
                seconds,
            )
            await self._waiting.park()

    def check_run(self) -> None:
        """Raise an error in another run of trio than that of the waiting tasks.

        Raises:
            RuntimeError: this is another run.
        """
        check_run(self._token, "this channel")

    def lose_tx(self) -> None:
        """Record that the `Tx` is gone. Safe from any thread, as for garbage
        collection.
        """
        self.tx_gone = True
        self._changed()

    def lose_rx(self) -> None:
        """Record that the `Rx` is gone. Safe from any thread, as for garbage
        collection.
        """
        self.rx_gone = True
        self._changed()

    def _changed(self) -> None:
        for hook in self._hooks:
            hook(self)
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self.wake)

    def wake(self) -> None:
        """Wake the tasks that wait in `wait`; they look again."""
        if self._waiting is not None:
            self._waiting.unpark_all()
