"""A picture of the largest lesions, each where it is longest."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.label_boxes import label_boxes
from medseg.builtin.measure.farthest import farthest_in_slice, slicing_axis
from medseg.builtin.measure.lesions import is_lesion
from medseg.builtin.measure.numbered_lesions import numbered_lesions
from medseg.components import Connectivity
from medseg.extent import Box
from medseg.io.colours import colour_of_object, colours_of
from medseg.prediction import Result
from medseg.report.key_images import KeyImage, draw_key_images
from medseg.segmentation import Label, Segmentation
from medseg.steps import Writer
from medseg.volume import Grid, Volume

__all__ = ["KeyImages"]

NUMBERED_BYTES = 12  # a voxel: a label's mask and its numbered parts


class KeyImages(Writer):
    """`lesions.png`: the largest lesions, each in the slice of its longest axial diameter.

    A tile shows what lies around the lesion, its outline, the longest diameter and the one at a right angle
    to it, with both lengths, the volume, and the slice's index on the image's own grid. Lesions are the
    connected parts of a label, or its objects, numbered from the largest, as the measurement `lesions`
    numbers them; objects have their ids. Without a lesion there is no file.
    """

    libraries: ClassVar[Mapping[str, int]] = {"matplotlib": 40 << 20, "scipy.ndimage": 28 << 20}

    labels: tuple[str, ...] | None = None
    """Labels whose parts are drawn; null for those named like lesions, or for all where there are none."""

    most: int = Field(default=8, ge=1, le=40)
    """How many lesions are drawn, the largest of all labels first."""

    connectivity: Connectivity = 26
    """Voxels of one lesion share a face (6), a face or an edge (18), or also a corner only (26)."""

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """A picture, and the numbered parts of a label."""
        more = NUMBERED_BYTES * math.prod(segmentation.grid.shape)
        return super().work_bytes(volume, segmentation) + more

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Draw the picture, with the case's id as its title."""
        images = self.images(result.segmentation)
        if not images:
            return []
        path = folder / "lesions.png"
        draw_key_images(result.volume, images, path, title=result.case_id)
        return [path]

    def images(self, segmentation: Segmentation) -> list[KeyImage]:
        """What is drawn of each of the largest lesions, in order of size."""
        boxes = label_boxes(segmentation)
        found: list[tuple[int, KeyImage]] = []
        for label in self._chosen(segmentation):
            box = boxes[label.name]
            if box is not None:
                found += self._of(label, box, segmentation)
        return [image for _, image in sorted(found, key=lambda entry: -entry[0])[: self.most]]

    def _chosen(self, segmentation: Segmentation) -> list[Label]:
        """The labels whose parts are lesions."""
        if self.labels is not None:
            return [segmentation.labels[name] for name in self.labels]
        labels = list(segmentation.labels)
        return [label for label in labels if is_lesion(label.name)] or labels

    def _of(self, label: Label, box: Box, segmentation: Segmentation) -> Iterator[tuple[int, KeyImage]]:
        """Size in voxels and image of each of the largest lesions of a label."""
        lesions = numbered_lesions(label, box, segmentation, self.connectivity)
        objects = segmentation.kinds[label.layer] == "objects"
        own = colours_of(segmentation.labels)[label.name]
        for rank, (number, size) in enumerate(zip(lesions.names, lesions.sizes, strict=True)):
            if rank == self.most:
                return
            mask, where = lesions.placed(rank)
            colour = colour_of_object(number) if objects else own
            yield size, _image(f"{label.name} {number}", colour, mask, where, segmentation.grid)


def _image(name: str, colour: str, mask: NDArray[np.bool_], box: Box, grid: Grid) -> KeyImage:
    """What is drawn of one lesion."""
    axis = slicing_axis(grid)
    part = grid.cropped([side.start for side in box], [side.stop for side in box])
    found = farthest_in_slice(mask, part, axis)
    words = f"{found.longest.length:.1f} \u00d7 {found.perpendicular.length:.1f} {grid.unit}"
    if grid.unit == "mm" and 1 not in grid.shape:
        words += f" \u00b7 {np.count_nonzero(mask) * grid.voxel_ml:.2g} mL"
    return KeyImage(
        name=name,
        words=words,
        colour=colour,
        mask=mask,
        box=box,
        axis=axis,
        slice=box[axis].start + found.slice,
        longest=found.longest.ends,
        perpendicular=found.perpendicular.ends,
    )
