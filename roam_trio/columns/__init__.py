"""Column encoding of lists of records, between two roam_trio peers that both know it.

The rest of the package imports only this module of the room. A method has a second
encoding of its arguments and its result if `method_columns` returns one, for the types
of a service, or for those of a peer with another version of it. Its users are:

    client       `MethodColumns.call` makes a call, `decode` reads the response
    dispatcher   `MethodColumns.receive` takes a request that knows of columns
    proxy        `is_prefixed` tells arguments that only the next peer can read

None of them depends on the bytes or on the negotiation. Another encoding with these
four functions could replace columns. `method` implements them, `entry` defines the
metadata entry with which peers negotiate, and `plan` encodes and decodes.
"""

from .entry import is_prefixed
from .method import MethodColumns, method_columns

__all__ = ["MethodColumns", "is_prefixed", "method_columns"]
