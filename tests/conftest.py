"""What every test shares: the rules of the protocol, hypothesis, no quiet skips, and
that nothing is left behind.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester", "tests.rules_plugin", "tests.leaks"]

# Derandomized: the same commit always runs the same examples. No deadline: how long an
# example takes is a matter of the machine. `--hypothesis-profile=ci` looks further.
settings.register_profile(
    "roam_trio",
    derandomize=True,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("ci", settings.get_profile("roam_trio"), max_examples=500)
settings.load_profile("roam_trio")

# What collection makes is not garbage, but each collection of garbage would look at all
# of it, and many tests collect: so nothing is collected before, and it is frozen after.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


MOST_WORKERS = 8  # each imports every test, which takes seconds


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Divide the whole of the quick tests only: what is selected runs in this process,
    where one can look at it.
    """
    are_named = config.args_source is pytest.Config.ArgsSource.ARGS
    options = config.invocation_params.args
    if are_named or any(one.startswith(("-m", "-k", "--rules")) for one in options):
        return 0
    affinity = getattr(os, "sched_getaffinity", None)  # not on all systems
    cpus = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(cpus, MOST_WORKERS)


# Set where everything the tests may need is at hand, so that a skip is a fault.
NO_SKIPS = os.environ.get("ROAM_TRIO_NO_SKIPS") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[
    None, pytest.TestReport, pytest.TestReport
]:
    report = yield
    # An expected failure is reported as skipped too, but it did run.
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        fail_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[
    None, pytest.CollectReport, pytest.CollectReport
]:
    report = yield
    if NO_SKIPS and report.skipped:
        fail_skipped(report)
    return report


def fail_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "skipped"
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: {reason} (ROAM_TRIO_NO_SKIPS=1 forbids skips)"
