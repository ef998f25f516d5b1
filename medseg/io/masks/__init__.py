"""Segmentations as input: masks from other programs, on the grid of the image they belong to.

    image = read("ct/")
    truth = read_segmentation("liver.dcm", onto=image)
    truth.mask("Liver")

DICOM SEG and RTSTRUCT, 3D Slicer's .seg.nrrd, label maps (NIfTI, NRRD, MetaImage), PNG and TIFF masks, COCO
JSON. Names, values, colours and codes come from the file. What overlaps is put in different layers.
"""

from __future__ import annotations

import logging
from pathlib import Path

from medseg.errors import InputError, UsageError
from medseg.io import one_refusal
from medseg.io.masks.layers import Tell
from medseg.io.regular_file import is_folder, open_regular
from medseg.segmentation import Segmentation
from medseg.volume import Volume

__all__ = ["read_segmentation"]

logger = logging.getLogger(__name__)

PICTURES = (".png", ".tif", ".tiff")


def read_segmentation(
    path: str | Path, *, onto: Volume, tell: Tell = logger.warning, ids: bool = False
) -> Segmentation:
    """The labels in a file, on the grid of the image `onto`; objects are objects where the file says so.

    Voxels that coincide are copied, whatever their axis order and direction; on another grid of the same
    place the nearest is taken. `tell` gets a line for everything that was decided or left out; by default it
    becomes a warning in the log. With `ids` a picture's values are numbers of objects, white among them too.

    Raises InputError where the file is damaged, not a segmentation, made for another image, or where labelled
    voxels would be lost (GeometryError); ResourceError where it does not fit in memory.
    """
    path = Path(path)
    with one_refusal(path):
        if is_folder(path):
            raise InputError(f"{path.name}: a folder; give the file of the segmentation itself")
        with open_regular(path) as file:
            start = file.read(132)
        if not start:
            raise InputError(f"{path.name}: the file is empty (0 bytes); copy or export it again")
        try:
            return _read(path, start, onto, tell, ids)
        except UsageError as problem:  # a table or a voxel type that the file's own labels make impossible
            raise InputError(f"{path.name}: {problem}") from problem


def _read(path: Path, start: bytes, onto: Volume, tell: Tell, ids: bool) -> Segmentation:
    """By content, as the formats' readers check it again; COCO by its name."""
    suffix = path.suffix.lower()
    if start[128:] == b"DICM" or suffix in (".dcm", ".dicom"):
        from medseg.io.masks.dicom import read_dicom_labels

        return read_dicom_labels(path, onto, tell)
    if suffix == ".json":
        from medseg.io.masks.coco import read_coco

        return read_coco(path, onto, tell)
    if suffix in PICTURES:
        from medseg.io.masks.picture_mask import read_picture_mask

        return read_picture_mask(path, onto, tell, ids=ids)
    if suffix == ".nrrd" and start.startswith(b"NRRD"):
        from medseg.io.itk import nrrd_texts
        from medseg.io.masks.slicer import is_slicer, read_slicer

        texts = nrrd_texts(path)
        if is_slicer(texts):
            return read_slicer(path, texts, onto, tell)
    from medseg.io.masks.label_map import read_label_map

    return read_label_map(path, onto, tell)
