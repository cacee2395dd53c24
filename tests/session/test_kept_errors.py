"""An error that a session keeps holds no object of the call that met it."""

from __future__ import annotations

import gc
import weakref

from trio.testing import wait_all_tasks_blocked

from roam_trio import ConnectionLost

from .running import WithPeer, caller_of


class Numbers(list[int]):
    """A list whose end can be noticed."""


async def test_session_that_a_call_found_dead_keeps_no_arguments_of_it() -> None:
    async with WithPeer() as (session, peer):
        await peer.rx.close()  # which nobody has noticed
        numbers = Numbers([1, 2, 3])
        alive = weakref.ref(numbers)
        call = caller_of(session).count(numbers)
        del numbers
        try:
            await call
        except ConnectionLost as lost:
            kept = lost.with_traceback(None)
        del call
        await wait_all_tasks_blocked()  # the session's tasks end
        gc.collect()
        assert alive() is None
        assert session.ended_because is kept.__cause__
