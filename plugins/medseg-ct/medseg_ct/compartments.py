"""Subcutaneous layer, musculoskeletal wall and cavity: which compartment each block of the body lies in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medseg_ct.morphology import (
    Mask,
    Spacing,
    components,
    depth,
    dilated,
    eroded,
    in_plane,
    opened,
    slice_components,
)
from medseg_ct.spine import THICK_BONE_MM, Spine

__all__ = ["BORDER", "CAVITY", "SUBCUTANEOUS", "WALL", "Anatomy", "find_compartments"]

SUBCUTANEOUS, WALL, CAVITY, BORDER = 1, 2, 3, 4

SKIN_MM = 4.0
LOOSE_HU = -200.0  # clothes, blankets and the mattress cover are lighter than fat
LOOSE_MM = 12.0
BALL_MM = 5.0  # fat that such a ball reaches from the skin is subcutaneous; gaps between muscles are narrower
WIDE_BALL_MM, NOOK_MM = 11.0, 14.0
THIN_LAYER_MM = 10.0  # fat so near to the surface is subcutaneous even where a ball does not fit
STEADY_MM = 21.0  # a leak through the wall in fewer slices than half of this is not anatomy
ISLAND_MM, ISLAND_ML = 12.0, 3.0  # muscle lies deeper than skin and is larger than vessels in the fat
RIM_MM = 8.0  # muscle this near to the subcutaneous fat belongs to the wall
DEEP_MM, CLEAR_MM = (
    45.0,
    30.0,
)  # soft tissue this far inside the wall and this far from bone belongs to the cavity
FRONT_DEEP_MM, FRONT_CLEAR_MM = 22.0, 25.0  # the same in front of the spine, where the wall is thin
FAT_DEPTH_MM = 16.0
FAT_THICK_MM = 4.0  # half-thickness of mesenteric and perirenal fat; fat between muscles is thinner
CAGE_MM = 12.0  # chest wall and diaphragm inside the ribs
SPINE_MM = 12.0  # muscle this near to the sides and back of a vertebral body is psoas or paraspinal
ILIAC_MM, ILIAC_ASIDE_MM = 12.0, 40.0  # muscle this near to the pelvic bones, this far from the midline
ASIDE_MM = 60.0  # thick bone this far from the midline is pelvis, thigh or shoulder
GAS_HU = -300.0
NOISE_HU = -15.0  # a speck of fat density in tissue that is denser than this on average is noise
SMOOTH_MM = 2.5
CLIP_HU = (-200.0, 250.0)  # gas and cortical bone must not outweigh the edges between soft tissues


@dataclass(frozen=True)
class Anatomy:
    """What is known before compartments are told apart: block means and masks [i, j, k] in RAS order."""

    hu: NDArray[np.float32]
    body: Mask
    lungs: Mask
    bone: Mask
    spine: Spine | None
    spacing: Spacing
    fat_hu: tuple[float, float]
    muscle_hu: tuple[float, float]

    def fat(self) -> Mask:
        """Blocks of the body in the range of adipose tissue."""
        return self.body & (self.hu > self.fat_hu[0]) & (self.hu < self.fat_hu[1])

    def soft(self) -> Mask:
        """Blocks of the body in the range of muscle, without bone."""
        return self.body & (self.hu > self.muscle_hu[0]) & (self.hu < self.muscle_hu[1]) & ~self.bone

    def below_skin(self) -> NDArray[np.float32]:
        """Distance in mm from the surface of the skin; clothes and mattress on it count as outside."""
        loose = self.body & (self.hu < LOOSE_HU) & (depth(self.body, self.spacing) <= LOOSE_MM)
        return depth(self.body & ~loose, self.spacing)


def find_compartments(anatomy: Anatomy) -> NDArray[np.uint8]:
    """SUBCUTANEOUS, WALL, CAVITY or BORDER for each block of the body, 0 elsewhere.

    Subcutaneous is what a ball rolling in from the skin reaches through fat. Inside, seeds of wall (bone,
    muscle next to the subcutaneous fat, muscle beside the spine) and of cavity (lungs, gas, deep fat, deep
    soft tissue) grow towards each other and meet where the image changes most: a watershed on the gradient
    magnitude (Beucher and Meyer 1993). BORDER blocks hold both subcutaneous fat and wall.
    """
    from scipy import ndimage
    from skimage.segmentation import watershed

    skin = anatomy.below_skin()
    reached = _subcutaneous(anatomy, skin)
    lean = anatomy.body & ~reached
    seeds = _seeds(anatomy, lean)
    sigma = [SMOOTH_MM / s for s in anatomy.spacing]
    slope = ndimage.gaussian_gradient_magnitude(np.clip(anatomy.hu, *CLIP_HU), sigma)
    result: NDArray[np.uint8] = watershed(slope, seeds, mask=lean).astype(np.uint8)
    del slope, seeds
    result[reached] = SUBCUTANEOUS
    result[lean & (result == 0)] = WALL
    result[(result == WALL) & (skin <= max(SKIN_MM, *anatomy.spacing[:2]))] = SUBCUTANEOUS
    result[(result == WALL) & anatomy.fat() & (skin < THIN_LAYER_MM)] = SUBCUTANEOUS
    result[_islands(result >= WALL, skin, anatomy.spacing)] = SUBCUTANEOUS
    result[(result == CAVITY) & ~_fatty(anatomy)] = 0
    return _with_border(result, skin, anatomy.spacing)


def _subcutaneous(anatomy: Anatomy, skin: NDArray[np.float32]) -> Mask:
    """Body blocks that a ball of `BALL_MM` rolling in from the air reaches through skin and fat.

    It rolls within its axial slice: in 3-D it would find its way into the pelvis from below. A wider ball,
    which passes no hernia and no gap in the midline, bounds how far it gets.
    """
    body, spacing = anatomy.body, anatomy.spacing
    if body.all():
        return np.zeros_like(body)
    free = ~body | (skin <= SKIN_MM) | anatomy.fat()
    region = _rolled(free, body, BALL_MM, spacing)
    wide = _rolled(free, body, WIDE_BALL_MM, spacing)
    return region & dilated(wide | ~body, NOOK_MM, spacing) & body


def _rolled(free: Mask, body: Mask, mm: float, spacing: Spacing) -> Mask:
    """Where a ball of radius `mm` gets from the air outside the body without leaving `free`."""
    passable = eroded(free, mm, spacing)
    found, counts = slice_components(passable)
    outer = np.zeros(len(counts), bool)
    outer[np.unique(found[passable & ~body])] = True
    outer[0] = False
    centres = _steady(np.asarray(outer[found]), spacing) & passable
    return dilated(centres, mm, in_plane(spacing)) & free


def _steady(mask: Mask, spacing: Spacing) -> Mask:
    """What most slices within `STEADY_MM` agree on."""
    from scipy import ndimage

    length = max(1, round(STEADY_MM / spacing[2]) | 1)
    share = ndimage.uniform_filter1d(mask.astype(np.float32), length, axis=2, mode="nearest")
    return np.asarray(share > 0.5)


def _islands(inner: Mask, skin: NDArray[np.float32], spacing: Spacing) -> Mask:
    """Skin folds, vessels and glands that lie in the subcutaneous fat apart from the wall."""
    found, counts = components(inner)
    deepest = np.zeros(len(counts), np.float32)
    np.maximum.at(deepest, found[inner], skin[inner])
    island = (deepest < ISLAND_MM) | (counts * float(np.prod(spacing)) / 1000 < ISLAND_ML)
    island[0] = False
    return np.asarray(island[found])


def _fatty(anatomy: Anatomy) -> Mask:
    """Where fat density in the cavity means fat: neither a speck of noise nor the rim of gas in the bowel."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(anatomy.hu, [2.0 / s for s in anatomy.spacing])
    gas = anatomy.body & (anatomy.hu < GAS_HU) & ~dilated(anatomy.lungs, 6.0, anatomy.spacing)
    return np.asarray((smooth < NOISE_HU) & ~dilated(gas, 1.01 * max(anatomy.spacing), anatomy.spacing))


