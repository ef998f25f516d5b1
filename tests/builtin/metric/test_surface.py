from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253 - a test module

from medseg.builtin.metric.label_pair import LabelPair
from medseg.builtin.metric.surface import surface_distances

Make = Callable[..., Any]


def by_hand(start: NDArray[np.bool_], end: NDArray[np.bool_], grid: Any) -> NDArray[np.float64]:
    """Every distance between surface voxels, and the smallest of each row."""
    places = [
        grid.to_world(
            np.argwhere(mask ^ ndimage.binary_erosion(mask, ndimage.generate_binary_structure(3, 1)))
        )
        for mask in (start, end)
    ]
    return np.asarray(np.linalg.norm(places[0][:, None] - places[1][None], axis=-1).min(axis=1))


@pytest.mark.parametrize("kind", ["straight", "oblique", "sheared"])
def test_distances_are_those_of_all_pairs_of_surface_voxels(
    kind: str, request: pytest.FixtureRequest
) -> None:
    grid = request.getfixturevalue(kind)((14, 12, 9), (0.7, 1.1, 3.0))
    rng = np.random.default_rng(5)
    one, two = (ndimage.gaussian_filter(rng.normal(size=grid.shape), 1.5) > 0.02 for _ in range(2))
    there, back = surface_distances(LabelPair("a", one, two, grid))
    assert there == pytest.approx(by_hand(one, two, grid), abs=1e-9)
    assert back == pytest.approx(by_hand(two, one, grid), abs=1e-9)


def test_the_border_of_the_image_is_a_surface(straight: Make) -> None:
    """A full image of 4 x 4 x 4 has 64 - 8 voxels at its border."""
    full = np.ones((4, 4, 4), bool)
    there, back = surface_distances(LabelPair("a", full, full, straight((4, 4, 4))))
    assert len(there) == len(back) == 56


def test_one_slice_has_the_outline_of_a_plane(straight: Make) -> None:
    """A square of 5 x 5 has 16 pixels along its edge; above and below it there is nothing."""
    square = np.zeros((9, 9, 1), bool)
    square[2:7, 2:7] = True
    there, _ = surface_distances(LabelPair("a", square, square, straight(square.shape)))
    assert len(there) == 16
