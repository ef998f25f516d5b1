import tracemalloc
from typing import ClassVar

import numpy as np
import pytest
import torch  # noqa: TID253
from medseg_instances.rays import directions
from medseg_instances.star_convex import StarConvex
from medseg_instances.star_shapes import star
from pydantic import ValidationError
from touching import average_precision, balls, decoded, deep, flat, ideal, reference

from medseg.errors import PipelineError
from medseg.inference import ObjectSink, on_grid_bytes
from medseg.segmentation import Segmentation
from medseg.volume import Grid


class Small(ObjectSink):
    """Blocks of a few voxels."""

    most_voxels: ClassVar[int] = 3000


def head(like: Segmentation, **parameters: object) -> StarConvex:
    """One for an image of so many axes."""
    return StarConvex.model_validate({"axes": 2 if like.grid.shape[2] == 1 else 3, **parameters})


@pytest.mark.parametrize("wanted", [flat(), deep()], ids=["2-D", "3-D"])
def test_objects_come_back_from_their_target(wanted: Segmentation) -> None:
    """Discs and balls side by side, with labels that decide at the boundary: voxel by voxel, nearly."""
    found = decoded(head(wanted), ideal(head(wanted), wanted), wanted)
    assert average_precision(found, wanted, 0.95) == {"round": 1.0, "long": 1.0}
    assert not found.array[wanted.array == 0].any()
    assert {thing.label for thing in found.objects} == {"round", "long"}


@pytest.mark.parametrize(("wanted", "least"), [(flat(), 0.85), (deep(), 0.7)], ids=["2-D", "3-D"])
def test_shapes_alone_are_nearly_the_objects(wanted: Segmentation, least: float) -> None:
    """Where objects that touch cut each other, corners are rounded off: more so where rays are few."""
    shapes = head(wanted, refine=False)
    found = decoded(shapes, ideal(shapes, wanted), wanted)
    assert average_precision(found, wanted, least) == {"round": 1.0, "long": 1.0}


def test_channels_are_labels_depth_and_rays() -> None:
    wanted = reference(balls((41, 41, 1), [(20, 20)], [10]))
    stars = head(wanted, rays=16)
    target = stars.target(wanted)
    assert target.shape == (stars.channels(wanted.labels), 41, 41, 1) == (20, 41, 41, 1)
    assert np.array_equal(target[:3].sum(axis=0), np.ones((41, 41, 1)))
    assert target[3, 20, 20, 0] == 1
    assert np.abs(target[4:, 20, 20, 0] - 10).max() <= 0.5
    assert not target[3:, wanted.array[0] == 0].any()


def test_objects_that_the_image_cuts_come_back() -> None:
    """Rays that leave it are negative in the target, and as long as they are at least to a network."""
    wanted = reference(balls((30, 30, 1), [(2, 15), (27, 27), (15, 28)], [9, 6, 4]))
    stars = head(wanted)
    target = stars.target(wanted)
    assert (target[4:, 2, 15] < 0).any()
    assert (stars.logits(target)[4:] >= 0).all()
    found = decoded(stars, stars.logits(target), wanted)
    assert average_precision(found, wanted, 0.85) == {"round": 1.0, "long": 1.0}


def test_where_slices_are_thick_rays_are_in_mm() -> None:
    place = np.indices((40, 24, 14)) * np.reshape([1.0, 1.0, 2.0], (3, 1, 1, 1))
    ids = np.zeros((40, 24, 14), np.uint32)
    for n, at in enumerate((11, 28), start=1):
        ids[((place - np.reshape([at, 12, 12], (3, 1, 1, 1))) ** 2).sum(axis=0) <= 81] = n
    wanted = reference(ids, np.diag([0.5, 0.5, 1.0, 1.0]))
    shapes = head(wanted, refine=False)
    assert shapes.target(wanted)[4:, 11, 12, 6] == pytest.approx(9, abs=1)
    assert average_precision(decoded(shapes, ideal(shapes, wanted), wanted), wanted, 0.8)["round"] == 1