def _with_border(parts: NDArray[np.uint8], skin: NDArray[np.float32], spacing: Spacing) -> NDArray[np.uint8]:
    """Marks the blocks on either side of the face between subcutaneous layer and wall."""
    reach = 1.01 * max(spacing)
    layer, wall = parts == SUBCUTANEOUS, parts == WALL
    below = layer & (skin > SKIN_MM + reach) & dilated(wall, reach, spacing)
    above = wall & dilated(layer & (skin > SKIN_MM), reach, spacing)
    result = parts.copy()
    result[below | above] = BORDER
    return result


def _seeds(anatomy: Anatomy, lean: Mask) -> NDArray[np.int32]:
    """WALL and CAVITY where there is little doubt, 0 where the watershed decides."""
    spacing = anatomy.spacing
    soft = anatomy.soft() & lean
    inside = depth(lean, spacing)
    cavity = lean & (anatomy.lungs | (anatomy.hu < GAS_HU))
    wall = lean & anatomy.bone | (soft & (inside < RIM_MM))
    deep_fat = anatomy.fat() & lean & (inside > FAT_DEPTH_MM)
    if anatomy.spine is not None:
        behind, beside = _behind(anatomy.spine), _beside(anatomy)
        wall |= soft & (beside | _iliac(anatomy, anatomy.spine))
        cavity |= soft & _viscera(anatomy, anatomy.spine, inside) & ~behind & ~beside
        deep_fat &= ~behind
    cavity |= _joined(opened(deep_fat, max(FAT_THICK_MM, *spacing), spacing), cavity)
    seeds = np.zeros(lean.shape, np.int32)
    seeds[wall] = WALL
    seeds[cavity] = CAVITY
    return seeds


