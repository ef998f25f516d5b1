"""DICOM RTSTRUCT: closed planar contours in patient mm, filled on the image's slices.

A pixel is in where its centre is inside the contour or on it. A contour of a region within another in the
same plane is a hole, contours that cross are united, and one stored twice counts once; those of kind
CLOSEDPLANAR_XOR are combined by exclusive or, as they say. Nothing is filled in between planes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.decoder import decode
from medseg.io.masks.as_read import Follow
from medseg.io.masks.layers import Tell, hexadecimal, in_layers, listed, unique
from medseg.io.masks.plane import combined, distinct, exclusive
from medseg.segmentation import Label, Segmentation
from medseg.volume import LPS_TO_RAS, Grid, Volume

__all__ = ["read_structure_set"]

EXCLUSIVE = "CLOSEDPLANAR_XOR"
CLOSED = ("CLOSED_PLANAR", EXCLUSIVE)
FLAT = 0.2  # voxels that the points of a contour may leave their plane by: rounding of decimal numbers
BESIDE = 0.1  # of a slice: a contour further from its slice than this is told
SAME_PLANE = 0.03  # of a slice: no further from the next are contours of one plane; 0.02 mm in 0.7 mm
DECIMALS = 0.005  # pixels; less beyond the image is the rounding of decimal numbers
RIM = 1.0  # pixels that a contour may reach beyond the image; what is cut off there is told


@dataclass(frozen=True, eq=False)
class _Contour:
    """A closed contour as voxel indices `[n, 3]`."""

    points: NDArray[np.float64]
    image: str
    """SOPInstanceUID of the image that it was drawn on; empty where it is not told."""
    exclusive: bool
    """Whether it is to be combined with others by exclusive or."""


@dataclass(frozen=True, eq=False)
class _Plane:
    """A region's contours at one height, in slices of the image."""

    height: float
    contours: list[_Contour]


def read_structure_set(
    path: Path, about: dict[str, Any], onto: Volume, follow: Follow, tell: Tell
) -> Segmentation:
    """The regions as labels on the image's grid; points and open contours are left out, which is told.

    Raises GeometryError where a contour lies in no slice of the image or reaches beyond it.
    """
    grid = onto.grid
    if grid.unit != "mm":
        raise GeometryError(f"{path.name}: contours in mm cannot be placed on an image in {grid.unit}")
    regions = [item["number"] for item in about["labels"]]
    if not regions:
        raise InputError(f"{path.name}: it names no region (StructureSetROISequence is missing or empty)")
    if len(set(regions)) < len(regions):
        raise InputError(f"{path.name}: two of its regions have the same ROINumber")
    contours = _contours(path, set(regions), grid, follow, tell)
    stored = [
        Label(
            item["number"],
            item["name"],
            code=item["code"],
            colour=hexadecimal(np.array(item["rgb"] or [], float)),
        )
        for item in about["labels"]
    ]
    labels = unique(stored, tell)
    axis = _slice_axis(path.name, contours, grid)
    known = {str(header.get("SOPInstanceUID")) for header in (onto.source.headers if onto.source else ())}
    for label, region in zip(labels, regions, strict=True):
        beyond = _beyond(f"{path.name}: {label.name!r}", contours[region], axis, grid, known)
        if beyond >= DECIMALS:
            tell(f"{label.name}: what lies up to {beyond:.2f} pixels beyond the image is cut off")
    planes = [_planes(contours[region], axis, grid) for region in regions]
    _tell_of_planes(labels, planes, grid.shape[axis], tell)
    _tell_of_twice(labels, [contours[region] for region in regions], planes, tell)
    crossing: list[str] = []
    empty: list[str] = []

    def where(label: Label, many: list[_Plane]) -> NDArray[np.intp]:
        flat, crosses = _filled(many, axis, grid, path.name)
        crossing.extend([label.name] if crosses else [])
        empty.extend([label.name] if many and not len(flat) else [])
        return flat

    wheres = (where(label, many) for label, many in zip(labels, planes, strict=True))
    found = in_layers(labels, wheres, grid, path.name)
    if crossing:
        tell(f"contours of one region that cross are united: {listed(crossing)}")
    if empty:
        tell(f"contours that hold no pixel: {listed(empty)}")
    return found


