"""A service as old programs know it, for `upgrade.py`."""

from __future__ import annotations

from typing import Protocol

import attrs

from roam_trio import service, u16, u32


# region service
@attrs.frozen
class Item:
    name: str
    price: u16


@service
class Shop(Protocol):
    async def find(self, name: str) -> Item: ...
    async def order(self, name: str) -> u32: ...

    # endregion service


class ShopImpl:
    async def find(self, name: str) -> Item:
        return Item(name, 3)

    async def order(self, name: str) -> int:
        return 1
