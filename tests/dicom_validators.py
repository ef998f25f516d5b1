"""DICOM objects judged and read by programs that are not ours: dicom3tools and dcmqi.

`make validators` installs dicom3tools into the virtual environment; dcmqi comes with the development
dependencies. A test that finds a program missing fails, unless MEDSEG_NO_DICOM_TOOLS=1 says that it is to be
so: then it is skipped, and the run says at its end how many were.

The dciodvfy of 2022 does not know Label Map Segmentation: let dcmqi and highdicom judge those.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["dcentvfy", "dciodvfy", "dciodvfy_beyond", "segimage2itkimage", "tid1500reader"]

VARIABLE = "MEDSEG_NO_DICOM_TOOLS"
NOT_RUN = f"{VARIABLE} is set: without"
FOLDERS = ("validators", "bin")  # of the virtual environment
_not_run: list[str] = []


def dciodvfy(path: Path) -> list[str]:
    """What breaks the standard in a DICOM file, a line each, without "Error - "."""
    return _lines("dciodvfy", ["-new", path], "Error - ")


def dciodvfy_beyond(path: Path, source: Path) -> list[str]:
    """What breaks the standard in a file and not in the image it was made of, which it takes modules from."""
    return list((Counter(dciodvfy(path)) - Counter(dciodvfy(source))).elements())


def dcentvfy(paths: Iterable[Path], *, warnings: bool = False) -> list[str]:
    """Where files contradict each other on one patient, study or series; warned: where one says less."""
    given = list(paths)
    errors = _lines("dcentvfy", given, "Error - ")
    return errors + (_lines("dcentvfy", given, "Warning - ") if warnings else [])


def segimage2itkimage(path: Path, folder: Path, *, merge: bool = False) -> tuple[dict[str, Any], list[Path]]:
    """What dcmqi reads in a DICOM SEG: its description, and NRRD files, one a segment or one of all."""
    folder.mkdir(parents=True, exist_ok=True)
    options: list[str | Path] = ["--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    _run("segimage2itkimage", [*options, "--prefix", "dcmqi", *(["--mergeSegments"] if merge else [])])
    (described,) = folder.glob("dcmqi*.json")
    images = sorted(folder.glob("dcmqi*.nrrd"), key=lambda image: (len(image.name), image.name))
    return json.loads(described.read_text()), images


def tid1500reader(path: Path, folder: Path) -> dict[str, Any]:
    """What dcmqi reads in a measurement report, a DICOM SR of template TID 1500."""
    folder.mkdir(parents=True, exist_ok=True)
    described = folder / "dcmqi.json"
    _run("tid1500reader", ["--inputDICOM", path, "--outputMetadata", described])
    found: dict[str, Any] = json.loads(described.read_text())
    return found


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the tests that were skipped for want of a program."""
    if report.skipped and isinstance(report.longrepr, tuple) and NOT_RUN in report.longrepr[2]:
        _not_run.append(report.nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests of DICOM objects that did not run."""
    if _not_run:
        files = ", ".join(sorted({name.partition("::")[0] for name in _not_run}))
        terminalreporter.write_line(
            f"{len(_not_run)} tests of DICOM objects did not run, as {VARIABLE} is set: {files}",
            yellow=True,
        )


def _lines(tool: str, arguments: Iterable[str | Path], start: str) -> list[str]:
    """The lines it says that begin so, without that beginning; it exits with 1 where there are errors."""
    said = _run(tool, arguments, codes=(0, 1)).splitlines()
    return [line.removeprefix(start) for line in said if line.startswith(start)]


def _run(tool: str, arguments: Iterable[str | Path], codes: tuple[int, ...] = (0,)) -> str:
    """All it says; a test fails where it cannot be run or gives up."""
    done = subprocess.run(
        [_found(tool), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode not in codes:
        pytest.fail(f"{tool} gave up with code {done.returncode}: {done.stdout[-800:]}")
    return done.stdout


def _found(tool: str) -> str:
    """Where it is; without it the test fails, or is skipped if it is told that it may be."""
    places = os.pathsep.join([*(str(Path(sys.prefix) / folder) for folder in FOLDERS), os.environ["PATH"]])
    path = shutil.which(tool, path=places)
    if path is None and os.environ.get(VARIABLE) == "1":
        pytest.skip(f"{NOT_RUN} {tool}")
    if path is None:
        pytest.fail(f"{tool} is not installed: run `make validators`, or set {VARIABLE}=1 to go without")
    return path
