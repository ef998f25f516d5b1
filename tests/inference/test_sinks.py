"""Labels from slabs against whole scores, interpolated by SciPy and decided at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates  # noqa: TID253
from strategies import ORIENTATIONS, affine_of, grids, rotation

from medseg import GeometryError, Grid, Label, LabelTable, PluginError, Scores, Segmentation, Sink
from medseg.inference.sinks import ArgmaxSink, ThresholdSink

TABLE = LabelTable((Label(1, "a"), Label(2, "b"), Label(7, "c"), Label(300, "d")))
VALUES = np.array([0, 1, 2, 7, 300])
Floats = NDArray[np.float32]


def random_scores(grid: Grid, channels: int = 5, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(channels, *grid.shape)).astype(np.float32)


def whole(scores: Floats, grid: Grid, onto: Grid) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores on `onto` in double precision, and which of its voxels lie inside `grid`."""
    where = grid.to_index(onto.to_world(np.indices(onto.shape).reshape(3, -1).T)).T
    fields = [map_coordinates(one.astype(float), where, order=1, mode="nearest") for one in scores]
    size = np.array(grid.shape)[:, None]
    inside = np.all((where >= -0.501) & (where <= size - 0.499), axis=0)
    return np.reshape(fields, (len(scores), *onto.shape)), inside.reshape(onto.shape)


def feed(sink: Sink, scores: Floats, grid: Grid, axis: int, depth: int) -> Segmentation:
    """Give a sink slabs of `depth` new slices, with the halo that it asks for."""
    for first in range(0, grid.shape[axis], depth):
        start, stop = max(0, first - sink.halo), min(first + depth, grid.shape[axis])
        low, high = [0, 0, 0], list(grid.shape)
        low[axis], high[axis] = start, stop
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        sink.take(Scores(scores[:, *part], grid.cropped(low, high), "logits"), start)
    found = sink.finish()
    assert isinstance(found, Segmentation)
    return found


def assert_argmax(grid: Grid, onto: Grid, axis: int, depth: int, seed: int = 0) -> None:
    scores = random_scores(grid, seed=seed)
    fields, inside = whole(scores, grid, onto)
    found = feed(ArgmaxSink(TABLE, grid=grid, axis=axis, onto=onto), scores, grid, axis, depth).array[0]
    expected = np.where(inside, VALUES[fields.argmax(0)], 0)
    first, second = np.sort(fields, axis=0)[[-1, -2]]
    clear = ~inside | (first - second > 1e-5)  # closer than single precision can tell
    assert clear.mean() > 0.99 or clear.size < 500
    assert np.array_equal(found[clear], expected[clear])


SOURCE = Grid((13, 17, 11), affine_of(np.diag([1.5, 2.0, 3.0]), (5, -7, 11)))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("depth", [1, 4, 40])
@pytest.mark.parametrize(
    "onto",
    [
        SOURCE,
        SOURCE.reoriented("PIL"),
        SOURCE.cropped((2, -3, 1), (20, 12, 9)),
        SOURCE.respaced((1.0, 1.0, 1.0)),
        SOURCE.respaced((4.0, 5.0, 7.0)),
        SOURCE.respaced((0.7, 3.0, 3.0)).reoriented("SLP").padded((3, 2, 1), (1, 2, 3)),
        Grid((20, 18, 25), affine_of(rotation((1, 2, 3), 25), (0, -5, 8))),
        Grid((9, 30, 14), affine_of(rotation((0, 1, 0), 90), (0, -5, 30))),
        Grid((12, 12, 12), affine_of(np.eye(3), (500, 0, 0))),
    ],
    ids=["same", "turned", "cropped", "finer", "coarser", "all", "oblique", "quarter", "elsewhere"],
)
def test_labels_equal_those_of_whole_scores(axis: int, depth: int, onto: Grid) -> None:
    assert_argmax(SOURCE, onto, axis, depth)


@given(grid=grids(), onto=grids(), axis=st.integers(0, 2), depth=st.integers(1, 8), near=st.booleans())
@settings(max_examples=80, deadline=None)
def test_labels_equal_those_of_whole_scores_on_any_grid(
    grid: Grid, onto: Grid, axis: int, depth: int, near: bool
) -> None:
    if near:  # the same place, or almost all voxels are outside
        affine = onto.affine.copy()
        affine[:3, 3] += grid.centre - onto.centre
        onto = Grid(onto.shape, affine)
    where = grid.to_index(onto.to_world(np.indices(onto.shape).reshape(3, -1).T))
    edges = np.abs(np.concatenate([where + 0.501, where - np.array(grid.shape) + 0.499]))
    if edges.min() < 1e-6:  # on the very face: rounding decides whether it is inside
        return
    assert_argmax(grid, onto, axis, depth)


def test_without_its_halo_labels_change() -> None:
    onto = SOURCE.respaced((1.5, 2.0, 1.0))
    scores = random_scores(SOURCE)
    fields, _ = whole(scores, SOURCE, onto)
    expected = VALUES[fields.argmax(0)]

    def found(*, forgotten: bool) -> NDArray[Any]:
        sink = ArgmaxSink(TABLE, grid=SOURCE, axis=2, onto=onto)
        assert sink.halo == 1
        for first in range(0, 11, 4):
            start, stop = max(0, first - 1), min(first + 4, 11)
            slab = scores[..., start:stop].copy()
            if forgotten and first:
                slab[..., 0] = slab[..., 1]
            sink.take(Scores(slab, SOURCE.cropped((0, 0, start), (13, 17, stop)), "logits"), start)
        return np.asarray(sink.finish().array[0])

    assert np.array_equal(found(forgotten=False), expected)
    assert (found(forgotten=True) != expected).mean() > 0.02


