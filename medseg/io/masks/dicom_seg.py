"""DICOM SEG: BINARY and FRACTIONAL (a frame for each segment and slice), LABELMAP (a frame for each slice).

Frames are decoded one by one and kept as the indices of their labelled voxels, so that the memory is the
layers that are needed and four bytes for each labelled voxel, never one array for each segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.decoder import decode, refuse_oversize
from medseg.io.masks.frames import stacked
from medseg.io.masks.layers import Tell, hexadecimal, in_layers, listed, smallest_type, unique
from medseg.io.masks.place import placed
from medseg.io.masks.uneven import NOWHERE, UnevenSlices, uneven_slices
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

__all__ = ["BACKGROUND", "decode_frames", "read_seg"]

KINDS = ("BINARY", "FRACTIONAL", "LABELMAP")
MOST_SIDE = 1 << 15  # rows or columns
IN = 0.5  # of MaximumFractionalValue: at least this much of a voxel, or this probable, is in
BACKGROUND = "DCM:125040"


@dataclass(frozen=True, eq=False)
class _Stack:
    """Where frames lie: the slice of each in `grid`, or NOWHERE."""

    grid: Grid
    slices: NDArray[np.intp]
    left_out: list[int]
    """Labelled voxels of frames that lie nowhere."""


def read_seg(
    path: Path,
    about: dict[str, Any],
    rows: NDArray[np.float64],
    lacking: NDArray[np.bool_],
    onto: Volume,
    tell: Tell,
) -> Segmentation:
    """The segments on the grid of `onto`; slices without a frame are background.

    Segment numbers become label values. Fractions of at least half their maximum are in, which is told. So
    are labelled voxels of frames that are `lacking` a slice of the image; GeometryError where all are. Frames
    on the slices of an unevenly spaced series go from there onto the even grid that it was read onto.
    """
    name = path.name
    _require_sound(name, about, rows)
    if lacking.all():
        raise GeometryError(f"{name}: all of its {len(rows)} frames lie on slices that the image lacks")
    size = (int(about["columns"]), int(about["rows"]))
    grid, slices, uneven = _on_slices(name, rows, lacking, size, onto)
    refuse_oversize(2 * int(np.prod(grid.shape)), name)
    stack = _Stack(grid, slices, [])
    if about["kind"] == "LABELMAP":
        found = _labelmap(path, about, stack, tell)
    else:
        found = _segments(path, about, rows[:, -1], stack, tell)
    if any(stack.left_out):
        _tell_left_out(name, found, sum(stack.left_out), tell)
    if uneven is not None:
        return uneven.onto(found, onto.grid, name, tell)
    return placed(found, onto.grid, name, tell)


def _on_slices(
    name: str, rows: NDArray[np.float64], lacking: NDArray[np.bool_], size: tuple[int, int], onto: Volume
) -> tuple[Grid, NDArray[np.intp], UnevenSlices | None]:
    """A grid that holds all frames and the slice of each; the series' slices if those are not even."""
    slices = np.full(len(rows), NOWHERE, np.intp)
    uneven = uneven_slices(onto)
    on_series = slices if uneven is None else uneven.of_frames(rows, size)
    if uneven is not None and (on_series != NOWHERE).all():
        return uneven.stack, on_series, uneven
    try:
        grid, slices[~lacking] = stacked(name, rows[~lacking], size, onto.grid)
    except GeometryError as problem:
        beside = int((on_series == NOWHERE).sum())
        if beside == len(rows):
            raise
        raise GeometryError(
            f"{name}: {beside} of its {len(rows)} frames lie on no slice of the image's series, which is "
            "not evenly spaced; give the series that it was drawn on"
        ) from problem
    return grid, slices, None


def _tell_left_out(name: str, found: Segmentation, count: int, tell: Tell) -> None:
    """Say how many labelled voxels were on slices that the image lacks; refuse where no others are left."""
    if not found.array.any():
        raise GeometryError(f"{name}: all of its {count} labelled voxels lie on slices that the image lacks")
    tell(f"{count} labelled voxels on slices that the image lacks are left out")
    empty = [label.name for label in found.labels if not found.mask(label.name).any()]
    if empty:
        tell(f"no voxel is left of {listed(empty)}")


def _require_sound(name: str, about: dict[str, Any], rows: NDArray[np.float64]) -> None:
    """Refuse what contradicts itself before any frame is decoded."""
    if about["kind"] not in KINDS:
        raise InputError(f"{name}: SegmentationType {about['kind'] or 'missing'!r} is not one of {KINDS}")
    sides = (about["rows"], about["columns"])
    if not all(side is not None and 1 <= side <= MOST_SIDE for side in sides):
        raise InputError(f"{name}: {sides[0]} rows and {sides[1]} columns are no image size")
    if not len(rows) or about["frames"] != len(rows):
        raise InputError(
            f"{name}: its header claims {about['frames'] or 0:g} frames and places {len(rows)} of them"
        )
    if not about["labels"]:
        raise InputError(f"{name}: it describes no segment (SegmentSequence is missing)")


def decode_frames(path: Path, about: dict[str, Any], count: int, take: Any) -> None:
    """Give `take` the number and the values `[row, column]` of each frame."""
    size = (int(about["rows"]), int(about["columns"]))
    done = 0

    def keep(_fields: dict[str, Any], frame: NDArray[Any] | None) -> None:
        nonlocal done
        if frame is None or frame.shape != size or frame.dtype.kind != "u" or done >= count:
            raise InputError(f"{path.name}: frame {done + 1} is not what its header claims")
        take(done, frame)
        done += 1

    decode({"do": "dicom-mask-frames"}, files=[path], take=keep, most_bytes=4 * size[0] * size[1])
    if done != count:
        raise InputError(f"{path.name}: truncated: its header claims {count} frames, {done} are there")


