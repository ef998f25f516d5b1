import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import ORIENTATIONS, affine_of, grids, moved, numbered, organs, rotation, whole_voxel_moves

from medseg.errors import GeometryError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Planes, Source, Volume, read_only

steady = settings(max_examples=100, deadline=None, derandomize=True)
Steps = list[tuple[str, Any]]


def upright(shape: tuple[int, int, int] = (5, 6, 7), spacing: Any = (1.0, 1.0, 1.0)) -> Grid:
    return Grid(shape, np.diag([*spacing, 1.0]))


def places(volume: Volume) -> dict[int, Any]:
    """Where each number of a `numbered` image lies in the world."""
    index = np.argwhere(volume.array[0] > 0)
    return dict(zip(volume.array[0][tuple(index.T)].tolist(), volume.grid.to_world(index), strict=True))


# --- whole-voxel moves -----------------------------------------------------------------------------------


@steady
@given(grid=grids(), steps=whole_voxel_moves(croppable=False))
def test_any_chain_of_turns_and_pads_comes_back_bit_for_bit(grid: Grid, steps: Steps) -> None:
    volume = original = numbered(grid)
    for step in steps:
        volume = volume.onto(moved(volume.grid, step), fill=0)
    back = volume.onto(grid, fill=-1)
    assert back.array.dtype == original.array.dtype
    assert back.array.tobytes() == original.array.tobytes()
    assert back.grid == grid


@steady
@given(grid=grids(), steps=whole_voxel_moves())
def test_what_a_chain_with_crops_kept_comes_back_and_nothing_else(grid: Grid, steps: Steps) -> None:
    volume = original = numbered(grid)
    for step in steps:
        volume = volume.onto(moved(volume.grid, step), fill=0)
    kept = np.isin(original.array, volume.array)
    back = volume.onto(grid, fill=0)
    np.testing.assert_array_equal(back.array, np.where(kept, original.array, 0))


@steady
@given(grid=grids(), steps=whole_voxel_moves())
def test_every_voxel_keeps_its_place_in_the_world(grid: Grid, steps: Steps) -> None:
    volume = numbered(grid)
    before = places(volume)
    for step in steps:
        volume = volume.onto(moved(volume.grid, step), fill=0)
    for number, place in places(volume).items():
        np.testing.assert_allclose(place, before[number], atol=1e-9)


@steady
@given(grid=grids(), steps=whole_voxel_moves())
def test_every_channel_is_carried_along(grid: Grid, steps: Steps) -> None:
    volume = numbered(grid, channels=2)
    apart = int(np.prod(grid.shape))
    for step in steps:
        volume = volume.onto(moved(volume.grid, step), fill=0)
    first, second = volume.array
    np.testing.assert_array_equal(np.where(first > 0, first + apart, 0), second)


@steady
@given(grid=grids(), amount=st.tuples(*[st.integers(0, 3)] * 6))
def test_padding_holds_the_fill_and_only_the_fill(grid: Grid, amount: tuple[int, ...]) -> None:
    volume = numbered(grid)
    padded = volume.pad(amount[:3], amount[3:], fill=-5)
    assert padded.grid.shape == tuple(n + amount[a] + amount[3 + a] for a, n in enumerate(grid.shape))
    numbers = np.sort(padded.array[padded.array != -5])
    np.testing.assert_array_equal(numbers, np.sort(volume.array, axis=None))
    assert volume.pad(amount[:3], amount[3:]).array.min() == 1  # by default the smallest value present
    end = [n + m for n, m in zip(amount[:3], grid.shape, strict=True)]
    assert volume.pad(amount[:3], amount[3:]).crop(amount[:3], end).grid.same_as(grid)


def test_every_channel_is_padded_with_its_own_minimum() -> None:
    """Air is -1024 in a CT channel and 0 in a PET channel."""
    grid = Grid((2, 2, 2), np.eye(4))
    both = Volume(np.stack([np.full(grid.shape, -1024.0), np.zeros(grid.shape)]), grid, ("ct", "pet"))
    padded = both.pad((1, 0, 0), (0, 0, 0))
    assert [set(np.unique(channel)) for channel in padded.array] == [{-1024.0}, {0.0}]


