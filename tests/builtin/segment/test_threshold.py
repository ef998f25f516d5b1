import numpy as np
import pytest
from pydantic import ValidationError

from medseg import Grid, InputError, Resources, Segmentation, Volume, Wanted
from medseg.builtin.segment.threshold import Threshold

GRID = Grid((6, 5, 4), np.diag([1.0, 1.0, 2.0, 1.0]))
RAMP = Volume(np.arange(120, dtype=np.int16).reshape(1, *GRID.shape), GRID)


def found(threshold: Threshold, volume: Volume) -> Segmentation:
    with threshold.open(Resources()) as predictor:
        return predictor(volume, onto=volume.grid, wanted=Wanted()).segmentation


def test_a_range_includes_both_ends() -> None:
    mask = found(Threshold(above=10, below=20), RAMP).mask("foreground")
    assert RAMP.array[0][mask].tolist() == list(range(10, 21))


@pytest.mark.parametrize(("limits", "count"), [({"above": 100}, 20), ({"below": 4}, 5)])
def test_one_end_may_be_open(limits: dict[str, float], count: int) -> None:
    assert found(Threshold(**limits), RAMP).mask("foreground").sum() == count


def test_otsu_separates_two_gaussians() -> None:
    rng = np.random.default_rng(1)
    bright = np.zeros(GRID.shape, bool)
    bright[2:5] = True
    image = np.where(bright, 100.0, 0.0) + rng.normal(0, 5, GRID.shape)
    with Threshold().open(Resources()) as predictor:
        prediction = predictor(Volume(image[None], GRID), onto=GRID, wanted=Wanted())
    assert np.array_equal(prediction.segmentation.mask("foreground"), bright)
    assert image[~bright].max() <= prediction.used["above"] < image[bright].min()


def test_a_constant_image_has_no_otsu_threshold() -> None:
    with pytest.raises(InputError, match="one value 7"):
        found(Threshold(), Volume(np.full((1, *GRID.shape), 7.0), GRID))


def test_the_channel_counts() -> None:
    both = Volume(np.concatenate([RAMP.array, -RAMP.array]), GRID, ("a", "b"))
    assert found(Threshold(above=0, channel=1), both).mask("foreground").sum() == 1
    with pytest.raises(InputError, match="1 channels"):
        found(Threshold(above=0, channel=1), RAMP)


def test_labels_lie_on_the_grid_that_is_asked_for() -> None:
    turned = RAMP.reorient("SPL")
    with Threshold(above=60).open(Resources()) as predictor:
        back = predictor(turned, onto=GRID, wanted=Wanted()).segmentation
    assert np.array_equal(back.mask("foreground"), RAMP.array[0] >= 60)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValidationError, match="more than below"):
        Threshold(above=2, below=1)
