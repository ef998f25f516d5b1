"""Time the metric hd95 against MONAI's Hausdorff distance, in one run, on shapes of different kinds.

    python tests/benchmarks/bench_metrics.py

Prints the least processor time of three rounds, interleaved, and the ratio; the two results must agree. Both
run in one thread, and a busy machine tells less of their wall times.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch  # noqa: TID253 - a benchmark
from monai.metrics.hausdorff_distance import compute_hausdorff_distance  # noqa: TID253 - a benchmark
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253 - a benchmark

from medseg import Grid, Label, LabelTable, Segmentation
from medseg.builtin.metric.hd95 import Hd95

ROUNDS = 3
TABLE = LabelTable((Label(1, "a"),))
Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float, spacing: Spacing) -> Mask:
    """Voxels within a radius in mm of a place in voxels."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    squares = [((x - c) * s) ** 2 for x, c, s in zip(axes, centre, spacing, strict=True)]
    return np.asarray(sum(squares) <= radius**2)


def shapes() -> Iterator[tuple[str, Mask, Mask, Spacing]]:
    """Pairs of masks as they are met: organs, lesions, specks, a mesh, and one that fails widely."""
    iso, thick = (1.0, 1.0, 1.0), (0.8, 0.8, 3.0)
    small, large, flat = (96, 96, 96), (200, 180, 160), (240, 240, 60)
    yield "lesion, 24 mm", ball(small, (48, 48, 48), 12, iso), ball(small, (50, 47, 48), 11, iso), iso
    yield "organ, 140 mm", ball(large, (100, 90, 80), 70, iso), ball(large, (102, 89, 80), 68, iso), iso
    yield (
        "organ, 3 mm slices",
        ball(flat, (120, 120, 30), 70, thick),
        ball(flat, (123, 120, 30), 68, thick),
        thick,
    )
    yield "organ, close", ball(large, (100, 90, 80), 70, iso), ball(large, (101, 90, 80), 70, iso), iso
    yield "a third of its size", ball(small, (48, 48, 48), 45, iso), ball(small, (53, 48, 48), 15, iso), iso
    random = np.random.default_rng(0)
    one, two = np.zeros(large, bool), np.zeros(large, bool)
    for centre in random.uniform(10, 150, (20, 3)):
        one |= ball(large, tuple(centre), 4, iso)
        two |= ball(large, tuple(centre + 1), 4, iso)
    yield "20 specks", one, two, iso
    noise = ndimage.gaussian_filter(random.normal(size=small), 3)
    other = noise + 0.3 * ndimage.gaussian_filter(random.normal(size=small), 3)
    yield "mesh", noise > 0, other > 0, iso


def timed(calls: dict[str, Callable[[], float]]) -> tuple[dict[str, float], dict[str, float]]:
    """The best time of each call, and what it gave."""
    best, given = dict.fromkeys(calls, float("inf")), {}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            given[name] = call()
            best[name] = min(best[name], time.process_time() - start)
    return best, given


def compare(title: str, one: Mask, two: Mask, spacing: Spacing) -> float:
    """Print both times and return their ratio."""
    grid = Grid(one.shape, np.diag([*spacing, 1.0]))
    pair = [Segmentation.from_masks({"a": mask}, grid, TABLE) for mask in (one, two)]
    prediction, reference = (torch.from_numpy(mask)[None, None].float() for mask in (one, two))

    def ours() -> float:
        (row,) = Hd95()(*pair)
        assert isinstance(row.value, float)
        return row.value

    def theirs() -> float:
        found = compute_hausdorff_distance(
            prediction, reference, include_background=True, percentile=95, spacing=list(spacing)
        )
        return float(found)

    best, given = timed({"ours": ours, "theirs": theirs})
    assert np.isclose(given["ours"], given["theirs"], rtol=1e-5), given
    ratio = best["ours"] / best["theirs"]
    print(  # noqa: T201
        f"{title:<20} {given['ours']:6.2f} mm   {best['ours']:7.4f} s   MONAI {best['theirs']:7.4f} s   "
        f"ratio {ratio:.2f}"
    )
    return ratio


def main() -> None:
    """Run every comparison."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # MONAI warns of an argument that it gives itself
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    ratios = [compare(*shape) for shape in shapes()]
    print(f"largest ratio {max(ratios):.2f}")  # noqa: T201


if __name__ == "__main__":
    main()