def test_a_flip_that_forgets_to_move_the_origin_is_caught() -> None:
    # The negative control of the tests above: the same values on a grid that is wrong by one voxel.
    volume = numbered(upright())
    wrong = volume.grid.affine.copy()
    wrong[0, 0], wrong[0, 3] = -1, 5  # 4 would be right
    back = Volume(volume.array[:, ::-1], Grid((5, 6, 7), wrong)).onto(volume.grid, fill=0)
    assert not np.array_equal(back.array, volume.array)


# --- orientation -----------------------------------------------------------------------------------------


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("degrees", [0.0, 12.0, 44.9, 45.0, 45.1, 90.0, -45.0, 135.0])
def test_a_reoriented_grid_has_the_codes_that_were_asked_for(codes: str, degrees: float) -> None:
    for axis in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
        grid = Grid((5, 6, 7), affine_of(rotation(axis, degrees) @ np.diag([0.7, 0.7, 3.0]), (10, -20, 30)))
        there = grid.reoriented(codes)
        assert there.axis_codes == codes
        assert there.reoriented(codes) == there
        assert sorted(there.shape) == sorted(grid.shape)
        assert there.reoriented("RAS").same_as(grid.reoriented("RAS"), tolerance=1e-9)
        right_handed = np.linalg.det(there.affine) > 0
        assert right_handed == (sum(c in "LPI" for c in codes) % 2 == _is_even(codes))


def _is_even(codes: str) -> bool:
    worlds = ["LRPAIS".index(c) // 2 for c in codes]
    swaps = sum(worlds[a] > worlds[b] for a in range(3) for b in range(a + 1, 3))
    return swaps % 2 == 1  # an odd order of axes needs an odd number of flips to be right-handed


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_axes_exactly_between_two_names_are_named_alike_in_every_order(codes: str) -> None:
    ties = [
        [[1, -1, 0], [1, 1, 0], [0, 0, 1]],  # 45 degrees, as a scanner writes it: equal numbers
        [[1, 0, 0], [0, 1, -1], [0, 1, 1]],
        [[1, 0, 1], [0, 1, 0], [-1, 0, 1]],
        [[2, 2, -1], [-1, 2, 2], [2, -1, 2]],  # two thirds thrice
    ]
    for linear in ties:
        grid = Grid((5, 6, 7), affine_of(0.7071068 * np.array(linear)))
        assert grid.reoriented(codes).axis_codes == codes
        assert grid.reoriented(codes).reoriented("RAS").same_as(grid.reoriented("RAS"), tolerance=1e-9)


@steady
@given(grid=grids(shear=2.0), codes=st.sampled_from(ORIENTATIONS))
def test_every_grid_can_be_given_every_orientation(grid: Grid, codes: str) -> None:
    assert grid.reoriented(codes).axis_codes == codes


@pytest.mark.parametrize("degrees", [0.0, 30.0, 44.9])
def test_axis_codes_are_those_of_nibabel(degrees: float) -> None:
    import nibabel

    affine = affine_of(rotation((0, 1, 0), degrees) @ np.diag([1, 1, 2.0]))
    for codes in ORIENTATIONS:
        grid = Grid((4, 4, 4), affine).reoriented(codes)
        theirs = "".join(nibabel.aff2axcodes(grid.affine))
        assert theirs == grid.axis_codes == codes


@pytest.mark.parametrize("codes", ["RRS", "XYZ", "RA", "RAS+", "", "RLA", "R A S", "RASS", "R\nS"])
def test_what_is_no_orientation_is_refused(codes: str) -> None:
    with pytest.raises(GeometryError, match="not an orientation") as caught:
        upright().reoriented(codes)
    assert len(str(caught.value).splitlines()) == 1


def test_orientation_may_be_written_small() -> None:
    assert upright().reoriented("lps") == upright().reoriented("LPS")


# --- resampling ------------------------------------------------------------------------------------------


@steady
@given(grid=grids(), spacing=st.tuples(*[st.floats(0.1, 20)] * 3))
def test_respacing_keeps_the_extent(grid: Grid, spacing: tuple[float, float, float]) -> None:
    new = grid.respaced(spacing)
    np.testing.assert_allclose(new.corners(), grid.corners(), atol=1e-9)
    length = np.array(grid.shape) * grid.spacing
    np.testing.assert_allclose(np.array(new.shape) * new.spacing, length)
    assert np.all(np.abs(np.array(new.shape) - length / spacing) <= np.where(length < spacing, 1, 0.5) + 1e-9)


@pytest.mark.parametrize("spacing", [(0, 1, 1), (1, -1, 1), (1, 1), (math.nan, 1, 1), (math.inf, 1, 1)])
def test_impossible_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(GeometryError, match="spacing") as caught:
        upright().respaced(spacing)
    assert len(str(caught.value).splitlines()) == 1


def sphere(grid: Grid, radius: float) -> Volume:
    """A ball of 1 in 0 at the middle of the grid, its surface a voxel soft."""
    distance = np.linalg.norm(
        grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1)) - grid.centre, axis=-1
    )
    return Volume(np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)[None], grid)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
