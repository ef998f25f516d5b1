from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from prepared_cases import prepared, staged

from medseg.builtin.augment.elastic import Elastic
from medseg.builtin.augment.flip import Flip
from medseg.builtin.augment.gamma import Gamma
from medseg.builtin.augment.noise import Noise
from medseg.builtin.augment.rotate import Rotate
from medseg.builtin.augment.scale import Scale
from medseg.errors import PluginError
from medseg.segmentation import Label, LabelTable
from medseg.steps import Augmentation, IntensityAugmentation, SpatialAugmentation
from medseg.training.prepared import PreparedCase
from medseg.training.samples import Sample, Samples, collated

Array = NDArray[Any]
LIVER = LabelTable((Label(1, "liver"),))
TURN = Rotate(degrees=30, probability=1)
ALL_WAYS: tuple[Augmentation, ...] = (
    TURN,
    Scale(factor=(0.8, 1.25), probability=1),
    Elastic(displacement_mm=2, wavelength_mm=(20, 40), probability=1),
)


def noise(folder: Path, shape: Sequence[int] = (12, 11, 10), seed: int = 0, **more: Any) -> PreparedCase:
    """A case of noise whose brighter voxels are labelled."""
    image = np.random.default_rng(seed).normal(size=(1, *shape))
    return prepared(folder, image, image[0] > 1, **more)


def flat(sample: Sample) -> dict[str, torch.Tensor]:
    return {**{name: sample[name] for name in ("image", "labels", "valid")}, **sample["maps"]}


def same(one: Sample, other: Sample) -> bool:
    first, second = flat(one), flat(other)
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def close(one: Sample, other: Sample) -> bool:
    """Equal but for what interpolation rounds; labels and what is known exactly."""
    first, second = flat(one), flat(other)
    for name in first:
        exact = name in ("labels", "valid")
        if not torch.allclose(first[name], second[name], rtol=0, atol=0 if exact else 1e-3):
            return False
    return True


# ---- which sample


def test_a_sample_follows_from_the_seed_and_its_number(tmp_path: Path) -> None:
    cases = [noise(tmp_path / f"c{n}", seed=n) for n in range(3)]
    flip = Flip().bound(labels=LIVER, axes="RAS")
    augment = staged(flip, *ALL_WAYS, Noise(probability=0.5), Gamma(probability=0.5))

    def samples(seed: int = 3) -> Samples:
        return Samples(cases, patch=(6, 6, 4), augment=augment, seed=seed)

    one = samples()
    expected = [one[n] for n in range(10)]
    again = samples()
    assert all(same(again[n], expected[n]) for n in (7, 2, 9, 2, 0))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(samples().__getitem__, range(10)))
    assert all(map(same, found, expected))
    assert not same(samples(4)[0], expected[0])
    assert not same(expected[0], expected[3])


def test_every_pass_has_every_case_once_in_a_new_order(tmp_path: Path) -> None:
    shape = (4, 4, 4)
    cases = [prepared(tmp_path / f"c{n}", np.full((1, *shape), n), np.zeros(shape)) for n in range(5)]
    samples = Samples(cases, patch=shape)
    order = [int(samples[n]["image"][0, 0, 0, 0]) for n in range(100)]
    passes = [tuple(order[start : start + 5]) for start in range(0, 100, 5)]
    assert all(sorted(each) == list(range(5)) for each in passes)
    assert len(set(passes)) > 10


@pytest.mark.parametrize(
    ("balance", "rare"),
    [(0.0, 1 / 9), (0.5, 1 / (1 + 8**0.5)), (1.0, 1 / 2)],  # one case against eight
)
def test_rare_strata_come_up_as_often_as_their_balance_says(
    tmp_path: Path, balance: float, rare: float
) -> None:
    shape = (2, 2, 2)
    cases = [prepared(tmp_path / f"c{n}", np.full((1, *shape), n), np.zeros(shape)) for n in range(9)]
    cases = [replace(case, stratum="rare" if n == 4 else "frequent") for n, case in enumerate(cases)]
    samples = Samples(cases, patch=shape, balance=balance, seed=3)
    drawn = np.array([samples[n]["image"][0, 0, 0, 0] for n in range(1800)], int)
    count = np.bincount(drawn, minlength=9)
    assert abs(count[4] / 1800 - rare) < 0.005
    others = np.delete(count, 4)
    assert (np.abs(others - others.mean()) <= 4 * np.sqrt(others.mean())).all()
    each = [np.count_nonzero(drawn[start : start + 9] == 4) for start in range(0, 1800, 9)]
    assert set(each) <= {int(9 * rare), int(9 * rare) + 1}  # in every pass, not only in the end


