from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.postprocess.split import Split
from medseg.errors import GeometryError, UsageError
from medseg.memory import peak_bytes, release_freed_memory, reset_peak, resident_bytes
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation | Grid], Volume]


def checked(step: Split, before: Segmentation, image: Volume) -> Segmentation:
    after = Postprocessor.check(step(before, image), onto=before.grid)
    for label in before.labels:
        assert np.array_equal(after.mask(label.name), before.mask(label.name)), label.name
    return after


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5)])
def test_touching_balls_become_objects(
    spacing: tuple[float, float, float],
    oblique: MakeGrid,
    sphere: Sphere,
    labelled: Labelled,
    any_image: AnyImage,
) -> None:
    grid = oblique(tuple(round(n / s) for n, s in zip((60, 30, 30), spacing, strict=True)), spacing)
    middle = (np.asarray(grid.shape) - 1) / 2
    away = np.array([9 / spacing[0], 0, 0])
    one, other = sphere(grid, middle - away, 11), sphere(grid, middle + away, 10)
    before = labelled(grid, lesion=one | other)
    after = checked(Split(label="lesion"), before, any_image(grid))
    assert after.kinds == ("labels", "objects")
    assert [(thing.id, thing.label) for thing in after.objects] == [(1, "lesion"), (2, "lesion")]
    assert after.labels["lesion"].layer == 1
    assert not after.array[0].any()
    for number, own, rest in ((1, one & ~other, other & ~one), (2, other & ~one, one & ~other)):
        found = after.array[1] == number
        assert (found & own).sum() > 0.97 * own.sum()
        assert (found & rest).sum() < 0.03 * rest.sum()


def test_separation_and_depth_decide(
    straight: MakeGrid, sphere: Sphere, labelled: Labelled, any_image: AnyImage
) -> None:
    grid = straight((60, 30, 30))
    both = sphere(grid, (20, 15, 15), 10) | sphere(grid, (36, 15, 15), 10)  # a waist of radius 6
    before = labelled(grid, a=both)

    def count(**parameters: Any) -> int:
        return len(checked(Split(label="a", **parameters), before, any_image(grid)).objects)

    assert count(separation_mm=15) == 2
    assert count(separation_mm=18) == 1
    assert count(depth_mm=3) == 2
    assert count(depth_mm=5) == 1
    assert count(separation_mm=None) == 1


def test_a_convex_part_is_not_cut(straight: MakeGrid, labelled: Labelled, any_image: AnyImage) -> None:
    """A slanting rod has no waist, but voxels make its depth uneven: without `depth_mm` it is cut."""
    grid = straight((70, 40, 24), (1.0, 1.0, 1.5))
    away = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.centre
    along = np.array([1, 0.3, 0.17]) / np.linalg.norm([1, 0.3, 0.17])
    rod = np.linalg.norm(away - (away @ along)[..., None] * along, axis=-1) <= 6
    before = labelled(grid, a=rod & (np.abs(away @ along) < 30))
    assert len(checked(Split(label="a"), before, any_image(grid)).objects) == 1
    assert len(checked(Split(label="a", depth_mm=0), before, any_image(grid)).objects) > 1