@pytest.mark.parametrize("spacing", [(0.7, 0.7, 0.7), (1.5, 1.5, 1.5), (0.8, 0.8, 3.0)])
def test_a_sphere_keeps_its_volume(interpolation: Literal["linear", "cubic"], spacing: Any) -> None:
    affine = affine_of(rotation((1, 2, 3), 20))
    volume = sphere(Grid((50, 50, 50), affine), radius=20.0)  # mm: 4/3 pi 20^3 mm3 = 33.51 mL
    there = volume.onto(volume.grid.respaced(spacing), interpolation=interpolation)
    back = there.onto(volume.grid, interpolation=interpolation)
    for image in (volume, there, back):
        assert image.array.sum() * image.grid.voxel_ml == pytest.approx(33.51, rel=0.01)


def test_a_whole_voxel_of_shift_would_be_seen_in_the_sphere() -> None:
    volume = sphere(upright((50, 50, 50)), radius=20.0)
    affine = volume.grid.affine.copy()
    affine[0, 3] += 1.5
    shifted = volume.onto(Grid((50, 50, 50), affine))
    weights = shifted.array[0].sum((1, 2))
    assert np.average(np.arange(50), weights=weights) == pytest.approx(24.5 - 1.5, abs=1e-3)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
@pytest.mark.parametrize("tilt", [0.0, 17.0, 45.0])
def test_one_image_in_all_48_axis_orders_is_resampled_to_the_same_bits(
    interpolation: Literal["linear", "cubic", "nearest"], tilt: float
) -> None:
    affine = affine_of(rotation((1, 2, 3), tilt) @ np.diag([0.7, 0.8, 2.5]), (-123.4, 56.78, -901.2))
    array = np.random.default_rng(0).normal(0, 500, (1, 12, 13, 6)).astype(np.float32)
    stored = Volume(array, Grid((12, 13, 6), affine))
    ras = stored.reorient("RAS")
    spacing = (1.1, 1.2, 1.3)
    wanted = ras.onto(ras.grid.respaced(spacing), interpolation=interpolation)
    for codes in ORIENTATIONS:
        turned = stored.reorient(codes)
        upright_first = turned.reorient("RAS")
        result = upright_first.onto(upright_first.grid.respaced(spacing), interpolation=interpolation)
        assert result.array.tobytes() == wanted.array.tobytes()
        turned_last = turned.onto(wanted.grid.reoriented(codes), interpolation=interpolation).reorient("RAS")
        assert turned_last.array.tobytes() == wanted.array.tobytes()


def test_labels_go_back_to_all_48_axis_orders_alike() -> None:
    # 1 mm back from 1.5 mm: every third centre lies exactly half-way between two voxels.
    native = upright((30, 31, 32))
    labels = organs(native.respaced((1.5, 1.5, 1.5)))
    wanted = labels.onto(native)
    for codes in ORIENTATIONS:
        there = labels.onto(native.reoriented(codes))
        np.testing.assert_array_equal(there.onto(native).array, wanted.array)