@pytest.mark.parametrize("axes", [2, 3])
def test_a_single_voxel_is_an_object(axes: int) -> None:
    ids = np.zeros((12, 12, 1 if axes == 2 else 12), np.uint32)
    ids[5, 5, ids.shape[2] // 2] = 1
    wanted = reference(ids)
    stars = head(wanted, least_voxels=1)
    assert np.array_equal(decoded(stars, ideal(stars, wanted), wanted).array, wanted.array)


@pytest.mark.parametrize("shape", [(20, 18, 1), (12, 10, 8)], ids=["2-D", "3-D"])
def test_nothing_gives_nothing(shape: tuple[int, int, int]) -> None:
    empty = reference(np.zeros(shape, np.uint32))
    assert decoded(head(empty), ideal(head(empty), empty), empty).objects == ()


def test_a_few_voxels_are_no_object() -> None:
    wanted = reference(balls((40, 40, 1), [(10, 10), (30, 30)], [6, 1]))
    logits = ideal(head(wanted), wanted)
    assert len(decoded(head(wanted, least_voxels=6), logits, wanted).objects) == 1
    assert len(decoded(head(wanted, least_voxels=5), logits, wanted).objects) == 2


@pytest.mark.parametrize(("shape", "spread"), [((150, 140, 1), 16), ((40, 38, 36), 16)], ids=["2-D", "3-D"])
def test_blocks_give_what_the_whole_gives(shape: tuple[int, int, int], spread: int) -> None:
    """Discs side by side, over every border between blocks, of a network that is not sure."""
    axes = [range(6, n, spread) if n > 1 else (0,) for n in shape]
    centres = [(a, b, c) for a in axes[0] for b in axes[1] for c in axes[2]]
    wanted = reference(balls(shape, centres, [spread * 0.51] * len(centres)))
    stars = head(wanted, size=24, rays=32)
    logits = ideal(stars, wanted)
    logits[3:] += np.random.default_rng(0).normal(0, 0.3, logits[3:].shape)
    whole = decoded(stars, logits, wanted)
    tiled = decoded(stars, logits, wanted, Small)
    assert average_precision(whole, wanted, 0.7) == {"round": 1.0, "long": 1.0}
    assert np.array_equal(whole.array, tiled.array)
    assert whole.objects == tiled.objects


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_a_mirrored_image_s_rays_are_turned_back(axes: tuple[int, ...]) -> None:
    wanted = deep() if 2 in axes else flat()
    stars = head(wanted)
    other = reference(np.flip(wanted.array[0], axes).copy())
    back = stars.unmirror(ideal(stars, other), axes)
    logits = ideal(stars, wanted)
    assert np.allclose(back, logits, atol=1e-3)
    assert np.array_equal(decoded(stars, back, wanted).array, decoded(stars, logits, wanted).array)


def test_a_ray_changes_places_with_its_mirror_image() -> None:
    stars = StarConvex(axes=2, rays=8)
    logits = np.zeros((11, 4, 4, 1), np.float32)
    logits[3:, 0, 1, 0] = np.arange(8)  # two labels of softmax, the depth, rays from + i by way of + j
    turned = stars.unmirror(logits, (0,))[3:, 3, 1, 0]
    assert turned.tolist() == [4, 3, 2, 1, 0, 7, 6, 5]
    assert np.allclose(directions(2, 8)[turned.astype(int)], directions(2, 8) * [-1, 1], atol=1e-6)


def test_another_number_of_axes_is_refused_in_a_line() -> None:
    pictures, space = StarConvex(axes=2), StarConvex()
    with pytest.raises(PipelineError, match=r"axes: 2 .* the image has 40 slices; write axes: 3"):
        pictures.target(deep())
    with pytest.raises(PipelineError, match=r"flat; write head: \{stardist: \{axes: 2\}\}"):
        space.target(flat())
    grid = Grid((8, 8, 3), np.eye(4))
    with pytest.raises(PipelineError, match="the image has 3 slices"):
        pictures.work_bytes(flat().labels, grid)
    with pytest.raises(PipelineError, match="the image has 3 slices"):
        pictures.sink(flat().labels, grid=grid, axis=2, onto=grid)


@pytest.mark.parametrize(("axes", "rays", "multiple"), [(2, 30, 4), (3, 36, 8)])
def test_rays_without_mirror_images_are_refused(axes: int, rays: int, multiple: int) -> None:
    with pytest.raises(ValidationError, match=f"rays: {rays} is no multiple of {multiple}"):
        StarConvex.model_validate({"axes": axes, "rays": rays})


@pytest.mark.parametrize(
    ("side", "size", "rays", "apart"), [(96, 6, 96, 8), (48, 12, 512, 12), (40, 16, 32, 8)]
)
def test_memory_is_what_was_said(side: int, size: int, rays: int, apart: int) -> None:
    """Of shapes as large as they may be, closer than they may stay, over every face of an image full of them.

    Scores are counted by whoever read them.
    """
    stars = StarConvex(size=size, rays=rays)
    logits = np.full((4 + rays, side, side, side), size, np.float32)
    logits[:3] = np.reshape([-20, 20, -20], (3, 1, 1, 1))
    logits[3] = np.cos(np.pi * (np.indices((side,) * 3) % apart - apart // 2) / apart).prod(axis=0)
    tiny = reference(np.zeros((12, 10, 8), np.uint32))
    decoded(stars, ideal(stars, tiny), tiny)  # libraries are loaded
    star.cache_clear()
    tracemalloc.start()
    found = stars.decode(logits)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.anchors) > 2
    grid = Grid((side, side, side), np.eye(4))
    assert most + logits.nbytes < stars.work_bytes(tiny.labels, grid) - on_grid_bytes(grid)


def test_batches_of_pictures_have_targets() -> None:
    wanted = flat()
    stars = head(wanted)
    ids = torch.from_numpy(wanted.array[:, :, :, 0].astype(np.int64))[None]
    values = torch.from_numpy(wanted.by_label().array[:, :, :, 0].astype(np.int64))[None]
    found = stars.targets(values, wanted.labels, spacing=(1.0, 1.0), objects=ids)
    assert np.array_equal(found[0].numpy(), stars.target(wanted)[..., 0])
