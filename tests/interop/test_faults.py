"""Every kind of error means the same on both sides."""

from __future__ import annotations

import pytest

from roam_trio import CallCancelled, UnknownMethod, UserError, client, describe
from roam_trio.codec import INVALID_PAYLOAD
from roam_trio.wire.messages import joined

from ..two_processes.processes import within
from .handlers import Everything
from .peer import Place, meet
from .services import Absent, Faults
from .wire_types import Closed, Colour, DividedByZero, NotOne, TooMany

pytestmark = pytest.mark.interop

DECIDE = next(each.id for each in describe(Faults).methods if each.name == "decide")


@within(60)
async def test_errors_of_rust_methods_are_raised(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        faults = client(Faults, (await meeting.session()).caller)
        assert await faults.divide(-7, 2) == -3
        with pytest.raises(DividedByZero) as divided:
            await faults.divide(7, 0)
        assert divided.value.dividend == 7
        with pytest.raises(UserError) as refused:
            await faults.refuse(0)
        assert refused.value.error == Closed()
        with pytest.raises(TooMany) as too_many:
            await faults.refuse(1)
        assert too_many.value.limit == 300
        with pytest.raises(UserError) as refused:
            await faults.refuse(2)
        assert refused.value.error == NotOne("not one")
        assert await faults.refuse(3) == "granted"
        await faults.paint(Colour.GREEN)
        with pytest.raises(UserError) as painted:
            await faults.paint(Colour.BLUE)
        assert painted.value.error is Colour.BLUE
        with pytest.raises(UserError) as complained:
            await faults.complain("why")
        assert complained.value.error == "why"


@within(60)
async def test_what_goes_wrong_in_rust_is_a_kind_of_its_own(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        caller = (await meeting.session()).caller
        faults = client(Faults, caller)
        with pytest.raises(CallCancelled):
            await faults.break_down()
        absent = client(Absent, caller)
        with pytest.raises(UnknownMethod):
            await absent.absent(1)
        with pytest.raises(UnknownMethod):
            await absent.refused(1)
        assert await faults.decide(True) is True


@within(60)
@pytest.mark.parametrize("args", [b"\x07", b""], ids=["no bool", "nothing"])
async def test_rust_refuses_arguments_that_do_not_decode(
    place: Place, everything: Everything, args: bytes
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        caller = (await meeting.session()).caller
        response = await caller.call(DECIDE, [args])
        assert joined(response.ret) == INVALID_PAYLOAD


@within(60)
async def test_rust_ignores_bytes_after_its_arguments(
    place: Place, everything: Everything
) -> None:
    async with meet(place, "serve", handler=everything) as meeting:
        caller = (await meeting.session()).caller
        response = await caller.call(DECIDE, [b"\x01\xff"])
        assert joined(response.ret) == b"\x00\x01"


@within(60)
async def test_rust_gets_every_kind_of_error(
    place: Place, everything: Everything, caplog: pytest.LogCaptureFixture
) -> None:
    async with meet(place, "call", "faults", handler=everything) as meeting:
        assert await meeting.peer.wait() == ["done faults"]
    # What the caller is not told is in the log of this side.
    assert [record.levelname for record in caplog.records] == [
        "ERROR",
        "WARNING",
        "WARNING",
    ]