@pytest.mark.parametrize(("share", "count"), [(0.33, 99), (1 / 3, 100), (0.5, 150), (0.0, 0), (1.0, 300)])
def test_the_share_of_foreground_is_exact(tmp_path: Path, share: float, count: int) -> None:
    labels = np.zeros((40, 40, 40))
    labels[20, 12, 30] = 1
    labels[9:11, 20:22, 25:27] = 2
    image = np.arange(labels.size).reshape(1, *labels.shape)
    cases = [prepared(tmp_path / f"c{n}", image, labels, values=(1, 2)) for n in range(3)]
    samples = Samples(cases, patch=(7, 6, 5), foreground=share, seed=1)
    centres = [int(samples[n]["labels"][0, 3, 3, 2]) for n in range(300)]
    assert sum(value > 0 for value in centres) == count
    if count > 50:  # the small label as often as the large one: within 4 standard deviations
        assert abs(centres.count(1) - count / 2) < 4 * np.sqrt(count / 4)
    ofs = {samples._case(n) for n in range(300) if centres[n]}
    assert ofs == (set(range(3)) if count else set())


def test_a_label_at_the_border_is_in_the_patch_and_the_patch_in_the_case(tmp_path: Path) -> None:
    labels = np.zeros((20, 20, 20))
    labels[0, 19, 1] = 1
    case = prepared(tmp_path / "c", np.ones((1, 20, 20, 20)), labels, fill=[-1])
    samples = Samples([case], patch=(8, 8, 8), foreground=1)
    for n in range(20):
        assert samples[n]["labels"].sum() == 1
        assert samples[n]["image"].min() == 1


def test_a_case_without_labels_gives_samples_from_anywhere(tmp_path: Path) -> None:
    case = prepared(tmp_path / "c", np.arange(1000).reshape(1, 10, 10, 10), np.zeros((10, 10, 10)))
    samples = Samples([case], patch=(4, 4, 4), foreground=1)
    assert len({float(samples[n]["image"][0, 0, 0, 0]) for n in range(40)}) > 20


def test_samples_lie_about_voxels_that_are_known(tmp_path: Path) -> None:
    """Of a case of which a slab of 2 voxels in 40 is known; without it, most would see nothing known."""
    valid = np.zeros((40, 10, 10))
    valid[30:32] = 1
    case = prepared(tmp_path / "c", np.zeros((1, 40, 10, 10)), np.zeros((40, 10, 10)), valid=valid)
    samples = Samples([case], patch=(5, 4, 4))
    assert all(samples[n]["valid"][0].sum() >= 4 * 4 for n in range(60))
    none = prepared(tmp_path / "n", np.zeros((1, 8, 8, 8)), np.zeros((8, 8, 8)), valid=np.zeros((8, 8, 8)))
    assert Samples([none], patch=(4, 4, 4))[0]["valid"].sum() == 0


# ---- what a patch holds


def test_a_patch_larger_than_the_case_holds_all_of_it(tmp_path: Path) -> None:
    shape = (4, 5, 6)
    image = 1 + np.stack([np.arange(120).reshape(shape), -np.arange(120).reshape(shape)])
    labels = 1 + np.arange(120).reshape(shape) % 2
    case = prepared(tmp_path / "c", image, labels, values=(1, 2))
    assert case.fill == (1.0, -118.0)
    for share in (0, 1):
        turn = Rotate(degrees=0, probability=share)
        samples = Samples([case], patch=(9, 8, 7), augment=staged(turn))
        starts = set()
        for n in range(40):
            found = samples[n]
            start = np.argwhere(found["image"][0].numpy().round() == 120)[0] - np.array(shape) + 1
            inside = tuple(slice(a, a + m) for a, m in zip(start, shape, strict=True))
            expected = np.empty((2, 9, 8, 7))
            expected[:] = np.reshape(case.fill, (2, 1, 1, 1))
            expected[(slice(None), *inside)] = image
            assert np.allclose(found["image"], expected, atol=1e-3)
            background = np.zeros((9, 8, 7))
            background[inside] = labels
            assert np.array_equal(found["labels"][0], background)
            starts.add(tuple(start))
        assert len(starts) > 20


