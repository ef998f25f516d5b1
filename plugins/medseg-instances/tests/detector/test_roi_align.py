"""RoIAlign: exact on a ramp, and as torchvision defines it, by loops over bins, samples and corners."""

import itertools
import math

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from medseg_instances.detector.roi_align import pooled, roi_align
from numpy.typing import NDArray


def ramps(size: tuple[int, ...], count: int) -> torch.Tensor:
    """`[count, D, *size]`: along each axis how far a place's middle is from the first face."""
    lines = [torch.arange(n, dtype=torch.float64) + 0.5 for n in size]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))[None].repeat(count, 1, *[1] * len(size))


def inner_boxes(size: tuple[int, ...], count: int) -> torch.Tensor:
    """Boxes that stay half a place away from the faces."""
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand((2, count, len(size)), generator=generator, dtype=torch.float64)
    most = torch.tensor(size, dtype=torch.float64) - 1
    return torch.cat([corners.amin(0) * most + 0.5, corners.amax(0) * most + 0.5], 1)


@pytest.mark.parametrize(("size", "samples"), [((9, 13), 1), ((9, 13), 3), ((7, 6, 9), 2)])
def test_a_ramp_is_read_exactly(size: tuple[int, ...], samples: int) -> None:
    """The mean of a linear function over a bin is its value in the middle of the bin."""
    boxes, bins, dims = inner_boxes(size, 20), 5, len(size)
    image = torch.arange(20) % 2
    found = roi_align(ramps(size, 2), boxes, image, bins=bins, samples=samples)
    assert found.shape == (20, dims, *(bins,) * dims)
    middle = (torch.arange(bins, dtype=torch.float64) + 0.5) / bins
    for axis in range(dims):
        low, high = boxes[:, axis, None], boxes[:, dims + axis, None]
        wanted = (low + middle * (high - low)).reshape(-1, *(bins if a == axis else 1 for a in range(dims)))
        assert torch.allclose(found[:, axis], wanted.expand_as(found[:, axis]), atol=1e-10)


def value(features: NDArray[np.float64], point: list[float]) -> float:
    """At a place, of which middles have whole numbers: linear between, as bilinear_interpolate there.

    0 farther out than -1 or the size; up to there the value of the outermost place.
    """
    weights: list[list[tuple[int, float]]] = []
    for at, size in zip(point, features.shape, strict=True):
        if at < -1 or at > size:
            return 0.0
        inside = max(at, 0.0)
        low = int(inside)
        if low >= size - 1:
            weights.append([(size - 1, 1.0)])
        else:
            weights.append([(low, 1 - (inside - low)), (low + 1, inside - low)])
    return sum(
        float(features[tuple(place for place, _ in corner)]) * math.prod(share for _, share in corner)
        for corner in itertools.product(*weights)
    )


def by_definition(
    features: NDArray[np.float64], box: list[float], bins: int, samples: int
) -> NDArray[np.float64]:
    """One channel of one image: `aligned=True`, `sampling_ratio=samples`."""
    dims = features.ndim
    start = [low - 0.5 for low in box[:dims]]
    side = [(high - low) / bins for low, high in zip(box[:dims], box[dims:], strict=True)]
    found = np.zeros((bins,) * dims)
    for place in np.ndindex(found.shape):
        values = []
        for sample in itertools.product(range(samples), repeat=dims):
            point = [start[a] + (place[a] + (sample[a] + 0.5) / samples) * side[a] for a in range(dims)]
            values.append(value(features, point))
        found[place] = sum(values) / len(values)
    return found


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("size", [(6, 5), (4, 5, 3)])
def test_it_is_what_torchvision_defines(size: tuple[int, ...], samples: int) -> None:
    """Boxes inside, across faces, beyond them, and empty ones."""
    dims, generator = len(size), torch.Generator().manual_seed(5)
    features = torch.rand((2, 2, *size), generator=generator, dtype=torch.float64)
    low = torch.rand((8, dims), generator=generator, dtype=torch.float64) * 9 - 3
    boxes = torch.cat([low, low + torch.rand((8, dims), generator=generator, dtype=torch.float64) * 5], 1)
    boxes[6, dims:] = boxes[6, :dims]
    boxes[7] = torch.tensor([0.0] * dims + [float(n) for n in size])
    image = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    found = roi_align(features, boxes, image, bins=3, samples=samples)
    for number, box in enumerate(boxes.tolist()):
        for channel in range(2):
            own = features[int(image[number]), channel].numpy()
            wanted = by_definition(own, box, 3, samples)
            assert np.allclose(found[number, channel].numpy(), wanted, atol=1e-10)


