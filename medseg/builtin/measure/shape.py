"""How large the surface of each label is, and how far it is from a ball."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import cut_out, label_boxes
from medseg.builtin.measure.crofton import surface_area
from medseg.builtin.measure.line_counts import counts_along
from medseg.errors import GeometryError
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

__all__ = ["Shape", "axis_lengths"]

UNITS = {
    "surface_area": "mm²",
    "sphericity": "",
    "major_axis": "mm",
    "minor_axis": "mm",
    "least_axis": "mm",
    "elongation": "",
    "flatness": "",
}


class Shape(Measurement):
    """Surface, sphericity and principal axes of every label; in mm, and not for flat pictures.

    For each label:

    - `surface_area` in mm², by Crofton's formula with lines of 49 directions or more (Legland, Kiêu and
      Devaux, Image Analysis & Stereology 26, 2007, 83-92). A ball or an ellipsoid twenty voxels wide
      is right to 3 %; edges of boxes and what is thinner than two voxels come out too small. Where the image
      cuts a label off, the cut counts as surface.
    - `sphericity`: the surface of a ball of the same volume over the label's own; 1 for a ball, 0.81 for a
      cube, less for what is long, flat or ragged (Wadell, Journal of Geology 43, 1935, 250-280; IBSI).
      Noise of voxels can take a small ball's above 1.
    - `major_axis`, `minor_axis`, `least_axis` in mm: 4 √λ of the eigenvalues λ of the covariance of all
      positions in the label, each voxel a small box; the three diameters of an ellipsoid with these moments
      are √(5/4) of them (IBSI, Zwanenburg et al., Radiology 295, 2020, 328-338).
    - `elongation` and `flatness`: minor and least axis over the major one, both 1 for a ball (IBSI).

    A label that is nowhere has no values; its rows are flagged "empty".
    """

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label; raises GeometryError for flat pictures and images in pixels."""
        segmentation.grid.require_mm("shape")
        if volume.is_picture:
            raise GeometryError("shape is of bodies, and this image is a flat picture; leave shape out")
        boxes = label_boxes(segmentation)
        for label in segmentation.labels:
            box = boxes[label.name]
            if box is None:
                yield from (
                    Measured(label=label.name, quantity=name, value=None, unit=unit, flag="empty")
                    for name, unit in UNITS.items()
                )
            else:
                yield from self._of(label.name, *cut_out(segmentation, label.name, box))

    def _of(self, label: str, mask: NDArray[np.bool_], grid: Grid) -> Iterator[Measured]:
        area = surface_area(mask, grid)
        volume_mm3 = np.count_nonzero(mask) * grid.voxel_ml * 1000
        least, minor, major = axis_lengths(mask, grid)
        values = (
            area,
            float(np.cbrt(36 * np.pi * volume_mm3**2)) / area,
            major,
            minor,
            least,
            minor / major,
            least / major,
        )
        for (name, unit), value in zip(UNITS.items(), values, strict=True):
            yield Measured(label=label, quantity=name, value=value, unit=unit)

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """What any measurement takes, and a mask with a margin packed into bits, once for each shift."""
        return super().work_bytes(volume, segmentation) + 3 * int(np.prod(segmentation.grid.shape))


def axis_lengths(mask: NDArray[np.bool_], grid: Grid) -> tuple[float, float, float]:
    """4 √λ of the covariance of positions in `mask[i, j, k]`, the shortest first, in the grid's unit.

    Sums along single axes are enough for it: no list of coordinates is made.
    """
    sums = [counts_along(mask, axis) for axis in range(3)]  # [j, k], [i, k], [i, j]
    counts = [sums[1].sum(axis=1), sums[0].sum(axis=1), sums[0].sum(axis=0)]
    total = float(counts[0].sum())
    away = [
        np.arange(n) - float(np.arange(n) @ along) / total
        for n, along in zip(mask.shape, counts, strict=True)
    ]
    covariance = np.diag(
        [float(a**2 @ along) / total + 1 / 12 for a, along in zip(away, counts, strict=True)]
    )
    for one, other, left in ((1, 2, 0), (0, 2, 1), (0, 1, 2)):
        covariance[one, other] = covariance[other, one] = float(away[one] @ sums[left] @ away[other]) / total
    steps = grid.affine[:3, :3]
    variances = np.linalg.eigvalsh(steps @ covariance @ steps.T)
    least, minor, major = (4 * float(np.sqrt(max(variance, 0.0))) for variance in variances)
    return least, minor, major
