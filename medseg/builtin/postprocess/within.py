"""The postprocessor `within`."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from medseg.builtin.postprocess.ball import Ball
from medseg.builtin.postprocess.connected_parts import connected_parts
from medseg.builtin.postprocess.fill_holes import without_cavities
from medseg.builtin.postprocess.repaint import Mask, boxes, changeable
from medseg.components import Connectivity
from medseg.errors import UsageError
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Grid, Volume

__all__ = ["Within"]

TOUCHING = 1.01  # of a voxel's diagonal: two voxels that share a corner are that far apart
MASKS_BYTES = 10  # a voxel beside masks: distances to the host


class Within(Postprocessor):
    """Keep what belongs to another label only where that label is: a liver tumour within the liver.

    Connected parts of `label` that do not come within `margin_mm` of `of` are removed; parts that touch it
    always stay. What is removed becomes background. Where the image holds no voxel of `of`, all of `label`
    goes.

    With `cut`, what stays is also trimmed to the host, its cavities included, and `margin_mm` around: for a
    leak into a neighbour. A host that a large lesion has bitten a piece out of has no cavity there; give a
    margin as wide as the lesion may stand out.
    """

    takes_objects: ClassVar[bool] = False

    label_fields: ClassVar[tuple[str, ...]] = ("label", "of")

    label: str
    """Name of the label whose parts must lie within the other."""

    of: str
    """Name of the label that holds it, its host."""

    margin_mm: float = Field(default=0, ge=0, le=100)
    """How far from the host a part may lie, in mm."""

    cut: bool = False
    """Whether to trim what stays to the host and the margin, too."""

    fill: bool = False
    """Whether the host is given the voxels of what stays; for labels of different layers, which overlap."""

    connectivity: Connectivity = 26
    """Voxels that belong together share a face (6), a face or an edge (18), or also a corner only (26)."""

    def work_bytes(self, segmentation: Segmentation, volume: Volume) -> int:
        """What masks take, and distances to the host."""
        grid = segmentation.grid
        return super().work_bytes(segmentation, volume) + MASKS_BYTES * int(np.prod(grid.shape))

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        """Return the segmentation without what lies outside its host."""
        inner, host = changeable(segmentation, (self.label, self.of))
        if inner == host:
            raise UsageError(f"within: {self.label!r} cannot lie within itself; name another label in `of`")
        if self.fill and inner.layer == host.layer:
            raise UsageError(
                f"within: {self.label!r} and {self.of!r} share a layer, where a voxel has one label; leave "
                "out `fill`"
            )
        ball = Ball(max(self.margin_mm, _diagonal(segmentation.grid)), segmentation.grid, step="within")
        array = segmentation.array.copy()
        # as wide as the ball reaches, so that whatever of the host is near enough is in view
        box = boxes(array, (inner,), around=[n + 1 for n in ball.reach])[self.label]
        if box is None:
            return segmentation
        own, holder = array[inner.layer][box], array[host.layer][box]
        mask = own == inner.value
        kept = self._kept(mask, holder == host.value, ball)
        if self.cut:
            kept &= self._region(array[host.layer] == host.value, segmentation.grid)[box]
        own[mask & ~kept] = 0
        if self.fill:
            holder[kept & (holder == 0)] = host.value
        return segmentation.replace(array=array)

    def _kept(self, mask: Mask, host: Mask, ball: Ball) -> Mask:
        """The parts of the mask that come near enough to the host."""
        if not host.any():
            return np.zeros_like(mask)
        numbers, sizes = connected_parts(mask, self.connectivity)
        near = np.zeros(len(sizes), bool)
        near[numbers[ball.dilated(host)]] = True
        near[0] = False
        return np.asarray(near[numbers])

    def _region(self, host: Mask, grid: Grid) -> Mask:
        """The host with its cavities and the margin around; cavities need all of it, not a part in a box."""
        solid = without_cavities(host)
        if self.margin_mm == 0:
            return solid
        return Ball(self.margin_mm, grid, step="within").dilated(solid) if solid.any() else solid


def _diagonal(grid: Grid) -> float:
    """Length of a voxel's diagonal in mm; of its face where there is one slice."""
    sides = [0.0 if n == 1 else step for n, step in zip(grid.shape, grid.spacing, strict=True)]
    return TOUCHING * float(np.linalg.norm(sides or [0.0])) or min(grid.spacing)
