"""What all tests share: fake plugins, and no models of one's own. See `medseg.testing.real_data` too."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dicom_validators import (  # noqa: F401 - hooks of pytest
    pytest_runtest_logreport,
    pytest_terminal_summary,
)

if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = (
        "1"  # read when Triton is imported, by whomever: kernels of GPUs run here
    )

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # started in the background: children would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)

FAKES = Path(__file__).parent / "plugin" / "fake"


@pytest.fixture(autouse=True)
def no_models_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A user's model folder that is not there."""
    monkeypatch.setenv("MEDSEG_MODELS", str(tmp_path_factory.getbasetemp() / "no-models"))


@pytest.fixture(autouse=True)
def no_cache_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache folder for the whole session: a graph is made once, and none is left in the home folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


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
