"""A pytest plugin for tests on real images, which no repository holds.

    [tool.pytest.ini_options]
    addopts = ["-p", "medseg.testing.real_data"]

A test that takes the fixture `real_data` gets the folder that the variable `MEDSEG_TEST_DATA` names. Without
it the test is skipped, and the run says at its end how many were: silence would look like success.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["figures", "pytest_runtest_logreport", "pytest_terminal_summary", "real_data"]

VARIABLE = "MEDSEG_TEST_DATA"
FIGURE, NOT_RUN = (
    "medseg figure",
    "medseg real data",
)  # in the report, from whichever process
_not_run: list[str] = []
_figures: list[str] = []


@pytest.fixture
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real images that `MEDSEG_TEST_DATA` names; a test that asks for it is skipped without."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        request.node.user_properties.append((NOT_RUN, request.node.nodeid))
        pytest.skip(f"{VARIABLE} is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"{VARIABLE} names {folder}, which is not a folder")
    return path


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines appended here stand at the end of the run: what was measured, beside whether it was enough."""
    lines: list[str] = []
    yield lines
    request.node.user_properties.extend((FIGURE, line) for line in lines)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what a test said, at its end."""
    if report.when == "teardown":
        _figures.extend(str(said) for name, said in report.user_properties if name == FIGURE)
        _not_run.extend(str(said) for name, said in report.user_properties if name == NOT_RUN)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured, and how many real-data tests did not run."""
    for line in _figures:
        terminalreporter.write_line(line)
    if _not_run:
        terminalreporter.write_line(
            f"{len(_not_run)} real-data tests did not run: set {VARIABLE} to a folder of real images",
            yellow=True,
        )
