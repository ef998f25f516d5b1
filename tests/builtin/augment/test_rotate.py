from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.builtin.augment.rotate import Rotate
from medseg.errors import PipelineError
from medseg.segmentation import LabelTable
from medseg.steps import SpatialAugmentation

Points = Callable[[Sequence[int], Sequence[float]], torch.Tensor]
Together = Callable[[SpatialAugmentation], None]


def matrix_of(moved: torch.Tensor, points: torch.Tensor) -> NDArray[np.float64]:
    """The linear map `[D, D]` from points to where they were moved; fails if there is none."""
    given, found = (each.flatten(1).double().numpy() for each in (points, moved))
    matrix, *_ = np.linalg.lstsq(given.T, found.T, rcond=None)
    assert np.allclose(matrix.T @ given, found, atol=1e-4)
    return np.asarray(matrix.T)


@pytest.mark.parametrize(("shape", "spacing"), [((9, 8, 5), (0.8, 1.1, 5.0)), ((9, 8), (0.7, 2.0))])
def test_distances_in_mm_stay_and_nothing_is_mirrored(
    points: Points, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    given = points(shape, spacing)
    for seed in range(10):
        moved = Rotate(degrees=180)(given, np.random.default_rng(seed))
        turn = matrix_of(moved, given)
        assert np.allclose(turn @ turn.T, np.eye(len(shape)), atol=1e-5)
        assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
        sample = np.random.default_rng(0).integers(0, given[0].numel(), 30)
        for one, other in pairwise(sample):
            before, after = (each.flatten(1)[:, [one, other]] for each in (given, moved))
            assert torch.dist(*after.T).item() == pytest.approx(torch.dist(*before.T).item(), abs=1e-4)


@pytest.mark.parametrize(("name", "axis"), [("i", 0), ("j", 1), ("k", 2)])
def test_the_axis_it_is_turned_about_stays_and_angles_are_even(
    points: Points, name: Literal["i", "j", "k"], axis: int
) -> None:
    given = points((5, 4, 6), (1.0, 2.0, 3.0))
    rotate = Rotate(degrees=40, about=(name,))
    first, second = [(1, 2), (2, 0), (0, 1)][axis]
    angles = []
    for seed in range(200):
        moved = rotate(given, np.random.default_rng(seed))
        assert torch.equal(moved[axis], given[axis])  # exactly: slices stay slices
        turn = matrix_of(moved, given)
        angles.append(np.degrees(np.arctan2(turn[second, first], turn[first, first])))
    assert np.abs(angles).max() <= 40.001
    assert np.std(angles) == pytest.approx(40 / np.sqrt(3), rel=0.1)
    assert np.mean(angles) == pytest.approx(0, abs=5)


def test_a_2d_patch_turns_in_its_plane_by_one_angle(points: Points) -> None:
    given = points((7, 5), (1.0, 2.0))
    turns = [matrix_of(Rotate(degrees=15)(given, np.random.default_rng(s)), given) for s in range(100)]
    angles = np.degrees([np.arctan2(turn[1, 0], turn[0, 0]) for turn in turns])
    assert 12 < np.abs(angles).max() <= 15.001
    assert {1, -1} == set(np.sign(angles).astype(int))


def test_no_angle_changes_nothing(points: Points) -> None:
    for shape in [(6, 5, 4), (6, 5)]:
        given = points(shape, (1.0, 2.0, 3.0)[: len(shape)])
        before = given.clone()
        moved = Rotate(degrees=0)(given, np.random.default_rng(0))
        assert torch.equal(moved, given)
        moved += 1
        assert torch.equal(given, before)


def test_earlier_changes_are_turned_with_the_rest(points: Points) -> None:
    given = points((6, 5, 4), (1.0, 2.0, 3.0))
    shift = torch.tensor([3.0, -2.0, 1.0]).reshape(3, 1, 1, 1)
    turned, apart = (Rotate()(p, np.random.default_rng(3)) for p in (given, given + shift))
    turn = matrix_of(turned, given)
    assert np.allclose((apart - turned).flatten(1).T, turn @ shift.flatten().numpy(), atol=1e-4)


def test_a_2d_patch_is_not_turned_about_an_axis_in_its_plane(liver: LabelTable) -> None:
    with pytest.raises(PipelineError, match=r"^about: .*name k too$"):
        Rotate(about=("i", "j")).bound(labels=liver, axes="RA")
    assert Rotate(about=("k",)).bound(labels=liver, axes="RA") == Rotate(about=("k",))
    assert Rotate(about=("i",)).bound(labels=liver, axes="RAS") == Rotate(about=("i",))


@pytest.mark.parametrize("parameters", [{"degrees": -1}, {"degrees": 181}, {"about": ()}, {"about": ("z",)}])
def test_wrong_parameters_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Rotate.model_validate(parameters)


def test_image_and_mask_stay_together(assert_together: Together) -> None:
    assert_together(Rotate())


def test_it_follows_from_the_generator(points: Points) -> None:
    given = points((6, 5, 4), (1.0, 2.0, 3.0))
    first, again, other = (Rotate()(given, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