def _joined(fat: Mask, cavity: Mask) -> Mask:
    """Pieces of fat that touch the cavity's seeds."""
    found, counts = components(fat | cavity)
    joined = np.zeros(len(counts), bool)
    joined[np.unique(found[cavity])] = True
    joined[0] = False
    return np.asarray(joined[found]) & fat


def _behind(spine: Spine) -> Mask:
    """Behind the vertebral bodies, where only paraspinal muscle lies."""
    return np.asarray((spine.forward() < -12) & (spine.across() < 70))


def _beside(anatomy: Anatomy) -> Mask:
    """Muscle attached to the spine: psoas at its sides, paraspinal muscle behind."""
    assert anatomy.spine is not None
    across, forward = anatomy.spine.across(), anatomy.spine.forward()
    near = depth(~anatomy.bone, anatomy.spacing) < SPINE_MM
    return near & (forward < 8) & (across < 50) | ((forward < -12) & (across < 25))


def _pelvic_slices(anatomy: Anatomy, spine: Spine) -> Mask:
    """Slices `[1, 1, k]` with thick bone away from the midline: pelvis, thighs, shoulders."""
    thick_aside = (depth(anatomy.bone, anatomy.spacing) > THICK_BONE_MM) & (spine.across() > ASIDE_MM)
    return dilated(np.any(thick_aside, axis=(0, 1))[None, None, :], 20.0, anatomy.spacing)


def _iliac(anatomy: Anatomy, spine: Spine) -> Mask:
    """Muscle on the pelvic bones away from the midline: iliacus, obturator, gluteal muscles."""
    near = depth(~anatomy.bone, anatomy.spacing) < ILIAC_MM
    return near & (spine.across() > ILIAC_ASIDE_MM) & _pelvic_slices(anatomy, spine)


def _viscera(anatomy: Anatomy, spine: Spine, inside: NDArray[np.float32]) -> Mask:
    """Soft tissue that must be an organ: far from wall and bone or inside the ribs, and not psoas."""
    to_bone = depth(~anatomy.bone, anatomy.spacing)
    across, forward = spine.across(), spine.forward()
    pelvis = _pelvic_slices(anatomy, spine)
    psoas = (
        (across > 15) & (across < 80) & (forward < np.where(pelvis, 70, 45))
    )  # it comes forward in the pelvis
    deep = (inside > DEEP_MM) & (to_bone > CLEAR_MM) & ~pelvis
    front = (inside > FRONT_DEEP_MM) & (to_bone > FRONT_CLEAR_MM) & (forward > 15) & (~pelvis | (across < 40))
    return np.asarray((deep | front | _cage(anatomy, pelvis)) & ~psoas)


def _cage(anatomy: Anatomy, pelvis: Mask) -> Mask:
    """The inside of the ribs: in slices without pelvis or arms, the hull of bone less the chest wall."""
    from skimage.morphology import convex_hull_image

    cage = np.zeros_like(anatomy.bone)
    for k in np.flatnonzero(~pelvis[0, 0] & (anatomy.bone.sum(axis=(0, 1)) > 8)):
        if min(np.ptp(np.argwhere(anatomy.bone[:, :, k]), axis=0)) > 0:
            cage[:, :, k] = convex_hull_image(anatomy.bone[:, :, k])
    return eroded(cage, CAGE_MM, in_plane(anatomy.spacing))
