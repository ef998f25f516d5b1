"""What all tests share: fake plugins, real data, and a word at the end on how much of it was not used."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

VARIABLE = "MEDSEG_TEST_DATA"
FAKES = Path(__file__).parent / "plugin" / "fake"
without_data: list[str] = []


@pytest.fixture
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real images that `MEDSEG_TEST_DATA` names; a test that asks for it is skipped without."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        without_data.append(request.node.nodeid)
        pytest.skip(f"{VARIABLE} is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"{VARIABLE} names {folder}, which is not a folder")
    return path


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """`install("good")` puts the distributions in these folders of tests/plugin/fake on the path."""
    before = set(sys.modules)

    def on_path(*folders: str | Path) -> None:
        for folder in folders:
            monkeypatch.syspath_prepend(str(FAKES / folder))

    yield on_path
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many real-data tests did not run; silence would look like success."""
    if without_data:
        terminalreporter.write_line(
            f"{len(without_data)} real-data tests did not run: set {VARIABLE} to a folder of real images",
            yellow=True,
        )
