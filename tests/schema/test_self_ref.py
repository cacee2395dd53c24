"""Decoded values that are handed on together with the buffer they borrow from."""

from __future__ import annotations

import attrs
import pytest

from roam_trio import DecodeError, Rx, Tx, channel, rpc_plan, u32
from roam_trio.codec import args_plan


@attrs.frozen
class Blob:
    name: str
    data: memoryview


@pytest.mark.rule("zerocopy.recv.selfref", "zerocopy.backing")
def test_a_borrowed_value_points_into_its_backing() -> None:
    backing = b"".join(rpc_plan(Blob).encode(Blob("a", memoryview(b"12345"))))
    borrowed = rpc_plan(Blob).borrow(backing)
    assert borrowed.value.data == b"12345"
    assert borrowed.value.data.obj is backing is borrowed.backing


def test_what_does_not_decode_is_not_borrowed() -> None:
    with pytest.raises(DecodeError):
        rpc_plan(u32).borrow(b"\x80")


@attrs.frozen
class Left:
    left: u32


@attrs.frozen
class Right:
    right: str


def test_channels_of_unions_in_either_order_are_not_taken_for_one_another() -> None:
    one = args_plan([Tx[Left | Right], Rx[Left | Right]], ["a", "b"], "")
    other = args_plan([Tx[Right | Left], Rx[Right | Left]], ["a", "b"], "")
    assert one.signature != other.signature


def test_a_pair_can_be_made_for_any_type() -> None:
    tx, rx = channel[Left | Right]()
    assert isinstance(tx, Tx)
    assert isinstance(rx, Rx)
