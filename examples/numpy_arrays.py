"""Arrays of numpy as types of methods: `python examples/numpy_arrays.py`.

The recorder sends a second of stereo sound as one array. Its samples are not copied on
the way into the session, and the server computes on the bytes that it received.
"""

from __future__ import annotations

from typing import Annotated, Protocol

import numpy as np
import trio
from numpy.typing import NDArray

from roam_trio import EncodeError, service
from roam_trio.contrib.numpy import ArrayOf
from roam_trio.testing import connected_pair

# region service
Stereo = Annotated[NDArray[np.float32], ArrayOf(shape=(None, 2))]
Levels = Annotated[NDArray[np.float64], ArrayOf(shape=(2,))]


@service
class Studio(Protocol):
    async def levels(self, sound: Stereo) -> Levels: ...


class StudioImpl:
    async def levels(self, sound: NDArray[np.float32]) -> NDArray[np.float64]:
        print("copied on receipt:", sound.flags.owndata)
        levels: NDArray[np.float64] = np.abs(sound).max(axis=0).astype(np.float64)
        return levels


# endregion service


async def main() -> None:
    async with connected_pair(Studio, StudioImpl()) as studio:
        # region sending
        sound = np.zeros((48_000, 2), np.float32)
        sound[100] = [0.75, -0.5]
        sound.setflags(write=False)  # so that it is not copied
        levels = await studio.levels(sound)
        # endregion sending
        print("largest level:", levels.max())
        try:
            await studio.levels(np.zeros(3, np.float32))
        except EncodeError as error:
            print("refused:", error)


if __name__ == "__main__":
    trio.run(main)
