"""Servers by name, with a name server on loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from dns import asyncresolver, flags, message, rcode, rdatatype, rrset
from trio.testing import MockClock

from roam_trio import Address, dispatcher, serving, stay_connected
from roam_trio.endpoints.lasting.dns import LONGEST, DnsResolver
from roam_trio.endpoints.lasting.name_servers import NameServers
from tests.endpoints.lasting.test_stay_connected import Bank, BankImpl

Zone = dict[tuple[str, str], tuple[int, list[str]]]


async def name_server(zone: Zone, task_status: trio.TaskStatus[int]) -> None:
    """Answer queries from a zone: name and kind to time to live and records.

    It refuses those for which there is an empty list of records.
    """
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(("127.0.0.1", 0))
        task_status.started(socket.getsockname()[1])
        while True:
            data, peer = await socket.recvfrom(4096)
            query = message.from_wire(data)
            (question,) = query.question
            response = message.make_response(query)
            response.flags |= flags.AA
            kind = rdatatype.to_text(question.rdtype)
            key = question.name.to_text(omit_final_dot=True), kind
            if key in zone:
                ttl, records = zone[key]
                if records:
                    found = rrset.from_text_list(
                        question.name, ttl, "IN", kind, records
                    )
                    response.answer.append(found)
                else:
                    response.set_rcode(rcode.REFUSED)
            elif all(name != key[0] for name, _ in zone):
                response.set_rcode(rcode.NXDOMAIN)
            await socket.sendto(response.to_wire(), peer)


@pytest.fixture
async def zone() -> Zone:
    return {}


@pytest.fixture
async def asking(zone: Zone, nursery: trio.Nursery) -> asyncresolver.Resolver:
    made = asyncresolver.Resolver(configure=False)
    made.nameservers = ["127.0.0.1"]
    made.port = await nursery.start(name_server, zone)
    made.lifetime = 5
    return made


async def test_a_host_stands_for_all_of_its_addresses(
    zone: Zone, asking: asyncresolver.Resolver
) -> None:
    zone["bank.test", "A"] = 60, ["10.0.0.2", "10.0.0.1"]
    zone["bank.test", "AAAA"] = 30, ["2001:db8::1"]
    target = DnsResolver("dns+tcp://bank.test:7000", asking)
    assert await target.resolve() == [
        Address("tcp://10.0.0.1:7000"),
        Address("tcp://10.0.0.2:7000"),
        Address("tcp://[2001:db8::1]:7000"),
    ]


async def test_one_kind_of_address_is_enough_if_the_other_is_refused(
    zone: Zone, asking: asyncresolver.Resolver
) -> None:
    zone["bank.test", "A"] = 60, ["10.0.0.1"]
    zone["bank.test", "AAAA"] = 0, []
    target = DnsResolver("dns+tcp://bank.test:7000", asking)
    assert await target.resolve() == [Address("tcp://10.0.0.1:7000")]
    zone["bank.test", "A"] = 0, []
    with pytest.raises(OSError, match="REFUSED"):
        await target.resolve()


async def test_records_have_priorities_and_weights(
    zone: Zone, asking: asyncresolver.Resolver
) -> None:
    zone["_bank._tcp.test", "SRV"] = (
        60,
        ["10 5 7001 a.test.", "20 0 7002 b.test.", "0 0 0 ."],
    )
    zone["a.test", "A"] = 60, ["10.0.0.1"]
    zone["b.test", "A"] = 60, ["10.0.0.2"]
    assert await DnsResolver("srv+tcp://_bank._tcp.test", asking).resolve() == [
        Address("tcp://10.0.0.1:7001", 10, 5),
        Address("tcp://10.0.0.2:7002", 20, 1),
    ]
    assert await DnsResolver("srv+tls://_bank._tcp.test", asking).resolve() == [
        Address("tls://a.test:7001", 10, 5),
        Address("tls://b.test:7002", 20, 1),
    ]


async def test_a_target_without_an_address_does_not_hide_the_others(
    zone: Zone, asking: asyncresolver.Resolver
) -> None:
    zone["_bank._tcp.test", "SRV"] = (
        60,
        ["10 1 7001 none.test.", "10 1 7002 b.test.", "10 1 7003 empty.test."],
    )
    zone["b.test", "A"] = 60, ["10.0.0.2"]
    zone["empty.test", "TXT"] = 60, ["nothing"]
    target = DnsResolver("srv+tcp://_bank._tcp.test", asking)
    assert await target.resolve() == [Address("tcp://10.0.0.2:7002", 10, 1)]
    zone["_bank._tcp.test", "SRV"] = 60, ["10 1 7001 none.test."]
    with pytest.raises(OSError, match=r"no address of _bank\._tcp\.test: .*none"):
        await target.resolve()


@pytest.mark.parametrize(
    "url", ["dns+tcp://none.test:1", "srv+tcp://none.test", "dns+tcp://empty.test:1"]
)
async def test_a_name_without_an_address_is_an_error_of_the_system(
    url: str, zone: Zone, asking: asyncresolver.Resolver
) -> None:
    zone["empty.test", "TXT"] = 60, ["nothing"]
    with pytest.raises(OSError, match=r"no address of (none|empty)\.test"):
        await DnsResolver(url, asking).resolve()


class Answers:
    """A resolver whose answers have a time to live, without a network."""

    def __init__(self, *ttls: float) -> None:
        self.ttls = list(ttls)

    async def resolve(self, name: Any, kind: rdatatype.RdataType) -> Any:
        await trio.lowlevel.checkpoint()
        text = "127.0.0.1" if kind == rdatatype.A else "::1"
        found = rrset.from_text(name, int(self.ttls.pop(0)), "IN", kind, text)
        return type("Answer", (), {"rrset": found, "__iter__": lambda _: iter(found)})()


@pytest.mark.parametrize(
    ("ttls", "seconds"), [((60, 30), 30.0), ((0, 60), 1.0), ((9999, 9999), LONGEST)]
)
async def test_answers_are_used_until_they_expire(
    ttls: tuple[float, ...], seconds: float, autojump_clock: MockClock
) -> None:
    asking: Any = Answers(*ttls)
    target = DnsResolver("dns+tcp://bank.test:7000", asking, lambda: 0.5)
    await target.resolve()
    began = trio.current_time()
    await target.changed()
    assert trio.current_time() - began == pytest.approx(seconds * 1.05)


@pytest.mark.parametrize(
    "url",
    [
        "dns+tcp://bank.test",
        "dns+tls://bank.test:1",
        "dns+tcp://bank.test:99999",
        "dns+tcp://:1",
        "srv+tcp://_bank._tcp.test:1",
        "srv+tcp://_bank._tcp.test/path",
        "srv+ws://_bank._tcp.test",
    ],
)
def test_a_wrong_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected dns\+tcp://host:port or srv"):
        stay_connected(url, Bank)


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roam_trio.endpoints.lasting.dns", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[dns\]'"):
        stay_connected("dns+tcp://bank.test:1", Bank)


@contextmanager
def name_servers_of_the_system(
    monkeypatch: pytest.MonkeyPatch, asking: asyncresolver.Resolver
) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(asyncresolver, "Resolver", lambda path: asking)
        yield


def name(file: Path, *servers: str) -> None:
    """Write a file that names servers, as a system does for another network."""
    new = file.with_suffix(".new")
    new.write_text("".join(f"nameserver {each}\n" for each in servers))
    new.replace(file)


async def test_name_servers_are_those_of_the_file_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    name(file, "192.0.2.1")
    system = NameServers(str(file))
    first = system.asking()
    assert first.nameservers == ["192.0.2.1"]
    assert system.asking() is first, "the file is not read without need"
    name(file, "192.0.2.2")  # of the same length
    assert system.asking().nameservers == ["192.0.2.2"]
    with file.open("a") as opened:
        opened.write("nameserver 192.0.2.3\n")
    assert system.asking().nameservers == ["192.0.2.2", "192.0.2.3"]


async def test_last_name_servers_are_used_while_the_file_names_none(
    tmp_path: Path,
) -> None:
    file = tmp_path / "resolv.conf"
    name(file, "192.0.2.1")
    system = NameServers(str(file))
    first = system.asking()
    name(file)
    assert system.asking() is first
    file.unlink()
    assert system.asking() is first
    name(file, "192.0.2.2")
    assert system.asking().nameservers == ["192.0.2.2"]


@pytest.mark.parametrize(
    "text", [b"nameserver 192.0.2.\n", b"nameserver \xff\n", b"search a..b\n"]
)
async def test_last_name_servers_are_used_while_the_file_is_wrong(
    tmp_path: Path, text: bytes
) -> None:
    file = tmp_path / "resolv.conf"
    name(file, "192.0.2.1")
    system = NameServers(str(file))
    first = system.asking()
    file.write_bytes(text)
    assert system.asking() is first
    name(file, "192.0.2.2")
    assert system.asking().nameservers == ["192.0.2.2"]


async def test_client_asks_the_name_servers_of_the_network_that_it_is_in_now(
    tmp_path: Path, zone: Zone, asking: asyncresolver.Resolver
) -> None:
    file = tmp_path / "resolv.conf"
    system = NameServers(str(file))
    target = DnsResolver("dns+tcp://bank.test:7000", system=system)
    with pytest.raises(OSError, match=r"no address of bank\.test: cannot open"):
        await target.resolve()
    zone["bank.test", "A"] = 60, ["10.0.0.1"]
    zone["bank.test", "AAAA"] = 0, []
    for server in ("127.0.0.2", "127.0.0.1"):
        name(file, server)
        made = system.asking()
        made.port, made.lifetime = asking.port, 0.1
        if server == "127.0.0.2":  # where no name server is
            with pytest.raises(OSError, match="no address of bank"):
                await target.resolve()
        else:
            assert await target.resolve() == [Address("tcp://10.0.0.1:7000")]


async def test_a_client_follows_records_from_one_server_to_another(
    zone: Zone, asking: asyncresolver.Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = [dispatcher(Bank, BankImpl(name)) for name in "ab"]
    async with (
        serving("tcp://127.0.0.1:0", handlers[0]) as a,
        serving("tcp://127.0.0.1:0", handlers[1]) as b,
    ):
        ports = [each.url.rpartition(":")[2] for each in (a, b)]
        zone["bank.test", "A"] = 0, ["127.0.0.1"]
        zone["_bank._tcp.test", "SRV"] = 0, [f"0 0 {ports[0]} bank.test."]
        with name_servers_of_the_system(monkeypatch, asking):
            staying = stay_connected("srv+tcp://_bank._tcp.test", Bank)
            async with staying as client:
                with trio.fail_after(10):
                    assert await client.pay(1) == "a1 None"
                    zone["_bank._tcp.test", "SRV"] = 0, [f"0 0 {ports[1]} bank.test."]
                    await a.shutdown()
                    assert await client.pay(2) == "b2 None"
