"""The entropy file of a map that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from results import result_of

from medseg.builtin.write.uncertainty import Uncertainty
from medseg.io.nifti import read_nifti
from medseg.prediction import Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

MODEL = Grid((10, 9, 8), np.diag([2.0, 2.0, 4.0, 1.0]))


def written(folder: Path, onto: Grid, maps: dict[str, Volume]) -> list[Path]:
    segmentation = Segmentation(np.zeros((1, *onto.shape), np.uint8), onto, LabelTable((Label(1, "a"),)))
    result = result_of(segmentation, maps=maps)
    return list(Uncertainty.check(Uncertainty()(result, folder), folder=folder))


def test_the_map_is_interpolated_onto_the_image_and_zero_outside(tmp_path: Path) -> None:
    line = np.linspace(0, 0.7, 10)[:, None, None]
    entropy = Volume(np.broadcast_to(line, MODEL.shape)[None].astype(np.float16), MODEL, ("entropy",))
    onto = MODEL.respaced((1.0, 1.0, 1.0)).padded((4, 0, 40), (0, 0, 0))
    (path,) = written(tmp_path, onto, {"entropy": entropy})
    assert path.name == "entropy.nii.gz"
    found = read_nifti(path).array[0]
    assert found.dtype == np.float32
    where = np.clip((np.arange(20) - 0.5) / 2, 0, 9) * 0.7 / 9
    assert found[4:, 3, 50] == pytest.approx(where, abs=1e-3)
    assert not found[:4].any()
    assert not found[:, :, :40].any()


def test_without_a_map_there_is_no_file(tmp_path: Path) -> None:
    assert written(tmp_path, MODEL, {}) == []
    assert Uncertainty().wants == Wanted(reductions=frozenset({"entropy"}))