@pytest.mark.parametrize("interpolation", ["linear", "cubic", "nearest"])
def test_a_grid_without_overlap_gets_the_fill(interpolation: Literal["linear", "cubic", "nearest"]) -> None:
    volume = numbered(upright())
    away = Grid((4, 4, 4), affine_of(rotation((0, 0, 1), 10), (500, 0, 0)))
    assert np.all(volume.onto(away, interpolation=interpolation, fill=-3).array == -3)
    assert np.all(volume.onto(away, interpolation=interpolation).array == 1)  # the smallest value present


@settings(max_examples=40, deadline=None, derandomize=True)
@given(grid=grids(), onto=grids(), interpolation=st.sampled_from(["linear", "cubic", "nearest"]))
def test_a_constant_image_stays_constant(grid: Grid, onto: Grid, interpolation: Any) -> None:
    volume = Volume(np.full((1, *grid.shape), 42.0, np.float32), grid)
    np.testing.assert_allclose(volume.onto(onto, interpolation=interpolation).array, 42.0, rtol=1e-4)


# --- Grid as a value -------------------------------------------------------------------------------------


@steady
@given(grid=grids(), index=st.tuples(*[st.floats(-100, 100)] * 3))
def test_index_and_world_are_inverse(grid: Grid, index: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(grid.to_index(grid.to_world(index)), index, atol=1e-7)


@steady
@given(grid=grids(), onto=grids())
def test_index_map_leads_to_the_same_place(grid: Grid, onto: Grid) -> None:
    index = np.argwhere(np.ones(onto.shape))
    matrix = grid.index_map(onto)
    there = grid.to_world(index @ matrix[:3, :3].T + matrix[:3, 3])
    np.testing.assert_allclose(there, onto.to_world(index), atol=1e-5)


@steady
@given(
    grid=grids(largest=300), axis=st.integers(0, 2), share=st.floats(0.01, 3.0), kind=st.sampled_from("sz")
)
def test_same_as_is_the_largest_corner_displacement(grid: Grid, axis: int, share: float, kind: str) -> None:
    assume(abs(share - 1) > 1e-3)
    step = np.zeros((4, 4))
    if kind == "s":
        step[axis, 3] = share * 1e-3  # a shift in voxels
    else:
        step[axis, axis] = share * 1e-3 / (grid.shape[axis] - 0.5)  # a zoom: the far face moves most
    other = Grid(grid.shape, grid.affine @ (np.eye(4) + step))
    assert grid.same_as(other) == (share < 1)


def test_same_as_sees_a_rotation_by_its_far_corner() -> None:
    grid = upright((512, 512, 100), (0.7, 0.7, 1.0))
    # A corner 511.5 voxels away moves 511.5 * angle sideways.
    for factor, tolerance, same in ((0.98, 1e-3, True), (1.02, 1e-3, False), (1.02, 2e-3, True)):
        turn = affine_of(rotation((0, 0, 1), math.degrees(factor * 1e-3 / 511.5)))
        assert grid.same_as(Grid(grid.shape, turn @ grid.affine), tolerance) == same


def test_same_as_tells_slices_of_another_thickness_and_direction() -> None:
    slice_ = upright((10, 10, 1), (1, 1, 5))
    assert not slice_.same_as(upright((10, 10, 1), (1, 1, 4)))
    assert not slice_.same_as(slice_.reoriented("RAI"))
    assert not slice_.same_as(upright((10, 1, 10)))
    assert not slice_.same_as(Grid(slice_.shape, slice_.affine, "px"))


def test_equal_grids_hash_alike() -> None:
    affine = np.eye(4)
    negative_zeros = np.where(affine == 0, -0.0, affine)
    one, other = Grid((2, 3, 4), affine), Grid((2, 3, 4), negative_zeros)
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other, upright((2, 3, 4))}) == 1
    assert one != Grid((2, 3, 4), affine, "px")
    assert one != Grid((2, 3, 5), affine)
    assert one != Grid((2, 3, 4), np.nextafter(affine, 2) * [[1], [1], [1], [0]] + np.diag([0, 0, 0, 1]))
    assert one != "a grid"


