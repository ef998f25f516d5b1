"""Labels onto another grid: copied, nearest, cut at the rim, refused beyond it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.io.masks.place import placed
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

GRID = Grid((8, 7, 6), np.diag([2.0, 2.0, 2.0, 1.0]))


def shifted(voxels: float, shape: tuple[int, int, int] = (8, 7, 6), spacing: float = 2.0) -> Grid:
    """Along the first axis."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[0, 3] = 2.0 * voxels
    return Grid(shape, affine)


def labelled(where: NDArray[np.bool_], grid: Grid = GRID) -> Segmentation:
    table = LabelTable((Label(1, "liver"),))
    return Segmentation(where.astype(np.uint8)[None], grid, table)


def one_voxel(i: int) -> NDArray[np.bool_]:
    where = np.zeros(GRID.shape, bool)
    where[i, 3, 3] = where[4, 3, 3] = True
    return where


def put(segmentation: Segmentation, onto: Grid) -> tuple[NDArray[np.bool_], list[str]]:
    notes: list[str] = []
    return placed(segmentation, onto, "seg.nrrd", notes.append).mask("liver"), notes


def test_whole_voxels_are_copied() -> None:
    where = np.random.default_rng(0).integers(0, 2, GRID.shape).astype(bool)
    where[:2] = False
    mask, notes = put(labelled(where), shifted(2))
    assert notes == []
    assert np.array_equal(mask[:-2], where[2:])
    assert np.array_equal(put(labelled(where), GRID.reoriented("PIR"))[0].sum(), where.sum())


@pytest.mark.parametrize(("first", "note"), [(1, []), (0, ["1 labelled voxels, up to one voxel outside"])])
def test_a_rim_of_one_voxel_is_cut_off_and_told(first: int, note: list[str]) -> None:
    mask, notes = put(labelled(one_voxel(first)), shifted(1))
    assert [told[: len(wanted)] for told, wanted in zip(notes, note, strict=True)] == note
    assert mask.sum() == 1 + first


def test_more_than_a_rim_is_refused() -> None:
    with pytest.raises(
        GeometryError, match=r"1 of 2 labelled voxels lie outside the image, up to 1\.5 voxels"
    ):
        put(labelled(one_voxel(0)), shifted(2))
    with pytest.raises(GeometryError, match="none of its 2 labelled voxels lies in the image"):
        put(labelled(one_voxel(0)), shifted(20))


def test_nothing_labelled_is_nowhere_outside() -> None:
    mask, notes = put(labelled(np.zeros(GRID.shape, bool)), shifted(20))
    assert notes == []
    assert not mask.any()


def test_other_voxels_take_the_nearest_and_a_label_too_small_is_named() -> None:
    coarse = shifted(0.25, (4, 4, 3), 4.0)
    mask, notes = put(labelled(one_voxel(5)), coarse)
    assert notes[0] == "its voxels (2 x 2 x 2 mm) are not the image's (4 x 4 x 4): nearest labels are taken"
    assert notes[1:] == ["no voxel of the image lies in liver, too small for its grid"]
    assert not mask.any()
    fine, notes = put(labelled(np.ones(GRID.shape, bool)), shifted(0, (15, 13, 11), 1.0))
    assert fine.all()
    assert len(notes) == 1
    assert notes[0].endswith("nearest labels are taken")


def test_millimetres_are_not_pixels() -> None:
    with pytest.raises(GeometryError, match="labels in mm cannot be placed on an image in px"):
        put(labelled(one_voxel(1)), Grid((8, 7, 6), np.eye(4), unit="px"))
