"""Old and new programs call each other: `python examples/how_to/upgrade.py`."""

from __future__ import annotations

import shop_new
import shop_old
import trio

from roam_trio import connect, dispatcher, serving


async def main() -> None:
    # region calls
    old = dispatcher(shop_old.Shop, shop_old.ShopImpl())
    new = dispatcher(shop_new.Shop, shop_new.ShopImpl())
    async with (
        serving("tcp://127.0.0.1:0", old) as old_server,
        serving("tcp://127.0.0.1:0", new) as new_server,
    ):
        async with connect(old_server.url, shop_new.Shop) as shop:
            print("new client, old server:", await shop.find("tea"))
            print("new client, old server:", await shop.order("tea"))
        async with connect(new_server.url, shop_old.Shop) as shop:
            print("old client, new server:", await shop.find("tea"))
            print("old client, new server:", await shop.order("tea"))
    # endregion calls


if __name__ == "__main__":
    trio.run(main)
