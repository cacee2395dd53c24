"""``python -m tests.fuzz --target all --minutes 1``: fuzz, and tell of it.

Prints inputs, their rate, how much code they reach and what was found, and fails if
anything was. Each finding is written to a file, from which ``--replay`` runs it again.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import io
import sys
from pathlib import Path
from typing import Any

from . import guided


def main() -> int:
    """Run it, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--target",
        default="all",
        help="names or patterns with commas between, `decoders`, `sessions` or `all`",
    )
    parser.add_argument(
        "--minutes", type=float, default=1.0, help="in all, evenly for each target"
    )
    parser.add_argument(
        "--inputs", type=int, default=2**31 - 1, help="the most for each target"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides on the inputs")
    parser.add_argument(
        "--engine", choices=("atheris", "tracing"), help="what makes them"
    )
    parser.add_argument(
        "--found", type=Path, default=Path("fuzz-found"), help="where findings go"
    )
    parser.add_argument(
        "--keep", action="store_true", help="replace each corpus by the best inputs"
    )
    parser.add_argument("--replay", type=Path, help="run the inputs of a file instead")
    chosen = parser.parse_args()
    # atheris would tell of each module.
    with contextlib.redirect_stderr(io.StringIO()):
        atheris = _prepared(chosen.engine)
        targets = _chosen(chosen.target)
        corpora = [_starts(target) for target in targets]
    if chosen.replay is not None:
        return _replay(chosen.replay, targets)
    from . import tracing
    from .corpus import DIRECTORY, reduced, write_inputs

    print(f"engine: {'tracing' if atheris is None else 'atheris'}")
    total, seconds, findings = 0, 0.0, []
    for target, corpus in zip(targets, corpora, strict=True):
        bounds = {
            "seconds": 60 * chosen.minutes / len(targets),
            "most": chosen.inputs,
            "seed": chosen.seed,
        }
        if atheris is None:
            tally = tracing.fuzz(target, corpus, **bounds)
        else:
            tally = guided.fuzz(atheris, target, corpus, **bounds)
        _tell(tally, chosen.found)
        total += tally.inputs
        seconds += tally.seconds
        findings += tally.findings
        if chosen.keep:
            with contextlib.redirect_stderr(io.StringIO()):
                best = reduced(target, (*corpus, *tally.corpus))
            write_inputs(DIRECTORY / f"{target.name}.hex", best)
    print(f"{total:,} inputs in {seconds:.0f} s, {len(findings)} findings")
    return bool(findings)


def _prepared(engine: str | None) -> Any:
    """Return atheris, or None if inputs are made without it."""
    if engine == "tracing":
        return None
    try:
        return guided.prepare()
    except ImportError:
        if engine is not None:
            raise SystemExit("atheris: pip install -e '.[fuzz]'") from None
        return None


def _chosen(names: str) -> list[Any]:
    from .decoders import DECODERS
    from .sessions import SESSIONS

    groups = {"decoders": DECODERS, "sessions": SESSIONS, "all": DECODERS + SESSIONS}
    found: dict[str, Any] = {}
    for name in names.split(","):
        group = groups.get(name) or [
            target for target in groups["all"] if fnmatch.fnmatch(target.name, name)
        ]
        if not group:
            known = ", ".join(target.name for target in groups["all"])
            raise SystemExit(f"there is no target {name}; there are: {known}")
        found.update((target.name, target) for target in group)
    return list(found.values())


def _starts(target: Any) -> list[bytes]:
    from .corpus import starts

    return starts(target)


def _tell(tally: Any, found: Path) -> None:
    rate = tally.inputs / max(tally.seconds, 1e-9)
    print(
        f"{tally.target:18} {tally.inputs:>10,} inputs {rate:>9,.0f}/s  "
        f"reached {tally.reached_before} -> {tally.reached}, "
        f"corpus {len(tally.corpus)}, {len(tally.findings)} findings",
        flush=True,
    )
    for finding in tally.findings:
        found.mkdir(exist_ok=True)
        path = found / finding.name
        path.write_text(f"# {finding.kind}\n{finding.data.hex()}\n", "ascii", "replace")
        print(f"\n{finding.kind}\n{finding.told}", file=sys.stderr)
        print(f"input: {finding.data.hex()}", file=sys.stderr)
        print(
            f"again: python -m tests.fuzz --target {tally.target} --replay {path}\n"
            f"keep it, once mended: its last line belongs into "
            f"tests/fuzz/corpus/{tally.target}.found.hex\n",
            file=sys.stderr,
            flush=True,
        )


def _replay(path: Path, targets: list[Any]) -> int:
    from .corpus import read_inputs
    from .target import Guard

    found = 0
    for target in targets:
        with Guard(target) as guard:
            for data in read_inputs(path):
                finding = guard.check(data)
                if finding is not None:
                    found += 1
                    print(f"{finding.kind}\n{finding.told}", file=sys.stderr)
    print(f"{found} findings")
    return bool(found)


if __name__ == "__main__":
    raise SystemExit(main())
