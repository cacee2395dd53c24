"""Without the extension, for tests that count the steps of the code in Python."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from roam_trio.codec import RpcPlan
from roam_trio.links.resuming.exchange import Exchange
from roam_trio.links.resuming.frames import (
    frame_in_python,
    frames_in_python,
    take_in_python,
)
from roam_trio.wire.envelope import (
    MessageFamily,
    decode_in_python,
    encode_frame_in_python,
    encode_in_python,
)
from roam_trio.wire.frames import cut_in_python
from roam_trio.wire.runs import gather_in_python

__all__ = ["in_python", "steps_in_python"]


@contextmanager
def in_python() -> Iterator[None]:
    """Encode, decode and frame in Python within the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roam_trio.codec.native.NATIVE", None)
        patch.setattr("roam_trio.wire.envelope.encode_message", encode_in_python)
        patch.setattr(MessageFamily, "encode", staticmethod(encode_in_python))
        patch.setattr(
            MessageFamily, "encode_frame", staticmethod(encode_frame_in_python)
        )
        patch.setattr(MessageFamily, "decode", staticmethod(decode_in_python))
        patch.setattr(MessageFamily, "gather", staticmethod(gather_in_python))
        for user in ("wire.frames", "links.framing"):
            patch.setattr(f"roam_trio.{user}.cut_frames", cut_in_python)
        exchange = "roam_trio.links.resuming.exchange"
        patch.setattr(f"{exchange}.frame_message", frame_in_python)
        patch.setattr(f"{exchange}.frame_messages", frames_in_python)
        patch.setattr(Exchange.receive, "__defaults__", (take_in_python,))
        _forget_codecs()
        yield
    _forget_codecs()


def _forget_codecs() -> None:
    """Let every plan choose its codec again."""
    gc.unfreeze()  # those of the modules of tests, too
    for plan in gc.get_objects():
        if isinstance(plan, RpcPlan):
            for name in ("_codec", *_FUNCTIONS):
                plan.__dict__.pop(name, None)
    gc.freeze()


_FUNCTIONS = ("encode", "encode_into", "encode_run", "decode", "decode_each")


@pytest.fixture(autouse=True)
def steps_in_python() -> Iterator[None]:
    """Run each test of a module that imports this fixture without the extension."""
    with in_python():
        yield