@pytest.mark.parametrize("augment", [(), (Flip(probability=1),), (TURN,)])
def test_2d_patches_are_slices(tmp_path: Path, augment: tuple[Augmentation, ...]) -> None:
    image = np.broadcast_to(np.arange(5.0), (1, 10, 9, 5))
    case = prepared(tmp_path / "c", image, image[0] == 3)
    bound = [step.bound(labels=LIVER, axes="RA") for step in augment]
    samples = Samples([case], patch=(4, 6), augment=staged(*bound))
    seen = set()
    for n in range(30):
        found = samples[n]
        assert found["image"].shape == found["labels"].shape == found["valid"].shape == (1, 4, 6)
        slice_ = found["image"].max().item()  # a turned patch may reach beyond the case, where 0 stands
        assert slice_ == pytest.approx(round(slice_), abs=1e-4)
        assert found["labels"].any() == (round(slice_) == 3)
        seen.add(round(slice_))
    assert seen == set(range(5))


def test_a_2d_patch_is_where_it_was_cut(tmp_path: Path) -> None:
    image = np.arange(450.0).reshape(1, 10, 9, 5)
    samples = Samples([prepared(tmp_path / "c", image, image[0] > 200)], patch=(4, 6))
    for n in range(10):
        found = samples[n]
        i, j, k = np.argwhere(image[0] == found["image"][0, 0, 0].item())[0]
        assert np.array_equal(found["image"], image[:, i : i + 4, j : j + 6, k])
        assert np.array_equal(found["labels"][0], image[0, i : i + 4, j : j + 6, k] > 200)


# ---- moved


@pytest.mark.parametrize("patch", [(6, 5, 8), (20, 5, 4), (7, 6)])
def test_a_turn_by_no_angle_changes_nothing(tmp_path: Path, patch: tuple[int, ...]) -> None:
    shape, spacing = (12, 11, 10), (0.7, 1.3, 3.1)
    random = np.random.default_rng(1)
    case = noise(
        tmp_path / "c",
        shape,
        spacing=spacing,
        valid=random.random(shape) > 0.5,
        maps={"far": random.normal(size=(2, *shape))},
    )
    plain, moved = (
        Samples([case], patch=patch, augment=staged(Rotate(degrees=0, about=("k",), probability=share)))
        for share in (0, 1)
    )
    assert all(close(plain[n], moved[n]) for n in range(20))
    assert not all(same(plain[n], moved[n]) for n in range(20))  # or nothing was moved at all


@pytest.mark.parametrize("patch", [(6, 5, 8), (20, 5, 4), (7, 6)])
def test_a_flip_gives_the_flipped_patch(tmp_path: Path, patch: tuple[int, ...]) -> None:
    shape = (12, 11, 10)
    case = noise(
        tmp_path / "c",
        shape,
        spacing=(0.7, 1.3, 3.1),
        maps={"far": np.random.default_rng(2).normal(size=(1, *shape))},
    )
    axes = "RAS"[: len(patch)]
    flip = Flip().bound(labels=LIVER, axes=axes)
    plain = Samples([case], patch=patch)
    flipped = Samples([case], patch=patch, augment=staged(flip))
    ways = list(product((False, True), repeat=len(patch)))
    seen = set()
    for n in range(60):
        given, found = plain[n], flipped[n]
        matching = [way for way in ways if close(found, turned_over(given, way))]
        assert len(matching) == 1
        seen.add(matching[0])
    assert seen == set(ways)


def turned_over(sample: Sample, way: Sequence[bool]) -> Sample:
    axes = [1 + axis for axis, turned in enumerate(way) if turned]
    parts = {name: tensor.flip(axes) for name, tensor in flat(sample).items()}
    return {**parts, "maps": {name: parts.pop(name) for name in sample["maps"]}}


