"""What the tests cost: CPU seconds by room, by file and by test, when asked.

    python -m pytest -q -n 3 --dist loadfile -p tests.helpers.cost tests

User and system time of the test process, of its children and of all that these have
waited for; --junitxml=FILE keeps every test's.  A fixture counts for the test that
makes or ends it.  Not counted: importing and collecting tests, a grandchild that
still runs (it counts later, once it is reaped), and a program that left its parent.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

_spent = 0.0
_tests: Counter[str] = Counter()


def _living() -> float:
    """CPU seconds of the children that run, and of those that they waited for."""
    ticks = 0
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in path.read_text().split():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, words[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _step() -> float:
    """CPU seconds since the last call."""
    global _spent
    before, _spent = _spent, sum(os.times()[:4]) + _living()
    return _spent - before


def pytest_collection_finish() -> None:
    _step()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:
    if call.when == "teardown":
        item.user_properties.append(("cpu_s", _step()))
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _tests[report.nodeid] += dict(report.user_properties).get("cpu_s", 0.0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    files, rooms = Counter[str](), Counter[str]()
    for name, seconds in _tests.items():
        files[name.split("::")[0]] += seconds
        rooms[name.split("::")[0].rpartition("/")[0]] += seconds
    for what, costs in (("room", rooms), ("file", files), ("test", _tests)):
        terminalreporter.section(f"CPU seconds by {what}")
        for name, seconds in costs.most_common(40):
            terminalreporter.line(f"{seconds:8.1f}  {name}")
    terminalreporter.line(f"{_tests.total():8.1f}  all {len(_tests)} tests")
