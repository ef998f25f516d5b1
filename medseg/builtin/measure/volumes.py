"""How large each label is, where it lies, how bright it is there, and whether the image cuts it off."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import cut_out, label_boxes
from medseg.builtin.measure.frame import Frame
from medseg.builtin.measure.line_counts import mean_index
from medseg.extent import Box
from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

__all__ = ["Volumes"]

PERCENTILES = (5, 25, 50, 75, 95)
INTENSITIES = ("mean", "sd", "min", "max", *(f"p{p}" for p in PERCENTILES))
AXES = "ijk"
CHUNK_VALUES = 1 << 20


class Volumes(Measurement):
    """Volume, voxel count, intensity, bounding box, centroid and truncation of every label.

    For each label:

    - `volume` in mL: the number of voxels times the volume of one. A picture has an `area` instead, in mm²,
      or in px² without a scale; a stack without a scale a `volume` in px³. One slice of a scan has some
      thickness: its volume is given and flagged "one slice".
    - `voxels`: the count.
    - `intensity_mean`, `_sd` (of the population), `_min`, `_max`, `_p5`, `_p25`, `_p50`, `_p75`, `_p95` of
      the image's first channel under the mask; in HU for CT. Voxels that are not finite are left out and
      flagged.
    - `bbox_min_i` … `bbox_max_k`: the first and the last voxel of the label along each axis of the image's
      own grid, counted from 0, both inside the label.
    - `bbox_min_x` … `bbox_max_z` in mm: the outer faces of its voxels in RAS+ coordinates, also where the
      grid is oblique.
    - `centroid_x`, `_y`, `_z` in mm: the mean of its voxel centres, RAS+.
    - `truncated`: "true" where the mask touches a face of the image, so that an unknown part may lie beyond.
      The flag, here and on the volume, names the faces: an oblique grid's by the nearest direction of the
      body, a picture's by its edges. Along an axis of a single voxel nothing can be said, so nothing is.

    A label that is nowhere has volume 0 and no other values; every row of it is flagged "empty".

    With `soft` and `members` there are rows on how sure the network is. Both are of the prediction before
    postprocessing, and say "not given" where the segmenter does not give them:

    - `soft_volume` in mL: the sum of the label's probabilities times the volume of a voxel, on the grid that
      the network sees. Far from `volume` where the network is unsure.
    - `members_volume` in mL: the mean over the members of an ensemble, each decided by itself, with the
      smallest and the largest as its interval. Of a single network that mirrors, members are its mirrored
      copies, which agree more than networks do.
    """

    soft: bool = False
    """Whether to give `soft_volume`; takes a softmax of every voxel, and no memory to speak of."""

    members: bool = False
    """Whether to give `members_volume`; each member takes as much slab as all do together."""

    @property
    def wants(self) -> Wanted:
        """Soft volumes and members, where they are asked for."""
        reductions = frozenset({"soft-volume"}) if self.soft else frozenset()
        return Wanted(reductions=reductions, members=self.members)

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label, in the order of the label table."""
        yield from self._of_masks(volume, segmentation)
        for label in segmentation.labels:
            if self.soft:
                yield _soft(label.name, prediction)
            if self.members:
                yield _of_members(label.name, prediction)

    def _of_masks(self, volume: Volume, segmentation: Segmentation) -> Iterator[Measured]:
        """The rows of each label's mask."""
        boxes = label_boxes(segmentation)
        intensity_unit = "HU" if volume.source is not None and volume.source.modality == "CT" else ""
        frame = Frame(segmentation.grid, volume.is_picture)
        for label in segmentation.labels:
            box = boxes[label.name]
            if box is None:
                yield from _empty(label.name, frame, intensity_unit)
                continue
            mask, grid = cut_out(segmentation, label.name, box)
            yield from _size(label.name, int(np.count_nonzero(mask)), box, frame)
            yield from _intensity(label.name, _under(volume.array[0][box], mask), intensity_unit)
            yield from _place(label.name, mask, box, grid)
            faces = frame.faces_touched(box)
            yield Measured(
                label=label.name,
                quantity="truncated",
                value="true" if faces else "false",
                flag=f"truncated: {', '.join(faces)}" if faces else "",
            )


def _soft(label: str, prediction: Prediction) -> Measured:
    ml = prediction.soft_ml.get(label)
    flag = "not given" if ml is None else ""
    return Measured(label=label, quantity="soft_volume", value=ml, unit="mL", flag=flag)


def _of_members(label: str, prediction: Prediction) -> Measured:
    """The volume by each member: mean, smallest and largest."""
    members = prediction.members
    if not members or members[0].grid.unit != "mm":
        return Measured(label=label, quantity="members_volume", value=None, unit="mL", flag="not given")
    volumes = [np.count_nonzero(member.mask(label)) * member.grid.voxel_ml for member in members]
    return Measured(
        label=label,
        quantity="members_volume",
        value=float(np.mean(volumes)),
        unit="mL",
        interval=(min(volumes), max(volumes)),
        flag="one member" if len(members) == 1 else "",
    )