class Quarter(SpatialAugmentation):
    """A quarter turn about k, in mm."""

    probability: float = 1.0

    def __call__(self, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Read (x, y) at (-y, x)."""
        return torch.stack([-points[1], points[0], *points[2:]])


def test_a_quarter_turn_is_in_mm_whatever_the_voxels(tmp_path: Path) -> None:
    spacing = (1.0, 2.0, 4.0)
    case = prepared(tmp_path / "c", positions((40, 40, 7), spacing), np.zeros((40, 40, 7)), spacing=spacing)
    turned = Samples([case], patch=(9, 5, 3), augment=staged(Quarter()))
    plain = Samples([case], patch=(9, 5, 3))
    a, b, c = np.indices((9, 5, 3)) - np.array([4, 2, 1]).reshape(3, 1, 1, 1)
    checked = 0
    for n in range(10):
        centre = plain[n]["image"][:, 4, 2, 1].numpy()
        away = turned[n]["image"].numpy() - centre.reshape(3, 1, 1, 1)
        # Voxel (a, b, c) lies (a, 2 b, 4 c) mm from the centre, and is read at (-2 b, a, 4 c) mm.
        if 4 <= centre[0] <= 35 and 4 <= centre[1] <= 74:
            assert np.allclose(away, np.stack([-2 * b, a, 4 * c]), atol=1e-3)
            checked += 1
    assert checked > 5


def positions(shape: Sequence[int], spacing: Sequence[float]) -> Array:
    """An image that says of every voxel where it is, in mm; linear interpolation of it is exact."""
    return np.asarray(np.indices(shape) * np.reshape(spacing, (3, 1, 1, 1)))


def waves(place: Array) -> Array:
    return np.asarray(np.sin(place[0] / 5) + np.cos(place[1] / 6) * np.sin(place[2] / 7))


class Kept(SpatialAugmentation):
    """Remembers where the last sample was read."""

    probability: float = 1.0
    points: ClassVar[list[torch.Tensor]] = []

    def __call__(self, points: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Keep the points, and leave them."""
        self.points[:] = [points]
        return points


def test_all_parts_are_read_at_the_same_moved_points(tmp_path: Path) -> None:
    shape, spacing = (30, 28, 20), (1.0, 1.2, 1.9)
    place = positions(shape, spacing)
    values = waves(place)
    case = prepared(
        tmp_path / "c",
        np.concatenate([place, values[None], np.ones((1, *shape))]),
        values > 0.5,
        spacing=spacing,
        fill=(0, 0, 0, 0, 0),
        valid=values > -0.5,
        maps={"place": place, "twice": 2 * values[None]},
    )
    kept = Kept()
    samples = Samples([case], patch=(14, 12, 9), augment=staged(*ALL_WAYS, kept), foreground=0)
    for n in range(8):
        found = samples[n]
        image, there = found["image"].double().numpy(), found["image"][4].numpy() > 1 - 1e-4
        assert there.mean() > 0.3
        at = image[:3]
        # where it was read is where the augmentations said, about the middle of the patch
        away = at - kept.points[0].double().numpy()
        assert np.ptp(away[:, there], axis=1).max() < 1e-3
        assert np.abs(image[3] - waves(at))[there].max() < 0.05  # of a function that is not linear
        # labels and what is known are those of the nearest voxel, where it is clear which one that is
        index = at / np.reshape(spacing, (3, 1, 1, 1))
        clear = there & (np.abs(index - np.floor(index) - 0.5).min(0) > 1e-3)
        nearest = tuple(np.round(index[:, clear]).astype(int))
        assert np.array_equal(found["labels"][0].numpy()[clear], (values > 0.5)[nearest])
        assert np.array_equal(found["valid"][0].numpy()[clear], (values > -0.5)[nearest])
        maps = found["maps"]
        assert np.allclose(maps["place"].numpy()[:, there], at[:, there], atol=1e-3)
        assert np.allclose(maps["twice"].numpy()[0, there], 2 * image[3, there], atol=1e-3)


def test_beyond_the_case_is_known_background(tmp_path: Path) -> None:
    shape = (6, 6, 6)
    case = prepared(
        tmp_path / "c",
        np.ones((1, *shape)),
        np.ones(shape),
        fill=(-7,),
        valid=np.zeros(shape),
        maps={"m": np.ones((1, *shape))},
    )
    far = Scale(factor=(0.1, 0.1), probability=1)
    found = Samples([case], patch=shape, augment=staged(far))[0]
    faces = {name: set(tensor[0, 0].flatten().tolist()) for name, tensor in flat(found).items()}
    assert faces == {"image": {-7}, "labels": {0}, "valid": {1}, "m": {0}}


# ---- values


class Brighter(IntensityAugmentation):
    """Adds one."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Return a new tensor."""
        return image + 1


class Shorter(Brighter):
    """Loses a slice."""

    def __call__(self, image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
        """Break the contract."""
        return image[..., 1:]


def test_values_are_changed_in_a_share_of_samples_and_labels_stay(tmp_path: Path) -> None:
    case = noise(tmp_path / "c")
    plain = Samples([case], patch=(4, 4, 4))
    changed = Samples([case], patch=(4, 4, 4), augment=staged(Brighter(probability=0.3)))
    count = 0
    for n in range(200):
        difference = changed[n]["image"] - plain[n]["image"]
        count += int(difference.mean().round())
        assert torch.equal(changed[n]["labels"], plain[n]["labels"])
    assert 34 <= count <= 86  # 4 standard deviations about 60


def test_an_augmentation_that_changes_the_shape_is_blamed(tmp_path: Path) -> None:
    samples = Samples([noise(tmp_path / "c")], patch=(4, 4, 4), augment=staged(Shorter(probability=1)))
    with pytest.raises(PluginError, match=r"returned torch.Size\(\[1, 4, 4, 3\]\), not") as caught:
        samples[0]
    assert "training.augment[0]: shorter (fake 1.0)" in caught.value.__notes__


def test_a_batch_has_an_axis_in_front(tmp_path: Path) -> None:
    case = noise(tmp_path / "c", maps={"m": np.ones((2, 12, 11, 10))})
    samples = Samples([case], patch=(4, 5, 6))
    batch = collated([samples[n] for n in range(3)])
    assert batch["image"].shape == (3, 1, 4, 5, 6)
    assert batch["maps"]["m"].shape == (3, 2, 4, 5, 6)
    assert batch["labels"].dtype == torch.int32
    assert torch.equal(batch["labels"][2], samples[2]["labels"])


# ---- objects


@pytest.mark.parametrize("augment", [(), ALL_WAYS], ids=["in place", "moved"])
def test_ids_move_with_the_labels(tmp_path: Path, augment: tuple[Augmentation, ...]) -> None:
    """However a patch is turned, every voxel of an object has its label, and no id is made up."""
    shape = (20, 18, 16)
    ids = np.zeros(shape, np.uint32)
    for n, place in enumerate(np.ndindex(3, 3, 2)):
        i, j, k = (6 * at + 1 for at in place)
        ids[i : i + 5, j : j + 5, k : k + 5] = 1000 * (n + 1) + 7
    labels = np.where(ids == 0, 0, np.where(ids % 3 == 0, 2, 1))
    image = np.random.default_rng(0).normal(size=(1, *shape))
    case = prepared(tmp_path / "c", image, labels, values=(1, 2), objects=ids)
    samples = Samples([case], patch=(10, 9, 8), augment=staged(*augment), seed=2, foreground=1)
    seen: set[int] = set()
    for number in range(20):
        sample = samples[number]
        own, of = sample["objects"].numpy(), sample["labels"].numpy()
        assert own.dtype == np.int32
        assert np.array_equal(own > 0, of > 0)
        assert np.array_equal(of, np.where(own == 0, 0, np.where(own % 3 == 0, 2, 1)))
        seen |= set(np.unique(own).tolist())
    assert seen <= {0, *np.unique(ids).tolist()}
    assert len(seen) > 8
    batch = collated([samples[0], samples[1]])
    assert tuple(batch["objects"].shape) == (2, 1, 10, 9, 8)


def test_without_objects_there_are_none(tmp_path: Path) -> None:
    assert "objects" not in Samples([noise(tmp_path / "c")], patch=(6, 6, 6))[0]
