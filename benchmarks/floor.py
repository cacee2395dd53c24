"""roam_trio beside the floor, a hand-written trio program that does the same work.

    python -m benchmarks.floor [--rounds N] [--quick] [--work NAME] [--json FILE]

Both in two processes, a server and a client, over TCP on loopback; measured in turns,
round by round, in one run. See `command`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:  # run as a file: python benchmarks/floor.py
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from benchmarks.command import main_of_floor

    main_of_floor()
