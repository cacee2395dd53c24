"""Where the type checkers are not installed there is nothing to test.

`.ci/run` runs its tests without them, to show that they need nothing else, and takes a
skipped test for a failed one. It runs the checkers on this folder itself, and both say
so when a comment that silences them is not needed.
"""

from tests.conftest import NO_SKIPS

from .checkers import MISSING

collect_ignore = (
    ["test_checkers.py", "test_generated.py", "test_tutorial.py"]
    if MISSING and NO_SKIPS
    else []
)
