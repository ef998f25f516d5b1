"""The patient without the table, as a filled mask on blocks."""

import numpy as np
from numpy.typing import NDArray

from medseg_ct.morphology import Mask, Spacing, components, dilated, eroded, in_plane, opened

__all__ = ["find_body"]

THIN_MM = (
    8.0  # half the thickness under which a structure outside the patient is a sheet: table top, blanket, tube
)
SHEET_WIDTH_MM = (
    80.0  # a removed piece wider than this is a sheet; narrower ones are ears, fingers, skin folds
)
LIMB_ML = 60.0  # smaller separate pieces are not limbs
LIMB_TISSUE = 0.5  # share of a limb that lies in the range of fat, muscle and marrow
WIDE_MM = 6.0  # a gap twice this wide leads to the outside: between arm and chest, between legs
AIR_HU = -940.0  # the inside of a gas-filled space is darker than this, aerated lung brighter


def find_body(hu: NDArray[np.float32], spacing: Spacing, *, surface_hu: float) -> tuple[Mask, Mask]:
    """Body [i, j, k] (RAS axis order) from block means, with lungs and bowel gas; and the table beside it.

    The half-way value between air and skin finds the surface. An opening in each axial slice takes away
    what is thin; narrow pieces that touch the body are given back. Of what is left the largest piece is the
    torso, others stay if they are as large as a limb, have its tissue and do not lie below the torso.
    """
    dense = hu > surface_hu
    flat = in_plane(spacing)
    core = opened(dense, THIN_MM, flat)
    core = _torso_and_limbs(core, hu, spacing)
    sheets = _sheets(dense & ~_slices_filled(core), spacing)  # what is thin inside is bowel wall
    sheets |= _pressed_sheet(core, sheets)
    core &= ~sheets
    near = dilated(core, THIN_MM, flat) & dense & ~sheets
    body = _touching(near, core)
    return _filled(body, hu, spacing) & ~sheets, sheets


def _torso_and_limbs(mask: Mask, hu: NDArray[np.float32], spacing: Spacing) -> Mask:
    found, counts = components(mask)
    if not counts.any():
        return mask
    torso = int(counts.argmax())
    kept = np.zeros(len(counts), bool)
    kept[torso] = True
    back = np.argwhere((found == torso).any(axis=(0, 2)))[:, 0].min()
    voxel_ml = float(np.prod(spacing)) / 1000
    for piece in np.flatnonzero(counts * voxel_ml >= LIMB_ML):
        where = found == piece
        rows = np.flatnonzero(where.any(axis=(0, 2)))
        tissue = (hu[where] > -190) & (hu[where] < 300)
        below = rows.max() <= back
        kept[piece] |= bool(tissue.mean() >= LIMB_TISSUE) and not below
    return np.asarray(kept[found])


def _sheets(rest: Mask, spacing: Spacing) -> Mask:
    """Removed pieces that are wide from left to right: table tops, blankets."""
    found, counts = components(rest)
    sheet = np.zeros(len(counts), bool)
    for piece, box in enumerate(_boxes(found), start=1):
        sheet[piece] = (box[0].stop - box[0].start) * spacing[0] > SHEET_WIDTH_MM
    return np.asarray(sheet[found])


def _boxes(found: NDArray[np.integer]) -> list[tuple[slice, slice, slice]]:
    from scipy import ndimage

    boxes: list[tuple[slice, slice, slice]] = ndimage.find_objects(found)
    return boxes


def _pressed_sheet(core: Mask, sheets: Mask) -> Mask:
    """What of the core is table top pressed flat against the back.

    Where the body lies on the table, both are one solid piece to an opening. The table's lower surface is
    seen on either side of the contact; in columns in between whose lower end is that surface, the table's
    thickness goes.
    """
    pressed = np.zeros_like(core)
    for k in range(core.shape[2]):
        under = sheets[:, :, k]
        columns = np.flatnonzero(under.any(axis=1))
        if len(columns) < 8:
            continue
        bottom = under[columns].argmax(axis=1)
        thickness = round(float(np.median(under[columns].sum(axis=1))))
        solid = np.flatnonzero(core[:, :, k].any(axis=1))
        solid = solid[(solid > columns.min()) & (solid < columns.max())]
        expected = np.interp(solid, columns, bottom)
        lowest = core[solid, :, k].argmax(axis=1)
        for i, low, at in zip(solid, lowest, expected, strict=True):
            if abs(low - at) <= 1:
                pressed[i, low : low + thickness, k] = True
    return pressed


def _touching(mask: Mask, seed: Mask) -> Mask:
    """The pieces of `mask` that hold a voxel of `seed`."""
    found, counts = components(mask)
    kept = np.zeros(len(counts), bool)
    kept[np.unique(found[seed & mask])] = True
    kept[0] = False
    return np.asarray(kept[found])


def _filled(body: Mask, hu: NDArray[np.float32], spacing: Spacing) -> Mask:
    """The body with its inner air: holes of each slice, without gaps that lead to the outside in 3-D."""
    filled = _slices_filled(body)
    wide = eroded(~body, WIDE_MM, spacing)
    found, counts = components(wide)
    edge = np.zeros(body.shape, bool)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    outside = np.zeros(len(counts), bool)
    for piece in np.unique(found[edge & wide]):
        outside[piece] = float(np.median(hu[found == piece])) < AIR_HU
    leads_out = dilated(np.asarray(outside[found]) & wide, WIDE_MM + max(spacing), spacing)
    cut = np.zeros(len(counts), bool)
    cut[np.unique(found[edge & wide])] = True
    cut &= ~outside  # lung that reaches the edge of a small field of view: no darker than lung is
    cut_lung = dilated(np.asarray(cut[found]) & wide, WIDE_MM, spacing)
    return np.asarray((filled & ~(leads_out & ~body)) | cut_lung)


def _slices_filled(mask: Mask) -> Mask:
    """The mask with the holes of each axial slice."""
    import fill_voids

    filled = np.empty_like(mask)
    for k in range(mask.shape[2]):
        filled[:, :, k] = fill_voids.fill(np.ascontiguousarray(mask[:, :, k]))
    return filled
