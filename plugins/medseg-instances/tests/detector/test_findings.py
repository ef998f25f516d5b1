"""From boxes and masks to voxels, and from all that windows found to one map of ids."""

from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from medseg_instances.detector.findings import Finding, Findings, in_voxels, painted, wrong_by
from touching import TABLE

from medseg.segmentation import Label, LabelTable
from medseg.volume import Grid

GRID = Grid((12, 10, 1), np.eye(4))


def finding(*box: int, score: float = 0.9, label: int = 0, cut: bool = False) -> Finding:
    """All of the voxels from i0, j0 to i1, j1."""
    i, j, k, m = box
    mask = np.ones((k - i, m - j, 1), np.bool_)
    return Finding.of(mask, (i, j, 0), label=label, score=score, cut=cut)


def of(*findings: Finding, shared: float = 0.5, **more: Any) -> list[tuple[int, str, float | None]]:
    """Voxels, label and score of each object."""
    found = painted(Findings(findings), GRID, more.pop("labels", TABLE), shared=shared)
    assert found.kinds == ("objects",) * len(found.array)
    assert set(np.unique(found.array).tolist()) - {0} == {thing.id for thing in found.objects}
    return [(int((found.array == thing.id).sum()), thing.label, thing.score) for thing in found.objects]


@pytest.mark.parametrize(
    ("box", "shape", "first"),
    [
        ([2.0, 3, 6, 5], (4, 2), [2, 3]),
        ([2.4, 3.4, 5.6, 5.5], (4, 2), [2, 3]),
        ([2.6, 3, 5.4, 5], (2, 2), [3, 3]),
        ([-3.0, 0, 2, 40], (2, 20), [0, 0]),
        ([4.6, 7.6, 5.2, 8.3], (1, 1), [4, 7]),
        ([4.2, 7.1, 4.4, 7.3], (1, 1), [4, 7]),
    ],
)
def test_voxels_are_those_whose_middles_a_box_holds(
    box: list[float], shape: tuple[int, int], first: list[int]
) -> None:
    found = in_voxels(torch.tensor(box), torch.ones(8, 8), (0, 0), (20, 20))
    assert found is not None
    assert (found[0].shape, found[1]) == (shape, first)
    assert found[0].all()


def test_a_box_in_space_and_one_outside() -> None:
    found = in_voxels(torch.tensor([1.0, 2, 3, 4, 6, 8]), torch.ones(5, 5, 5), (0, 0, 0), (9, 9, 9))
    assert found is not None
    assert (found[0].shape, found[1]) == ((3, 4, 5), [1, 2, 3])
    assert in_voxels(torch.tensor([20.0, 2, 30, 4]), torch.ones(5, 5), (0, 0), (9, 9)) is None
    assert in_voxels(torch.tensor([2.0, 2, 6, 6]), torch.full((4, 4), 0.4), (0, 0), (9, 9)) is None


@pytest.mark.parametrize("dims", [2, 3])
def test_a_mask_of_half_a_box_is_half_of_its_voxels(dims: int) -> None:
    """Cells of the first half along the first axis; twice as many voxels as cells."""
    mask = torch.zeros((8,) * dims)
    mask[:4] = 1
    found = in_voxels(torch.tensor([4.0] * dims + [20.0] * dims), mask, (0,) * dims, (32,) * dims)
    assert found is not None
    assert found[0][:8].all()
    assert not found[0][8:].any()


