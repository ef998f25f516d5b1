"""Training samples: patches of prepared cases, placed, turned and changed at random.

Sample n follows from the seed and n alone: not from the samples before it, nor from threads or devices. So a
run that was stopped goes on with the very samples that it would have drawn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import PluginError
from medseg.pipeline import Stage, blamed
from medseg.steps import Augmentation, IntensityAugmentation, SpatialAugmentation
from medseg.training.prepared import PreparedCase

if TYPE_CHECKING:
    import torch

__all__ = ["Sample", "Samples", "collated"]

Sample = dict[str, Any]
ORDER, DRAW = 1, 2  # what a generator is for, in its seed


class Samples:
    """Samples by number, each a dict of tensors.

    It holds `image[C, *patch]`, `labels[L, *patch]`, `valid[1, *patch]` and `maps`, a dict of `[K, *patch]`;
    for heads of objects `objects[L, *patch]`, the ids, too.

    All cases come up equally often: every pass over them is a new order. With `balance` those of rare strata
    come up more often, a stratum of n cases in proportion to `n ** (1 - balance)`. Of the samples a share
    `foreground` is centred on a voxel of a label, each label that a case has as likely as another; the others
    lie anywhere in it, or, where not all of its reference is known, about a voxel that is. A patch larger
    than the case holds all of it, at a random place; around it is the smallest value of each channel, and
    background.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        *,
        patch: tuple[int, ...],
        augment: Sequence[Stage[Augmentation]] = (),
        foreground: float = 0.33,
        balance: float = 0,
        seed: int = 0,
    ) -> None:
        self._cases = tuple(cases)
        self._patch = patch
        self._dims = len(patch)
        self._spatial = [stage for stage in augment if isinstance(stage.step, SpatialAugmentation)]
        self._intensity = [stage for stage in augment if isinstance(stage.step, IntensityAugmentation)]
        self._foreground = foreground
        self._shares = _shares([case.stratum for case in self._cases], balance)
        self._seed = seed

    def __getitem__(self, number: int) -> Sample:
        """Sample `number`, counted from 0 over the whole training."""
        case = self._cases[self._case(number)]
        rng = np.random.default_rng([self._seed, number, DRAW])
        start = self._start(case, number, rng)
        points = self._moved(case, rng)
        sample = _cut(case, start, self._patch) if points is None else _read(case, start, points)
        image = sample["image"]
        for stage in self._intensity:
            if rng.random() < stage.step.probability:
                assert isinstance(stage.step, IntensityAugmentation)
                with blamed(stage):
                    image = _checked(stage.step(image, rng), image)
        sample["image"] = image
        return sample

    def _case(self, number: int) -> int:
        """Which case sample `number` is of."""
        turn, place = divmod(number, len(self._cases))
        return _order(self._seed, turn, self._shares)[place]

    def _start(self, case: PreparedCase, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """The first voxel of the patch along i, j, k; negative where the patch begins before the image."""
        shape = np.array(case.grid.shape)
        patch = np.array((*self._patch, 1)[:3])
        spare = shape - patch
        low, high = np.minimum(spare, 0), np.maximum(spare, 0)
        low[spare > 0] = 0
        high[spare < 0] = 0
        start = rng.integers(low, high + 1)
        due = math.floor((number + 1) * self._foreground) > math.floor(number * self._foreground)
        there = [places for places in case.places if len(places)]
        places = there[int(rng.integers(len(there)))] if due and there else case.known_places
        if places is not None and len(places):
            voxel = np.array(np.unravel_index(int(places[int(rng.integers(len(places)))]), case.grid.shape))
            about = np.clip(voxel - patch // 2, low, high)
            start = np.where(spare > 0, about, start)
        return np.asarray(start, np.int64)

    def _moved(self, case: PreparedCase, rng: np.random.Generator) -> torch.Tensor | None:
        """Where the patch's voxels are read, in mm from its centre; None where they stay in their places."""
        import torch

        drawn = [stage for stage in self._spatial if rng.random() < stage.step.probability]
        if not drawn:
            return None
        points = _lattice(self._patch, case.grid.spacing[: self._dims]).clone()
        for stage in drawn:
            assert isinstance(stage.step, SpatialAugmentation)
            with blamed(stage):
                points = _checked(stage.step(points, rng), points)
        spacing = torch.tensor(case.grid.spacing[: self._dims]).reshape(-1, *[1] * self._dims)
        return points / spacing.to(points.dtype)


def _shares(strata: Sequence[str], balance: float) -> tuple[float, ...]:
    """How often each case comes up in a pass over all, on average."""
    count = Counter(strata)
    weights = np.array([count[stratum] ** -balance for stratum in strata], np.float64)
    return tuple((weights * (len(strata) / weights.sum())).tolist())


@lru_cache(maxsize=8)
def _order(seed: int, turn: int, shares: tuple[float, ...]) -> list[int]:
    """The cases of one pass: each as often as its share says, rounded up or down (systematic sampling)."""
    rng = np.random.default_rng([seed, turn, ORDER])
    places = rng.permutation(len(shares))
    ends = np.round(np.cumsum(shares), 9)  # so that shares of 1 end at whole numbers
    drawn: list[int] = np.searchsorted(ends, places + rng.random(), side="right").tolist()
    return [min(case, len(shares) - 1) for case in drawn]


@lru_cache(maxsize=64)
def _lattice(patch: tuple[int, ...], spacing: tuple[float, ...]) -> torch.Tensor:
    """`[D, *patch]`: the places of a patch's voxels in mm from its centre."""
    import torch

    lines = [
        (torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * step
        for n, step in zip(patch, spacing, strict=True)
    ]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


def _checked(returned: object, given: torch.Tensor) -> torch.Tensor:
    import torch

    if not isinstance(returned, torch.Tensor) or returned.shape != given.shape:
        raise PluginError(
            f"returned {getattr(returned, 'shape', type(returned).__name__)}, not {list(given.shape)}"
        )
    return returned


def _parts(case: PreparedCase) -> dict[str, tuple[NDArray[Any], NDArray[np.float32]]]:
    """What is read together, by name, each `[c, i, j, k]` with what stands outside of it, per channel."""
    parts = {
        "image": (case.image, np.array(case.fill, np.float32)),
        "labels": (case.labels, np.zeros(len(case.labels), np.float32)),
    }
    if case.objects is not None:
        parts["objects"] = case.objects, np.zeros(len(case.objects), np.float32)
    if case.valid is not None:
        parts["valid"] = case.valid, np.ones(1, np.float32)
    for name in case.maps:
        values = case.map(name)
        parts[f"map {name}"] = values, np.zeros(len(values), np.float32)
    return parts


def _cut(case: PreparedCase, start: NDArray[np.int64], patch: tuple[int, ...]) -> Sample:
    """The patch as it lies in the case."""
    shape = (*patch, 1)[:3]
    found = {}
    for name, (array, fill) in _parts(case).items():
        out = np.empty((len(array), *shape), np.float32)
        out[:] = fill.reshape(-1, 1, 1, 1)
        low = np.maximum(start, 0)
        high = np.minimum(start + shape, array.shape[1:])
        into = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        out[(slice(None), *into)] = array[
            (slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))
        ]
        found[name] = _tensor(out.reshape(len(out), *patch))
    return _sample(found)


def _read(case: PreparedCase, start: NDArray[np.int64], points: torch.Tensor) -> Sample:
    """The case at `points[D, *patch]`, in voxels from the patch's centre: linear, labels by nearest."""
    import torch
    from torch.nn.functional import grid_sample

    dims = len(points)
    size = np.array(points.shape[1:])
    centre = start[:dims] + (size - 1) / 2
    flat = points.reshape(dims, -1)
    low = np.floor(flat.amin(1).numpy() + centre).astype(int)
    high = np.ceil(flat.amax(1).numpy() + centre).astype(int) + 1
    shape = np.array(case.grid.shape[:dims])
    low = np.clip(low, 0, shape - 1)
    high = np.clip(high, low + 1, shape)
    box = [slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    box += [slice(int(start[2]), int(start[2]) + 1)] * (3 - dims)
    at = points + torch.from_numpy(centre - low).float().reshape(-1, *[1] * dims)
    extent = torch.tensor(high - low, dtype=torch.float32).reshape(-1, *[1] * dims)
    # grid_sample's own coordinates, from -1 to 1 over the faces of the box, the last axis first
    grid = ((2 * at + 1) / extent - 1).flip(0).movedim(0, -1)[None]
    found = {}
    for name, (array, fill) in _parts(case).items():
        values = _tensor(np.array(array[(slice(None), *box)], np.float32))
        values = values.reshape(len(values), *values.shape[1 : 1 + dims])
        outside = torch.from_numpy(fill).reshape(-1, *[1] * dims)
        mode = "nearest" if name in ("labels", "objects", "valid") else "bilinear"
        moved = grid_sample(
            (values - outside)[None], grid, mode=mode, padding_mode="zeros", align_corners=False
        )
        found[name] = moved[0] + outside
    return _sample(found)


def _tensor(array: NDArray[np.float32]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))


def _sample(found: dict[str, torch.Tensor]) -> Sample:
    """The parts by their names in a sample."""
    import torch

    whole = {name: found[name].round() for name in ("labels", "objects") if name in found}
    return {
        "image": found["image"],
        **{name: values.to(torch.int32) for name, values in whole.items()},
        "valid": found.get("valid", torch.ones_like(whole["labels"][:1])),
        "maps": {name[4:]: values for name, values in found.items() if name.startswith("map ")},
    }


def collated(samples: Sequence[Sample]) -> Sample:
    """Samples of one shape as a batch: every tensor with an axis N in front."""
    import torch

    first = samples[0]
    batch: Sample = {name: torch.stack([each[name] for each in samples]) for name in first if name != "maps"}
    batch["maps"] = {name: torch.stack([each["maps"][name] for each in samples]) for name in first["maps"]}
    return batch
