"""Erosion and dilation of a mask by a ball in mm, exact in Euclidean distance at any spacing.

A ball of voxels grown step by step is an octahedron or a cube, and worse on anisotropic voxels. Here
distances between voxel centres decide: a voxel survives erosion if no outside voxel's centre lies within
the radius, and dilation adds each voxel whose centre lies within the radius of one inside. The two are each
other's complement.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.volume import Grid

__all__ = ["Ball", "require_right_angles"]

SQUARE = 1e-3  # cosine of the angle between two axes; less is rounding, a tilted CT has 0.05 to 0.5
ROUNDING = (
    1e-4  # of the radius: voxels at exactly the radius count as within it, whatever the affine's last digits
)


class Ball:
    """A ball of `radius_mm` on the voxels of `grid`.

    Raises GeometryError where the grid is in pixels or sheared: `step` names the component in the message.
    """

    def __init__(self, radius_mm: float, grid: Grid, *, step: str) -> None:
        grid.require_mm(f"radius_mm of {step}")
        require_right_angles(grid, step=step)
        self.radius_mm = radius_mm * (1 + ROUNDING)
        self.spacing = grid.spacing
        reach = [int(self.radius_mm / step_mm) for step_mm in grid.spacing]
        self.reach = tuple(0 if n == 1 else voxels for n, voxels in zip(grid.shape, reach, strict=True))

    def eroded(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask less what lies within the radius of its outside; beyond the array counts as inside."""
        return np.asarray(self._distance(mask) > self.radius_mm)

    def dilated(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The mask with all that lies within the radius of it, within the array."""
        return np.asarray(self._distance(~mask) <= self.radius_mm)

    def _distance(self, mask: NDArray[np.bool_]) -> NDArray[Any]:
        """Distance in mm from each voxel of the mask to the nearest outside, between centres; 0 outside."""
        import edt

        distance = edt.edt(np.ascontiguousarray(mask), anisotropy=self.spacing, black_border=False)
        return np.asarray(distance)


def require_right_angles(grid: Grid, *, step: str) -> None:
    """Raise GeometryError where the axes lean: distances along them then do not add up to those in space."""
    axes = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    cosines = np.abs(axes.T @ axes - np.eye(3))
    if cosines.max() > SQUARE:
        angle = np.degrees(np.arcsin(min(1.0, float(cosines.max()))))
        raise GeometryError(
            f"{step} needs axes at right angles; this image's lean by {angle:.1f} degrees, as in a "
            f"tilted CT. Leave {step} out of the pipeline."
        )
