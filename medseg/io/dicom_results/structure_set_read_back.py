"""A structure set as another would read it, held against the labels that it was made of.

Nothing is shared with what wrote it: the file is parsed, points go to pixels by highdicom, and are filled by
scan lines, so that a mistake in placing or tracing does not cancel out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import MedsegError
from medseg.io.dicom_results.contours import filled
from medseg.io.dicom_results.difference import different
from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.references import Reference

if TYPE_CHECKING:
    from highdicom.spatial import ReferenceToPixelTransformer
    from pydicom import Dataset

__all__ = ["require_equal", "require_sources"]

CONTOURS = 0x30060040
CONTOUR_IMAGE, CONTOUR_POINTS, CONTOUR_DATA = 0x30060016, 0x30060046, 0x30060050
FLAT_MM = 0.01  # beside its plane: rounding of decimal strings

Place = tuple[int, int]
"""A layer, and the value that a region has in it."""


def require_equal(
    path: Path,
    labels: NDArray[Any],
    regions: Mapping[int, Place],
    headers: Sequence[Mapping[str, Any]],
    origin: Origin,
) -> None:
    """Raise MedsegError where the contours in a file do not fill exactly the voxels of `labels`.

    Args:
        path: the file.
        labels: `[L, i, j, slice]`.
        regions: by ROINumber, which layer and value each region has there.
        headers: of the slices, in order.
        origin: the series that the file must refer to.
    """
    drawn = _read(path, headers, origin)
    for k in range(labels.shape[3]):
        found = np.zeros(labels.shape[:3], labels.dtype)
        for number, contours in drawn.get(k, ()):
            layer, value = regions[number]
            if not _paint(found[layer], value, contours):
                raise _mismatch(path, k, "two regions share voxels")
        wrong = int(np.count_nonzero(found != _known(labels[..., k], found, regions.values())))
        if wrong:
            raise _mismatch(path, k, f"{wrong} voxels differ")


def require_sources(path: Path, regions: Mapping[int, tuple[Reference, int] | None]) -> None:
    """Raise MedsegError where a region, by ROINumber, does not name the segment that it was drawn from."""
    from pydicom import dcmread

    stored = dcmread(path, specific_tags=["StructureSetROISequence"]).StructureSetROISequence
    named = {int(item.ROINumber): _source(item) for item in stored}
    meant = {
        number: None if drawn is None else (drawn[0].sop_class, drawn[0].sop_instance, drawn[1])
        for number, drawn in regions.items()
    }
    if named != meant:
        raise different(path, "a region names another segment than the one that it was drawn from")


def _source(item: Dataset) -> tuple[str, str, int] | None:
    if "DefinitionSourceSequence" not in item:
        return None
    (source,) = item.DefinitionSourceSequence
    number = int(source.ReferencedSegmentNumber)
    return str(source.ReferencedSOPClassUID), str(source.ReferencedSOPInstanceUID), number


def _paint(plane: NDArray[Any], value: int, contours: list[NDArray[np.float64]]) -> bool:
    """Fill contours of one region, unless any of their voxels is taken; whether none was."""
    low, high = _box(contours, plane.shape)
    part = plane[low[0] : high[0], low[1] : high[1]]
    inside = filled([points - low for points in contours], (part.shape[0], part.shape[1]))
    free = not part[inside].any()
    part[inside] = value
    return free


def _known(expected: NDArray[Any], found: NDArray[Any], places: Collection[Place]) -> NDArray[Any]:
    """The labels of a slice `[L, i, j]` without ids that no region has; looked for only where they matter."""
    if np.array_equal(expected, found):
        return expected
    kept = [np.isin(layer, [value for of, value in places if of == n]) for n, layer in enumerate(expected)]
    return np.where(kept, expected, 0)


def _mismatch(path: Path, k: int, what: str) -> MedsegError:
    return different(path, f"it is not the mask it was made of (slice {k}: {what})")


def _read(
    path: Path, headers: Sequence[Mapping[str, Any]], origin: Origin
) -> Mapping[int, list[tuple[int, list[NDArray[np.float64]]]]]:
    """For each slice the regions that have contours on it, by number, with these in voxel indices."""
    from pydicom import dcmread

    slices = _Slices(path, origin, len(headers))
    found: dict[int, list[tuple[int, list[NDArray[np.float64]]]]] = defaultdict(list)
    for item in dcmread(path).ROIContourSequence:
        of_region: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
        for contour in _contours(item):
            k = slices.of(contour)
            # as stored: to make an object of each number takes minutes
            points = np.array(contour.get_item(CONTOUR_DATA).value.split(b"\\")).astype(np.float64)
            if len(points) != 3 * int(contour.get_item(CONTOUR_POINTS).value) or len(points) < 9:
                raise _mismatch(path, k, "a contour is incomplete")
            of_region[k].append(points.reshape(-1, 3))
        for k, contours in of_region.items():
            found[k].append((int(item.ReferencedROINumber), _in_voxels(path, k, contours, headers[k])))
    return found


def _contours(item: Dataset) -> Iterator[Any]:
    """The items of a ContourSequence, each parsed when its turn comes: all at once take 20 times the room."""
    from pydicom.filereader import read_sequence_item

    if CONTOURS not in item:
        return
    stored: Any = item.get_item(CONTOURS)  # raw where its length is told, as ours is
    if not stored.is_raw:
        yield from stored.value
        return
    buffer = BytesIO(stored.value)
    while buffer.tell() < len(stored.value):
        yield read_sequence_item(buffer, stored.is_implicit_VR, stored.is_little_endian, "utf8")


class _Slices:
    """Which slice a contour lies on. Equal references are parsed once."""

    def __init__(self, path: Path, origin: Origin, count: int) -> None:
        self._path = path
        self._slices = {_image(origin.reference(k)): k for k in range(count)}
        self._known: dict[bytes, int] = {}

    def of(self, contour: Any) -> int:
        stored = contour.get_item(CONTOUR_IMAGE)
        raw = stored.value if stored.is_raw else None
        if raw is None or raw not in self._known:
            k = self._slices.get(_image(contour[CONTOUR_IMAGE].value[0]))
            if k is None:
                raise different(self._path, "a contour lies on an image of another series")
            if raw is None:
                return k
            self._known[raw] = k
        return self._known[raw]


def _in_voxels(
    path: Path, k: int, contours: list[NDArray[np.float64]], header: Mapping[str, Any]
) -> list[NDArray[np.float64]]:
    """Contours `[n, 3]` in LPS mm as `[n, 2]` in voxel indices of slice k, which they must lie on."""
    index = np.asarray(_to_pixels(header)(np.concatenate(contours)), np.float64)
    if np.abs(index[:, 2]).max() > FLAT_MM:
        raise _mismatch(path, k, "a contour lies beside its image")
    return np.split(index[:, :2], np.cumsum([len(points) for points in contours])[:-1])


def _to_pixels(header: Mapping[str, Any]) -> ReferenceToPixelTransformer:
    from highdicom.spatial import ReferenceToPixelTransformer

    return ReferenceToPixelTransformer(
        image_position=header["ImagePositionPatient"],
        image_orientation=header["ImageOrientationPatient"],
        pixel_spacing=header["PixelSpacing"],
        round_output=False,
    )


def _image(reference: Any) -> tuple[str, int | None]:
    return str(reference.ReferencedSOPInstanceUID), reference.get("ReferencedFrameNumber")


def _box(contours: list[NDArray[np.float64]], shape: Sequence[int]) -> NDArray[np.int64]:
    """First voxel and the one behind the last that contours can hold, within the slice `[2, 2]`."""
    low = np.min([points.min(axis=0) for points in contours], axis=0)
    high = np.max([points.max(axis=0) for points in contours], axis=0)
    ends = np.stack([np.floor(low), np.ceil(high) + 1])
    return np.asarray(np.clip(ends, 0, shape), np.int64)
