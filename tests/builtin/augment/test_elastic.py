from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.builtin.augment.elastic import STEEPEST, Elastic
from medseg.builtin.augment.rotate import Rotate
from medseg.builtin.augment.scale import Scale
from medseg.steps import SpatialAugmentation

Points = Callable[[Sequence[int], Sequence[float]], torch.Tensor]
Together = Callable[[SpatialAugmentation], None]

PATCHES = [((24, 20, 16), (1.5, 2.0, 3.0)), ((60, 50), (1.0, 1.5))]


def determinants(moved: torch.Tensor, spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """By how much volumes change at every voxel, signed, from differences of neighbours."""
    rows = [np.stack(np.gradient(each, *spacing)) for each in moved.double().numpy()]
    return np.asarray(np.linalg.det(np.moveaxis(np.stack(rows), (0, 1), (-2, -1))))


@pytest.mark.parametrize(("shape", "spacing"), PATCHES)
@pytest.mark.parametrize("size", [3.0, 1000.0])
def test_nothing_folds_whatever_the_size(
    points: Points, shape: tuple[int, ...], spacing: tuple[float, ...], size: float
) -> None:
    given = points(shape, spacing)
    elastic = Elastic(displacement_mm=size, wavelength_mm=(30, 90))
    found = [determinants(elastic(given, np.random.default_rng(seed)), spacing) for seed in range(12)]
    bounds = (1 - STEEPEST) ** len(shape), (1 + STEEPEST) ** len(shape)
    assert bounds[0] < np.min(found)
    assert np.max(found) < bounds[1]
    assert np.std(found) > 0.03  # and it does deform


def test_points_never_come_closer_than_half_their_distance(points: Points) -> None:
    given = points((24, 20, 16), (1.5, 2.0, 3.0))
    rng = np.random.default_rng(5)
    ones, others = rng.integers(0, given[0].numel(), (2, 4000))
    ones, others = ones[ones != others], others[ones != others]
    for seed in range(6):
        moved = Elastic(displacement_mm=1000)(given, np.random.default_rng(seed))
        before, after = (
            (p.flatten(1)[:, ones] - p.flatten(1)[:, others]).norm(dim=0) for p in (given, moved)
        )
        assert (after > (1 - STEEPEST) * before - 1e-3).all()
        assert (after < (1 + STEEPEST) * before + 1e-3).all()


@pytest.mark.parametrize(("shape", "spacing"), [((6, 5, 4), (20.0, 25.0, 30.0)), ((8, 8), (20.0, 25.0))])
def test_displacements_have_the_size_asked_for(
    points: Points, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    given = points(shape, spacing)
    elastic = Elastic(displacement_mm=2.0)
    squares = [
        (elastic(given, np.random.default_rng(seed)) - given).square().sum(0).mean() for seed in range(600)
    ]
    # Sizes are even from 0 to 2 mm: the mean of their squares is 2² / 3.
    assert np.mean(squares) == pytest.approx(4 / 3, rel=0.12)
    assert np.sqrt(np.max(squares)) < 2 * np.sqrt(2) * np.sqrt(6)  # no sine is above 1


def test_waves_are_as_long_as_asked_for(points: Points) -> None:
    """Slopes tell lengths: in the square mean, a sine of length L has a slope of 2 pi / L of its height."""
    given = points((800, 2), (0.5, 0.5))
    slopes, heights = 0.0, 0.0
    for seed in range(300):
        away = Elastic(displacement_mm=1, wavelength_mm=(50, 50))(given, np.random.default_rng(seed)) - given
        slopes += float((away.diff(dim=1) / 0.5).square().mean())
        heights += float(away.square().mean())
    # In the plane, half of the square of a wave's number lies along an axis.
    assert slopes / heights == pytest.approx((2 * np.pi / 50) ** 2 / 2, rel=0.05)


def test_where_a_point_goes_depends_on_its_place_alone(points: Points) -> None:
    small, large = points((5, 5, 5), (2.0, 2.0, 2.0)), points((9, 11, 7), (2.0, 2.0, 2.0))
    first, second = (Elastic()(p, np.random.default_rng(3)) for p in (small, large))
    assert torch.allclose(first, second[:, 2:7, 3:8, 1:6], atol=1e-5)


def test_no_size_changes_nothing(points: Points) -> None:
    given = points((6, 5, 4), (1.0, 2.0, 3.0))
    before = given.clone()
    moved = Elastic(displacement_mm=0)(given, np.random.default_rng(0))
    assert torch.equal(moved, given)
    moved += 1
    assert torch.equal(given, before)


def test_nothing_folds_after_other_changes(points: Points) -> None:
    spacing = (1.5, 2.0, 3.0)
    given = points((24, 20, 16), spacing)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        moved = given
        for change in (Rotate(), Scale(factor=(0.7, 0.7)), Elastic(displacement_mm=50), Elastic()):
            moved = change(moved, rng)
        assert determinants(moved, spacing).min() > 0


@pytest.mark.parametrize(
    "parameters", [{"displacement_mm": -1}, {"wavelength_mm": (0, 10)}, {"wavelength_mm": (90, 30)}]
)
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Elastic.model_validate(parameters)


def test_image_and_mask_stay_together(assert_together: Together) -> None:
    assert_together(Elastic(displacement_mm=8))


def test_it_follows_from_the_generator(points: Points) -> None:
    given = points((6, 5, 4), (1.0, 2.0, 3.0))
    first, again, other = (Elastic()(given, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