@pytest.mark.parametrize("degrees", [0.0, 20.0])
def test_ties_of_the_last_bit_fall_as_they_do_in_one_slab(degrees: float) -> None:
    onto = SOURCE.respaced((1.1, 1.3, 1.7))
    onto = Grid(onto.shape, affine_of(rotation((1, 0, 1), degrees) @ onto.affine[:3, :3], onto.affine[:3, 3]))
    random = np.random.default_rng(4)
    last_bits = random.integers(0, 3, (5, *SOURCE.shape)) * np.spacing(np.float32(1))
    scores = (1 + last_bits).astype(np.float32)

    def found(depth: int) -> NDArray[Any]:
        sink = ArgmaxSink(TABLE, grid=SOURCE, axis=0, onto=onto)
        return feed(sink, scores, SOURCE, 0, depth).array

    whole_at_once = found(13)
    assert len(np.unique(whole_at_once)) == 5
    assert all(np.array_equal(found(depth), whole_at_once) for depth in (1, 2, 5))


def test_values_are_copied_where_only_whole_voxels_move() -> None:
    onto = SOURCE.reoriented("IRP").padded((1, 0, 2), (0, 3, 0))
    sink = ArgmaxSink(TABLE, grid=SOURCE, axis=1, onto=onto)
    assert sink.halo == 0
    scores = random_scores(SOURCE)
    direct = Segmentation(VALUES[scores.argmax(0)].astype(np.uint16)[None], SOURCE, TABLE)
    assert np.array_equal(feed(sink, scores, SOURCE, 1, 3).array, direct.onto(onto).array)


@pytest.mark.parametrize("degrees", [0.0, 33.0])
def test_48_orders_of_the_native_axes_give_the_same_mask(degrees: float) -> None:
    linear = rotation((1, 2, 2), degrees) @ np.diag([1.1, 0.8, 2.3])
    native = Grid((9, 10, 7), affine_of(linear, (3.3, 9.1, -4.7)))
    grid = native.respaced((1.7, 1.6, 1.5))
    scores = random_scores(grid)
    masks = []
    for codes in ORIENTATIONS:
        onto = native.reoriented(codes)
        found = feed(ArgmaxSink(TABLE, grid=grid, axis=0, onto=onto), scores, grid, 0, 3)
        masks.append(found.onto(native).array)
    assert all(np.array_equal(masks[0], mask) for mask in masks)


@pytest.mark.parametrize(
    ("highest", "dtype"), [(1, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)]
)
def test_labels_are_as_small_as_they_can_be(highest: int, dtype: type) -> None:
    table = LabelTable((Label(highest, "a"),))
    found = feed(ArgmaxSink(table, grid=SOURCE, axis=0, onto=SOURCE), random_scores(SOURCE, 2), SOURCE, 0, 5)
    assert found.array.dtype == dtype
    assert set(np.unique(found.array)) == {0, highest}


def test_the_first_of_equal_scores_wins() -> None:
    scores = np.zeros((5, *SOURCE.shape), np.float32)
    scores[2:4] = 1
    found = feed(ArgmaxSink(TABLE, grid=SOURCE, axis=0, onto=SOURCE), scores, SOURCE, 0, 5)
    assert set(np.unique(found.array)) == {2}


LAYERS = LabelTable((Label(1, "whole"), Label(2, "core", layer=1), Label(3, "other", layer=1)))


def test_labels_overlap_in_layers_and_compete_within_one() -> None:
    onto = SOURCE.respaced((1.0, 1.0, 2.0))
    scores = random_scores(SOURCE, 3)
    fields, inside = whole(scores, SOURCE, onto)
    assert inside.all()
    found = feed(ThresholdSink(LAYERS, grid=SOURCE, axis=0, onto=onto), scores, SOURCE, 0, 5)
    assert np.array_equal(found.mask("whole"), fields[0] > 0)
    assert np.array_equal(found.mask("core"), (fields[1] > 0) & (fields[1] >= fields[2]))
    assert np.array_equal(found.mask("other"), (fields[2] > 0) & (fields[2] > fields[1]))
    assert (found.mask("whole") & found.mask("core")).any()


def test_probabilities_are_held_against_a_half() -> None:
    table = LabelTable((Label(1, "a"),))
    sink = ThresholdSink(table, grid=SOURCE, axis=0, onto=SOURCE)
    values = np.linspace(0, 1, int(np.prod(SOURCE.shape)), dtype=np.float32).reshape(1, *SOURCE.shape)
    sink.take(Scores(values, SOURCE, "probabilities"), 0)
    assert np.array_equal(sink.finish().mask("a"), values[0] > 0.5)


@pytest.mark.parametrize(
    ("make", "wanted"), [(ArgmaxSink, 5), (ThresholdSink, 4)], ids=["arg-max", "threshold"]
)
def test_a_wrong_number_of_channels_is_refused(make: Callable[..., Sink], wanted: int) -> None:
    sink = make(TABLE, grid=SOURCE, axis=0, onto=SOURCE)
    with pytest.raises(PluginError, match=f"3 channels, and these labels are {wanted}"):
        sink.take(Scores(random_scores(SOURCE, 3), SOURCE, "logits"), 0)


def test_millimetres_and_pixels_do_not_mix() -> None:
    with pytest.raises(GeometryError, match="cannot be placed"):
        ArgmaxSink(TABLE, grid=SOURCE, axis=0, onto=Grid((3, 3, 1), np.eye(4), "px"))
