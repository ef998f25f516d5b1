"""What a label is measured against: its image's grid, and whether that is a flat picture or a body."""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from medseg.extent import Box
from medseg.volume import Grid

__all__ = ["Frame"]

FACES = {"R": "right", "L": "left", "A": "anterior", "P": "posterior", "S": "superior", "I": "inferior"}
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
EDGES = (("left edge", "right edge"), ("top edge", "bottom edge"), ("first slice", "last slice"))


@dataclass(frozen=True)
class Frame:
    """The grid of an image, and whether it is a flat picture rather than a body."""

    grid: Grid
    picture: bool

    @property
    def quantity(self) -> tuple[str, str, float]:
        """Name, unit and size of one voxel of the quantity that says how large a label is."""
        if self.picture:
            return "area", f"{self.grid.unit}²", float(abs(np.linalg.det(self.grid.affine[:2, :2])))
        if self.grid.unit == "mm":
            return "volume", "mL", self.grid.voxel_ml
        return "volume", "px³", float(abs(np.linalg.det(self.grid.affine[:3, :3])))

    @cached_property
    def _codes(self) -> str:
        return self.grid.axis_codes

    def faces(self, axis: int) -> tuple[str, str]:
        """What lies beyond the first and the last voxel along an axis."""
        if self.picture or self.grid.unit != "mm":
            return EDGES[axis]
        code = self._codes[axis]
        return FACES[OPPOSITE[code]], FACES[code]

    def faces_touched(self, box: Box) -> list[str]:
        """The image's faces that a box touches, in one order whatever the order of the axes.

        Along an axis of a single voxel nothing can be said, so nothing is.
        """
        touched: set[str] = set()
        for axis, (extent, size) in enumerate(zip(box, self.grid.shape, strict=True)):
            if size > 1:
                low, high = self.faces(axis)
                touched |= {
                    name for name, at in ((low, extent.start == 0), (high, extent.stop == size)) if at
                }
        return [name for name in (*FACES.values(), *chain(*EDGES)) if name in touched]
