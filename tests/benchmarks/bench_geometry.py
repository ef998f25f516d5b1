"""Time what is measured and compared of masks against SciPy, scikit-image and MONAI, in one run.

    python tests/benchmarks/bench_geometry.py                      # 512 x 512 x 300 voxels, 100 labels
    python tests/benchmarks/bench_geometry.py --shape 128 128 80 --labels 20

Prints processor times (the least of a few rounds, in turns), their ratio and the goal; the results must
agree. All run in one thread, and a busy machine tells less of their wall times. The table is that of
`medseg measure`: volumes, shape, diameters, lesions, quality. Its reference takes the same numbers from
scikit-image (regionprops, marching cubes, contours of slices) and SciPy (label, hulls and distances of
pairs), each label in its own box.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Sequence

import edt  # noqa: TID253 - a benchmark
import numpy as np
import torch  # noqa: TID253 - a benchmark
from monai.metrics.hausdorff_distance import compute_hausdorff_distance  # noqa: TID253 - a benchmark
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253 - a benchmark
from scipy.spatial import ConvexHull  # noqa: TID253 - a benchmark
from scipy.spatial.distance import pdist  # noqa: TID253 - a benchmark
from skimage import measure as sk  # noqa: TID253 - a benchmark

from medseg import Grid, Label, LabelTable, Prediction, Segmentation, Volume
from medseg.builtin.metric.hd95 import Hd95
from medseg.builtin.postprocess.connected_parts import parts_of_labels
from medseg.memory import peak_bytes, release_freed_memory, reset_peak, resident_bytes
from medseg.pipeline import Stage
from medseg.run.made_masks import DEFAULT_MEASURE, measurements_named
from medseg.steps import Measurement

SPACING = (0.8, 0.8, 1.5)
Table = dict[tuple[str, str], float]
Image = NDArray[np.int16]
Map = NDArray[np.uint8]


def body(shape: tuple[int, int, int], count: int) -> tuple[Image, Map]:
    """An image of noise, and ellipsoids of many sizes side by side, a label each; laid out as NIfTI is."""
    random = np.random.default_rng(0)
    labels = np.zeros(shape, np.uint8, order="F")
    side = int(np.ceil(count ** (1 / 3)))
    cell = np.array(shape) / side
    for n in range(count):
        place = np.array(np.unravel_index(n, (side, side, side)))
        low = (place * cell).astype(int)
        high = ((place + 1) * cell).astype(int)
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[tuple(slice(0, b - a) for a, b in zip(low, high, strict=True))]
        radii = (high - low) / 2 * random.uniform(0.4, 0.95, 3)
        away = sum(((x - (b - a) / 2) / r) ** 2 for x, a, b, r in zip(axes, low, high, radii, strict=True))
        labels[part][np.asarray(away <= 1)] = n + 1
    image = np.empty(shape, np.int16, order="F")
    for k in range(shape[2]):
        image[..., k] = random.integers(-100, 300, shape[:2])
    return image, labels


def ours(volume: Volume, segmentation: Segmentation, steps: Sequence[Stage[Measurement]]) -> Table:
    """The table of `medseg measure`."""
    prediction = Prediction(segmentation=segmentation)
    return {
        (row.label, row.quantity): float(row.value)
        for stage in steps
        for row in stage.step(volume, segmentation, prediction)
        if isinstance(row.value, int | float)
    }


def theirs(image: Image, labels: Map) -> Table:
    """The same numbers by scikit-image and SciPy."""
    found: Table = {}
    voxel_ml = float(np.prod(SPACING)) / 1000
    for region in sk.regionprops(labels, image, spacing=SPACING):
        name, mask = str(region.label), region.image
        values = region.image_intensity[mask]
        vertices, faces, _, _ = sk.marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=SPACING)
        hull = vertices[ConvexHull(vertices).vertices]
        slices = [
            pdist(
                np.concatenate(sk.find_contours(np.pad(mask[..., k], 1).astype(float), 0.5)) * SPACING[:2]
            ).max()
            for k in range(mask.shape[2])
            if mask[..., k].any()
        ]
        found |= {
            (name, "volume"): np.count_nonzero(mask) * voxel_ml,
            (name, "intensity_mean"): float(values.mean()),
            (name, "intensity_sd"): float(values.std()),
            (name, "intensity_p50"): float(np.percentile(values, (5, 25, 50, 75, 95))[2]),
            (name, "surface_area"): float(sk.mesh_surface_area(vertices, faces)),
            (name, "feret_diameter"): float(pdist(hull).max()),
            (name, "longest_axial_diameter"): float(max(slices)),
            (name, "major_axis"): float(region.axis_major_length),
            (name, "pieces"): float(ndimage.label(mask, np.ones((3, 3, 3)))[1]),
        }
    return found


def timed(call: Callable[[], object], rounds: int) -> float:
    """The least processor time of a call."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def say(title: str, own: float, name: str, other: float, goal: float) -> None:
    """One line of two times."""
    ratio = own / other
    print(  # noqa: T201
        f"{title:<24} {own:8.3f} s   {name:<22} {other:8.3f} s   ratio {ratio:5.3f} (goal {goal}): "
        f"{'met' if ratio <= goal else 'NOT MET'}"
    )


