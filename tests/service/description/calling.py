"""Calls over a session between two versions of a service, for each change of the table.

As a program, it serves all versions in a process of its own:

    python -m tests.service.description.calling URL

The handlers know what has to come: both sides make the same random values, and the
model says what becomes of them. A handler that gets something else fails, and so does
the call.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import trio

from roam_trio import (
    Handler,
    IncompatibleService,
    Rx,
    ServiceDescriptor,
    Session,
    Tx,
    UserError,
    compare,
    open_call,
    serve,
)
from roam_trio.rpc.service_class import ServiceClass, set_service_class
from roam_trio.schema.shape import ChannelShape, OptionShape, Shape, TupleShape
from roam_trio.service.client import client_of_peer
from roam_trio.service.description.model import ChannelType, OptionType, Type
from roam_trio.service.dispatcher import Dispatcher
from tests.two_processes.server import serve_until_input_ends

from .by_name import Model, Values, some, types_of
from .test_comparing import TABLE

WAYS = ("old clients", "old servers")
ITEMS = 3


def sides(what: str, way: str) -> tuple[ServiceDescriptor, ServiceDescriptor]:
    """Return the service as the caller knows it, and as the callee does."""
    row = TABLE[what]
    return (row.old, row.new) if way == "old clients" else (row.new, row.old)


def do_break(mine: ServiceDescriptor, theirs: ServiceDescriptor) -> bool:
    changes = compare(mine, theirs)
    return any(each.breaks in ("old clients", "both") for each in changes)


def channel_in(type: Type) -> ChannelType | None:
    inner = type.item if isinstance(type, OptionType) else type
    return inner if isinstance(inner, ChannelType) else None


def channel_shape(shape: Shape) -> ChannelShape:
    inner = shape.inner if isinstance(shape, OptionShape) else shape
    assert isinstance(inner, ChannelShape)
    return inner


class Exchange:
    """What goes to and fro in the calls of one method.

    Args:
        caller: the service as the caller knows it.
        callee: the service as the callee does.
        name: the name of the method.
    """

    def __init__(
        self, caller: ServiceDescriptor, callee: ServiceDescriptor, name: str
    ) -> None:
        self._there = Model(types_of(caller.schema), types_of(callee.schema))
        self._back = Model(types_of(callee.schema), types_of(caller.schema))
        self._types = types_of(caller.schema)
        self._their_types = types_of(callee.schema)
        number = _number_of(caller, name)
        other = _number_of(callee, name)
        self.mine = caller.schema.methods[number]
        self.theirs = callee.schema.methods[other]
        self.method, self.their_method = caller.methods[number], callee.methods[other]
        shape, their_shape = (
            each.args_plan.shape for each in (self.method, self.their_method)
        )
        assert isinstance(shape, TupleShape)
        assert isinstance(their_shape, TupleShape)
        self._shapes, self._their_shapes = shape.items, their_shape.items
        chance = random.Random(name)
        self._args = {
            arg.name: some(arg.type, self._types, chance)
            for arg in self.mine.args
            if channel_in(arg.type) is None
        }
        self.returned = some(self.theirs.returns, self._their_types, chance)
        self.failed = self.theirs.fails and some(
            self.theirs.fails, self._their_types, chance
        )
        self._items = {
            arg.name: [some(channel.item, self._written_by(channel), chance)] * ITEMS
            for arg in self.mine.args
            if (channel := channel_in(self._written(arg.name))) is not None
        }

    def _written(self, name: str) -> Type:
        """Return the type of a channel of the side that sends its items."""
        (mine,) = (arg.type for arg in self.mine.args if arg.name == name)
        channel = channel_in(mine)
        if channel is None or channel.direction == "rx":
            return mine
        (theirs,) = (arg.type for arg in self.theirs.args if arg.name == name)
        return theirs

    def _written_by(self, channel: ChannelType) -> Any:
        return self._types if channel.direction == "rx" else self._their_types

    # ------------------------------------------------------------ the callee

    async def answer(self, args: tuple[Any, ...], *, failing: bool) -> Any:
        """Check arguments, and answer."""
        expected = dict(
            self._there.members(
                {a.name: a for a in self.mine.args if channel_in(a.type) is None},
                {a.name: a for a in self.theirs.args if channel_in(a.type) is None},
                self._args,
            )
        )
        for arg, shape, value in zip(
            self.theirs.args, self._their_shapes, args, strict=True
        ):
            if channel_in(arg.type) is None:
                assert expected[arg.name] == Values(shape).common(value)
            elif arg.name in self._items:
                await self._use(arg.name, channel_shape(shape), value)
        plan = self.their_method.result_plan
        if failing:
            assert plan.error is not None
            error = Values(plan.error.shape).python(self.failed)
            raise error if isinstance(error, Exception) else UserError(error)
        return Values(plan.ok.shape).python(self.returned)

    async def _use(self, name: str, shape: ChannelShape, end: Tx[Any] | Rx[Any]) -> Any:
        values = Values(shape.item)
        if isinstance(end, Tx):
            for item in self._items[name]:
                await end.send(values.python(item))
            await end.aclose()
        else:
            got = [values.common(item) async for item in end]
            assert self._read(name, self._there) == got

    def _read(self, name: str, model: Model) -> list[Any]:
        one, other = (
            channel_in(each.type)
            for each in (*self.mine.args, *self.theirs.args)
            if each.name == name
        )
        assert one is not None
        assert other is not None
        if model is self._back:
            one, other = other, one
        return [model.read(one.item, other.item, each) for each in self._items[name]]

    # ------------------------------------------------------------ the caller

    async def call(self, client: Any) -> None:
        """Make a call that returns, and one that fails if the method can."""
        plan = self.method.result_plan
        value = await self._call(client)
        expected = self._back.read(
            self.theirs.returns, self.mine.returns, self.returned
        )
        assert expected == Values(plan.ok.shape).common(value)
        if self.theirs.fails is not None:
            assert self.mine.fails is not None
            assert plan.error is not None
            with pytest.raises(Exception) as caught:  # noqa: PT011 - any class
                await self._call(client)
            error = caught.value
            got = error.error if isinstance(error, UserError) else error
            expected = self._back.read(self.theirs.fails, self.mine.fails, self.failed)
            assert expected == Values(plan.error.shape).common(got)

    async def _call(self, client: Any) -> Any:
        args = {
            arg.name: Values(shape).python(self._args[arg.name])
            for arg, shape in zip(self.mine.args, self._shapes, strict=True)
            if arg.name in self._args
        }
        async with open_call(getattr(client, self.method.name), **args) as call:
            for arg, shape in zip(self.mine.args, self._shapes, strict=True):
                if arg.name in self._items:
                    end = call.channels[arg.name]
                    await self._use_other_end(arg.name, channel_shape(shape), end)
            return await call.result()

    async def _use_other_end(self, name: str, shape: ChannelShape, end: Any) -> None:
        values = Values(shape.item)
        if shape.direction == "rx":
            for item in self._items[name]:
                await end.send(values.python(item))
            await end.aclose()
        else:
            got = [values.common(item) async for item in end]
            assert self._read(name, self._back) == got


def _number_of(service: ServiceDescriptor, name: str) -> int:
    names = [each.name.replace("_", "").lower() for each in service.schema.methods]
    return names.index(name.replace("_", "").lower())


class Answering:
    """Answers for a callee that a caller of another version calls."""

    def __init__(self, caller: ServiceDescriptor, callee: ServiceDescriptor) -> None:
        known = [each.name.replace("_", "").lower() for each in caller.methods]
        for method in callee.methods:
            if method.name.replace("_", "").lower() in known:
                exchange = Exchange(caller, callee, method.name)
                setattr(self, method.name, _answering(exchange))
            else:
                setattr(self, method.name, _not_called)


async def _not_called(*args: Any) -> Any:
    raise AssertionError("the caller does not know the method")


def _answering(exchange: Exchange) -> Any:
    calls: list[None] = []

    async def answer(*args: Any) -> Any:
        calls.append(None)
        return await exchange.answer(args, failing=len(calls) > 1)

    return answer


def handlers() -> Mapping[str, Handler]:
    """Return the handlers of all callees that can be called, by change and way."""
    found: dict[str, Handler] = {}
    for what in TABLE:
        for way in WAYS:
            mine, theirs = sides(what, way)
            answering: object = Refusing()
            if not do_break(mine, theirs):
                answering = Answering(mine, theirs)
            found[f"{what}, {way}"] = Dispatcher(theirs, Answering, answering)
    return found


class Refusing:
    """Answers for a callee that its caller cannot call."""

    def __getattr__(self, name: str) -> Any:
        return _not_called


def class_of(descriptor: ServiceDescriptor) -> Any:
    """Return a service class of a descriptor."""

    class Service:
        __roam_service__ = descriptor

    made = partial(client_of_peer, Service)
    known = ServiceClass(descriptor.name, made, lambda: descriptor.fingerprint)
    set_service_class(Service, known)
    return Service


async def check(session: Session, what: str, way: str) -> None:
    """Open a connection to one of the handlers, and call it, or be refused."""
    mine, theirs = sides(what, way)
    opening = session.open(class_of(mine), f"{what}, {way}")
    if do_break(mine, theirs):
        with pytest.raises(IncompatibleService) as caught:
            async with opening:
                raise AssertionError("it was opened")
        assert caught.value.where.startswith("Shop.")
        return
    async with opening as client:
        for method in mine.methods:
            await Exchange(mine, theirs, method.name).call(client)


async def check_all(session: Session) -> None:
    for what in TABLE:
        for way in WAYS:
            try:
                await check(session, what, way)
            except BaseException as error:
                error.add_note(f"{what}, {way}")
                raise


if __name__ == "__main__":
    trio.run(serve_until_input_ends, partial(serve, handler=handlers()), sys.argv[1])
