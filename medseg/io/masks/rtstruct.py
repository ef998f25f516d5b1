"""DICOM RTSTRUCT: closed planar contours in patient mm, filled on the image's slices.

A pixel is in where its centre is inside the contour or on it. Contours of one region in one plane are
combined by even-odd, so that a contour within a contour is a hole. Nothing is filled in between planes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.decoder import decode
from medseg.io.masks.as_read import Follow
from medseg.io.masks.layers import Tell, hexadecimal, in_layers, listed, unique
from medseg.io.masks.polygons import inside
from medseg.segmentation import Label, Segmentation
from medseg.volume import LPS_TO_RAS, Grid, Volume

__all__ = ["read_structure_set"]

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
FLAT = 0.2  # voxels that the points of a contour may leave their plane by: rounding of decimal numbers
BESIDE = 0.1  # of a slice: a contour further from its slice than this is told
SAME_PLANE = 2  # decimals of a slice within which contours are in one plane
RIM = 1.0  # pixels that a contour may reach beyond the image; what is cut off there is told


@dataclass(frozen=True, eq=False)
class _Contour:
    """A closed contour as voxel indices `[n, 3]`."""

    points: NDArray[np.float64]
    image: str
    """SOPInstanceUID of the image that it was drawn on; empty where it is not told."""


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
        if beyond > 0:
            tell(f"{label.name}: what lies up to {beyond:.2f} pixels beyond the image is cut off")
    _tell_of_planes(labels, [contours[region] for region in regions], axis, tell)
    wheres = (_filled(contours[region], axis, grid, path.name) for region in regions)
    return in_layers(labels, wheres, grid, path.name)


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
            found[fields["region"]].append(_Contour(index, fields["image"]))

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


def _tell_of_planes(labels: list[Label], contours: list[list[_Contour]], axis: int, tell: Tell) -> None:
    """Say what a reader of the mask could not see: slices skipped, planes beside slices, empty regions."""
    empty, skipped, beside, dropped = [], [], 0.0, 0
    for label, many in zip(labels, contours, strict=True):
        planes = {round(_height(contour, axis), SAME_PLANE) for contour in many}
        if not planes:
            empty.append(label.name)
            continue
        slices = sorted({round(plane) for plane in planes})
        beside = max(beside, *(abs(plane - round(plane)) for plane in planes))
        dropped += len(planes) - len(slices)
        span = slices[-1] - slices[0] + 1
        if len(slices) < span:
            skipped.append(f"{label.name} ({len(slices)} of {span})")
    if empty:
        tell(f"no closed contour: {listed(empty)}")
    if skipped:
        tell(f"slices without a contour between slices with one stay empty: {listed(skipped)}")
    if beside > BESIDE:
        tell(f"contours lie up to {beside:.2f} slices beside the image's slices: each fills the nearest")
    if dropped:
        tell(f"{dropped} planes of contours share a slice with one that is nearer to it: left out")


def _filled(contours: list[_Contour], axis: int, grid: Grid, name: str) -> NDArray[np.intp]:
    """Flat C-order indices of the voxels inside."""
    flat: list[NDArray[np.intp]] = [np.empty(0, np.intp)]
    across = [other for other in range(3) if other != axis]
    shape = (grid.shape[across[0]], grid.shape[across[1]])
    for number, plane in _planes(contours, axis, grid.shape[axis]):
        canvas = np.zeros(shape, bool)
        for contour in plane:
            canvas ^= inside(contour.points[:, across], shape, name)
        first, second = np.nonzero(canvas)
        index = np.empty((3, len(first)), np.intp)
        index[axis], index[across[0]], index[across[1]] = number, first, second
        flat.append(np.asarray(np.ravel_multi_index((index[0], index[1], index[2]), grid.shape)))
    return np.concatenate(flat)


def _planes(contours: list[_Contour], axis: int, count: int) -> Iterator[tuple[int, list[_Contour]]]:
    """Each slice with the contours of the plane that is nearest to it."""
    planes: dict[float, list[_Contour]] = defaultdict(list)
    for contour in contours:
        planes[round(_height(contour, axis), SAME_PLANE)].append(contour)
    nearest: dict[int, float] = {}
    for height in sorted(planes):
        number = min(max(round(height), 0), count - 1)
        if number not in nearest or abs(height - number) < abs(nearest[number] - number):
            nearest[number] = height
    for number, height in nearest.items():
        yield number, planes[height]