def test_its_gradient_is_right() -> None:
    features = torch.rand((1, 1, 3, 4), dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0.2, 0.3, 2.1, 3.3], [1.0, -2, 2, 1]], dtype=torch.float64)
    image = torch.zeros(2, dtype=torch.long)
    assert torch.autograd.gradcheck(lambda it: roi_align(it, boxes, image, bins=2, samples=2), features)


def test_no_box_no_features() -> None:
    found = roi_align(torch.rand(1, 3, 4, 4, 4), torch.zeros(0, 6), torch.zeros(0).long(), bins=2, samples=1)
    assert found.shape == (0, 3, 2, 2, 2)


def test_a_box_is_read_where_anchors_are_as_large() -> None:
    """Levels hold their own number; anchors have 4 strides: 8, 16 and 32 voxels."""
    levels = [torch.full((1, 1, 64 // stride, 64 // stride), float(stride)) for stride in (2, 4, 8)]
    side = torch.tensor([1.0, 8, 11, 12, 16, 22, 23, 32, 60])
    boxes = torch.stack([torch.zeros(9), torch.zeros(9), side, side], 1)
    strides = [(2, 2), (4, 4), (8, 8)]
    found = pooled(
        levels, boxes, torch.zeros(9).long(), strides=strides, size=4.0, bins=1, samples=1
    ).flatten()
    assert found.tolist() == [2, 2, 2, 4, 4, 4, 8, 8, 8]


@pytest.mark.parametrize(
    "strides",
    [[(2, 2), (8, 8), (16, 16)], [(1, 1, 1), (2, 2, 1), (4, 4, 1)], [(2, 2), (2, 1), (6, 3)]],
    ids=["of 4", "none along an axis", "of 3"],
)
def test_that_is_so_with_strides_other_than_two(strides: list[tuple[int, ...]]) -> None:
    """A box as large as a level's anchors, 4 strides along each axis, is read on that level."""
    dims = len(strides[0])
    levels = [torch.full((1, 1, *(16,) * dims), float(number)) for number in range(3)]
    boxes = torch.tensor([[0.0] * dims + [4.0 * n for n in stride] for stride in strides])
    found = pooled(levels, boxes, torch.zeros(3).long(), strides=strides, size=4.0, bins=1, samples=1)
    assert found.flatten().tolist() == [0, 1, 2]


def test_thick_slices_are_read_where_they_lie() -> None:
    """Strides of 2, 2 and 1, then 4, 4 and 2: the middle of a box is read in its middle on either level."""
    strides = [(2, 2, 1), (4, 4, 2)]
    steps = [torch.tensor(stride, dtype=torch.float64).reshape(1, 3, 1, 1, 1) for stride in strides]
    levels = [ramps((12, 12, 8), 1) * steps[0], ramps((6, 6, 4), 1) * steps[1]]  # in voxels
    boxes = torch.tensor([[3.0, 5, 2, 11, 12, 6], [2, 4, 1, 20, 19, 7]], dtype=torch.float64)
    found = pooled(levels, boxes, torch.zeros(2).long(), strides=strides, size=4.0, bins=1, samples=2)
    wanted = [[7.0, 8.5, 4.0], [11.0, 11.5, 4.0]]
    assert torch.allclose(found.flatten(1), torch.tensor(wanted, dtype=torch.float64))


def test_places_of_coarser_levels_are_where_their_voxels_are() -> None:
    levels = [2 * ramps((16, 16), 1), 4 * ramps((8, 8), 1)]  # in voxels
    boxes = torch.tensor([[4.0, 6, 12, 10], [3, 5, 23, 25]], dtype=torch.float64)
    found = pooled(
        levels, boxes, torch.zeros(2).long(), strides=[(2, 2), (4, 4)], size=4.0, bins=1, samples=2
    )
    assert torch.allclose(found[..., 0, 0], torch.tensor([[8.0, 8], [13, 15]], dtype=torch.float64))
