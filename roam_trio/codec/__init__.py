"""Values as bytes: the postcard codec of a type, and what depends on it.

    Shape --compile--> RpcPlan(encode, decode, collect_channels) --> ResultPlan

`compile` writes an encoder and a decoder in Python for each shape. `interpret` walks a
shape without generated code, to say where a refused value or payload is wrong.
"""

from .discovery import ChannelLocation
from .family import ShapedFamily
from .plan import ChannelPlan, RpcPlan, SelfRef
from .plans import args_plan, rpc_plan
from .result import (
    CANCELLED,
    INVALID_PAYLOAD,
    OK,
    UNKNOWN_METHOD,
    Outcome,
    ResultKind,
    ResultPlan,
    encode_error,
    result_plan,
)

__all__ = [
    "CANCELLED",
    "INVALID_PAYLOAD",
    "OK",
    "UNKNOWN_METHOD",
    "ChannelLocation",
    "ChannelPlan",
    "Outcome",
    "ResultKind",
    "ResultPlan",
    "RpcPlan",
    "SelfRef",
    "ShapedFamily",
    "args_plan",
    "encode_error",
    "result_plan",
    "rpc_plan",
]
