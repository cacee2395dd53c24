"""The same type with the codec in Python and with the one in Rust."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from roam_trio.codec import RpcPlan
from roam_trio.codec.native import native_codec
from roam_trio.codec.python import PythonCodec
from roam_trio.errors import CodecError
from roam_trio.schema import shape_of

__all__ = ["NoCodec", "agree", "native_plan", "outcome", "python_plan"]


def python_plan(annotation: Any) -> RpcPlan[Any]:
    """Return a plan that encodes and decodes in Python, whatever is in use."""
    plan: RpcPlan[Any] = RpcPlan(annotation, shape_of(annotation))
    plan.__dict__["_codec"] = PythonCodec(plan.shape, plan.title)
    return plan


def native_plan(annotation: Any, python: Any = None) -> RpcPlan[Any]:
    """Return a plan that encodes and decodes in Rust, whatever is in use.

    Args:
        annotation: the type.
        python: the codec for what Rust refuses.
    """
    from roam_trio import _native

    plan: RpcPlan[Any] = RpcPlan(annotation, shape_of(annotation))
    other = python or PythonCodec(plan.shape, plan.title)
    codec = native_codec(_native, plan.shape, other)
    assert codec is not None
    plan.__dict__["_codec"] = codec
    return plan


class NoCodec:
    """Stands in for the codec in Python, where it must not be needed."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"left to Python: {name}")


def outcome(run: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what a codec returned, or else all that its error says."""
    try:
        return run(), None
    except CodecError as error:
        return None, (type(error), str(error), error.without_values)


def agree(python: RpcPlan[Any], native: RpcPlan[Any], payload: bytes) -> None:
    """Decode the same bytes with both, and encode what came out."""
    mine, error = outcome(lambda: python.decode(payload))
    other, other_error = outcome(lambda: native.decode(payload))
    assert error == other_error
    assert type(mine) is type(other)
    if error is None:
        # By their bytes, since NaN differs from itself.
        encoded = b"".join(python.encode(mine))
        assert b"".join(native.encode(mine)) == encoded
        assert b"".join(python.encode(other)) == encoded
