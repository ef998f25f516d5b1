"""Probability files whose content is known: which label's they are, where, and what is no probability."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
from numpy.typing import NDArray
from results import result_of

from medseg.builtin.write.nifti import Nifti
from medseg.builtin.write.probabilities import Probabilities as Writer
from medseg.errors import InputError, UsageError
from medseg.evaluation import evaluate, evaluate_files, match_files, metrics_named
from medseg.inference.score_store import ScoreSink
from medseg.prediction import Measured, Scores, Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Source

Save = Callable[..., Path]
SHAPE = (14, 12, 10)
AFFINE = np.array([[-1.0, 0, 0, 20], [0, 1.5, 0, -7], [0, 0, 3, 40], [0, 0, 0, 1]])  # as conftest has it
TABLE = LabelTable((Label(1, "liver"), Label(2, "liver tumour")))


def cube(start: int) -> NDArray[np.bool_]:
    found = np.zeros(SHAPE, bool)
    found[start : start + 4, 2:6, 2:6] = True
    return found


def results(folder: Path, *, only: tuple[str, ...] | None = None) -> Path:
    """A folder of results: the liver at 2 with 204/255 inside and 51/255 outside, the tumour at 8."""
    folder.mkdir(parents=True, exist_ok=True)
    grid = Grid(SHAPE, AFFINE)
    liver = np.where(cube(2), 0.8, 0.2)
    tumour = np.where(cube(8), 0.6, 0.0) * (1 - liver)
    sink = ScoreSink(
        TABLE, grid=grid, axis=2, channels=3, activation="softmax", wanted=Wanted(whole_scores=True)
    )
    shares = np.stack([1 - liver - tumour, liver, tumour]).astype(np.float32)
    sink.take(Scores(shares, grid, "probabilities"), 0)
    found = Segmentation.from_masks({"liver": cube(2), "liver tumour": cube(8)}, grid, TABLE)
    result = result_of(found, source=Source(grid, "NIfTI-1"), scores=sink.finish())
    list(Nifti()(result, folder))
    list(Writer(labels=only)(result, folder))
    return folder


def said(rows: tuple[Measured, ...]) -> dict[tuple[str, str], Any]:
    return {(row.quantity, row.label): row.flag or row.value for row in rows}


METRICS = "ece: {margin_mm: null}, brier: {margin_mm: null}"


def test_each_label_is_held_against_its_own_file(tmp_path: Path, save: Save) -> None:
    """The liver where it should be, the tumour missed by 6 voxels of 14."""
    folder = results(tmp_path / "a")
    reference = save(tmp_path / "ref.nii.gz", {1: 2, 2: 2}, {1: "Liver_", 2: "liver_tumour"})
    array = np.asarray(nib.load(reference).dataobj).copy()
    array[cube(2)], array[cube(8)] = 1, 2
    nib.save(nib.Nifti1Image(array, AFFINE, nib.load(reference).header), reference)
    found = said(evaluate(folder, reference, METRICS))
    assert found["ece", "Liver_"] == pytest.approx(0.2, abs=1e-3)
    assert found["brier", "Liver_"] == pytest.approx(0.04, abs=1e-3)
    inside, whole = 64, np.prod(SHAPE)
    assert found["ece", "liver_tumour"] == pytest.approx(inside * (1 - 0.48) / whole, abs=1e-3)
    assert found["brier", "liver_tumour"] == pytest.approx(inside * (1 - 0.48) ** 2 / whole, abs=1e-3)


def test_axes_in_another_order_are_the_same_voxels_and_a_crop_is_enough(tmp_path: Path, save: Save) -> None:
    folder = results(tmp_path / "a")
    straight = save(tmp_path / "ref.nii.gz", {1: 2}, {1: "liver"})
    turned, crop = nib.load(straight), tmp_path / "crop.nii.gz"
    nib.save(nib.as_closest_canonical(turned).slicer[2:, :, 1:], crop)
    whole, part = (said(evaluate(folder, path, "ece", labels=["liver"])) for path in (straight, crop))
    assert whole["ece", "liver"] == pytest.approx(0.2, abs=1e-3)
    assert part.popitem()[1] == pytest.approx(0.2, abs=1e-3)


def test_nameless_references_are_matched_by_value(tmp_path: Path, save: Save) -> None:
    found = said(evaluate(results(tmp_path / "a"), save(tmp_path / "ref.nii.gz", {1: 2}), "ece"))
    assert found["ece", "liver"] == pytest.approx(0.2, abs=1e-3)
    assert found["ece", "liver tumour"] == "absent from reference"


def test_labels_without_a_file_have_no_value_in_any_case(tmp_path: Path, save: Save) -> None:
    """Of b the tumour's probabilities were kept alone; c has a spleen that the model does not know."""
    for case, only, names in (
        ("b", ("liver tumour",), {1: "liver", 2: "liver tumour"}),
        ("c", None, {1: "liver", 7: "spleen"}),
    ):
        results(tmp_path / "out" / case, only=only)
        save(tmp_path / "ref" / f"{case}.nii.gz", {value: 2 + value % 5 for value in names}, names)
    done = evaluate_files(match_files(tmp_path / "out", tmp_path / "ref"), metrics_named("dice, ece"))
    flags = {(case.case, row.label): row.flag for case in done.cases for row in case.measured[1]}
    assert flags == {
        ("b", "liver"): "no probabilities",
        ("b", "liver tumour"): "",
        ("b", "spleen"): "no probabilities",
        ("c", "liver"): "",
        ("c", "liver tumour"): "absent from reference",
        ("c", "spleen"): "no probabilities",
    }
    assert [sorted(case.probabilities_sha256) for case in done.cases] == [
        ["liver tumour"],
        ["liver", "liver tumour"],
    ]
    assert {row.label: row.n for row in done.summary if row.metric == "ece"}["spleen"] == 0


