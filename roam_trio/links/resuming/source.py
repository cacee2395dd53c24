"""Sources of the links below a resuming link."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

import attrs
import trio

from ...errors import LinkDead, LinkError
from ...peers import Peer
from ..base import Link, LinkRx, LinkTx
from .hello import ClientHello

__all__ = ["Attachment", "Backoff", "LinkSource", "RedialingSource"]


@attrs.frozen
class Attachment:
    """A link that is ready for use, and its side.

    Attributes:
        tx: its sending half.
        rx: its receiving half.
        client_hello: the hello of the peer that opened the link; None if this side has
            opened it, and must send its hello first.
        peer: the peer of the link, as `Link.peer` describes it; None if it is
            unknown.
    """

    tx: LinkTx
    rx: LinkRx
    client_hello: ClientHello | None = None
    peer: Peer | None = None

    @classmethod
    def to_server(cls, link: Link) -> Attachment:
        """Make an attachment for a link that this side has opened."""
        return cls(*link.split(), peer=link.peer())

    async def close(self) -> None:
        """Close the link at once. Does not wait."""
        with trio.CancelScope(shield=True):
            await self.tx.abort()
            await self.rx.close()


class LinkSource(ABC):
    """Supplies the links below a resuming link (`stable.link-source`).

    The resuming link requests a link when it starts, and whenever it has lost the last
    one.
    """

    @abstractmethod
    async def next_link(self) -> Attachment:
        """Wait for a link. If cancelled, leave none open.

        Raises:
            ConduitError, LinkError, OSError: there will be none, so the resuming
                link fails.
        """

    def established(self) -> None:
        """Handle that the handshake on the last link succeeded. The default does
        nothing.
        """
        return

    async def superseded(self) -> None:
        """Wait until there is a newer link than the last one, which is then dropped.

        For servers, whose clients may be the first to notice that a link is dead. The
        default waits forever.
        """
        await trio.sleep_forever()

    async def close(self) -> None:
        """Close links that were not taken, because the resuming link has ended.

        Does not wait. The default does nothing.
        """
        return


@attrs.frozen(kw_only=True)
class Backoff:
    """Timing of the attempts to reach a server again, in seconds.

    The first attempt is made at once, the second after about `initial`, and each
    further one after a pause that is `factor` times as long, up to `longest`.

    Attributes:
        initial: the first pause.
        factor: the ratio of a pause to the one before.
        longest: the longest pause.
        jitter: the random part of a pause, from 0 to 1, so that clients which have lost
            one server together do not return together.
        give_up_after: seconds from the loss of the link after which the client gives
            up, with `LinkDead`.
        chance: returns a number from 0 to 1; not `random.random` only in tests.
    """

    initial: float = attrs.field(default=0.1, validator=attrs.validators.gt(0))
    factor: float = attrs.field(default=2.0, validator=attrs.validators.ge(1))
    longest: float = attrs.field(default=10.0, validator=attrs.validators.gt(0))
    jitter: float = attrs.field(
        default=0.5, validator=[attrs.validators.ge(0), attrs.validators.le(1)]
    )
    give_up_after: float = attrs.field(default=60.0, validator=attrs.validators.gt(0))
    chance: Callable[[], float] = attrs.field(default=random.random, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.longest < self.initial:
            raise ValueError(
                "Backoff.longest: expected no less than the first pause "
                f"(initial={self.initial!r}), got {self.longest!r}"
            )

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after `failures` failures in a row."""
        if failures == 0:
            return 0.0
        # Bound the exponent, because the power would overflow a float.
        pause = min(self.longest, self.initial * self.factor ** min(failures - 1, 64))
        return pause * (1 - self.jitter * self.chance())


class RedialingSource(LinkSource):
    """Opens a new link to a server whenever one is needed.

    A link that does not last longer than the pause before it, or than the first pause,
    counts as a failure, so that a server which drops every link at once is not flooded.

    Args:
        dial: opens a link, as `connect_tcp` does.
        backoff: the schedule of attempts.
        first: an open link to start with.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Link]],
        backoff: Backoff | None = None,
        *,
        first: Link | None = None,
    ) -> None:
        self._dial = dial
        self._backoff = backoff or Backoff()
        self._first = first
        self._failures = 0
        self._pause = 0.0
        self._established_at: float | None = None
        self._trying_since: float | None = None

    async def next_link(self) -> Attachment:
        """Open a link, trying for up to `Backoff.give_up_after` seconds.

        Raises:
            LinkDead: no link could be opened; the last error is the cause.
        """
        if self._first is not None:
            first, self._first = self._first, None
            return Attachment.to_server(first)
        self._look_back()
        last: Exception | None = None
        with trio.CancelScope(deadline=self._deadline()) as scope:
            while True:
                await trio.sleep(self._next_pause())
                try:
                    return Attachment.to_server(await self._dial())
                except (OSError, LinkError) as error:
                    last = error
        assert scope.cancelled_caught
        seconds = self._backoff.give_up_after
        raise LinkDead(
            f"no link to the server could be had for {seconds} s, and it is given up "
            f"(backoff: give_up_after)"
        ) from last

    def _look_back(self) -> None:
        """Count the previous link as a success or a failure."""
        now = trio.current_time()
        at, self._established_at = self._established_at, None
        if at is not None:
            self._trying_since = None
            if now - at > max(self._pause, self._backoff.initial):
                self._failures = 0
        if self._trying_since is None:
            self._trying_since = now

    def _deadline(self) -> float:
        assert self._trying_since is not None
        return self._trying_since + self._backoff.give_up_after

    def _next_pause(self) -> float:
        self._pause = self._backoff.pause(self._failures)
        self._failures += 1
        return self._pause

    def established(self) -> None:
        self._established_at = trio.current_time()

    async def close(self) -> None:
        """Close the link to start with, if it was never requested."""
        if self._first is not None:
            first, self._first = self._first, None
            await Attachment.to_server(first).close()

    def __repr__(self) -> str:
        return f"<RedialingSource, {self._failures} failures in a row>"