def table(image: Image, labels: Map, grid: Grid, count: int) -> None:
    """The whole table, its memory, and the numbers that must agree."""
    names = LabelTable(tuple(Label(n, str(n)) for n in range(1, count + 1)))
    volume, segmentation = Volume(image[None], grid), Segmentation(labels[None], grid, names)
    near = grid.cropped((0, 0, 0), (9, 9, 9))
    few = Segmentation(labels[None, :9, :9, :9], near, names)
    steps = measurements_named(DEFAULT_MEASURE)
    ours(Volume(image[None, :9, :9, :9], near), few, steps)  # libraries are loaded before memory is looked at
    release_freed_memory()
    reset_peak()
    before = resident_bytes()
    start = time.process_time()
    own = ours(volume, segmentation, steps)
    seconds = time.process_time() - start
    taken = (peak_bytes() - before) / labels.nbytes
    start = time.process_time()
    other = theirs(image, labels)
    say("measurement table", seconds, "scikit-image, SciPy", time.process_time() - start, 0.2)
    verdict = "met" if taken <= 1.5 else "NOT MET"
    print(f"{'  its memory':<24} {taken:8.2f} x the label map (goal 1.5): {verdict}")  # noqa: T201
    for key, value in other.items():
        tolerance = 0.12 if key[1] in ("surface_area", "major_axis") else 0.01
        assert np.isclose(own[key], value, rtol=tolerance), (key, own[key], value)


def components(labels: Map) -> None:
    """All labels at once against a label at a time in its own box."""

    def cropped() -> int:
        boxes = ndimage.find_objects(labels)
        cube = np.ones((3, 3, 3))
        return sum(
            ndimage.label(labels[box] == n, cube)[1]
            for n, box in enumerate(boxes, start=1)
            if box is not None
        )

    parts = parts_of_labels(labels, 26)
    assert np.count_nonzero(parts.sizes) == cropped()
    say(
        "components, all labels",
        timed(lambda: parts_of_labels(labels, 26), 3),
        "scipy.ndimage.label",
        timed(cropped, 2),
        0.2,
    )


def distances(labels: Map) -> None:
    """Distance inside all labels to the outside."""
    mask = np.ascontiguousarray(labels[: labels.shape[0] // 2] > 0)
    own = edt.edt(mask, anisotropy=SPACING, black_border=False, parallel=1)
    assert np.allclose(own, ndimage.distance_transform_edt(mask, SPACING), atol=1e-3)
    say(
        "distances",
        timed(lambda: edt.edt(mask, anisotropy=SPACING, black_border=False, parallel=1), 2),
        "scipy.ndimage edt",
        timed(lambda: ndimage.distance_transform_edt(mask, SPACING), 1),
        0.25,
    )


def surfaces(shape: tuple[int, int, int]) -> None:
    """HD95 of an organ and one moved by two voxels."""
    centre, radius = np.array(shape) / 2, min(shape) * 0.35
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    one, other = (
        np.asarray(
            sum((x - c - d) ** 2 for x, c, d in zip(axes, centre, (shift, 0, 0), strict=True)) <= radius**2
        )
        for shift in (0, 2)
    )
    grid, names = Grid(shape, np.diag([*SPACING, 1.0])), LabelTable((Label(1, "organ"),))
    pair = [Segmentation.from_masks({"organ": mask}, grid, names) for mask in (one, other)]
    first, second = (torch.from_numpy(mask)[None, None].float() for mask in (one, other))

    def monai() -> float:
        found = compute_hausdorff_distance(
            first, second, include_background=True, percentile=95, spacing=SPACING
        )
        return float(found)

    def medseg() -> float:
        (row,) = Hd95()(*pair)
        assert isinstance(row.value, float)
        return row.value

    assert np.isclose(medseg(), monai(), rtol=1e-5)
    say("HD95", timed(medseg, 3), "MONAI", timed(monai, 2), 0.7)


def main() -> None:
    """Run every comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300), metavar=("I", "J", "K"))
    parser.add_argument("--labels", type=int, default=100)
    given = parser.parse_args()
    shape = (given.shape[0], given.shape[1], given.shape[2])
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)  # MONAI warns of an argument that it gives itself
    print(f"{shape}, {given.labels} labels; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")  # noqa: T201
    image, labels = body(shape, given.labels)
    table(image, labels, Grid(shape, np.diag([*SPACING, 1.0])), given.labels)
    components(labels)
    distances(labels)
    surfaces((160, 160, 120) if min(shape) >= 120 else shape)


if __name__ == "__main__":
    main()
