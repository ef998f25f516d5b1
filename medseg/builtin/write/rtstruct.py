"""Contours for treatment planning systems and viewers that take no masks: DICOM RTSTRUCT."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from numpy.typing import NDArray

from medseg.extent import Box, extent
from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.references import Reference
from medseg.io.dicom_results.segments import files_of_segments, segments_of
from medseg.io.dicom_results.structure_set import Contour, Region, contours_of, structure_set
from medseg.io.dicom_results.structure_set_read_back import require_equal, require_sources
from medseg.io.dicom_results.terms import term_of
from medseg.prediction import Measured, Result
from medseg.segmentation import Segmentation
from medseg.steps import Writer
from medseg.volume import Volume

__all__ = ["RTStruct"]

HIGHEST_SEARCHED = 1 << 20  # find_objects keeps a slot for every value up to the highest
CONTOUR_BYTES = 12  # a voxel: a box, and contours, of a mask with a hole in each hundred voxels


class RTStruct(Writer):
    """`rtstruct.dcm`: a DICOM RT structure set with closed contours on the series' own slices.

    For programs that take contours only. The DICOM SEG is the primary object: it holds the voxels, and
    volumes are counted in those. A planning system computes volumes from contours by a way of its own.

    Contours run along the edges of voxels, so that their area is that of the voxels; those through voxel
    centres, as many programs draw them, lose 2 to 7 % of an organ. A contour within another of the same
    region and slice is a hole, one within the hole an island: what lies in an odd number of contours is in.
    Each label is a region, numbered by its value; where there are objects, each of these is one, and all are
    numbered from 1 on. A label without voxels is a region without contours: it was looked for. Where
    `dicom-seg` has written before it, each region names the segment that it was drawn from.

    The file is read back and filled before it counts as written: where that is not the mask, the case fails.
    """

    mentions: ClassVar[tuple[str, ...]] = ("medseg/dicom-seg",)
    libraries: ClassVar[Mapping[str, int]] = {"pydicom": 30 << 20, "highdicom": 60 << 20}

    def needs(self, volume: Volume) -> str | None:
        """A DICOM series with UIDs and a frame of reference."""
        return Origin.refusal(volume)

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """The labels on the original slices, and contours as they are in ragged masks."""
        more = CONTOUR_BYTES * math.prod(segmentation.grid.shape)
        return super().work_bytes(volume, segmentation) + more

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Trace, write, and read back."""
        origin = Origin.of(result.volume)
        source = result.volume.source
        assert source is not None  # Origin.of refuses a volume without one
        labels = source.on_slices(result.segmentation)
        found = list(_found(result, files_of_segments(folder)))
        regions = _traced(found, labels)
        path = folder / "rtstruct.dcm"
        made = structure_set(origin, source.headers, regions, result=result)
        made.save_as(path, enforce_file_format=True)
        places = {region.number: (layer, value) for region, layer, value in found}
        require_equal(path, labels, places, source.headers, origin)
        require_sources(path, {region.number: region.drawn_from for region, _, _ in found})
        yield path


class _Found(NamedTuple):
    """A region, not yet traced, and its layer and value in the segmentation; 0 where it has no voxels."""

    region: Region
    layer: int
    value: int


def _found(result: Result, files: Mapping[int, Reference]) -> Iterator[_Found]:
    """Every label, or each of its objects, and the segment that it is where there are `files` of them."""
    segmentation = result.segmentation
    objects = "objects" in segmentation.kinds
    volumes = {(row.label, row.object): row.value for row in result.measurements if _is_volume(row)}
    terms = {label: term_of(label) for label in segmentation.labels}
    for segment in segments_of(segmentation):
        label, part = segment.label, segment.object_id
        nowhere = part is None and segmentation.kinds[label.layer] == "objects"
        volume = volumes.get((label.name, part))
        file = files.get(segment.number)
        region = Region(
            number=segment.number if objects else label.value,
            name=segment.name,
            term=terms[label],
            colour=segment.colour,
            contours=(),
            volume_ml=float(volume) if isinstance(volume, int | float) else None,
            drawn_from=None if file is None else (file, segment.number),
        )
        yield _Found(region, label.layer, 0 if nowhere else segment.value)


def _is_volume(row: Measured) -> bool:
    return row.quantity == "volume" and row.unit == "mL"


def _traced(found: Iterable[_Found], labels: NDArray[Any]) -> Iterator[Region]:
    """Each region with its contours, which are traced when they are asked for."""
    boxes: dict[int, dict[int, Box | None]] = {}
    every = list(found)
    for region, layer, value in every:
        if layer not in boxes:
            boxes[layer] = _boxes(labels[layer], [other.value for other in every if other.layer == layer])
        box = boxes[layer][value]
        contours: list[Contour] = []
        if box is not None:
            contours += contours_of(labels[layer][box] == value, [side.start for side in box])
        yield replace(region, contours=contours)


def _boxes(layer: NDArray[Any], values: list[int]) -> dict[int, Box | None]:
    """The smallest box around each value of a layer; None around 0, and what is not there."""
    from scipy.ndimage import find_objects

    highest = max(values)
    if highest > HIGHEST_SEARCHED:
        return {value: extent(layer == value) if value else None for value in values}
    boxes = find_objects(layer, max_label=highest) if highest else []
    return {value: boxes[value - 1] if value else None for value in values}
