"""The skeleton on blocks: cortical bone by threshold with hysteresis, marrow filled in."""

import numpy as np
from numpy.typing import NDArray

from medseg_ct.morphology import Mask, Spacing, closed, components, depth

__all__ = ["find_bone"]

SMALLEST_ML = 0.8  # smaller bright pieces are calcified vessels, stones, clips
GAP_MM = 4.0  # half the widest gap in a cortical shell that is bridged before marrow is filled in
LARGEST_HOLE_ML = 150.0  # a larger enclosed space is not marrow but a cavity: skull, pelvis
LARGEST_HOLE_CM2 = 20.0  # a femoral head has a section of 20 cm2
MARROW_MM = 9.0  # half the widest space between two shells that trabecular bone is looked for in
TRABECULAR_HU = 95.0  # muscle stays below about 80 HU with contrast agent; trabecular bone is mostly above 100
CORD_HU = (-5.0, 70.0)  # mean of a hole that may be the vertebral canal
SHELL_MM = 3.0
VESSEL_CORE_MM = 6.0


def find_bone(hu: NDArray[np.float32], body: Mask, spacing: Spacing, *, lowest_hu: float, cortical_hu: float) -> Mask:
    """Bone with marrow [i, j, k] from block means: above `lowest_hu`, joined to something above `cortical_hu`.

    Contrast agent is as bright as bone. A piece whose centre is brighter than its rim and even throughout is taken
    for a contrast-filled vessel, ureter, bladder or bowel loop and left out; where such a piece touches bone it
    cannot be told apart and stays.
    """
    bright = body & (hu > lowest_hu)
    found, counts = components(bright)
    voxel_ml = float(np.prod(spacing)) / 1000
    seeded = np.zeros(len(counts), bool)
    seeded[np.unique(found[bright & (hu > cortical_hu)])] = True
    inner = depth(bright, spacing)
    for piece in np.flatnonzero(seeded & (counts * voxel_ml >= SMALLEST_ML)):
        where = found == piece
        seeded[piece] = not _contrast(hu[where], inner[where])
    seeded &= counts * voxel_ml >= SMALLEST_ML
    shell = np.asarray(seeded[found])
    return _with_marrow(shell, hu, spacing) & body


def _contrast(values: NDArray[np.float32], inner: NDArray[np.float32]) -> bool:
    """Whether a bright piece is contrast agent: thick, even inside, brightest away from its rim."""
    core = values[inner > VESSEL_CORE_MM]
    if len(core) < 8:
        return False
    rim = values[inner <= SHELL_MM]
    even = float(core.std()) < 0.2 * float(core.mean())
    return even and float(np.median(core)) > float(np.median(rim)) * 1.15


def _with_marrow(shell: Mask, hu: NDArray[np.float32], spacing: Spacing) -> Mask:
    """The shell with its marrow, the vertebral canal left free.

    Trabecular bone is what lies between shells and is denser than muscle. Fatty marrow and the rest are holes of the
    shell in any of the three planes; a hole of the density of nerve or muscle is filled only if closed in 3-D.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(hu, [2.0 / s for s in spacing])
    bone = shell | (closed(shell, MARROW_MM, spacing) & (smooth > TRABECULAR_HU))
    for axis in (0, 1, 2):
        bone |= _plane_holes(bone, hu, axis, spacing)
    return np.asarray(bone | _enclosed(bone, spacing))


def _plane_holes(bone: Mask, hu: NDArray[np.float32], axis: int, spacing: Spacing) -> Mask:
    """Holes of the slices across `axis` that are small enough for marrow and not as dense as the spinal cord."""
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
        marrow = (counts * area_cm2 <= LARGEST_HOLE_CM2) & ((means > CORD_HU[1]) | (means < CORD_HU[0]))
        marrow[0] = False
        holes[here] = marrow[found]
    return holes


def _enclosed(bone: Mask, spacing: Spacing) -> Mask:
    """Spaces enclosed in 3-D, bones cut by the upper and lower face of the image included."""
    import fill_voids

    bridged = closed(bone, GAP_MM, spacing)
    capped = np.pad(bridged, 1)
    capped[1:-1, 1:-1, 0] = capped[1:-1, 1:-1, -1] = True
    enclosed = fill_voids.fill(np.ascontiguousarray(capped))[1:-1, 1:-1, 1:-1] & ~bone
    found, counts = components(enclosed)
    small = counts * float(np.prod(spacing)) / 1000 <= LARGEST_HOLE_ML
    small[0] = False
    return np.asarray(small[found])
