"""Channels in types: where they are, and how those of a value are found."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import msgspec
import pytest

from roam_trio.codec import args_plan, rpc_plan
from roam_trio.schema import ChannelShape, Credit, shape_of, transparent, u8, u32

from .examples import Inner, Point, Rx, Streams, Tree, Tx, hexed


@attrs.define
class Upload:
    name: str
    body: Rx[bytes]


@attrs.define
class Watch:
    events: Tx[str]
    errors: Tx[str] | None


class Stop(msgspec.Struct):
    pass


class Both(msgspec.Struct, array_like=True):
    tx: Tx[u8]
    rx: Rx[u8]


@transparent
@attrs.define
class Log:
    lines: Tx[str]


Request = Upload | Watch | Stop | Both


class LateUpload(Upload):
    """A subclass of a variant is that variant."""


def handles(plan: Any, value: Any) -> list[Any]:
    return [handle for handle, _ in plan.collect_channels(value)]


def tx() -> Tx[Any]:
    return Tx()


def rx() -> Rx[Any]:
    return Rx()


@pytest.mark.rule("rpc.channel.discovery")
def test_channels_are_listed_in_the_order_of_declaration() -> None:
    plan = rpc_plan(Streams)
    first, maybe, inner = tx(), rx(), tx()
    value = Streams(first, "label", maybe, Inner(inner))
    found = plan.collect_channels(value)
    assert [handle for handle, _ in found] == [first, maybe, inner]
    assert all(a is b for (a, _), b in zip(found, [first, maybe, inner], strict=True))
    assert [plan.shape.direction for _, plan in found] == ["tx", "rx", "tx"]
    assert [str(location.path) for location in plan.channels] == [
        "$.first",
        "$.maybe",
        "$.inner.tx",
    ]
    assert [location.channel for location in plan.channels] == [
        plan.shape for _, plan in found
    ]


@pytest.mark.rule("rpc.channel.discovery")
def test_a_channel_behind_none_is_passed_over() -> None:
    plan = rpc_plan(Streams)
    first = tx()
    assert handles(plan, Streams(first, "", None, None)) == [first]
    assert handles(plan, Streams(first, "", None, Inner(first))) == [first, first]


@pytest.mark.rule("rpc.channel.discovery")
def test_only_the_active_variant_has_channels() -> None:
    plan = rpc_plan(Request)
    one, other = tx(), tx()
    body = rx()
    assert handles(plan, Upload("a", body))[0] is body
    assert handles(plan, LateUpload("a", body))[0] is body
    assert handles(plan, Watch(one, other)) == [one, other]
    assert handles(plan, Watch(one, None)) == [one]
    assert handles(plan, Stop()) == []
    assert handles(plan, Both(one, body)) == [one, body]
    assert [location.path for location in plan.channels] == [
        "$.Upload.body",
        "$.Watch.events",
        "$.Watch.errors",
        "$.Both.tx",
        "$.Both.rx",
    ]
    assert handles(rpc_plan(Request | None), None) == []
    assert handles(rpc_plan(Request | None), Both(one, body)) == [one, body]


@pytest.mark.rule("rpc.channel.discovery", "rpc.channel.payload-encoding")
def test_channels_of_arguments_take_no_bytes_and_come_back_fresh() -> None:
    types = [u32, Rx[u8], tuple[str, Tx[Point]], Log, Streams | None]
    names = ["n", "numbers", "pair", "log", "streams"]
    plan = args_plan(types, names, "Service.method")
    sent = (7, rx(), ("a", tx()), Log(tx()), Streams(tx(), "b", None))
    encoded = b"".join(plan.encode(sent))
    assert encoded.hex(" ") == "07 01 61 01 01 62 00 00"
    received = plan.decode(encoded)
    assert received == sent
    assert len(handles(plan, received)) == 4
    assert not {id(each) for each in handles(plan, sent)} & {
        id(each) for each in handles(plan, received)
    }
    assert [location.path for location in plan.channels] == [
        "$.numbers",
        "$.pair[1]",
        "$.log.lines",
        "$.streams.first",
        "$.streams.maybe",
        "$.streams.inner.tx",
    ]


def test_a_type_without_channels_has_none_to_find() -> None:
    plan = rpc_plan(tuple[Tree, u8])
    assert not plan.has_channels
    assert plan.channels == ()
    assert plan.collect_channels((Tree(1), 2)) == []
    assert rpc_plan(Request).has_channels


@pytest.mark.rule("rpc.channel", "rpc.flow-control.credit.initial")
def test_the_credit_is_part_of_the_type() -> None:
    def credit(type_: Any) -> int:
        shape = shape_of(type_)
        assert isinstance(shape, ChannelShape)
        return shape.credit

    assert credit(Tx[u8]) == 16
    assert credit(Annotated[Tx[u8], Credit(32)]) == 32
    assert credit(Annotated[Rx[u8], Credit(0)]) == 0
    assert rpc_plan(Annotated[Tx[u8], Credit(1)]) is not rpc_plan(Tx[u8])


def test_a_channel_has_the_plan_of_its_items() -> None:
    ((_, channel),) = rpc_plan(Tx[Point]).collect_channels(tx())
    assert channel.shape.handle is Tx
    assert channel.shape.item == shape_of(Point)
    assert hexed(channel.items.encode(Point(1, 2))) == "02 04"
    assert channel.items.decode(b"\x02\x04") == Point(1, 2)