def _contours(
    path: Path, regions: set[int], grid: Grid, follow: Follow, tell: Tell
) -> dict[int, list[_Contour]]:
    """Closed contours by region, as indices of the image; what is left out is told."""
    found: dict[int, list[_Contour]] = defaultdict(list)
    left_out: Counter[str] = Counter()

    def take(fields: dict[str, Any], points: NDArray[Any] | None) -> None:
        assert points is not None
        if fields["region"] not in regions:
            raise InputError(f"{path.name}: contours of region {fields['region']}, which is not named")
        if fields["claimed"] is not None and fields["claimed"] != len(points):
            raise InputError(
                f"{path.name}: a contour claims {fields['claimed']:g} points and has {len(points)}; damaged"
            )
        if fields["kind"] not in CLOSED:
            left_out[fields["kind"] or "without a kind"] += 1
        elif len(points) < 3:
            left_out["of fewer than 3 points"] += 1
        else:
            index = grid.to_index(follow(points) * LPS_TO_RAS.diagonal()[:3])
            found[fields["region"]].append(_Contour(index, fields["image"], fields["kind"] == EXCLUSIVE))

    most = 4 * path.stat().st_size + 64  # a number of two letters becomes 8 bytes
    decode({"do": "dicom-contours"}, files=[path], take=take, most_bytes=most)
    if left_out:
        told = listed([f"{count} {kind}" for kind, count in sorted(left_out.items())])
        tell(f"contours that enclose nothing are left out: {told}")
    return found


def _slice_axis(name: str, contours: dict[int, list[_Contour]], grid: Grid) -> int:
    """The axis of the image that every contour stands still along."""
    spread = np.zeros(3)
    for contour in (one for many in contours.values() for one in many):
        spread = np.maximum(spread, np.ptp(contour.points, axis=0))
    # a flat picture has its slice axis by its shape, should a contour be thinner than a pixel
    axis = int(spread.argmin()) if spread.any() else int(np.argmin(grid.shape))
    if spread[axis] > FLAT:
        raise GeometryError(
            f"{name}: its contours do not lie in slices of the image: they leave them by "
            f"{spread[axis]:.2f} voxels"
        )
    return axis


def _height(contour: _Contour, axis: int) -> float:
    return float(contour.points[:, axis].mean())


def _beyond(what: str, contours: list[_Contour], axis: int, grid: Grid, images: set[str]) -> float:
    """How many pixels the contours reach beyond the image; raises GeometryError where they are too many."""
    furthest = 0.0
    last = grid.shape[axis] - 1
    for contour in contours:
        height = _height(contour, axis)
        if not -0.5 - BESIDE <= height <= last + 0.5 + BESIDE:
            far = max(-height, height - last) * grid.spacing[axis]
            lacking = contour.image and images and contour.image not in images
            why = f", drawn on image …{contour.image[-12:]} that this series lacks" if lacking else ""
            raise GeometryError(
                f"{what}: a contour lies {far:.2f} mm beyond the image's outermost slice{why}; "
                "give the whole series that it was drawn on"
            )
        low, high = contour.points.min(axis=0), contour.points.max(axis=0)
        beyond = np.maximum(-0.5 - low, high - (np.asarray(grid.shape) - 0.5))
        beyond[axis] = 0
        furthest = max(furthest, float(beyond.max()))
        if furthest > RIM:
            raise GeometryError(
                f"{what}: a contour reaches {furthest:.1f} pixels beyond the image; what lies there would be "
                "lost. Give the image that it was drawn on"
            )
    return furthest


