"""The command line as a whole: help, usage errors, signals, what a pipe sees."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import medseg as package
from medseg.cli import COMMANDS

Medseg = Callable[..., Any]


def test_help_lists_every_command(medseg: Medseg) -> None:
    done = medseg("--help")
    assert done.code == 0
    assert all(f"\n  {name} " in done.out for name in COMMANDS)
    assert "research use" in done.out
    assert "\n    medseg segment ct_dicom/ -o out --model ct-tissue\n" in done.out


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_has_help(medseg: Medseg, name: str) -> None:
    done = medseg(name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: medseg {name}")


@pytest.mark.parametrize("arguments", [(), ("plugins",), ("models",), ("pipelines",)])
def test_a_group_without_a_command_shows_its_help(medseg: Medseg, arguments: tuple[str, ...]) -> None:
    done = medseg(*arguments)
    assert done.code == 64
    assert done.err.startswith("Usage: medseg")
    assert done.err.count("\n") > 5


def test_version(medseg: Medseg) -> None:
    assert medseg("--version").out == f"medseg {package.__version__}\n"


def test_a_mistyped_command_is_suggested(medseg: Medseg) -> None:
    done = medseg("segmnt")
    assert done.code == 64
    assert "did you mean 'segment'" in done.err


def test_public_names_are_what_all_says() -> None:
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = package.nonsense


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(medseg: Medseg, tmp_path: Path) -> None:
    done = medseg("info", f"{tmp_path}/a\x1b[31m\nb.nii")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


@pytest.mark.parametrize("flag", ["-v", "--verbose"])
def test_verbose_shows_the_traceback(medseg: Medseg, tmp_path: Path, flag: str) -> None:
    assert "Traceback" in medseg("info", tmp_path / "absent", flag).err
    assert "Traceback" not in medseg("info", tmp_path / "absent").err


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_with_nothing_left_behind(
    sent: signal.Signals, code: int, ball: Path, tmp_path: Path
) -> None:
    """Caught at work: thirty resamplings to fine grids take far longer than the wait below."""
    pipeline = tmp_path / "slow.yaml"
    steps = ", ".join("{resample: {spacing: %s}}" % (0.3 + 0.01 * n) for n in range(30))
    pipeline.write_text(f"preprocess: [{steps}]\nsegment: {{threshold: {{above: 50}}}}\n")
    before = sorted(tmp_path.iterdir())
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from medseg.cli import main; main()",
            "segment",
            ball,
            "-o",
            tmp_path / "out",
            "--model",
            pipeline,
        ],
        stderr=subprocess.PIPE,
        env=environment,
    ) as process:
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob(".out.partial-*")) and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(sent)
        assert process.wait(timeout=30) == code
    assert sorted(tmp_path.iterdir()) == before
