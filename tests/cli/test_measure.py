"""`medseg measure`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from numpy.typing import NDArray

Medseg = Callable[..., Any]


@pytest.fixture
def mask(ball: Path, tmp_path: Path) -> Path:
    """The ball itself as a mask."""
    image = nib.load(ball)
    path = tmp_path / "mask.nii.gz"
    nib.save(nib.Nifti1Image((np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine), path)
    return path


def test_the_main_numbers_are_printed_and_nothing_is_written(
    medseg: Medseg, ball: Path, mask: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = medseg("measure", ball, mask, "--measure", "volumes, diameters, lesions")
    assert done.code == 0
    header, label, lesion, last = done.out.splitlines()
    assert header.split() == ["label", "size", "diameters", "note"]
    size, unit, longest, times, perpendicular, mm = label.split()[-6:]
    assert (unit, times, mm) == ("mL", "x", "mm")
    assert float(size) == pytest.approx(33.51, rel=0.02)
    assert float(longest) == pytest.approx(40, abs=2)
    assert float(perpendicular) == pytest.approx(40, abs=2)
    assert lesion.split()[0] == "1"
    assert last == "Research use only."
    assert sorted(tmp_path.rglob("*")) == before


def test_tables_appear_in_the_folder(medseg: Medseg, ball: Path, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = medseg("measure", ball, mask, "-o", out, "--case", "one", "-q")
    assert (done.code, done.out) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == [
        "measurements.csv",
        "measurements.json",
        "preview.png",
        "run.json",
    ]
    assert "\none," in (out / "measurements.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none.nii.gz",), 2, "none.nii.gz: no such file"),
        (("MASK", "--measure", "volumen"), 4, "did you mean 'volumes'"),
        (("MASK", "--labels", "liver"), 64, "no label 'liver'"),
    ],
)
def test_what_is_wrong_is_one_line(
    medseg: Medseg, ball: Path, mask: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = medseg("measure", ball, *(mask if word == "MASK" else word for word in arguments))
    assert done.code == code
    assert message in done.err
    assert len(done.err.splitlines()) == 1 or "Reading" in done.err


def wedges(ball: Path, tmp_path: Path) -> Path:
    """The ball as 16 wedges with ids from 10 on, and no name."""
    image = nib.load(ball)
    values: NDArray[np.bool_] = np.asarray(image.dataobj) > 0
    i, j = np.indices(values.shape)[:2]
    turn = np.arctan2(j - np.mean(j, where=values), i - np.mean(i, where=values))
    ids = np.where(values, 10 + np.floor((turn + np.pi) / (2 * np.pi) * 16).clip(0, 15), 0)
    path = tmp_path / "ids.nii.gz"
    nib.save(nib.Nifti1Image(ids.astype(np.uint8), image.affine), path)
    return path


def test_values_are_ids_of_objects_where_that_is_said(medseg: Medseg, ball: Path, tmp_path: Path) -> None:
    ids = wedges(ball, tmp_path)
    done = medseg("measure", ball, ids, "--objects", "wedge", "-o", tmp_path / "out")
    assert done.code == 0
    _, label, *objects, _ = done.out.splitlines()
    assert float(label.split()[1]) == pytest.approx(33.51, rel=0.02)
    assert [line.split()[0] for line in objects] == [str(number) for number in range(10, 26)]
    assert sum(float(line.split()[1]) for line in objects) == pytest.approx(33.51, rel=0.02)
    assert '"objects": "wedge"' in (tmp_path / "out" / "run.json").read_text(encoding="utf-8")
    unsaid = medseg("measure", ball, ids, "--measure", "volumes")
    assert unsaid.out.splitlines()[1].startswith("label 10 ")
    assert "if they are ids of objects, say --objects NAME" in unsaid.out
