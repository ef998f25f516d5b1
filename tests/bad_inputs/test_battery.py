"""Every bad or odd input goes through the real command, in a process of its own, and is judged.

The cases are judged two at a time while pytest asks for them one by one. An input that must be read must be
read: what `also_ok` would allow instead counts for refusals and warnings only.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from bad_inputs.generate import generate, registered
from bad_inputs.score import Scorer, idle_megabytes

CASES = registered()
MEDSEG = str(Path(sys.executable).with_name("medseg"))
COMMAND = f"{shlex.quote(MEDSEG)} convert {{input}} -o {{out}}/image.nii.gz"
BOUND = (
    f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).with_name('unprivileged.py')))} {COMMAND}"
)
ABOVE_IDLE_MB = 300
AT_A_TIME = 2

Judged = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    """`judged(name)` waits for the verdict on a case; all cases that were asked for are under way."""
    asked = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module and hasattr(item, "callspec")
    ]
    root = tmp_path_factory.mktemp("battery")
    index = generate(root / "cases", asked)
    cases = {case["id"]: case for case in index["cases"]}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        verdicts: dict[str, Future[dict[str, Any]]] = {
            name: pool.submit(_scorer(root / "cases", case).score, case) for name, case in cases.items()
        }
        yield lambda name: verdicts[name].result()
        pool.shutdown(cancel_futures=True)


def _scorer(root: Path, case: dict[str, Any]) -> Scorer:
    return Scorer(
        root=root,
        command=BOUND if "nonroot" in case["requires"] else COMMAND,
        canaries=json.loads((root / "index.json").read_text(encoding="ascii"))["phi_canaries"],
        values=True,
        strict=case["expect"] == "accept",
    )


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> int:
    """MB that converting the smallest good file takes."""
    root = tmp_path_factory.mktemp("idle") / "cases"
    generate(root, ["shape_1_voxel"])
    return idle_megabytes(COMMAND, root / "shape_1_voxel" / "in.nii.gz")


@pytest.mark.parametrize("name", CASES)
def test_each_input_has_the_outcome_that_the_standard_asks_for(judged: Judged, idle: int, name: str) -> None:
    verdict = judged(name)
    assert verdict["ok"], f"{verdict['got']}: {'; '.join(verdict['faults'])}\n{verdict['stderr']}"
    assert verdict["rss_mb"] <= idle + ABOVE_IDLE_MB


def test_the_same_bytes_are_written_in_every_run(tmp_path: Path) -> None:
    asked = ["nifti-file", "dicom-encoding", "archives"]
    first, second = (
        {case["id"]: case for case in generate(tmp_path / run, asked)["cases"]} for run in ("a", "b")
    )
    assert first == second
    files = [file for file in (tmp_path / "a").rglob("*") if file.is_file() and file.name != "index.json"]
    assert files
    for file in files:
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()


NAIVE = "import sys, nibabel; nibabel.save(nibabel.load(sys.argv[1]), sys.argv[2])"
FOUND = {
    "dt_int32": None,  # a good file, which any reader reads
    "niigz_bad_crc": "outcome accept",
    "geo_sform_zero_row": "outcome accept",
    "nii_is_text": "traceback",
    "shape_4d_three_volumes": "outcome accept",
}


@pytest.mark.parametrize(("name", "fault"), FOUND.items())
def test_the_scorer_finds_what_a_careless_reader_does(tmp_path: Path, name: str, fault: str | None) -> None:
    case = generate(tmp_path / "cases", [name])["cases"][0]
    command = shlex.join([sys.executable, "-c", NAIVE, "{input}", "{out}/image.nii"])
    scorer = Scorer(root=tmp_path / "cases", command=command, canaries=(), values=True)
    verdict = scorer.score(case)
    assert verdict["ok"] == (fault is None)
    assert fault is None or any(found.startswith(fault) for found in verdict["faults"])


def test_the_scorer_sees_a_wrong_place_and_patient_data(tmp_path: Path) -> None:
    import nibabel
    import numpy as np

    case = generate(tmp_path / "cases", ["dcm_axial"])["cases"][0]
    wrong = tmp_path / "wrong.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros(case["geometry"]["shape"], np.int16), np.eye(4)), wrong)
    told = "import shutil, sys; print('CANARYSURNAME'); shutil.copy(sys.argv[1], sys.argv[2])"
    command = shlex.join([sys.executable, "-c", told, str(wrong), "{out}/image.nii"])
    scorer = Scorer(root=tmp_path / "cases", command=command, canaries=("CANARYSURNAME",), values=True)
    place, leak = scorer.score(case)["faults"]
    assert place.startswith("geometry: world point")
    assert leak == "PHI leak ['CANARYSURNAME']"
