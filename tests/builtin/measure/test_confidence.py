import numpy as np
import pytest
from closed_forms import measured, segmented, turned_grid
from numpy.typing import NDArray

from medseg.builtin.measure.confidence import Confidence
from medseg.inference.score_store import ScoreSink, ScoreStore
from medseg.prediction import Prediction, Scores, Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

MODEL = turned_grid((2.0, 2.5, 4.0), 30)
TABLE = LabelTable((Label(1, "lump"),))
HALF_PRECISION = 3e-4


def kept(share: NDArray[np.float64], grid: Grid = MODEL) -> ScoreStore:
    """A store with these probabilities `[i, j, k]` of "lump"."""
    sink = ScoreSink(
        TABLE, grid=grid, axis=2, channels=2, activation="softmax", wanted=Wanted(whole_scores=True)
    )
    sink.take(Scores(np.stack([1 - share, share]).astype(np.float32), grid, "probabilities"), 0)
    return sink.finish()


def asked(scores: ScoreStore | None, segmentation: Segmentation) -> dict[str, float | str | None]:
    """Values by quantity, and the flag of both rows."""
    prediction = Prediction(segmentation=segmentation, scores=scores)
    rows = measured(Confidence(), segmentation, prediction=prediction)
    (flag,) = {row.flag for row in rows.values()}
    values = {quantity: row.value for (_, _, quantity), row in rows.items()}
    return {**values, "flag": flag}


@pytest.mark.parametrize("slab", [1 << 22, 1])
def test_on_the_networks_own_voxels_it_is_numpy_under_the_mask(
    slab: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.builtin.write.native_slabs.SLAB_VOXELS", slab)
    random = np.random.default_rng(0)
    share = random.random(MODEL.shape)
    mask = np.zeros(MODEL.shape, bool)
    mask[3:12, 5:15, 2:9] = random.random((9, 10, 7)) < 0.5
    found = asked(kept(share), segmented(MODEL, lump=mask))
    assert found["confidence"] == pytest.approx(share[mask].mean(), abs=HALF_PRECISION)
    assert found["confidence_p5"] == pytest.approx(np.percentile(share[mask], 5), abs=HALF_PRECISION)
    assert found["flag"] == ""


def test_on_other_voxels_probabilities_are_interpolated() -> None:
    """A ramp is read exactly on any grid: its mean is its value in the middle of what is asked."""
    along = (np.arange(MODEL.shape[0]) / (MODEL.shape[0] - 1))[:, None, None]
    share = np.broadcast_to(along, MODEL.shape)
    onto = MODEL.respaced((1.0, 1.0, 1.0)).reoriented("LIP")
    index = MODEL.to_index(onto.to_world(np.moveaxis(np.indices(onto.shape), 0, -1)))
    mask = np.asarray(((index >= (4, 3, 2)) & (index <= (15, 12, 8))).all(axis=-1))
    found = asked(kept(share), segmented(onto, lump=mask))
    expected = index[mask][:, 0] / (MODEL.shape[0] - 1)
    assert found["confidence"] == pytest.approx(expected.mean(), abs=HALF_PRECISION)
    assert found["confidence_p5"] == pytest.approx(np.percentile(expected, 5), abs=HALF_PRECISION)


def test_a_part_that_is_a_guess_shows_in_the_percentile() -> None:
    share = np.ones(MODEL.shape)
    mask = np.zeros(MODEL.shape, bool)
    mask[0:10, 0:10, 0:10] = True
    share[0:1, 0:10, 0:10] = 0.5  # a tenth of it
    found = asked(kept(share), segmented(MODEL, lump=mask))
    assert found == {"confidence": pytest.approx(0.95), "confidence_p5": pytest.approx(0.5), "flag": ""}


def test_what_was_not_segmented_counts_as_nothing() -> None:
    part = MODEL.cropped((0, 0, 0), (10, *MODEL.shape[1:]))
    mask = np.zeros(MODEL.shape, bool)
    mask[5:15, 4, 4] = True
    mask[20:22, 4, 4] = True  # a box beyond the scores, for slabs that meet none
    found = asked(kept(np.ones(part.shape), part), segmented(MODEL, lump=mask))
    assert found["confidence"] == pytest.approx(5 / 12)


def test_without_probabilities_it_is_not_given_and_of_nothing_empty() -> None:
    mask = np.zeros(MODEL.shape, bool)
    nothing = {"confidence": None, "confidence_p5": None}
    assert asked(kept(np.ones(MODEL.shape)), segmented(MODEL, lump=mask)) == {**nothing, "flag": "empty"}
    assert asked(None, segmented(MODEL, lump=~mask)) == {**nothing, "flag": "not given"}
    assert Confidence().wants == Wanted(whole_scores=True)
