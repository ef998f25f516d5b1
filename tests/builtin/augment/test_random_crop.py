from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.builtin.augment.random_crop import RandomCrop
from medseg.steps import SpatialAugmentation

Points = Callable[[Sequence[int], Sequence[float]], torch.Tensor]
Together = Callable[[SpatialAugmentation], None]


def shift_of(moved: torch.Tensor, points: torch.Tensor) -> NDArray[np.float64]:
    """The one way in mm that all points went; fails if they went different ways."""
    ways = (moved - points).flatten(1).double().numpy()
    assert np.allclose(ways, ways[:, :1], atol=1e-4)
    return np.asarray(ways.mean(axis=1))


@pytest.mark.parametrize(("shape", "spacing"), [((10, 20, 5), (2.0, 0.5, 5.0)), ((12, 8), (1.0, 3.0))])
def test_the_patch_moves_by_up_to_a_share_of_its_sides(
    points: Points, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    given = points(shape, spacing)
    shifts = [shift_of(RandomCrop(share=0.3)(given, np.random.default_rng(s)), given) for s in range(300)]
    shares = np.array(shifts) / (np.array(shape) * spacing)
    assert np.abs(shares).max() <= 0.3001
    assert np.allclose(shares.std(axis=0), 0.3 / np.sqrt(3), rtol=0.12)
    assert np.abs(np.corrcoef(shares.T) - np.eye(len(shape))).max() < 0.2  # each axis by itself


def test_what_lay_at_the_centre_stays_in_the_patch(points: Points) -> None:
    given = points((10, 12, 6), (2.0, 0.5, 5.0))
    half = torch.tensor([1.0, 0.25, 2.5])  # of a voxel
    for seed in range(50):
        moved = RandomCrop(share=0.49)(given, np.random.default_rng(seed)).flatten(1)
        assert (moved.min(1).values <= half).all()
        assert (moved.max(1).values >= -half).all()


def test_it_follows_the_sides_of_a_patch_that_is_turned_and_scaled(points: Points) -> None:
    given = points((10, 20, 5), (2.0, 0.5, 5.0))
    turn = torch.tensor([[0.0, -2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    turned = torch.einsum("ab,bijk->aijk", turn, given)
    plain, after = (shift_of(RandomCrop()(p, np.random.default_rng(4)), p) for p in (given, turned))
    assert np.allclose(after, turn.numpy() @ plain, atol=1e-4)


def test_no_share_changes_nothing(points: Points) -> None:
    given = points((6, 5, 4), (1.0, 2.0, 3.0))
    before = given.clone()
    moved = RandomCrop(share=0)(given, np.random.default_rng(0))
    assert torch.equal(moved, given)
    moved += 1
    assert torch.equal(given, before)


def test_an_axis_of_one_voxel_stays(points: Points) -> None:
    given = points((6, 5, 1), (1.0, 2.0, 3.0))
    assert shift_of(RandomCrop()(given, np.random.default_rng(0)), given)[2] == 0


@pytest.mark.parametrize("share", [-0.1, 0.5])
def test_wrong_shares_are_refused(share: float) -> None:
    with pytest.raises(ValidationError):
        RandomCrop(share=share)


def test_image_and_mask_stay_together(assert_together: Together) -> None:
    assert_together(RandomCrop())


def test_it_follows_from_the_generator(points: Points) -> None:
    given = points((6, 5, 4), (1.0, 2.0, 3.0))
    first, again, other = (RandomCrop()(given, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
