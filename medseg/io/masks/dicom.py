"""DICOM objects that hold labels: segmentations (SEG) and structure sets (RTSTRUCT).

They are parsed in the decoder process. Patient tags are never read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.child.masks import FRAME_COLUMNS, MOST_FRAMES
from medseg.io.decoder import decode
from medseg.io.masks.as_read import between_slices, following
from medseg.io.masks.layers import Tell
from medseg.io.masks.references import require_same_image
from medseg.segmentation import Segmentation
from medseg.volume import Volume

__all__ = ["mask_header", "read_dicom_labels"]


def read_dicom_labels(path: Path, onto: Volume, tell: Tell) -> Segmentation:
    """The labels of a SEG or RTSTRUCT file on the grid of the image they were made for.

    Raises InputError (GeometryError for its place) where the file is damaged, of another kind, or made for
    another image.
    """
    about, rows = mask_header(path)
    require_same_image(
        path.name, frames=about["frames_of_reference"], series=about["series"], onto=onto, tell=tell
    )
    follow = following(onto, tell)
    if about["object"] == "SEG":
        from medseg.io.masks.dicom_seg import read_seg

        table = np.array(rows, np.float64)
        lacking = between_slices(onto, table[:, :3])
        table[:, :3] = follow(table[:, :3])
        return read_seg(path, about, table, lacking, onto, tell)
    from medseg.io.masks.rtstruct import read_structure_set

    return read_structure_set(path, about, onto, follow, tell)


def mask_header(path: Path, *, sources: bool = False) -> tuple[dict[str, Any], NDArray[Any] | None]:
    """What a SEG or RTSTRUCT file says of itself, and a row for each frame (see `medseg.io.child.masks`).

    With `sources`, also the UID of the image that each frame of a SEG was derived from.
    """
    kept: list[tuple[dict[str, Any], NDArray[Any] | None]] = []
    decode(
        {"do": "dicom-mask-header", "sources": sources},
        files=[path],
        take=lambda fields, rows: kept.append((fields, rows)),
        most_bytes=8 * FRAME_COLUMNS * MOST_FRAMES,
    )
    return kept[0]
