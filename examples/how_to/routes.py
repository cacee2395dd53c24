"""The route guide of the tutorial of gRPC: `python examples/how_to/routes.py`."""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from roam_trio import (
    Fallible,
    Rx,
    Tx,
    connect,
    dispatcher,
    i32,
    open_call,
    service,
    serving,
)


# region service
@attrs.frozen
class Point:
    latitude: i32
    longitude: i32


@attrs.frozen
class Feature:
    name: str
    location: Point


@attrs.frozen
class RouteSummary:
    point_count: i32
    feature_count: i32


@attrs.define
class NotFound(Exception):
    location: Point


@service
class RouteGuide(Protocol):
    async def get_feature(self, point: Point) -> Fallible[Feature, NotFound]: ...
    async def list_features(self, features: Tx[Feature]) -> None: ...
    async def record_route(self, points: Rx[Point]) -> RouteSummary: ...
    async def route_chat(self, notes: Rx[str], replies: Tx[str]) -> None: ...

    # endregion service


FEATURES = [Feature("Inn", Point(1, 1)), Feature("Mill", Point(2, 5))]


# region handler
class RouteGuideImpl:
    async def get_feature(self, point: Point) -> Feature:
        for feature in FEATURES:
            if feature.location == point:
                return feature
        raise NotFound(point)

    async def list_features(self, features: Tx[Feature]) -> None:
        async with features:
            for feature in FEATURES:
                await features.send(feature)

    async def record_route(self, points: Rx[Point]) -> RouteSummary:
        route = [point async for point in points]
        passed = [each for each in FEATURES if each.location in route]
        return RouteSummary(len(route), len(passed))

    async def route_chat(self, notes: Rx[str], replies: Tx[str]) -> None:
        async with replies:
            async for note in notes:
                await replies.send(f"seen: {note}")
                # endregion handler


# region client
async def use(url: str) -> None:
    async with connect(url, RouteGuide) as guide:
        with trio.fail_after(5):  # the deadline of the call
            print((await guide.get_feature(Point(1, 1))).name)
        try:
            await guide.get_feature(Point(0, 0))
        except NotFound as error:
            print("nothing at", error.location)

        async with open_call(guide.list_features) as call:
            print([feature.name async for feature in call.rx])

        async with open_call(guide.record_route) as call:
            await call.tx.send_many([Point(1, 1), Point(1, 2)])
            call.tx.close()
            print(await call.result())

        async with open_call(guide.route_chat) as call:
            await call.tx.send("a mill")
            print(await call.rx.recv())
            # endregion client


async def main() -> None:
    handler: RouteGuide = RouteGuideImpl()
    routes = dispatcher(RouteGuide, handler)
    async with serving("tcp://127.0.0.1:0", routes) as server:
        await use(server.url)


if __name__ == "__main__":
    trio.run(main)