def test_what_has_no_probabilities_is_refused_before_anything_is_read(tmp_path: Path, save: Save) -> None:
    mask = save(tmp_path / "mask.nii.gz", {1: 2}, {1: "liver"})
    results(tmp_path / "out" / "a")
    (tmp_path / "out" / "b").mkdir()
    save(tmp_path / "out" / "b" / "segmentation.nii.gz", {1: 2})
    for case in "ab":
        (tmp_path / "ref").mkdir(exist_ok=True)
        (tmp_path / "ref" / f"{case}.nii.gz").write_bytes(b"not read")
    with pytest.raises(
        InputError, match=r"segmentation\.nii\.gz: no probabilities beside it, which ece"
    ) as refused:
        evaluate_files(match_files(tmp_path / "out", tmp_path / "ref"), metrics_named("dice, ece"))
    assert refused.value.__notes__ == ["case b"]
    with pytest.raises(InputError, match=r"mask\.nii\.gz: no probabilities beside it, which ece and brier"):
        evaluate(mask, mask, METRICS)
    memory = Segmentation.from_masks({}, Grid(SHAPE, AFFINE), TABLE)
    with pytest.raises(UsageError, match="ece compares probabilities, which masks in memory have not"):
        evaluate(memory, memory, "dice, ece")


def test_files_of_other_labels_alone_are_refused(tmp_path: Path, save: Save) -> None:
    folder = results(tmp_path / "a", only=("liver tumour",))
    reference = save(tmp_path / "ref.nii.gz", {1: 2}, {1: "liver"})
    with pytest.raises(InputError, match="the probabilities beside it are of other labels than 'liver'"):
        evaluate(folder, reference, "ece", labels=["liver"])


def changed(path: Path, array: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> None:
    nib.save(nib.Nifti1Image(array, affine), path)


NAN = np.full(SHAPE, 0.5, np.float32)
NAN[3, 3, 3] = np.nan
MOVED = AFFINE + np.array([[0, 0, 0, 0.4]] + [[0, 0, 0, 0]] * 3)


@pytest.mark.parametrize(
    ("array", "affine", "what"),
    [
        (NAN, AFFINE, "NaN|not finite|nan"),
        (np.full(SHAPE, 1.5, np.float32), AFFINE, "values from 1.5 to 1.5, not probabilities"),
        (np.full(SHAPE, -4.0, np.float32), AFFINE, "values from -4 to -4, not probabilities"),
        (np.full((*SHAPE, 2), 0.5, np.float32), AFFINE, "holds 2 volumes; give a file that holds one"),
        (np.full(SHAPE, 0.5, np.float32), MOVED, "its voxels, .* are not those of the reference"),
        (np.full((14, 12, 5), 0.5, np.float32), AFFINE, "its voxels, .* are not those of the reference"),
    ],
)
def test_what_is_no_probability_of_these_voxels_is_one_line(
    tmp_path: Path, save: Save, array: NDArray[Any], affine: NDArray[np.float64], what: str
) -> None:
    folder = results(tmp_path / "a")
    changed(folder / "probability-liver.nii.gz", array, affine)
    with pytest.raises(InputError, match=what) as refused:
        evaluate(folder, save(tmp_path / "ref.nii.gz", {1: 2}, {1: "liver"}), "ece")
    assert "probability-liver.nii.gz: " in str(refused.value)
    assert "\n" not in str(refused.value)


def test_rounding_beyond_one_is_one(tmp_path: Path, save: Save) -> None:
    folder = results(tmp_path / "a")
    changed(folder / "probability-liver.nii.gz", np.where(cube(2), 1.0005, -0.0005).astype(np.float32))
    rows = evaluate(folder, save(tmp_path / "ref.nii.gz", {1: 2}, {1: "liver"}), "ece", labels=["liver"])
    assert said(rows) == {("ece", "liver"): 0.0}
