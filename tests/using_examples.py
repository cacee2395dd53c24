"""The client's side of examples, in a process of its own.

python -m tests.using_examples NAME URL [NAME URL]…
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import trio

__all__ = ["example", "use_examples"]

_EXAMPLES = Path(__file__).parent.parent / "examples"


def example(name: str) -> ModuleType:
    """The module of an example."""
    known = sys.modules.get(f"examples_{name}")
    if known is not None:
        return known
    spec = importlib.util.spec_from_file_location(
        f"examples_{name}", _EXAMPLES / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def use_examples(urls: dict[str, str]) -> None:
    """Be the client of each example's server, one after the other."""
    for name, url in urls.items():
        await example(name).use(url)


if __name__ == "__main__":
    trio.run(use_examples, dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True)))
