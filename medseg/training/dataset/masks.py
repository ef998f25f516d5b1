"""Masks as their files hold them: values of a label map, or the voxels of one structure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io import one_refusal, read
from medseg.io.masks.label_map import whole_values
from medseg.io.picture import read_picture
from medseg.io.regular_file import open_regular, printable
from medseg.training.dataset.found import is_picture
from medseg.volume import Grid

__all__ = ["inside", "is_label_map", "present", "require_same_grid", "standing", "values_of"]

Tell = Callable[[str], None]
WHITE = (255, 65535)
NEAR = 0.1  # voxels: what rounding of headers leaves; nearest labels are then the labels themselves
CHUNK = 1 << 20  # voxels that are counted together


def is_label_map(path: Path) -> bool:
    """Whether a mask holds values without names: NIfTI, NRRD, MetaImage, PNG, TIFF.

    DICOM SEG and RTSTRUCT, COCO and 3-D Slicer's .seg.nrrd name what they hold.
    """
    name = path.name.lower()
    if name.endswith((".json", ".dcm", ".dicom", ".seg.nrrd")):
        return False
    with open_regular(path) as file:
        return file.read(132)[128:] != b"DICM"


def values_of(path: Path) -> tuple[NDArray[Any], Grid]:
    """The mask's values `[i, j, k]` as unsigned integers, and where they lie; a palette's by number.

    Raises InputError for colours, several channels, negative values and fractions.
    """
    if not is_picture(path):
        volume = read(path)
        if len(volume.array) != 1:
            raise InputError(f"{printable(path)}: {len(volume.array)} channels; a mask has one")
        return whole_values(volume.array[0], printable(path)), volume.grid
    with one_refusal(path):
        picture = read_picture(path, pixel_size=None, palette_as_values=True)
        colours = picture.array[:3] if len(picture.array) > 2 else picture.array[:1]
        alpha = picture.array[len(colours) :]
        if (colours != colours[0]).any() or (alpha.size and (alpha != alpha.max()).any()):
            raise InputError(
                f"{printable(path)}: a mask in colours or with transparent parts; save it in grey or with a "
                "palette"
            )
        return colours[0], picture.grid


def present(values: NDArray[Any]) -> list[int]:
    """The values that are there but 0, in order."""
    if values.dtype.itemsize > 2:
        return [int(value) for value in np.unique(values) if value]
    flat = values.reshape(-1)
    counts = np.zeros(1 << (8 * values.dtype.itemsize), np.int64)
    for start in range(0, flat.size, CHUNK):
        counts += np.bincount(flat[start : start + CHUNK], minlength=counts.size)
    return [int(value) for value in np.flatnonzero(counts) if value]


def inside(
    values: NDArray[Any], threshold: float | None, name: str, tell: Tell, *, picture: bool
) -> NDArray[np.bool_]:
    """Which voxels of a mask of one structure are inside: all that are not 0, if all have one value.

    In a picture whose largest value is white, other values are smoothed edges: more than half of white is
    inside, and that is told. `threshold` decides for every mask. Raises InputError for several other values.
    """
    if threshold is not None:
        return np.asarray(values > threshold)
    there = present(values)
    if len(there) <= 1:
        return np.asarray(values != 0)
    white = there[-1]
    if not picture or white not in WHITE:
        raise InputError(
            f"{name}: holds {len(there)} values besides 0 (up to {white}), a mask of one structure has one; "
            "say `threshold:` in dataset.yaml, or give it as a label map"
        )
    tell(
        f"{name}: {len(there) - 1} values between black and white are smoothed edges: inside above "
        f"{white / 2:g}"
    )
    return np.asarray(values > white / 2)


def require_same_grid(mask: Grid, image: Grid, name: str, tell: Tell) -> None:
    """Refuse, as a GeometryError with the numbers, a mask that does not have the image's voxels.

    Another order or direction of axes is the same. What rounding of headers leaves, up to a tenth of a voxel,
    is told where it is more than `Grid.same_as` allows.
    """
    turned = mask if mask.unit != image.unit else mask.reoriented(image.axis_codes)
    if turned.shape != image.shape or turned.unit != image.unit:
        raise GeometryError(
            f"{name}: {_in_words(mask)}, the image has {_in_words(image)}; give the mask of this image"
        )
    if turned.same_as(image):
        return
    off = float(np.linalg.norm(turned.corners() - image.corners(), axis=1).max())
    if not turned.same_as(image, NEAR):
        raise GeometryError(
            f"{name}: lies up to {off:.3g} {image.unit} beside the image, whose voxels measure "
            f"{' x '.join(f'{s:.3g}' for s in image.spacing)} {image.unit}; correct its header or resample it"
        )
    tell(
        f"{name}: lies up to {off:.2g} {image.unit} beside the image, less than a tenth of a voxel: taken as "
        "equal"
    )


def standing(values: NDArray[Any], mask: Grid, image: Grid) -> NDArray[Any]:
    """The values in the image's order and direction of axes, where both have the same voxels."""
    order, flips = [], []
    for code in image.axis_codes:
        axis = next(n for n, other in enumerate(mask.axis_codes) if _line(other) == _line(code))
        order.append(axis)
        flips.append(slice(None, None, 1 if mask.axis_codes[axis] == code else -1))
    return values.transpose(order)[tuple(flips)]


def _line(code: str) -> int:
    """Which of the body's axes a letter is an end of."""
    return next(n for n, ends in enumerate(("LR", "PA", "IS")) if code in ends)


def _in_words(grid: Grid) -> str:
    size = " x ".join(str(n) for n in grid.shape)
    spacing = " x ".join(f"{s:.4g}" for s in grid.spacing)
    return f"{size} voxels of {spacing} {grid.unit} ({grid.axis_codes})"
