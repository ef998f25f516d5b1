"""The skeleton on blocks: cortical bone by threshold with hysteresis, marrow filled in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg_ct.morphology import Mask, Spacing, closed, components, depth, dilated

__all__ = ["find_bone"]

SMALLEST_ML = 0.8  # smaller bright pieces are calcified vessels, stones, clips
GAP_MM = 4.0  # half the widest gap in a cortical shell that is bridged before marrow is filled in
LARGEST_HOLE_ML = 150.0  # a larger enclosed space is not marrow but a cavity: skull, pelvis
LARGEST_HOLE_CM2 = 20.0  # a femoral head has a section of 20 cm2
MARROW_MM = 4.0  # half the widest space between two shells that trabecular bone is looked for in
TRABECULAR_HU = (
    95.0  # muscle stays below about 80 HU with contrast agent; trabecular bone is mostly above 100
)
CORD_HU, CANAL_CM2 = (
    (-5.0, 70.0),
    6.0,
)  # mean and section of a hole that may be the vertebral canal or a foramen
CANAL_ASIDE_MM, FAR_FROM_CORD = 40.0, 1e3  # mm; a value that is none of the cord's
CORD_ML, VERTEBRA_CM, CANAL_CM = 2.0, 4.0, 2.4
VESSEL_CORE_MM, VESSEL_CORE_ML = (
    5.0,
    0.5,
)  # what lies so deep inside a bright piece is its core, if this large
WINDOW_MM = 2.0  # in which it must be even: spread less than this share of the mean
EVEN = 0.15
SHELL_REACH_MM, SHELL = (
    8.0,
    1.35,
)  # cortical bone within this reach is at least this much brighter than marrow
RIM = 1.15  # around the core of contrast agent, what is brighter than this is bone


def find_bone(
    hu: NDArray[np.float32], body: Mask, spacing: Spacing, *, lowest_hu: float, cortical_hu: float
) -> Mask:
    """Bone with marrow [i, j, k]: above `lowest_hu` and joined to something above `cortical_hu`.

    Contrast agent is as bright as bone: thick, even pieces without a brighter shell are taken for contrast-
    filled vessels, bladder or bowel and left out. Thin ones that touch bone cannot be told apart and stay.
    """
    bright = body & (hu > lowest_hu)
    bright &= ~_contrast_agent(hu, bright, spacing)
    found, counts = components(bright)
    seeded = np.zeros(len(counts), bool)
    seeded[np.unique(found[bright & (hu > cortical_hu)])] = True
    seeded &= counts * float(np.prod(spacing)) / 1000 >= SMALLEST_ML
    columns = np.flatnonzero(body.any(axis=(1, 2)))
    middle = (columns.min() + columns.max()) / 2 if len(columns) else 0.0
    return _with_marrow(np.asarray(seeded[found]), hu, spacing, middle=middle) & body


def _contrast_agent(hu: NDArray[np.float32], bright: Mask, spacing: Spacing) -> Mask:
    """Contrast-filled vessels, heart, kidneys, bladder, bowel: thick, even, with no brighter shell near.

    The middle of a large vertebral body can look so too; its shell stays and the hole is filled in as marrow.
    """
    from scipy import ndimage

    if not bright.any():
        return bright
    sigma = [WINDOW_MM / s for s in spacing]
    values = np.where(bright, hu, 0)
    mean = ndimage.gaussian_filter(values, sigma)
    spread = np.sqrt(np.maximum(ndimage.gaussian_filter(values**2, sigma) - mean**2, 0))
    core = (depth(bright, spacing) > VESSEL_CORE_MM) & (spread < EVEN * mean)
    reach = [2 * round(SHELL_REACH_MM / s) + 1 for s in spacing]
    core &= ndimage.maximum_filter(hu, reach) < SHELL * mean
    found, counts = components(core)
    core &= (counts * float(np.prod(spacing)) / 1000 >= VESSEL_CORE_ML)[found]
    level = ndimage.maximum_filter(np.where(core, mean, 0), reach)
    near = dilated(core, VESSEL_CORE_MM + 1.5 * max(spacing), spacing)
    return np.asarray(near & bright & (hu < RIM * level))


def _with_marrow(shell: Mask, hu: NDArray[np.float32], spacing: Spacing, *, middle: float) -> Mask:
    """The shell with its marrow, the vertebral canal left free.

    Trabecular bone is what lies between shells and is denser than muscle. Fatty marrow and the rest are
    holes of the shell in any of the three planes; a hole of the density of nerve or muscle is filled only
    if closed in 3-D.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(hu, [2.0 / s for s in spacing])
    bone = shell | (closed(shell, MARROW_MM, spacing) & (smooth > TRABECULAR_HU))
    i = np.arange(bone.shape[0])[:, None, None]
    aside = np.broadcast_to(np.abs(i - middle) * spacing[0] > CANAL_ASIDE_MM, bone.shape)
    marrow = np.where(aside, FAR_FROM_CORD, hu)  # no spinal cord lies so far from the midline
    for axis in (0, 1, 2):
        bone |= _plane_holes(bone, marrow, axis, spacing)
    return np.asarray(bone | _enclosed(bone, hu, spacing))


