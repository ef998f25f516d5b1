"""The longest diameters of every label: in one axial slice, at a right angle to it, and in space."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import cut_out, label_boxes
from medseg.builtin.measure.farthest import farthest_in_slice, feret_diameter, slicing_axis
from medseg.extent import Box
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

__all__ = ["Diameters", "diameters_of"]

QUANTITIES = ("longest_axial_diameter", "perpendicular_axial_diameter", "axial_slice", "feret_diameter")


class Diameters(Measurement):
    """Longest axial diameter, the one perpendicular to it, and the longest in space, of every label.

    For each label, in mm (px for pictures without a scale):

    - `longest_axial_diameter`: the longest line within one axial slice, as RECIST 1.1 measures (Eisenhauer et
      al., European Journal of Cancer 45, 2009, 228-247), over all slices.
    - `perpendicular_axial_diameter`: the longest line in that slice at a right angle to it; the product of
      the two is that of the WHO criteria (Miller et al., Cancer 47, 1981, 207-214).
    - `axial_slice`: index of that slice along the image's own axis, from 0; the first of equal ones.
    - `feret_diameter`: the largest distance between any two points of the label in space; not for pictures.

    Axial slices are those of the image whose normal is nearest to head-foot; an image of one slice has only
    that. Lines run on the convex hull, so that they may leave a bent label, and end in the middle of the
    outer faces of voxels: a row of n voxels is n spacings long. A label in several pieces is measured from
    end to end over all of them: `lesions` measures each by itself.

    A label that is nowhere has no values; its rows are flagged "empty".
    """

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label, in the order of the label table."""
        boxes = label_boxes(segmentation)
        for label in segmentation.labels:
            box = boxes[label.name]
            if box is None:
                yield from _empty(label.name, segmentation.grid.unit, picture=volume.is_picture)
                continue
            mask, _ = cut_out(segmentation, label.name, box)
            yield from diameters_of(mask, box, segmentation.grid, label=label.name, picture=volume.is_picture)

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """What any measurement takes, a mask with a margin, and the ends of rows."""
        return super().work_bytes(volume, segmentation) + 3 * int(np.prod(segmentation.grid.shape))


def _empty(label: str, unit: str, *, picture: bool) -> Iterator[Measured]:
    for name in QUANTITIES[: 3 if picture else 4]:
        of = "" if name == "axial_slice" else unit
        yield Measured(label=label, quantity=name, value=None, unit=of, flag="empty")


def diameters_of(
    mask: NDArray[np.bool_], box: Box, grid: Grid, *, label: str, picture: bool, number: int | None = None
) -> Iterator[Measured]:
    """The rows of a mask that fills `box` of an image's grid; of object `number` of the label."""
    axis = slicing_axis(grid)
    own = grid.cropped([extent.start for extent in box], [extent.stop for extent in box])
    found = farthest_in_slice(mask, own, axis)
    lengths = {
        "longest_axial_diameter": found.longest.length,
        "perpendicular_axial_diameter": found.perpendicular.length,
    }
    for name, length in lengths.items():
        yield Measured(label=label, object=number, quantity=name, value=length, unit=grid.unit)
    yield Measured(label=label, object=number, quantity="axial_slice", value=box[axis].start + found.slice)
    if not picture:
        longest = feret_diameter(mask, own)
        yield Measured(label=label, object=number, quantity="feret_diameter", value=longest, unit=grid.unit)
