"""The buffer that a payload was received in."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Backing"]

Backing: TypeAlias = bytes | memoryview
"""A received payload, or a part of it (`zerocopy.backing`).

Links return `bytes`. A link may also return a view of memory of its own: one of bytes,
contiguous, whose memory does not change as long as the view exists. Decoded values that
borrow are views of the backing and keep it alive.
"""
