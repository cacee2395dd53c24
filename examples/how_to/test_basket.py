"""Tests of a service, and of code that calls one: `pytest examples/how_to`."""

from __future__ import annotations

# region stock
from typing import Protocol
from unittest.mock import AsyncMock

import attrs
import pytest
import trio
from trio.testing import MockClock

from roam_trio import ConnectionLost, Fallible, HandlerFailed, service, u32
from roam_trio.testing import connected_pair


@attrs.define
class SoldOut(Exception):
    item: str


@service
class Stock(Protocol):
    async def price(self, item: str) -> Fallible[u32, SoldOut]: ...


PRICES = {"tea": 3}


class StockImpl:
    async def price(self, item: str) -> int:
        if item == "silk":
            await trio.sleep(3600)
        return PRICES[item]
        # endregion stock


# region service
async def test_price_is_known() -> None:
    async with connected_pair(Stock, StockImpl()) as stock:
        assert await stock.price("tea") == 3


async def test_bug_of_the_handler_is_its_cause() -> None:
    async with connected_pair(Stock, StockImpl()) as stock:
        with pytest.raises(HandlerFailed) as caught:
            await stock.price("gold")
    assert isinstance(caught.value.__cause__, KeyError)


async def test_caller_gives_up_in_time(autojump_clock: MockClock) -> None:
    async with connected_pair(Stock, StockImpl()) as stock:
        with trio.move_on_after(5) as scope:
            await stock.price("silk")
    assert scope.cancelled_caught
    # endregion service


# region client
async def total(stock: Stock, items: list[str]) -> int:
    """Add up the prices of what is there."""
    found = 0
    for item in items:
        try:
            found += await stock.price(item)
        except SoldOut:
            continue
    return found


async def test_what_is_sold_out_costs_nothing() -> None:
    answers = AsyncMock()
    answers.price.side_effect = [3, SoldOut("silk"), 4]
    async with connected_pair(Stock, answers) as stock:
        assert await total(stock, ["tea", "silk", "salt"]) == 7
        # endregion client


# region lost
async def test_lost_server_is_no_sold_out_item() -> None:
    pair = connected_pair(Stock, StockImpl())
    async with pair as stock:
        await pair.server_session.shutdown(grace=0)
        with pytest.raises(ConnectionLost):
            await total(stock, ["tea"])
            # endregion lost
