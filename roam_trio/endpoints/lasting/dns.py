"""Servers by name: all addresses of a host, or the SRV records of a service.

Needs the extra `dns`.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import trio
from dns import asyncresolver, exception, name, rdatatype, resolver

from ...legible import without_secrets
from .balancing import Address
from .name_servers import NameServers
from .resolving import Resolver

__all__ = ["SCHEMES", "DnsResolver"]

SCHEMES: Final = ("dns+tcp", "srv+tcp", "srv+tls")

SHORTEST: Final = 1.0
LONGEST: Final = 300.0
"""Seconds for which answers are used, whatever their time to live."""


class DnsResolver(Resolver):
    """Finds servers in the Domain Name System, and asks again when answers expire.

    Args:
        url: ``dns+tcp://host:port`` for all addresses of a host;
            ``srv+tcp://_bank._tcp.example.org`` for the targets of SRV records, with
            their priorities and weights; ``srv+tls://`` likewise.
        asking: asks the name servers; by default those of the system, which may change.
        chance: returns a number from 0 to 1; not `random.random` only in tests.
        system: the name servers of the system; given only in tests.

    Raises:
        ValueError: the URL is wrong.
    """

    def __init__(
        self,
        url: str,
        asking: asyncresolver.Resolver | None = None,
        chance: Callable[[], float] = random.random,
        system: NameServers | None = None,
    ) -> None:
        self._how, self._scheme, self._host, self._port = _parts(url)
        self._asking = asking
        self._system = None if asking else system or NameServers()
        self._chance = chance
        self._seconds = SHORTEST

    async def resolve(self) -> Sequence[Address]:
        """Return the addresses; see `Resolver.resolve`.

        Raises:
            OSError: the name servers have no answer.
        """
        self._seconds = LONGEST
        try:
            if self._system is not None:
                self._asking = self._system.asking()
            if self._how == "dns":
                hosts = await self._addresses(self._host)
                return [Address(f"{self._scheme}://{h}:{self._port}") for h in hosts]
            return await self._targets()
        except (exception.DNSException, ValueError) as error:
            raise OSError(f"no address of {self._host}: {error}") from error

    async def changed(self) -> None:
        """Wait until the answers have expired, and a little longer.

        The random part prevents that many clients ask at the same time.
        """
        seconds = min(max(self._seconds, SHORTEST), LONGEST)
        await trio.sleep(seconds * (1 + self._chance() / 10))

    async def _targets(self) -> list[Address]:
        found: list[Address] = []
        missing: exception.DNSException | None = None
        for record in await self._ask(self._host, rdatatype.SRV):
            target = record.target.to_text(omit_final_dot=True)
            if not target or target == ".":
                continue  # the service is decidedly not offered
            # Certificates are for names, and other connections need no name.
            named = self._scheme == "tls"
            try:
                hosts = [target] if named else await self._addresses(target)
            except (resolver.NXDOMAIN, resolver.NoAnswer) as error:
                missing = error  # the others are there nevertheless
                continue
            found += (
                Address(
                    f"{self._scheme}://{host}:{record.port}",
                    record.priority,
                    max(record.weight, 1),
                )
                for host in hosts
            )
        try:
            if not found and missing is not None:
                raise missing
        finally:
            del missing  # or the error and this frame would hold each other
        return sorted(found)

    async def _addresses(self, host: str) -> list[str]:
        """Return all addresses of a host as they stand in URLs, in order."""
        found: list[str] = []
        missing: Exception | None = None
        for kind in (rdatatype.AAAA, rdatatype.A):
            try:
                found += [_in_url(each.address) for each in await self._ask(host, kind)]
            except (resolver.NoAnswer, resolver.NoNameservers) as error:
                # Some name servers refuse to answer for one kind of address.
                missing = error
        try:
            if not found and missing is not None:
                raise missing
        finally:
            del missing  # or the error and this frame would hold each other
        return sorted(found)

    async def _ask(self, host: str, kind: rdatatype.RdataType) -> Any:
        assert self._asking is not None
        answer = await self._asking.resolve(name.from_text(host), kind)
        if answer.rrset is not None:
            self._seconds = min(self._seconds, float(answer.rrset.ttl))
        return answer


def _in_url(address: str) -> str:
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address


def _parts(url: str) -> tuple[str, str, str, int]:
    """Return the kind of query, the scheme of the servers, the name, and the port.

    Raises:
        ValueError: the URL is wrong.
    """
    example = "dns+tcp://host:port or srv+tcp://_service._tcp.host"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _wrong(url, example, error) from error
    if parts.scheme not in SCHEMES:
        raise _wrong(url, example, f"the scheme is none of {', '.join(SCHEMES)}")
    how, _, scheme = parts.scheme.partition("+")
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise _wrong(url, example, "there is more or less than a name in it")
    if (port is None) is (how == "dns"):
        wanted = "a port" if how == "dns" else "no port, which the records tell"
        raise _wrong(url, example, f"{wanted} is needed")
    return how, scheme, parts.hostname, port or 0


def _wrong(url: str, example: str, problem: object) -> ValueError:
    return ValueError(f"expected {example}, got {without_secrets(url)!r}: {problem}")
