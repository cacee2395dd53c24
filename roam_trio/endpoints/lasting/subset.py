"""The servers that a client uses, of those that its target has: decided without I/O."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from hashlib import blake2b
from typing import Final

from .balancing import Address

__all__ = ["MOST_ADDRESSES", "Subset"]

MOST_ADDRESSES: Final = 256
"""Number of servers that a client uses by default."""

_RESERVE: Final = 2
"""Number of servers in place of one, at most, while some of them fail."""


class Subset:
    """Chooses the addresses that a client uses.

    Each client has an order of its own for the addresses, in which the place of an
    address does not depend on the others (rendezvous hashing). So each server has about
    as many clients as its weight says, and one that comes or goes moves only clients of
    its own.

    Args:
        most: number of addresses to use.
        seed: makes the order that of one client; None to keep the order of the target.
    """

    def __init__(self, most: int, seed: float | None) -> None:
        self.most = most
        self._key = None if seed is None else seed.hex().encode()
        self._known: Sequence[Address] = ()
        self._ranked: Sequence[Address] = ()

    def choose(
        self, addresses: Sequence[Address], failing: Container[Address] = ()
    ) -> Sequence[Address]:
        """Return the addresses to use, in the order in which they were given.

        Args:
            addresses: those that there are.
            failing: those that cannot be reached. They are still tried, beside others
                that take their place.
        """
        if len(addresses) <= self.most:
            return addresses
        addresses = tuple(addresses)
        if addresses != self._known:
            self._known = self._ranked = addresses
            if self._key is not None:
                self._ranked = tuple(sorted(addresses, key=self._rank))
        chosen: set[Address] = set()
        reachable = 0
        for address in self._ranked:
            chosen.add(address)
            reachable += address not in failing
            if reachable == self.most or len(chosen) == _RESERVE * self.most:
                break
        return [each for each in addresses if each in chosen]

    def _rank(self, address: Address) -> tuple[int, float]:
        assert self._key is not None
        digest = blake2b(address.url.encode(), digest_size=7, key=self._key).digest()
        number = (int.from_bytes(digest, "big") + 1) / 2**56
        # Exponential variables: each is the least as often as its weight says.
        return address.priority, -math.log(number) / address.weight
