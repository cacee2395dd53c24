"""What it costs that a session outlives its links: the stable conduit beside the bare.

    python -m benchmarks.resume [--rounds N] [--quick] [--work NAME] [--json FILE]

No link is lost meanwhile. The floor is measured with them, in turns, round by round, in
one run. See `command`.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:  # run as a file: python benchmarks/resume.py
        sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from benchmarks.command import main_of_resume

    main_of_resume()
