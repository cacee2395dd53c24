"""The tags in the signature of a type, as in the Rust crate.

The canonical bytes of a type begin with one of these (`signature.primitive`,
`signature.container`, `signature.struct`, `signature.enum`).
"""

from __future__ import annotations

from typing import Final

BOOL: Final = 0x01
U8: Final = 0x02
U16: Final = 0x03
U32: Final = 0x04
U64: Final = 0x05
U128: Final = 0x06
I8: Final = 0x07
I16: Final = 0x08
I32: Final = 0x09
I64: Final = 0x0A
I128: Final = 0x0B
F32: Final = 0x0C
F64: Final = 0x0D
CHAR: Final = 0x0E
STRING: Final = 0x0F
UNIT: Final = 0x10
BYTES: Final = 0x11

LIST: Final = 0x20
OPTION: Final = 0x21
ARRAY: Final = 0x22
"""The length follows."""
MAP: Final = 0x23
SET: Final = 0x24
TUPLE: Final = 0x25
"""The number of items follows."""
TX: Final = 0x26
RX: Final = 0x27

STRUCT: Final = 0x30
"""The number of fields follows, then the name and type of each."""
ENUM: Final = 0x31
"""The number of variants follows, then the name and payload of each."""
BACKREF: Final = 0x32
"""The depth of an enclosing type follows; 0 is the innermost."""

VARIANT_UNIT: Final = 0x00
VARIANT_NEWTYPE: Final = 0x01
VARIANT_STRUCT: Final = 0x02
