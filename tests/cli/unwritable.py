"""A service that has no counterpart in Rust."""

from typing import Protocol

from roam_trio import service


@service
class Cloning(Protocol):
    async def clone(self) -> None: ...