def _label(item: dict[str, Any]) -> Label:
    return Label(item["number"], item["name"], code=item["code"], colour=_colour(item["lab"]))


def _colour(lab: list[float]) -> str | None:
    """`#rrggbb` of a CIELab triple of unsigned 16-bit numbers (PS3.3 C.10.7.1.1), white point D65.

    The standard means the ICC connection space, whose white is D50; the writers met so far (dcmqi, highdicom)
    use D65, and with it a colour comes back as it went in.
    """
    import warnings

    from skimage.color import lab2rgb

    scaled = np.clip(lab, 0, 65535) / 65535 * (100, 255, 255) - (0, 128, 128)
    with warnings.catch_warnings(action="ignore"):  # colours that no screen has are clipped
        rgb = lab2rgb(scaled[None, None])
    return hexadecimal(255 * rgb.ravel())


# ------------------------------------------------------------------ a frame for each segment
def _segments(
    path: Path, about: dict[str, Any], numbers: NDArray[np.float64], stack: _Stack, tell: Tell
) -> Segmentation:
    grid, slices = stack.grid, stack.slices
    described = [item["number"] for item in about["labels"]]
    stray = set(numbers.tolist()) - set(described)
    if stray:
        raise InputError(f"{path.name}: a frame belongs to segment {min(stray):g}, which is not described")
    if len(set(described)) < len(described):
        raise InputError(f"{path.name}: two of its segments have the same SegmentNumber")
    here = slices != NOWHERE
    pairs = list(zip(numbers[here].tolist(), slices[here].tolist(), strict=True))
    if len(set(pairs)) < len(pairs):
        raise GeometryError(f"{path.name}: two frames of one segment lie on the same slice; which counts?")
    least = _least(path.name, about, tell)
    indices = np.uint32 if np.prod(grid.shape) < 1 << 32 else np.uint64
    there: dict[int, list[NDArray[Any]]] = {number: [] for number in described}

    def take(frame: int, values: NDArray[Any]) -> None:
        if slices[frame] == NOWHERE:
            stack.left_out.append(int(np.count_nonzero(values >= least)))
            return
        row, column = np.nonzero(values >= least)
        flat = np.ravel_multi_index((column, row, np.full_like(row, slices[frame])), grid.shape)
        there[int(numbers[frame])].append(flat.astype(indices))

    decode_frames(path, about, len(numbers), take)
    labels = unique([_label(item) for item in about["labels"]], tell)
    empty = np.empty(0, indices)
    wheres = (np.concatenate([empty, *there.pop(number)]) for number in described)
    return in_layers(labels, wheres, grid, path.name)


def _least(name: str, about: dict[str, Any], tell: Tell) -> float:
    """The smallest stored value that counts as in."""
    if about["kind"] == "BINARY":
        return 1.0
    most = about["most"]
    if most is None or not 1 <= most <= 255:
        raise InputError(f"{name}: fractions without a MaximumFractionalValue between 1 and 255")
    what = {"PROBABILITY": "probabilities", "OCCUPANCY": "parts of a voxel"}.get(
        about["fraction"], "fractions"
    )
    tell(f"holds {what}: at least {IN * most:g} of {most:g} counts as in")
    return IN * float(most)


# ------------------------------------------------------------------ a frame for each slice
def _labelmap(path: Path, about: dict[str, Any], stack: _Stack, tell: Tell) -> Segmentation:
    grid, slices = stack.grid, stack.slices
    here = slices[slices != NOWHERE].tolist()
    if len(set(here)) < len(here):
        raise GeometryError(f"{path.name}: two frames lie on the same slice; which counts?")
    padding = int(about["padding"]) if about["padding"] is not None else 0
    nothing = {padding} | {item["number"] for item in about["labels"] if item["code"] == BACKGROUND}
    array = np.full(grid.shape, padding, np.uint16)
    seen = np.zeros(1 << 16, bool)

    def take(frame: int, values: NDArray[Any]) -> None:
        if values.dtype.itemsize > 2:
            raise InputError(f"{path.name}: a label map of {8 * values.dtype.itemsize} bits is not read")
        if slices[frame] == NOWHERE:
            stack.left_out.append(int((~np.isin(values, [0, *nothing])).sum()))
            return
        array[:, :, slices[frame]] = values.T
        found = np.flatnonzero(np.bincount(values.ravel()))  # of the whole it would take eight bytes a voxel
        seen[found] = True

    decode_frames(path, about, len(slices), take)
    there = set(np.flatnonzero(seen).tolist()) - nothing
    described = [_label(item) for item in about["labels"] if item["number"] not in nothing]
    known = {label.value for label in described}
    if 0 not in known:
        there.discard(0)
    nameless = sorted(there - known)
    if nameless:
        tell(f"segments {listed([str(number) for number in nameless])} are not described: they have no name")
    stored = [*described, *(Label(number, "") for number in nameless)]
    labels = unique(stored, tell)
    kind = smallest_type(max((label.value for label in labels), default=0))
    lookup = np.zeros(1 << 16, kind)
    for old, label in zip(stored, labels, strict=True):
        lookup[old.value] = label.value
    return Segmentation(lookup[array][None], grid, LabelTable(tuple(labels)))
