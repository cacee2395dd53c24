"""Services: classes of annotated async methods, their clients and their dispatchers."""

from .call import Call, SinkCall, current_call
from .client import ResponseParts, client, with_metadata
from .decorator import service
from .descriptor import ArgDescriptor, MethodDescriptor, ServiceDescriptor, describe
from .dispatcher import Dispatcher, dispatcher
from .effects import idempotent
from .middleware import AnyCall, Middleware, Proceed
from .open_call import OpenCall, open_call
from .outcome import metadata_of

__all__ = [
    "AnyCall",
    "ArgDescriptor",
    "Call",
    "Dispatcher",
    "MethodDescriptor",
    "Middleware",
    "OpenCall",
    "Proceed",
    "ResponseParts",
    "ServiceDescriptor",
    "SinkCall",
    "client",
    "current_call",
    "describe",
    "dispatcher",
    "idempotent",
    "metadata_of",
    "open_call",
    "service",
    "with_metadata",
]