def test_parts_are_objects_by_connectivity_and_other_labels_stay(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    a, b = np.zeros((2, 12, 6, 6), bool)
    a[0:2, 0, 0] = a[2:4, 1, 0] = a[6:9, 3:5, 3:5] = True
    b[10:] = True
    before = labelled(straight((12, 6, 6)), a=a, b=b)
    for connectivity, count in ((6, 3), (18, 2), (26, 2)):
        step = Split.model_validate({"label": "a", "connectivity": connectivity, "separation_mm": None})
        after = checked(step, before, any_image(before))
        assert len(after.objects) == count
        assert np.array_equal(after.array[0] == 2, b)
    small = checked(Split(label="a"), before, any_image(before))
    assert len(small.objects) == 2


def test_a_small_part_beside_a_large_one_is_an_object(
    straight: MakeGrid, sphere: Sphere, labelled: Labelled, any_image: AnyImage
) -> None:
    """The separation counts within a connected part, not between parts."""
    grid = straight((40, 24, 24))
    mask = sphere(grid, (14, 12, 12), 9)
    mask[25, 12, 12] = True
    before = labelled(grid, a=mask)
    assert len(checked(Split(label="a", separation_mm=30), before, any_image(grid)).objects) == 2


def test_a_second_split_and_more_objects_than_uint8_holds(any_image: AnyImage) -> None:
    grid = Grid((40, 30, 4), np.eye(4))
    array = np.zeros((2, 40, 30, 4), np.uint8)
    array[0, ::2, ::2, 0] = 1
    array[0, :, :, 3] = 2
    array[1, :3] = 3
    table = LabelTable((Label(1, "cell"), Label(2, "sheet"), Label(3, "other", layer=1)))
    before = Segmentation(array, grid, table)
    once = checked(Split(label="cell", separation_mm=None), before, any_image(grid))
    assert len(once.objects) == 300
    assert once.array.dtype == np.uint16
    twice = checked(Split(label="sheet"), once, any_image(grid))
    assert twice.kinds == ("labels", "labels", "objects", "objects")
    assert len(twice.objects) == 301


def test_no_voxel_one_slice_and_a_full_image(labelled: Labelled, any_image: AnyImage) -> None:
    flat = Grid((40, 20, 1), np.diag([1.0, 1.0, 5.0, 1.0]))
    i, j = np.indices((40, 20))
    discs = (np.hypot(i - 12, j - 10) <= 8) | (np.hypot(i - 26, j - 10) <= 8)
    before = labelled(flat, a=discs[..., None], b=np.zeros((40, 20, 1), bool))
    assert len(checked(Split(label="a"), before, any_image(flat)).objects) == 2
    assert checked(Split(label="b"), before, any_image(flat)).objects == ()
    full = labelled(Grid((6, 6, 6), np.eye(4)), a=np.ones((6, 6, 6), bool))
    assert len(checked(Split(label="a"), full, any_image(full)).objects) == 1


def test_it_takes_no_more_than_it_says() -> None:
    side = 60
    grid = Grid((side,) * 3, np.diag([1.5, 1.5, 1.5, 1.0]))
    array = np.ones((1, *grid.shape), np.uint8)
    array[0, ::7, ::5, ::3] = 0
    before = Segmentation(array, grid, LabelTable((Label(1, "a"),)))
    image = Volume(np.zeros((1, *grid.shape), np.int16), grid)
    step = Split(label="a")
    step(before.replace(array=array[:, :9, :9, :9], grid=Grid((9, 9, 9), grid.affine)), image)  # libraries
    release_freed_memory()
    reset_peak()
    start = resident_bytes()
    said = step.work_bytes(before, image)
    step(before, image)
    assert peak_bytes() - start <= said <= 130 * side**3 + (64 << 20)


def test_what_cannot_be_meant_is_refused(
    sheared: MakeGrid, labelled: Labelled, objects: Segmentation, any_image: AnyImage
) -> None:
    full = np.ones((4, 4, 4), bool)
    with pytest.raises(GeometryError, match="split needs axes at right angles"):
        Split(label="a")(labelled(sheared((4, 4, 4)), a=full), any_image(objects))
    with pytest.raises(GeometryError, match="separation_mm of split needs a scale"):
        Split(label="a")(labelled(Grid((4, 4, 4), np.eye(4), "px"), a=full), any_image(objects))
    with pytest.raises(UsageError, match="layer of objects"):
        Split(label="nucleus")(objects, any_image(objects))
    with pytest.raises(UsageError, match="no label 'b'"):
        Split(label="b")(labelled(Grid((4, 4, 4), np.eye(4)), a=full), any_image(objects))
    for parameters in ({}, {"label": "a", "separation_mm": 0}, {"label": "a", "depth_mm": -1}):
        with pytest.raises(ValidationError):
            Split.model_validate(parameters)
