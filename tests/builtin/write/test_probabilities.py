"""Probability files from a store whose content is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from results import result_of

from medseg.builtin.write.native_slabs import native_slabs
from medseg.builtin.write.probabilities import Probabilities
from medseg.inference.score_store import ScoreSink, ScoreStore
from medseg.io.nifti import read_nifti
from medseg.prediction import Scores, Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Source

MODEL = Grid((10, 9, 8), np.array([[0.0, -3.0, 0, 5], [3.0, 0, 0, -7], [0, 0, 4.0, 9], [0, 0, 0, 1]]))
TABLE = LabelTable((Label(1, "liver"), Label(2, "liver tumour")))


def store(shares: NDArray[np.float32], grid: Grid = MODEL, **wanted: Any) -> ScoreStore:
    wishes = Wanted(whole_scores=True, **wanted)
    sink = ScoreSink(TABLE, grid=grid, axis=2, channels=3, activation="softmax", wanted=wishes)
    background = 1 - shares.sum(axis=0, keepdims=True)
    sink.take(Scores(np.concatenate([background, shares]), grid, "probabilities"), 0)
    return sink.finish()


def written(folder: Path, scores: ScoreStore | None, grid: Grid, writer: Probabilities) -> list[Path]:
    segmentation = Segmentation(np.zeros((1, *grid.shape), np.uint8), grid, TABLE)
    result = result_of(segmentation, source=Source(grid, "PNG"), scores=scores)
    return list(Probabilities.check(writer(result, folder), folder=folder))


def ramp() -> NDArray[np.float32]:
    """Linear along i and k, so that interpolation is exact."""
    i, k = np.arange(10)[:, None, None] / 9, np.arange(8)[None, None, :] / 7
    liver = np.broadcast_to(i * 0.5 + k * 0.25, MODEL.shape)
    return np.stack([liver, np.broadcast_to(0.25 * (1 - k), MODEL.shape)]).astype(np.float32)


def test_on_the_models_own_voxels_values_are_those_of_the_store(tmp_path: Path) -> None:
    paths = written(tmp_path, store(ramp()), MODEL, Probabilities())
    assert [path.name for path in paths] == ["probability-liver.nii.gz", "probability-liver-tumour.nii.gz"]
    for path, share in zip(paths, ramp(), strict=True):
        image = read_nifti(path)
        assert image.array[0] == pytest.approx(share, abs=0.5 / 255 + 3e-4)
        assert image.grid.same_as(MODEL)


def test_a_finer_turned_and_larger_grid_is_interpolated_and_zero_outside(tmp_path: Path) -> None:
    inner = MODEL.respaced((1.0, 1.5, 1.0)).reoriented("SLA")
    onto = inner.padded((6, 6, 6), (6, 6, 6))
    (path,) = written(tmp_path, store(ramp()), onto, Probabilities(labels=("liver",)))
    found = read_nifti(path).array[0]
    index = MODEL.to_index(
        onto.to_world(np.stack(np.meshgrid(*(np.arange(n) for n in onto.shape), indexing="ij"), axis=-1))
    )
    held = np.clip(index, 0, np.array(MODEL.shape) - 1)
    expected = held[..., 0] / 9 * 0.5 + held[..., 2] / 7 * 0.25
    size = np.array(MODEL.shape)
    inside = ((index >= -0.501) & (index <= size - 0.499)).all(axis=-1)
    sure = inside | ((index < -0.51) | (index > size - 0.49)).any(axis=-1)
    assert found[sure] == pytest.approx(np.where(inside, expected, 0)[sure], abs=0.5 / 255 + 5e-4)
    assert 0 < np.count_nonzero(inside) < inside.size


def test_slabs_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, onto = store(ramp()), MODEL.respaced((1.1, 1.3, 0.9)).padded((2, 2, 2), (2, 2, 2))

    def read(box: Grid) -> tuple[NDArray[np.float32], Grid] | None:
        found = scores.read(box, ["liver"])
        return np.asarray(found.array[0]), found.grid

    whole = np.concatenate(list(native_slabs(onto, read)), axis=2)
    monkeypatch.setattr("medseg.builtin.write.native_slabs.SLAB_VOXELS", 1)
    slices = list(native_slabs(onto, read))
    assert len(slices) == onto.shape[2]
    assert np.concatenate(slices, axis=2) == pytest.approx(whole, abs=1e-6)


def test_labels_that_were_not_kept_have_no_file(tmp_path: Path) -> None:
    kept = store(ramp(), score_labels=frozenset({"liver tumour"}))
    paths = written(tmp_path, kept, MODEL, Probabilities())
    assert [path.name for path in paths] == ["probability-liver-tumour.nii.gz"]
    assert written(tmp_path, None, MODEL, Probabilities()) == []


def test_it_wants_scores_of_its_labels_everywhere() -> None:
    assert Probabilities().wants == Wanted(whole_scores=True)
    some = Probabilities(labels=("liver",)).wants
    assert (some.whole_scores, some.score_labels) == (True, frozenset({"liver"}))
