"""Watching the memory of both processes through a run that is to be flat."""

from __future__ import annotations

import attrs

from .memory import MIB, Memory, memory_since_last_time
from .workshop import Workshop

__all__ = ["MemoryWatch"]


@attrs.frozen
class _Lap:
    client: Memory
    server: Memory


class MemoryWatch:
    """Measures both processes: after the warm-up, halfway, and at the end.

    Args:
        workshop: asks the server.
    """

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._laps: list[_Lap] = []

    async def lap(self) -> None:
        """Measure, now."""
        server = await self._workshop.memory()
        self._laps.append(_Lap(memory_since_last_time(), server))

    def check_flat(
        self, *, peak_growth: int, block_growth: int, varying: int = 0
    ) -> None:
        """Assert that neither process held more and more.

        Small objects are counted exactly, once garbage is collected. What comes and
        goes besides is a few hundred of them, so a tenth of the number of steps, where
        there are many, is both generous and less than one object left behind by each.
        Objects of more than 512 bytes are not counted, but 10 000 of them are 5 MiB:
        those show in the peak, which the allocator moves by a MiB or so.

        Args:
            peak_growth: how many bytes the peak of the run may be above what was
                resident after the warm-up. The peak of the second half may be above
                that of the first by half of this.
            block_growth: how many more small objects there may be at the end than
                after the warm-up.
            varying: how many more there may be of those that come and go: fewer than
                one left behind by each step, together with the others.
        """
        warm, half, end = self._laps
        for name in ("client", "server"):
            before: Memory = getattr(warm, name)
            first: Memory = getattr(half, name)
            second: Memory = getattr(end, name)
            peak = max(first.peak, second.peak)
            assert peak - before.now <= peak_growth, self.report()
            assert second.peak - first.peak <= peak_growth // 2, self.report()
            growth = second.blocks - before.blocks
            assert growth <= block_growth + varying, self.report()

    def report(self) -> str:
        """What was measured, in words."""
        return "\n".join(
            f"{name} {when}: peak {memory.peak / MIB:.1f} MiB, "
            f"now {memory.now / MIB:.1f} MiB, {memory.blocks} blocks"
            for when, lap in zip(("warm", "halfway", "end"), self._laps, strict=True)
            for name, memory in (("client", lap.client), ("server", lap.server))
        )