def test_the_affine_is_a_copy_that_nobody_writes_into() -> None:
    mine = np.eye(4)
    grid = Grid((2, 3, 4), mine)
    mine[0, 3] = 7
    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 7
    with pytest.raises(AttributeError):
        grid.shape = (1, 1, 1)  # type: ignore[misc]  # the point


@pytest.mark.parametrize(
    ("shape", "affine", "wrong"),
    [
        ((2, 3), np.eye(4), "three axes"),
        ((2, 3, 0), np.eye(4), "three axes"),
        ((2, 3, -4), np.eye(4), "three axes"),
        ((2, 3, 4), np.eye(3), "4x4"),
        ((2, 3, 4), np.full((4, 4), np.nan), "finite"),
        ((2, 3, 4), np.diag([1, 1, np.inf, 1]), "finite"),
        ((2, 3, 4), np.eye(4) + np.eye(4)[::-1], "last row"),
        ((2, 3, 4), np.diag([1, 1, 0, 1]), "singular"),
        ((2, 3, 4), affine_of(np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1.0]])), "singular"),
    ],
)
def test_geometry_that_is_none_is_refused_in_one_line(shape: Any, affine: Any, wrong: str) -> None:
    with pytest.raises(GeometryError, match=wrong) as caught:
        Grid(shape, affine)
    assert len(str(caught.value).splitlines()) == 1


def test_tiny_voxels_are_not_singular() -> None:
    assert Grid((2, 2, 2), np.diag([1e-4, 1e-4, 1e-3, 1])).voxel_ml == pytest.approx(1e-14)


def test_cropping_everything_away_is_refused() -> None:
    with pytest.raises(GeometryError, match="nothing lies between"):
        upright().cropped((2, 2, 2), (2, 4, 4))


def test_pixels_have_no_millilitres() -> None:
    with pytest.raises(GeometryError, match="--pixel-size"):
        _ = Grid((2, 2, 1), np.eye(4), "px").voxel_ml
    with pytest.raises(GeometryError, match="px"):
        Volume(np.zeros((1, 2, 2, 1)), Grid((2, 2, 1), np.eye(4), "px")).onto(upright())


def test_voxel_ml_of_a_sheared_grid_is_the_parallelepiped() -> None:
    sheared = Grid((2, 2, 2), affine_of(np.array([[2, 0, 0], [0, 3, 1.5], [0, 0, 5.0]])))
    assert sheared.voxel_ml == pytest.approx(0.03)  # 2 mm x 3 mm x 5 mm of height, however tilted


def test_repr_is_for_people() -> None:
    assert repr(upright((5, 6, 7), (0.7, 0.7, 2.5))) == "Grid(5 x 6 x 7, 0.7 x 0.7 x 2.5 mm, RAS)"


# --- Volume, Planes, Source ------------------------------------------------------------------------------


def test_a_volume_cannot_be_written_through_and_its_maker_can_still_write() -> None:
    mine = np.zeros((1, 5, 6, 7), np.float32)
    volume = Volume(mine, upright())
    assert np.shares_memory(volume.array, mine)  # no copy of a large image
    with pytest.raises(ValueError, match="read-only"):
        volume.array[:] = 1
    with pytest.raises(ValueError, match="read-only"):
        volume.crop((0, 0, 0), (2, 2, 2)).array[:] = 1
    mine[:] = 2
    assert mine.flags.writeable
    assert not read_only(mine).flags.writeable


@pytest.mark.parametrize(
    ("shape", "channels", "wrong"),
    [
        ((5, 6, 7), ("a",), "3 axes"),
        ((1, 5, 6, 8), ("a",), r"\(5, 6, 8\)"),
        ((2, 5, 6, 7), ("a",), "2 channels have 1 names"),
        ((0, 5, 6, 7), (), "at least one channel"),
    ],
)
def test_a_volume_that_disagrees_with_itself_is_refused(shape: Any, channels: Any, wrong: str) -> None:
    with pytest.raises(GeometryError, match=wrong) as caught:
        Volume(np.zeros(shape), upright(), channels)
    assert len(str(caught.value).splitlines()) == 1