def _planes(contours: list[_Contour], axis: int, grid: Grid) -> list[_Plane]:
    """The contours by height, lowest first; of those stored twice the first."""
    if not contours:
        return []
    order = sorted(contours, key=lambda contour: _height(contour, axis))
    heights = np.array([_height(contour, axis) for contour in order])
    planes = []
    for numbers in np.split(np.arange(len(order)), np.flatnonzero(np.diff(heights) > SAME_PLANE) + 1):
        kept = distinct([order[number].points * grid.spacing for number in numbers])
        planes.append(_Plane(float(heights[numbers].mean()), [order[numbers[one]] for one in kept]))
    return planes


def _tell_of_planes(labels: list[Label], planes: list[list[_Plane]], count: int, tell: Tell) -> None:
    """Say what a reader of the mask could not see: slices skipped, planes beside slices, empty regions."""
    without, skipped, beside, dropped, furthest = [], [], [], [], 0.0
    for label, many in zip(labels, planes, strict=True):
        if not many:
            without.append(label.name)
            continue
        slices = sorted(_nearest(many, count))
        off = max(abs(plane.height - _slice(plane, count)) for plane in many)
        furthest = max(furthest, off)
        if off > BESIDE:
            beside.append(label.name)
        if len(slices) < len(many):
            dropped.append(f"{label.name} ({_counted(len(many) - len(slices), 'plane')})")
        span = slices[-1] - slices[0] + 1
        if len(slices) < span:
            skipped.append(f"{label.name} ({len(slices)} of {span})")
    if without:
        tell(f"no closed contour: {listed(without)}")
    if skipped:
        tell(f"slices without a contour between slices with one stay empty: {listed(skipped)}")
    if beside:
        tell(
            f"contours lie up to {furthest:.2f} slices beside the image's slices, each fills the nearest: "
            f"{listed(beside)}"
        )
    if dropped:
        tell(f"contours are left out where a plane nearer to their slice has some: {listed(dropped)}")


def _tell_of_twice(
    labels: list[Label], contours: list[list[_Contour]], planes: list[list[_Plane]], tell: Tell
) -> None:
    twice = []
    for label, stored, many in zip(labels, contours, planes, strict=True):
        again = len(stored) - sum(len(plane.contours) for plane in many)
        if again:
            twice.append(f"{label.name} ({_counted(again, 'contour')})")
    if twice:
        tell(f"contours stored twice count once: {listed(twice)}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _filled(planes: Sequence[_Plane], axis: int, grid: Grid, name: str) -> tuple[NDArray[np.intp], bool]:
    """Flat C-order indices of the voxels inside, and whether contours in a plane cross."""
    flat: list[NDArray[np.intp]] = [np.empty(0, np.intp)]
    across = [other for other in range(3) if other != axis]
    shape = (grid.shape[across[0]], grid.shape[across[1]])
    crossing = False
    for number, plane in _nearest(planes, grid.shape[axis]).items():
        outlines = [contour.points[:, across] for contour in plane.contours]
        if any(contour.exclusive for contour in plane.contours):  # then all of them should be
            canvas = exclusive(outlines, shape, name)
        else:
            canvas, crosses = combined(outlines, shape, name)
            crossing |= crosses
        first, second = np.nonzero(canvas)
        index = np.empty((3, len(first)), np.intp)
        index[axis], index[across[0]], index[across[1]] = number, first, second
        flat.append(np.asarray(np.ravel_multi_index((index[0], index[1], index[2]), grid.shape)))
    return np.concatenate(flat), crossing


def _nearest(planes: Sequence[_Plane], count: int) -> dict[int, _Plane]:
    """Each slice with the plane that is nearest to it."""
    nearest: dict[int, _Plane] = {}
    for plane in planes:
        number = _slice(plane, count)
        other = nearest.get(number)
        if other is None or abs(plane.height - number) < abs(other.height - number):
            nearest[number] = plane
    return nearest


def _slice(plane: _Plane, count: int) -> int:
    return min(max(round(plane.height), 0), count - 1)