def test_a_mask_is_kept_as_bits() -> None:
    mask = np.random.default_rng(0).random((5, 7, 3)) < 0.5
    kept = Finding.of(mask, (1, 2, 3), label=0, score=0.5, cut=False)
    assert np.array_equal(kept.mask, mask)
    assert kept.bits.nbytes == -(-mask.size // 8)
    assert kept.region == (slice(1, 6), slice(2, 9), slice(3, 6))


def test_many_are_kept_as_they_were_and_ordered() -> None:
    """What is whole first, then the surer, then by place, then by label; of equal ones the first."""
    rng = np.random.default_rng(1)
    given = []
    for number in range(60):
        i, j, k, *size = (int(n) for n in (*rng.integers(0, 3, 3) * 1000, *rng.integers(1, 5, 3)))
        score = float(rng.choice([0.1, 0.7, 1 / 3]))
        mask = rng.random(size) < 0.5
        given.append(Finding.of(mask, (i, j, k), label=number % 2, score=score, cut=number % 3 == 0))
    held = Findings(given[:20])
    held.extend(given[20:])
    assert len(held) == 60
    for number, one in enumerate(given):
        back = held[number]
        assert (back.low, back.shape, back.label) == (one.low, one.shape, one.label)
        assert (back.score, back.cut) == (one.score, one.cut)
        assert np.array_equal(back.mask, one.mask)
    key = [(one.cut, -one.score, one.low, one.label, number) for number, one in enumerate(given)]
    assert held.in_order().tolist() == [each[-1] for each in sorted(key)]


def test_what_a_border_may_be_wrong_by() -> None:
    """A quarter of what is small, then 2 voxels, then a part of the side."""
    sides = (1, 3, 8, 16, 40, 100)
    assert [wrong_by(side, 0.05) for side in sides] == [0.25, 0.75, 2, 2, 2, 5]
    assert wrong_by(100, 0.1) == pytest.approx(10)


def test_ids_are_in_the_order_of_first_voxels() -> None:
    three = [finding(6, 0, 9, 3, score=0.6), finding(0, 5, 3, 9), finding(0, 0, 2, 2, score=0.5)]
    found = painted(Findings(three), GRID, TABLE, shared=0.5)
    assert [(int(found.array[0, i, j, 0])) for i, j in ((0, 0), (0, 5), (6, 0))] == [1, 2, 3]
    assert [thing.score for thing in found.objects] == [0.5, 0.9, 0.6]


def test_voxels_of_two_are_the_surer_ones() -> None:
    first, second = finding(0, 0, 4, 4, score=0.6), finding(2, 0, 6, 4, score=0.8, label=1)
    assert of(first, second) == of(second, first) == [(8, "round", 0.6), (16, "long", 0.8)]
    assert of(first, second, shared=0.4) == [(16, "long", 0.8)]


def test_what_other_windows_found_too_is_one_object() -> None:
    """Also where it was taken for another label there, and where one saw less of it."""
    found = of(
        finding(0, 0, 6, 6, score=0.8),
        finding(0, 0, 6, 6, score=0.7),
        finding(0, 1, 6, 6, score=0.6, label=1),
        finding(2, 2, 4, 4, score=0.5),
    )
    assert found == [(36, "round", 0.8)]


def test_what_a_border_cuts_comes_last() -> None:
    """However sure: the whole object takes its place. What no window holds whole is there, and says so."""
    half, whole = finding(0, 0, 3, 6, score=0.99, cut=True), finding(0, 0, 6, 6, score=0.6)
    assert of(half, whole) == [(36, "round", 0.6)]
    found = painted(Findings([half]), GRID, TABLE, shared=0.5)
    assert [thing.attributes for thing in found.objects] == [{"cut": True}]


def test_a_rim_that_a_border_cuts_off_is_no_object() -> None:
    """Beside a whole object whose mask ends a voxel earlier; the same rim uncut, and one farther off, are."""
    whole = finding(0, 0, 7, 8)
    rim = finding(6, 1, 9, 6, score=0.8, cut=True)
    assert of(whole, rim) == [(56, "round", 0.9)]
    assert len(of(whole, finding(6, 1, 9, 6, score=0.8))) == 2
    assert len(of(whole, finding(9, 1, 12, 6, score=0.8, cut=True))) == 2
    assert len(of(finding(0, 0, 7, 8, cut=True), rim)) == 2, "neither is whole"


def test_a_rim_of_thick_slices_is_one_slice_off_at_most() -> None:
    """Whole in three slices; what a border cuts in the next one is of it, in the one after that it is not."""
    grid = Grid((12, 10, 9), np.eye(4))
    whole = Finding.of(np.ones((6, 6, 3), np.bool_), (2, 2, 2), label=0, score=0.9, cut=False)
    for place, count in ((5, 1), (6, 2)):
        rim = Finding.of(np.ones((6, 6, 1), np.bool_), (2, 2, place), label=0, score=0.8, cut=True)
        assert len(painted(Findings([whole, rim]), grid, TABLE, shared=0.5).objects) == count


def test_layers_are_painted_by_themselves() -> None:
    labels = LabelTable((Label(1, "cell"), Label(2, "nucleus", layer=1)))
    two = Findings([finding(0, 0, 6, 6), finding(2, 2, 4, 4, label=1, score=0.7)])
    found = painted(two, GRID, labels, shared=0.5)
    assert found.array.shape == (2, *GRID.shape)
    assert [int((found.array[n] > 0).sum()) for n in range(2)] == [36, 4]
    assert [thing.label for thing in found.objects] == ["cell", "nucleus"]


def test_nothing_found_is_an_empty_map() -> None:
    found = painted(Findings(), GRID, TABLE, shared=0.5)
    assert not found.objects
    assert not found.array.any()
    assert found.array.dtype == np.uint32
