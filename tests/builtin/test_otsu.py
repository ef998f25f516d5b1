import numpy as np
import pytest
from skimage.filters import threshold_otsu  # noqa: TID253 - a test module

from medseg import InputError
from medseg.builtin.otsu import otsu_threshold


def test_two_gaussians_are_separated_whole() -> None:
    rng = np.random.default_rng(1)
    dark, bright = rng.normal(0, 5, 5000), rng.normal(100, 5, 3000)
    assert dark.max() <= otsu_threshold(np.concatenate([dark, bright])) < bright.min()


def test_it_is_scikit_images_threshold_moved_to_the_end_of_its_bin() -> None:
    values = np.random.default_rng(2).gamma(2.0, 50.0, 20000)
    half_a_bin = (values.max() - values.min()) / 256 / 2
    assert otsu_threshold(values) == pytest.approx(threshold_otsu(values) + half_a_bin)


@pytest.mark.parametrize("slices", [3, 4])
def test_a_few_slices_are_not_colours(slices: int) -> None:
    image = np.zeros((20, 20, slices))
    image[5:15, 5:15] = 1
    assert 0 < otsu_threshold(image) < 1


def test_one_value_has_no_threshold() -> None:
    with pytest.raises(InputError, match="one value 7"):
        otsu_threshold(np.full((3, 3), 7))