def test_replacing_the_array_checks_it_again() -> None:
    volume = numbered(upright())
    assert volume.replace(array=volume.array + 1).array.min() == 2
    with pytest.raises(GeometryError):
        volume.replace(array=volume.array[:, 1:])


def test_onto_keeps_channels_and_source() -> None:
    source = Source(native=upright(), format="nifti", files=(Path("a.nii"),))
    volume = Volume(np.zeros((2, 5, 6, 7)), upright(), ("t1", "flair"), source)
    there = volume.reorient("LPS")
    assert there.channels == ("t1", "flair")
    assert there.source is source


def test_planes_are_one_grid_each() -> None:
    affines = np.stack([affine_of(np.diag([1, 1, 2.0]), (0, 0, z)) for z in (0, 2, 7)])
    planes = Planes((5, 6), affines)
    assert [grid.shape for grid in planes.grids()] == [(5, 6, 1)] * 3
    assert [grid.affine[2, 3] for grid in planes.grids()] == [0, 2, 7]
    with pytest.raises(ValueError, match="read-only"):
        planes.affines[0] = 0


@pytest.mark.parametrize("shape", [(4, 4), (0, 4, 4), (3, 3, 3)])
def test_planes_without_matrices_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(GeometryError, match="4x4"):
        Planes((5, 6), np.zeros(shape))


@steady
@given(grid=grids(), steps=whole_voxel_moves(croppable=False))
def test_a_source_puts_a_segmentation_back_exactly(grid: Grid, steps: Steps) -> None:
    original = organs(grid)
    there = original
    for step in steps:
        there = there.onto(moved(there.grid, step))
    back = Source(native=grid, format="nifti").put_back(there)
    assert back.grid == grid
    assert back.array.tobytes() == original.array.tobytes()


def test_planes_are_not_put_back_as_one() -> None:
    planes = Planes((5, 6), np.eye(4)[None])
    with pytest.raises(GeometryError, match="on_slices"):
        Source(native=planes, format="dicom").put_back(organs(upright()))


def test_labels_on_planes_are_those_where_each_plane_lies() -> None:
    # two layers; label k + 1 on slice k, slices 2.5 mm apart
    array = np.stack([np.broadcast_to(np.arange(1, 9, dtype=np.uint8), (5, 6, 8))] * 2)
    array = array + np.array([0, 10], np.uint8)[:, None, None, None]
    table = LabelTable(
        tuple(Label(n, f"slice {n}", layer=int(n > 10)) for n in (*range(1, 9), *range(11, 19)))
    )
    there = Segmentation(array, Grid((5, 6, 8), affine_of(np.diag([1, 1, 2.5]))), table)
    heights = (0, 2.5, 10, 11.4, 17.5, 30)  # the last beyond the labels
    shifted = np.stack([affine_of(np.diag([1, 1, 2.0]), (1, 0, z)) for z in heights])
    labels = Source(native=Planes((5, 6), shifted), format="dicom").on_slices(there)
    assert labels.shape == (2, 5, 6, 6)
    np.testing.assert_array_equal(labels[0, 2, 2], [1, 2, 5, 6, 8, 0])
    np.testing.assert_array_equal(labels[1, 2, 2], [11, 12, 15, 16, 18, 0])
    assert not labels[:, 4].any()  # one voxel to the right, the outermost column lies outside
    with pytest.raises(ValueError, match="read-only"):
        labels[:] = 0


@steady
@given(grid=grids(), steps=whole_voxel_moves(croppable=False))
def test_labels_on_the_slices_of_a_grid_are_those_put_back(grid: Grid, steps: Steps) -> None:
    there = organs(grid)
    for step in steps:
        there = there.onto(moved(there.grid, step))
    source = Source(native=grid, format="nifti")
    np.testing.assert_array_equal(source.on_slices(there), source.put_back(there).array)


def test_reorienting_copies_once_and_computes_nothing() -> None:
    import tracemalloc

    volume = Volume(np.zeros((1, 128, 128, 60), np.int16), upright((128, 128, 60)))
    tracemalloc.start()
    there = volume.reorient("SLP")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert there.array.dtype == np.int16
    assert peak < 1.05 * volume.array.nbytes