def _empty(label: str, frame: Frame, intensity_unit: str) -> Iterator[Measured]:
    """The same rows as any label has, without values: a table keeps its shape."""
    quantity, unit, _ = frame.quantity
    length = frame.grid.unit
    yield Measured(label=label, quantity=quantity, value=0.0, unit=unit, flag="empty")
    yield Measured(label=label, quantity="voxels", value=0, flag="empty")
    units = {f"intensity_{name}": intensity_unit for name in INTENSITIES}
    units |= {f"bbox_{end}_{axis}": "" for axis in AXES for end in ("min", "max")}
    units |= {f"bbox_{end}_{axis}": length for axis in "xyz" for end in ("min", "max")}
    units |= {f"centroid_{axis}": length for axis in "xyz"}
    units["truncated"] = ""
    for name, of in units.items():
        yield Measured(label=label, quantity=name, value=None, unit=of, flag="empty")


def _size(label: str, count: int, box: Box, frame: Frame) -> Iterator[Measured]:
    quantity, unit, voxel = frame.quantity
    faces = frame.faces_touched(box)
    flags = [f"truncated: {', '.join(faces)}"] if faces else []
    if unit == "mL" and 1 in frame.grid.shape:
        flags.append("one slice")
    yield Measured(label=label, quantity=quantity, value=count * voxel, unit=unit, flag="; ".join(flags))
    yield Measured(label=label, quantity="voxels", value=count)


def _under(image: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Values `[n]` of `image[i, j, k]` under a mask, in the order in which they lie in memory."""
    return image.T[mask.T] if image.strides[0] < image.strides[2] else image[mask]


def _intensity(label: str, values: NDArray[Any], unit: str) -> Iterator[Measured]:
    """Statistics of the values `[n]` under a mask; the array is this function's own to reorder."""
    flag = ""
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        if not finite.all():
            flag = f"{int(np.count_nonzero(~finite))} voxels not finite"
            values = values[finite]
    if len(values) == 0:
        numbers: list[float | None] = [None] * len(INTENSITIES)
    elif values.dtype.kind in "iu" and values.dtype.itemsize <= 2:
        numbers = [*_of_counts(values)]
    else:
        mean = float(values.mean(dtype=np.float64))
        numbers = [mean, _deviation(values, mean), float(values.min()), float(values.max())]
        numbers += [float(v) for v in np.percentile(values, PERCENTILES, overwrite_input=True)]
    for name, number in zip(INTENSITIES, numbers, strict=True):
        yield Measured(label=label, quantity=f"intensity_{name}", value=number, unit=unit, flag=flag)


def _of_counts(values: NDArray[Any]) -> list[float]:
    """The same from how often each value is there: of 16 bits there are few, and nothing is sorted."""
    lowest, highest = int(values.min()), int(values.max())
    counts = np.zeros(highest - lowest + 1, np.int64)
    for start in range(0, len(values), CHUNK_VALUES):
        part = np.subtract(values[start : start + CHUNK_VALUES], lowest, dtype=np.intp)
        counts += np.bincount(part, minlength=len(counts))
    there = np.flatnonzero(counts)
    total, often, found = len(values), counts[there], (there + lowest).astype(np.float64)
    mean = float(found @ often) / total
    away = found - mean
    at = (total - 1) * np.array(PERCENTILES) / 100  # in between, linear, as numpy.percentile has it
    ends = np.cumsum(often)
    below, above = (
        found[np.searchsorted(ends, place, side="right")] for place in (np.floor(at), np.ceil(at))
    )
    percentiles = below + (above - below) * (at - np.floor(at))
    return [
        mean,
        float(np.sqrt(away**2 @ often / total)),
        float(lowest),
        float(highest),
        *percentiles.tolist(),
    ]


def _deviation(values: NDArray[Any], mean: float) -> float:
    """Population standard deviation about `mean`, in chunks: no float copy of all values is held."""
    total = 0.0
    for start in range(0, len(values), CHUNK_VALUES):
        away = np.subtract(values[start : start + CHUNK_VALUES], mean, dtype=np.float64)
        total += float(np.dot(away, away))
    return float(np.sqrt(total / len(values)))


def _place(label: str, mask: NDArray[np.bool_], box: Box, grid: Grid) -> Iterator[Measured]:
    """Bounding box and centroid of a mask `[i, j, k]` that fills `box`; `grid` is the box's own."""
    for axis, extent in zip(AXES, box, strict=True):
        yield Measured(label=label, quantity=f"bbox_min_{axis}", value=extent.start)
        yield Measured(label=label, quantity=f"bbox_max_{axis}", value=extent.stop - 1)
    low, high = _world_box(mask, grid)
    for axis, at in zip("xyz", range(3), strict=True):
        yield Measured(label=label, quantity=f"bbox_min_{axis}", value=float(low[at]), unit=grid.unit)
        yield Measured(label=label, quantity=f"bbox_max_{axis}", value=float(high[at]), unit=grid.unit)
    for axis, position in zip("xyz", grid.to_world(mean_index(mask)), strict=True):
        yield Measured(label=label, quantity=f"centroid_{axis}", value=float(position), unit=grid.unit)


def _world_box(mask: NDArray[np.bool_], grid: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and highest RAS+ coordinates `[3]` of the voxels' faces.

    A coordinate is linear along i, so that it is largest at one end of each column: only the first and last
    voxel of every column need be placed.
    """
    j, k = np.nonzero(mask.any(axis=0))
    columns = mask[:, j, k]
    first = columns.argmax(axis=0)
    last = len(mask) - 1 - columns[::-1].argmax(axis=0)
    ends = np.concatenate([np.stack([i, j, k], axis=1) for i in (first, last)])
    centres = grid.to_world(ends)
    reach = np.abs(grid.affine[:3, :3]).sum(axis=1) / 2
    return centres.min(axis=0) - reach, centres.max(axis=0) + reach
