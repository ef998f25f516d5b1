"""Left and right lung on blocks: aerated tissue inside the body, without windpipe and bowel gas."""

import numpy as np
from numpy.typing import NDArray

from medseg_ct.morphology import Mask, Spacing, closed, components, depth, dilated, eroded, in_plane

__all__ = ["LEFT", "RIGHT", "find_lungs"]

LEFT, RIGHT = 1, 2
GAS_HU = (
    -940.0
)  # an emphysema threshold (-950, Gevenois 1996) softened for blocks: gas in bowel and windpipe is below
CORE_MM = 4.0  # away from walls, where block means are free of partial volume
CUT_ML = 5.0  # a lung base cut by the upper face of the image may be this small
WHOLE_ML = 100.0  # a lung not cut by it is larger
AIRWAY_CM2 = (0.3, 8.0)  # sections of main bronchus and windpipe are 1 to 5 cm2
AIRWAY_ASIDE_MM = 40.0
VESSEL_MM = 6.0  # vessels inside the lung are closed over up to this half-width
BOTH_SIDES = 0.12  # a piece with more than this share on each side of the middle is two lungs touching


def find_lungs(
    hu: NDArray[np.float32], body: Mask, spacing: Spacing, *, highest_hu: float, middle: float
) -> NDArray[np.uint8]:
    """0, LEFT or RIGHT for each block [i, j, k] in RAS order; `middle` is the midline in blocks along i.

    Pieces of air inside the body are lung when their core is brighter than gas (median above -940 HU) and
    darker than collapsed lung, and when they are large or cut by the upper face. A scan without lungs gives
    none.
    """
    air = body & (hu < highest_hu)
    airway = _airway(air, hu, spacing, middle)
    air &= ~airway
    found, counts = components(_separated(air, spacing))
    voxel_ml = float(np.prod(spacing)) / 1000
    top = np.unique(found[:, :, -1])
    kept = np.zeros(len(counts), bool)
    core = eroded(air, CORE_MM, spacing)
    for piece in np.flatnonzero(counts * voxel_ml >= CUT_ML):
        where = found == piece
        large = counts[piece] * voxel_ml >= WHOLE_ML or piece in top
        kept[piece] = large and _aerated(hu, where, core)
    lung = np.asarray(kept[found])
    if not lung.any():
        return np.zeros(hu.shape, np.uint8)
    lung = dilated(lung, 1.8 * max(spacing), spacing) & air  # what the separation took from the rim
    sides = _sides(lung, spacing, middle)
    return _with_vessels(sides, body & ~airway, spacing)


def _separated(air: Mask, spacing: Spacing) -> Mask:
    """The air without links of a voxel or two, so that a bowel loop under the diaphragm is its own piece."""
    return eroded(air, max(spacing), spacing)


def _aerated(hu: NDArray[np.float32], piece: Mask, core: Mask) -> bool:
    """Whether the inside of a piece looks like lung: between gas and collapsed tissue, not mostly gas."""
    inside = hu[piece & core] if (piece & core).any() else hu[piece]
    median = float(np.median(inside))
    return GAS_HU < median < -550 and float((inside < GAS_HU).mean()) < 0.4


def _airway(air: Mask, hu: NDArray[np.float32], spacing: Spacing, middle: float) -> Mask:
    """The windpipe and main bronchi: a gas-dark spot near the midline, followed down while it stays small.

    It starts where the spot lies in other tissue by itself and not in lung, as a bulla would.
    """
    import cc3d

    area_cm2 = spacing[0] * spacing[1] / 100
    flat = in_plane(spacing)
    gas = air & (hu < GAS_HU + 10)
    airway = np.zeros_like(air)
    above = np.zeros(air.shape[:2], bool)
    for k in np.flatnonzero(gas.any(axis=(0, 1)))[::-1]:
        spots, n = cc3d.connected_components(
            np.ascontiguousarray(gas[:, :, k]), connectivity=8, return_N=True
        )
        sizes = np.bincount(spots.ravel(), minlength=n + 1) * area_cm2
        sizes[0] = 0
        now = np.zeros_like(above)
        for spot in np.flatnonzero((sizes > AIRWAY_CM2[0]) & (sizes < AIRWAY_CM2[1])):
            where = spots == spot
            follows = bool((where & above).any())
            if follows or (not above.any() and _alone(where, air[:, :, k], flat, middle)):
                now |= where
        airway[:, :, k] = now
        above = now
    return dilated(airway, 1.5 * max(spacing[:2]), flat) & air


def _alone(spot: Mask, air: Mask, spacing: Spacing, middle: float) -> bool:
    """Whether a spot of one slice lies near the midline with tissue, not lung, around it."""
    if abs(float(np.nonzero(spot)[0].mean()) - middle) * spacing[0] > AIRWAY_ASIDE_MM:
        return False
    near = (
        dilated(spot[:, :, None], 10.0, spacing)[:, :, 0] & ~dilated(spot[:, :, None], 4.0, spacing)[:, :, 0]
    )
    return float(air[near].mean()) < 0.4 if near.any() else False


def _sides(lung: Mask, spacing: Spacing, middle: float) -> NDArray[np.uint8]:
    """Each lung voxel's side; lungs that touch are eroded until they part and grown back by watershed."""
    from skimage.segmentation import watershed

    distance = depth(lung, spacing)
    distance[~np.isfinite(distance)] = 0
    markers = np.zeros(lung.shape, np.uint8)
    pending = lung
    for mm in (0.0, 3.0, 6.0, 9.0, 12.0, 16.0):
        found, counts = components(pending & (distance > mm))
        pending = np.zeros_like(lung)
        for piece in np.flatnonzero(counts):
            where = found == piece
            rightward = float((np.nonzero(where)[0] > middle).mean())
            if min(rightward, 1 - rightward) < BOTH_SIDES or counts[piece] < 8:
                markers[where] = RIGHT if rightward > 0.5 else LEFT
            else:
                pending |= where
    if pending.any():
        i = np.arange(lung.shape[0])[:, None, None]
        markers[pending] = np.where(np.broadcast_to(i > middle, lung.shape), RIGHT, LEFT)[pending]
    grown: NDArray[np.uint8] = watershed(-distance, markers.astype(np.int32), mask=lung).astype(np.uint8)
    return grown


def _with_vessels(sides: NDArray[np.uint8], body: Mask, spacing: Spacing) -> NDArray[np.uint8]:
    """Each lung with the vessels inside it, closed in the axial slice so that the heart's border stays."""
    result = sides.copy()
    for side in (LEFT, RIGHT):
        added = closed(sides == side, VESSEL_MM, in_plane(spacing)) & body & (sides == 0)
        result[added] = side
    return result
