"""Calls of a peer with another version of a service, translated by the caller."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roam_trio import IncompatibleService, ServiceDescriptor, connect, serving
from roam_trio.codec import ResultKind, RpcPlan
from roam_trio.codec.interpret import interpret_decode, interpret_encode
from roam_trio.service.description.model import ChannelType, MethodSchema
from roam_trio.service.descriptor import MethodDescriptor
from roam_trio.service.translation import translated_service
from tests.two_processes.processes import ListeningProcess

from .by_name import Model, Values, some, types_of
from .calling import WAYS, check_all, do_break, handlers, sides
from .related import related_services
from .test_comparing import TABLE


class Call:
    """A call of one method as bytes: the caller's plans, and those of the callee.

    Args:
        caller: the method with the plans that are translated.
        mine: the schema of the caller.
        callee: the method of the callee.
        theirs: its schema.
    """

    def __init__(
        self,
        caller: MethodDescriptor,
        services: tuple[ServiceDescriptor, ServiceDescriptor],
        originally: MethodDescriptor,
        callee: MethodDescriptor,
    ) -> None:
        mine, theirs = services
        self.caller = caller
        self.original = originally
        self.callee = callee
        self.mine = next(m for m in mine.schema.methods if m.name == caller.name)
        self.theirs = next(m for m in theirs.schema.methods if m.name == callee.name)
        self.types = types_of(mine.schema)
        self.their_types = types_of(theirs.schema)
        self.there = Model(self.types, self.their_types)
        self.back = Model(self.their_types, self.types)

    def check(self, chance: random.Random) -> None:
        self.check_arguments(chance)
        self.check_outcome(chance, ResultKind.OK)
        if self.theirs.fails is not None:
            self.check_outcome(chance, ResultKind.USER)
        self.check_channels(chance)

    def check_arguments(self, chance: random.Random) -> None:
        shapes = self.original.args_plan.shape.items  # type: ignore[union-attr]
        values: list[Any] = []
        common: dict[str, Any] = {}
        for arg, shape in zip(self.mine.args, shapes, strict=True):
            if has_channel(arg.type):
                values.append(unbound(shape))
                continue
            common[arg.name] = some(arg.type, self.types, chance)
            values.append(Values(shape).python(common[arg.name]))
        encoded = b"".join(self.caller.args_plan.encode(tuple(values)))
        received = self.callee.args_plan.decode(encoded)
        expected = self.there.members(
            plain_members(self.mine), plain_members(self.theirs), common
        )
        got = tuple(
            sorted(
                (arg.name, Values(shape).common(value))
                for arg, shape, value in zip(
                    self.theirs.args,
                    self.callee.args_plan.shape.items,  # type: ignore[union-attr]
                    received,
                    strict=True,
                )
                if not has_channel(arg.type)
            )
        )
        assert expected == got, (expected, got)
        plan = self.caller.args_plan
        if type(plan) is RpcPlan:
            assert interpret_encode(plan.shape, tuple(values)) == encoded

    def check_outcome(self, chance: random.Random, kind: ResultKind) -> None:
        is_ok = kind is ResultKind.OK
        written = self.theirs.returns if is_ok else self.theirs.fails
        read = self.mine.returns if is_ok else self.mine.fails
        plan = self.callee.result_plan
        part = plan.ok if is_ok else plan.error
        mine = self.original.result_plan
        own = mine.ok if is_ok else mine.error
        assert written is not None
        assert read is not None
        assert part is not None
        assert own is not None
        common = some(written, self.their_types, chance)
        value = Values(part.shape).python(common)
        encode = plan.encode_ok if is_ok else plan.encode_user_error
        found = self.caller.result_plan.decode(b"".join(encode(value)))
        assert found.kind is kind
        expected = self.back.read(written, read, common)
        assert expected == Values(own.shape).common(found.value)
        translated = self.caller.result_plan
        shape = (translated.ok if is_ok else translated.error or translated.ok).shape
        data = b"".join(encode(value))[1 if is_ok else 2 :]
        assert interpret_decode(shape, data) == found.value or is_ok is False

    def check_channels(self, chance: random.Random) -> None:
        mine = {each.path: each.channel for each in self.caller.args_plan.channels}
        theirs = {each.path: each.channel for each in self.callee.args_plan.channels}
        before = {each.path: each.channel for each in self.original.args_plan.channels}
        # A channel of a field that only the callee has is None, by default.
        assert mine.keys() <= theirs.keys()
        for path, channel in mine.items():
            assert channel.credit == theirs[path].credit
            self.check_items(chance, path, before[path], theirs[path])

    def check_items(
        self, chance: random.Random, path: str, mine: Any, theirs: Any
    ) -> None:
        ends = {
            each.path: plan
            for each, (_, plan) in zip(
                self.caller.args_plan.channels, self.plans(), strict=True
            )
        }
        translated = ends[path].items
        their_item = item_type(self.theirs, path)
        my_item = item_type(self.mine, path)
        plan = self.callee.args_plan
        (end,) = [
            found
            for each, found in zip(plan.channels, self.their_plans(), strict=True)
            if each.path == path
        ]
        if mine.direction == "rx":
            common = some(my_item, self.types, chance)
            encoded = translated.encode(Values(mine.item).python(common))
            got = end[1].items.decode(b"".join(encoded))
            expected = self.there.read(my_item, their_item, common)
            assert expected == Values(theirs.item).common(got)
        else:
            common = some(their_item, self.their_types, chance)
            encoded = end[1].items.encode(Values(theirs.item).python(common))
            got = translated.decode(b"".join(encoded))
            expected = self.back.read(their_item, my_item, common)
            assert expected == Values(mine.item).common(got)

    def plans(self) -> list[Any]:
        shapes = self.original.args_plan.shape.items  # type: ignore[union-attr]
        values = [
            unbound(shape) if has_channel(arg.type) else None
            for arg, shape in zip(self.mine.args, shapes, strict=True)
        ]
        return self.caller.args_plan.collect_channels(tuple(values))

    def their_plans(self) -> list[Any]:
        shapes = self.callee.args_plan.shape.items  # type: ignore[union-attr]
        values = [
            unbound(shape) if has_channel(arg.type) else None
            for arg, shape in zip(self.theirs.args, shapes, strict=True)
        ]
        return self.callee.args_plan.collect_channels(tuple(values))


def has_channel(type: Any) -> bool:
    inner = getattr(type, "item", None)
    return isinstance(type, ChannelType) or (
        inner is not None and isinstance(inner, ChannelType)
    )


def item_type(method: MethodSchema, path: str) -> Any:
    (arg,) = (each for each in method.args if path == f"$.{each.name}")
    type: Any = arg.type
    return (type if isinstance(type, ChannelType) else type.item).item


def unbound(shape: Any) -> Any:
    channel = getattr(shape, "inner", shape)
    return channel.handle.__roam_unbound__()


def plain_members(method: MethodSchema) -> dict[str, Any]:
    return {arg.name: arg for arg in method.args if not has_channel(arg.type)}


def calls(
    mine: ServiceDescriptor, theirs: ServiceDescriptor, seed: int, times: int
) -> None:
    """Translate, and check what calls give by the model."""
    translated = translated_service(mine, theirs.schema)
    chance = random.Random(seed)
    for method, original in zip(translated.methods, mine.methods, strict=True):
        callee = theirs.by_id(method.id)
        assert callee is not None
        call = Call(method, (mine, theirs), original, callee)
        for _ in range(times):
            call.check(chance)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", TABLE)
def test_what_works_by_comparison_gives_the_values_of_the_model(
    what: str, way: str
) -> None:
    mine, theirs = sides(what, way)
    if do_break(mine, theirs):
        with pytest.raises(IncompatibleService) as caught:
            translated_service(mine, theirs.schema)
        assert caught.value.where.startswith("Shop.")
    else:
        calls(mine, theirs, seed=1, times=5)


@given(seed=st.integers(0, 2**32))
def test_a_call_of_a_related_service_gives_what_the_model_gives_or_is_refused(
    seed: int,
) -> None:
    old, new = related_services(seed)
    for mine, theirs in ((old, new), (new, old)):
        if do_break(mine, theirs):
            with pytest.raises(IncompatibleService, match=r"Shop\.(one|two)"):
                translated_service(mine, theirs.schema)
        else:
            calls(mine, theirs, seed, times=3)


async def test_calls_of_a_session_give_what_the_model_gives_or_are_refused() -> None:
    async with (
        serving("memory://versions", handlers()),
        connect("memory://versions") as session,
    ):
        await check_all(session)


@pytest.mark.slow
async def test_so_do_calls_between_two_processes() -> None:
    server = ListeningProcess("tests.service.description.calling", "tcp://127.0.0.1:0")
    async with server, connect(server.url) as session:
        await check_all(session)
