"""The postcard codec of a type, and the plans that use it.

    Shape --compile--> RpcPlan(encode, decode, collect_channels) --> ResultPlan

`compile` writes an encoder and a decoder in Python for each shape. `interpret` walks a
shape without generated code, to find the error in a refused value or payload.
"""

from .discovery import ChannelLocation
from .family import ShapedFamily
from .plan import ChannelPlan, RpcPlan, SelfRef
from .plans import SharedPlans, args_plan, rpc_plan
from .result import (
    CANCELLED,
    INVALID_PAYLOAD,
    OK,
    UNKNOWN_METHOD,
    Outcome,
    ResultKind,
    ResultPlan,
    encode_error,
    kind_of,
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
    "SharedPlans",
    "args_plan",
    "encode_error",
    "kind_of",
    "result_plan",
    "rpc_plan",
]
