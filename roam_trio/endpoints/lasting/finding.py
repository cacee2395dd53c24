"""The addresses of a target, which a resolver is asked for again and again."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

import trio

from ...links.resuming.source import Backoff
from ...logs import Log
from ...rpc.observer import Observer, tell
from .balancing import SPREAD, Address
from .resolving import Resolver
from .subset import MOST_ADDRESSES, Subset

__all__ = ["Finding"]

logger = Log("roam_trio.lasting")


class Finding:
    """Asks a resolver, with pauses after failures.

    Args:
        resolver: finds the addresses.
        backoff: the pauses.
        observer: is told if none are found, unless it is None.
        subset: chooses the addresses to use.
        failing: returns the addresses that cannot be reached.
    """

    def __init__(
        self,
        resolver: Resolver,
        backoff: Backoff,
        observer: Observer | None,
        subset: Subset,
        failing: Callable[[], Container[Address]],
    ) -> None:
        self._subset = subset
        self._failing = failing
        self._resolver = resolver
        self._backoff = backoff
        self._observer = observer
        self._failures = 0
        self._blind = 0
        self._doubt = trio.Event()

    @property
    def has_failed(self) -> bool:
        """True if the last attempt has found no addresses."""
        return self._failures > 0

    def doubt(self) -> None:
        """Ask soon, since a session has failed."""
        self._doubt.set()

    async def run(self, adopt: Callable[[Sequence[Address]], None]) -> None:
        """Ask until it is cancelled.

        Args:
            adopt: is told the addresses each time; none if they were not found.

        Raises:
            TypeError, ValueError: the resolver has raised it.
        """
        async with self._resolver.following() as resolver:
            while True:
                self._doubt = trio.Event()
                adopt(await self._ask(resolver))
                await self._wait(resolver)

    async def _ask(self, resolver: Resolver) -> Sequence[Address]:
        """Return the present addresses; none if they are not known.

        Only the first failure in a row is worth a warning.
        """
        log = logger.debug if self._failures else logger.warning
        because: Exception | None = None
        try:
            addresses = await resolver.resolve()
        except (TypeError, ValueError):
            raise
        except Exception as error:
            because, addresses = error, ()
            log("the servers cannot be found: %s; it is tried again", error)
        else:
            if not addresses:
                log("the target has no servers at present")
        if not addresses:
            self._failures += 1
            if self._observer is not None:
                tell(self._observer, Observer.servers_not_found, because)
            return ()
        self._failures = 0
        if len(addresses) > self._subset.most == MOST_ADDRESSES:
            logger.warning(
                "the target has %d servers; only %d are used (option: servers)",
                len(addresses),
                MOST_ADDRESSES,
            )
        return self._subset.choose(addresses, self._failing())

    async def _wait(self, resolver: Resolver) -> None:
        """Wait for a pause, and then until the addresses may have changed."""
        pause = self._backoff.pause(1 + max(self._failures, self._blind))
        if self._failures:
            await self._pause_or_hear(resolver, pause)
            return
        await trio.sleep(pause)
        if await self._is_in_doubt(resolver):
            # Other clients have lost the same server, and must not ask together.
            await trio.sleep(SPREAD * self._backoff.chance())

    async def _pause_or_hear(self, resolver: Resolver, pause: float) -> None:
        """Wait for a pause, or at least the first one and until there may be addresses.

        Raises:
            TypeError, ValueError: the resolver has raised it.
        """
        least = min(self._backoff.initial, pause)
        await trio.sleep(least)
        with trio.move_on_after(pause - least):
            try:
                await resolver.changed()
            except (TypeError, ValueError):
                raise
            except Exception as error:
                logger.debug("the servers cannot be watched: %s", error)
                await trio.sleep_forever()

    async def _is_in_doubt(self, resolver: Resolver) -> bool:
        """Wait until the addresses may have changed; return True if a session has
        failed.

        Raises:
            TypeError, ValueError: the resolver has raised it.
        """
        bug: BaseException | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                nonlocal bug
                try:
                    await resolver.changed()
                except (TypeError, ValueError) as error:
                    # Kept, as the nursery would put it into a group.
                    bug = error
                except Exception as error:
                    self._blind += 1
                    logger.debug("the servers cannot be watched: %s", error)
                else:
                    self._blind = 0
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await self._doubt.wait()
            nursery.cancel_scope.cancel()
        if bug is not None:
            try:
                raise bug
            finally:
                # Or else the error would hold this frame, and this frame the error.
                del bug
        return self._doubt.is_set()
