"""Labels as NIfTI files on the original grid."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from medseg.io.nifti import write_labels
from medseg.prediction import Result
from medseg.report.palette import PALETTE, colour_of
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Writer
from medseg.volume import Grid

__all__ = ["Nifti"]


class Nifti(Writer):
    """`segmentation.nii.gz`, the first layer; `segmentation-LABEL.nii.gz` for each label of further layers.

    The files lie on the original image's voxels with its affine and codes, and carry the names of the labels
    they hold in the header extension. A label keeps its value in a file of its own; a layer of objects holds
    their ids.
    """

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write one file for the first layer and one for every label of the others."""
        source = result.volume.source
        native = source.native if source is not None else None
        segmentation = result.segmentation
        if isinstance(native, Grid):
            segmentation = segmentation.onto(native)
        for name, array, labels in _files(segmentation):
            path = folder / name
            write_labels(array, segmentation.grid, path, labels=labels, source=source)
            yield path


def _files(segmentation: Segmentation) -> Iterable[tuple[str, np.ndarray, LabelTable]]:
    """File name, array `[i, j, k]` and the labels in it, one at a time."""
    first = [label for label in segmentation.labels if label.layer == 0]
    yield "segmentation.nii.gz", segmentation.array[0], _table(segmentation, 0, first)
    taken: set[str] = set()
    for label in segmentation.labels:
        if label.layer == 0:
            continue
        layer = segmentation.array[label.layer]
        own = np.where(segmentation.mask(label.name), layer, layer.dtype.type(0))
        yield f"segmentation-{_slug(label, taken)}.nii.gz", own, _table(segmentation, label.layer, [label])


def _table(segmentation: Segmentation, layer: int, labels: list[Label]) -> LabelTable:
    """What one file's values mean: its labels, or the objects of its labels, in the preview's colours."""
    names = {label.name for label in labels}
    if segmentation.kinds[layer] == "objects":
        things = [thing for thing in segmentation.objects if thing.label in names]
        codes = {label.name: label.code for label in labels}
        return LabelTable(
            tuple(
                Label(
                    thing.id,
                    f"{thing.label} {thing.id}",
                    code=codes[thing.label],
                    colour=PALETTE[(thing.id - 1) % len(PALETTE)],
                )
                for thing in things
            )
        )
    # A pair whose other half lies in another file would point nowhere.
    return LabelTable(
        tuple(
            replace(
                label,
                layer=0,
                colour=colour_of(label),
                pair=label.pair if label.pair in names else None,
            )
            for label in labels
        )
    )


def _slug(label: Label, taken: set[str]) -> str:
    """A file name's part for a label: lower case, words joined by dashes, numbered where two are equal."""
    plain = unicodedata.normalize("NFKD", label.name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9-]", "", re.sub(r"[\s_]+", "-", plain)).strip("-")[:80] or f"label-{label.value}"
    name, number = slug, 1
    while name in taken:
        number += 1
        name = f"{slug}-{number}"
    taken.add(name)
    return name
