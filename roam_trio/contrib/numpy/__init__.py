"""Arrays of numpy as types of methods (extra `numpy`).

`ArrayOf` in an annotation gives an array a wire form. A received array is a view of the
received buffer, and a read-only array is sent without a copy.
"""

from .marker import ArrayOf

__all__ = ["ArrayOf"]
