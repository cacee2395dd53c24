"""Models of two versions: fields that one side lacks have the defaults of the other."""

from __future__ import annotations

from typing import Protocol

import pytest
from pydantic import BaseModel, Field

from roam_trio import (
    RoamError,
    connect,
    describe,
    dispatcher,
    service,
    serving,
    u8,
)
from roam_trio.contrib.pydantic import register_models
from roam_trio.service.dynamic import dynamic_client
from roam_trio.testing import connected_pair

register_models()


class OldUser(BaseModel):
    name: str
    age: u8 = 3


class NewUser(BaseModel):
    city: str = "here"
    name: str = Field(default="?", alias="name", max_length=5)


@service(name="Users")
class OldUsers(Protocol):
    async def put(self, user: OldUser) -> OldUser: ...


@service(name="Users")
class NewUsers(Protocol):
    async def put(self, user: NewUser) -> NewUser: ...


class Users:
    async def put(self, user: OldUser) -> OldUser:
        assert user.age == 3
        return OldUser(name=user.name * 2, age=9)


async def test_models_of_another_version_are_translated_and_validated() -> None:
    async with (
        serving("memory://users", dispatcher(OldUsers, Users())) as server,
        connect(server.url, NewUsers) as users,
    ):
        assert await users.put(NewUser(name="Ad")) == NewUser(name="AdAd")
        with pytest.raises(RoamError) as caught:
            await users.put(NewUser(name="Bea"))
        assert "String should have at most 5 characters" in str(caught.value)
        assert "BeaBea" not in str(caught.value)


async def test_plain_values_are_made_models() -> None:
    pair = connected_pair(OldUsers, Users())
    async with pair:
        described = describe(OldUsers).schema
        users = dynamic_client(described, pair.client_session.caller)
        answer = await users.call("put", {"user": {"name": "Ada", "age": 3}})
        assert answer == {"name": "AdaAda", "age": 9}
