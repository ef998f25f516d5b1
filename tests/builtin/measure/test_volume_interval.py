import numpy as np
import pytest
from closed_forms import measured, segmented, turned_grid
from pydantic import ValidationError

from medseg.builtin.measure.volume_interval import VolumeInterval
from medseg.inference.score_store import ScoreSink
from medseg.prediction import Prediction, Scores, Wanted
from medseg.volume import Grid

GRID = turned_grid((1.0, 1.5, 3.0), 30)


def kept(share: np.ndarray, grid: Grid) -> Prediction:
    """A prediction with these probabilities of its one label on disk."""
    segmentation = segmented(grid, lump=share >= 0.5)
    sink = ScoreSink(
        segmentation.labels,
        grid=grid,
        axis=0,
        channels=2,
        activation="softmax",
        wanted=Wanted(whole_scores=True),
    )
    i, j, k = grid.shape
    sink.begin((slice(0, i), slice(0, j), slice(0, k)))
    sink.take(Scores(np.stack([1 - share, share]).astype(np.float32), grid, "probabilities"), 0)
    return Prediction(segmentation=segmentation, scores=sink.finish())


@pytest.mark.parametrize("chunk", [1 << 22, 1])
def test_the_interval_is_what_is_surely_the_label_and_what_may_be(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.builtin.measure.volume_interval.CHUNK_VOXELS", chunk)
    away = np.linalg.norm(GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1)) - GRID.centre, axis=-1)
    prediction = kept(1 / (1 + np.exp((away - 15) / 2)), GRID)
    row = measured(VolumeInterval(), prediction.segmentation, prediction=prediction)[
        "lump", None, "threshold_volume"
    ]
    assert row.unit == "mL"
    radii = 15 + 2 * np.array([-np.log(3), 0, np.log(3)])
    low, middle, high = (float((away <= radius).sum() * GRID.voxel_ml) for radius in radii)
    assert row.value == pytest.approx(middle, rel=2e-3)
    assert row.interval == pytest.approx((low, high), rel=2e-3)
    assert low < 4 / 3 * np.pi * 15**3 / 1000 < high


def test_one_that_is_sure_has_a_narrow_interval() -> None:
    share = np.zeros(GRID.shape)
    share[10:20, 10:20, 5:10] = 1
    prediction = kept(share, GRID)
    row = measured(VolumeInterval(), prediction.segmentation, prediction=prediction)[
        "lump", None, "threshold_volume"
    ]
    assert row.value == pytest.approx(500 * GRID.voxel_ml)
    assert row.interval == (row.value, row.value)


def test_without_scores_it_is_not_given() -> None:
    row = measured(VolumeInterval(), segmented(GRID, lump=np.ones(GRID.shape, bool)))[
        "lump", None, "threshold_volume"
    ]
    assert (row.value, row.interval, row.flag) == (None, None, "not given")
    assert VolumeInterval().wants == Wanted(whole_scores=True)


@pytest.mark.parametrize("wrong", [{"may_be": 0.6}, {"sure": 0.4}, {"sure": 1.0}])
def test_thresholds_lie_on_their_sides_of_one_half(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        VolumeInterval(**wrong)
