"""Models of pydantic as types of methods: `python examples/pydantic_models.py`.

The models validate what arrives. A peer that has other classes with the same fields
can call the service too; here one sends what the models refuse.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, Protocol

import msgspec
import trio
from pydantic import BaseModel, Field, model_validator

from roam_trio import (
    Fallible,
    InvalidPayload,
    UserError,
    client,
    service,
    u8,
    u32,
)
from roam_trio.contrib.pydantic import register_models
from roam_trio.testing import connected_pair

# region models
register_models()  # before the first service that uses a model


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: str = Field(pattern=r"^\d{4}$")


class Invoice(BaseModel):
    kind: Literal["invoice"] = "invoice"
    days: u8 = Field(le=30)


class Order(BaseModel):
    item: str = Field(min_length=1)
    quantity: u32 = Field(gt=0)
    payment: Card | Invoice = Field(discriminator="kind")

    @model_validator(mode="after")
    def _few_by_invoice(self) -> Order:
        if isinstance(self.payment, Invoice) and self.quantity > 10:
            raise ValueError("more than ten are paid by card")
        return self


class SoldOut(BaseModel):
    left: u32


@service
class Shop(Protocol):
    async def buy(self, order: Order) -> Fallible[u32, SoldOut]: ...


# endregion models


class ShopImpl:
    async def buy(self, order: Order) -> int:
        if order.quantity > 100:
            raise UserError(SoldOut(left=100))
        return order.quantity * 3


# region plain
class PlainCard(msgspec.Struct, tag="Card"):
    number: str


class PlainInvoice(msgspec.Struct, tag="Invoice"):
    days: u8


class PlainOrder(msgspec.Struct):
    item: str
    quantity: u32
    payment: PlainCard | PlainInvoice


# endregion plain


class PlainSoldOut(msgspec.Struct):
    left: u32


@service(name="Shop")
class PlainShop(Protocol):
    async def buy(self, order: PlainOrder) -> Fallible[u32, PlainSoldOut]: ...


async def main() -> None:
    logging.basicConfig(stream=sys.stdout, format="  [server] %(message)s")
    pair = connected_pair(Shop, ShopImpl())
    async with pair as shop:
        tea = Order(item="tea", quantity=4, payment=Card(number="1234"))
        print("to pay:", await shop.buy(tea))
        try:
            await shop.buy(tea.model_copy(update={"quantity": 101}))
        except UserError as error:
            print("sold out:", error.error)

        plain = client(PlainShop, pair.client_session.caller)
        wrong = PlainOrder("tea", 20, PlainInvoice(days=30))
        try:
            await plain.buy(wrong)
        except InvalidPayload as refused:
            print("refused:", refused)


if __name__ == "__main__":
    trio.run(main)
