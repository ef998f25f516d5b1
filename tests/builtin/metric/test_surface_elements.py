from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from metric_masks import blob, tensors
from numpy.typing import NDArray

from medseg.builtin.metric.label_pair import LabelPair
from medseg.builtin.metric.surface_elements import Surface, surface_parts
from medseg.volume import Grid

Make = Callable[..., Any]


def area(mask: NDArray[np.bool_], grid: Grid) -> float:
    (part, _) = surface_parts(LabelPair("a", mask, mask, grid))
    return float(part.sizes.sum())


@pytest.mark.parametrize("kind", ["straight", "oblique", "sheared"])
def test_the_area_is_that_of_the_surface_laid_through_the_mask(
    kind: str, request: pytest.FixtureRequest
) -> None:
    from skimage.measure import marching_cubes, mesh_surface_area

    grid = request.getfixturevalue(kind)((20, 18, 16), (0.7, 1.1, 3.0))
    mask = blob(np.random.default_rng(5), grid.shape)
    corners, faces, _, _ = marching_cubes(mask.astype(np.float32), 0.5)
    expected = mesh_surface_area(grid.to_world(corners), faces)
    assert area(mask, grid) == pytest.approx(
        expected, rel=0.005
    )  # cubes alone cannot know how doubt is settled


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 5.0)], ids=["cubes", "slices"])
def test_the_area_of_a_box(straight: Make, spacing: tuple[float, float, float]) -> None:
    """Faces as large as they are, but for their edges: the surface cuts them, half a voxel at each end."""
    grid = straight((44, 34, 24), spacing)
    mask = np.zeros(grid.shape, bool)
    mask[2:42, 2:32, 2:22] = True
    a, b, c = np.array([40, 30, 20]) * spacing
    exact = 2 * (a * b + b * c + a * c)
    assert area(mask, grid) == pytest.approx(exact, rel=0.04)
    assert area(mask, grid) < exact


def test_the_area_of_a_sphere(oblique: Make, sphere: Make) -> None:
    """Steps of voxels have about a tenth more area than what they follow, whatever the voxels' shape."""
    areas = []
    for spacing in ((1.0, 1.0, 1.0), (1.0, 1.0, 2.0)):
        grid = oblique(np.ceil(np.array([48, 48, 48]) / spacing).astype(int), spacing)
        areas.append(area(sphere(grid, (np.asarray(grid.shape) - 1) / 2, 20), grid))
    assert areas == pytest.approx([4 * np.pi * 400 * 1.1] * 2, rel=0.04)
    assert areas[0] == pytest.approx(areas[1], rel=0.04)


@pytest.mark.parametrize(
    ("picture", "length"),
    [
        ([[1]], 4 * np.hypot(1, 2) / 2),
        ([[1, 1, 1]], 2 * 2 * 2 + 4 * np.hypot(1, 2) / 2),
        ([[1], [1], [1]], 2 * 2 * 1 + 4 * np.hypot(1, 2) / 2),
        ([[1, 0], [0, 1]], 8 * np.hypot(1, 2) / 2),
        ([[1, 1], [1, 0]], 2 + 1 + 6 * np.hypot(1, 2) / 2),
    ],
    ids=["pixel", "row", "column", "diagonal", "corner"],
)
@pytest.mark.parametrize("flat", [0, 1, 2])
def test_an_image_of_one_slice_has_an_outline(
    straight: Make, picture: list[list[int]], length: float, flat: int
) -> None:
    """Pixels of 1 x 2 mm; corners are cut, each by half the diagonal of a pixel."""
    mask = np.expand_dims(np.pad(np.array(picture, bool), 2), flat)
    grid = straight(mask.shape, np.insert([1.0, 2.0], flat, 7.0))
    assert area(mask, grid) == pytest.approx(length)


def test_distances_are_between_elements(straight: Make) -> None:
    """A wall that is moved by three slices of 5 mm: all of its face is 15 mm away."""
    grid = straight((12, 12, 12), (1, 1, 5))
    one, two = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    one[:, :, :4], two[:, :, :7] = True, True
    there, back = surface_parts(LabelPair("a", one, two, grid))
    assert there.distances.max() < 15  # the sides of the higher wall are nearer
    assert back.distances.max() == pytest.approx(15)
    assert there.sizes.sum() < back.sizes.sum()


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI gives it itself
def test_areas_and_distances_are_those_of_monai(straight: Make) -> None:
    """Its table of areas is that of the library surface-distance."""
    from monai.metrics.utils import get_edge_surface_distance

    spacing = (0.7, 1.1, 3.0)
    rng = np.random.default_rng(8)
    one, two = blob(rng, (20, 18, 16)), blob(rng, (20, 18, 16))
    first, second = (each[0, 0].bool() for each in tensors(one, two))
    edges, distances, areas = get_edge_surface_distance(
        first, second, spacing=spacing, use_subvoxels=True, symmetric=True
    )
    parts = surface_parts(LabelPair("a", one, two, straight(one.shape, spacing)))
    for part, edge, distance, sizes in zip(parts, edges, distances, areas, strict=True):
        assert np.sort(part.distances) == pytest.approx(np.sort(distance.numpy()), abs=1e-4)
        assert part.sizes.sum() == pytest.approx(float(sizes[edge].sum()), rel=0.005)


def test_patches_lie_where_the_surface_is(oblique: Make, sphere: Make) -> None:
    """Spheres 6 mm apart: elements at corners are up to half a voxel off it, on the near side too."""
    grid = oblique((62, 62, 62))
    small, large = (sphere(grid, (30.5, 30.5, 30.5), radius) for radius in (18, 24))
    pair = LabelPair("a", small, large, grid)
    means = {}
    surfaces: tuple[Surface, ...] = ("patches", "corners", "voxels")
    for surface in surfaces:
        part, _ = surface_parts(pair, surface)
        means[surface] = np.average(part.distances, weights=part.sizes)
    assert means["patches"] == pytest.approx(6, abs=0.2)
    assert means["corners"] < 5.6
    assert means["voxels"] < 5.8


def test_patches_of_one_mask_have_no_distance(sheared: Make) -> None:
    mask = blob(np.random.default_rng(2), (16, 14, 12))
    for shape in (mask.shape, (16, 14, 1)):
        some = mask[:, :, : shape[2]] if shape[2] > 1 else mask[:, :, 6:7]
        parts = surface_parts(LabelPair("a", some, some, sheared(shape, (1, 1, 3))), "patches")
        assert all(part.distances.max() == 0 for part in parts)


def test_voxels_count_one_each(straight: Make) -> None:
    full = np.ones((4, 4, 4), bool)
    part, _ = surface_parts(LabelPair("a", full, full, straight((4, 4, 4))), "voxels")
    assert part.sizes.tolist() == [1.0] * 56