def _plane_holes(bone: Mask, hu: NDArray[np.float32], axis: int, spacing: Spacing) -> Mask:
    """Holes of slices across `axis` that are small enough for marrow and not like the spinal cord."""
    import cc3d
    import fill_voids

    area_cm2 = float(np.prod(spacing)) / spacing[axis] / 100
    holes = np.zeros_like(bone)
    for at in np.flatnonzero(bone.any(axis=tuple(a for a in range(3) if a != axis))):
        here = (slice(None),) * axis + (int(at),)
        plane = np.ascontiguousarray(bone[here])
        inner = fill_voids.fill(plane) & ~plane
        if not inner.any():
            continue
        found = cc3d.connected_components(np.ascontiguousarray(inner), connectivity=4)
        counts = np.bincount(found.ravel())
        means = np.bincount(found.ravel(), weights=hu[here].ravel()) / np.maximum(counts, 1)
        small = counts * area_cm2 < CANAL_CM2
        if axis < 2:  # along the canal: longer than a vertebral body is high
            height_cm = np.maximum(_heights(found, len(counts)), 1) * spacing[2] / 10
            small |= (height_cm > VERTEBRA_CM) & (counts * area_cm2 / height_cm < CANAL_CM)
        cord = small & (means > CORD_HU[0]) & (means < CORD_HU[1])
        marrow = (counts * area_cm2 <= LARGEST_HOLE_CM2) & ~cord
        marrow[0] = False
        holes[here] = marrow[found]
    return holes


def _heights(found: NDArray[Any], n: int) -> NDArray[np.int64]:
    """How many slices each hole of a plane [i or j, k] spans."""
    from scipy import ndimage

    boxes = ndimage.find_objects(found, n - 1)
    return np.array([0, *(box[1].stop - box[1].start if box else 0 for box in boxes)])


def _enclosed(bone: Mask, hu: NDArray[np.float32], spacing: Spacing) -> Mask:
    """Spaces enclosed in 3-D, bones cut by the upper and lower face of the image included."""
    import fill_voids

    bridged = closed(bone, GAP_MM, spacing)
    capped = np.pad(bridged, 1)
    capped[1:-1, 1:-1, 0] = capped[1:-1, 1:-1, -1] = True
    enclosed = fill_voids.fill(np.ascontiguousarray(capped))[1:-1, 1:-1, 1:-1] & ~bone
    found, counts = components(enclosed)
    volume_ml = counts * float(np.prod(spacing)) / 1000
    means = np.bincount(found.ravel(), weights=hu.ravel()) / np.maximum(counts, 1)
    cord = (means > CORD_HU[0]) & (means < CORD_HU[1]) & (volume_ml > CORD_ML)
    marrow = (volume_ml <= LARGEST_HOLE_ML) & ~cord
    marrow[0] = False
    return np.asarray(marrow[found])
