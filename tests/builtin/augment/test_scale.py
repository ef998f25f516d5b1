from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253
from pydantic import ValidationError

from medseg.builtin.augment.scale import Scale
from medseg.steps import SpatialAugmentation

Points = Callable[[Sequence[int], Sequence[float]], torch.Tensor]
Together = Callable[[SpatialAugmentation], None]


@pytest.mark.parametrize("factor", [0.5, 1.25, 2.0])
def test_a_factor_divides_distances_from_the_centre(points: Points, factor: Any) -> None:
    for shape in [(6, 5, 4), (6, 5)]:
        given = points(shape, (1.0, 2.0, 3.0)[: len(shape)])
        moved = Scale(factor=(factor, factor))(given, np.random.default_rng(0))
        assert torch.allclose(moved, given / factor, rtol=1e-6)


def test_what_is_twice_as_large_covers_twice_as_many_voxels(points: Points) -> None:
    given = points((101,), (1.0,))
    moved = Scale(factor=(2, 2))(given, np.random.default_rng(0))
    assert [int((each.abs() <= 10).sum()) for each in (given, moved)] == [21, 41]


def test_factors_lie_evenly_on_a_logarithmic_scale(points: Points) -> None:
    given = points((3, 3, 3), (1.0, 1.0, 1.0))
    found = []
    for seed in range(400):
        ratio = given / Scale(factor=(0.5, 2.0))(given, np.random.default_rng(seed))
        ratio = ratio[given != 0]
        assert torch.allclose(ratio, ratio[0], rtol=1e-6)  # one factor for all axes
        found.append(float(ratio[0]))
    assert 0.5 <= min(found) < 0.52
    assert 1.92 < max(found) <= 2.0
    assert np.mean(np.log2(found)) == pytest.approx(0, abs=4 / np.sqrt(3 * 400))
    assert np.mean(np.array(found) < 1) == pytest.approx(0.5, abs=0.1)


def test_axes_have_factors_of_their_own_in_the_share_asked_for(points: Points) -> None:
    given = points((3, 3, 3), (1.0, 2.0, 3.0))
    for share in (0.0, 0.3, 1.0):
        apart = 0
        for seed in range(200):
            moved = Scale(per_axis=share)(given, np.random.default_rng(seed))
            factors = [float(given[a].max() / moved[a].max()) for a in range(3)]
            assert all(0.699 < factor < 1.401 for factor in factors)
            apart += not np.allclose(factors, factors[0], rtol=1e-5)
        assert apart / 200 == pytest.approx(share, abs=0.1)


def test_a_factor_of_one_changes_nothing(points: Points) -> None:
    given = points((6, 5, 4), (1.0, 2.0, 3.0))
    moved = Scale(factor=(1, 1), per_axis=0.5)(given, np.random.default_rng(0))
    assert torch.equal(moved, given)
    assert moved.data_ptr() != given.data_ptr()


@pytest.mark.parametrize("factor", [(0, 1), (1.2, 0.8), (-1, 1), (1, 1000), (1,)])
def test_wrong_factors_are_refused(factor: Any) -> None:
    with pytest.raises(ValidationError):
        Scale.model_validate({"factor": factor})


def test_image_and_mask_stay_together(assert_together: Together) -> None:
    assert_together(Scale(per_axis=0.5))


def test_it_follows_from_the_generator(points: Points) -> None:
    given = points((6, 5, 4), (1.0, 2.0, 3.0))
    first, again, other = (Scale()(given, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
