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
from medseg.volume import Grid, Planes

__all__ = ["Nifti"]

SLICES = "-slices"


class Nifti(Writer):
    """`segmentation.nii.gz`, the first layer; `segmentation-LABEL.nii.gz` for each label of further layers.

    The files lie on the original image's voxels with its affine and codes, and carry the names of the labels
    they hold in the header extension. A label keeps its value in a file of its own; a layer of objects holds
    their ids.

    Where slices of the original are missing or unevenly spaced, no affine can place them: the files then lie
    on the even grid that was segmented, and beside each is one that ends in `-slices.nii.gz`, with a slice
    for every original slice, in order. Its header has the mean distance of slices; `planes` in run.json has
    where each of them lies.
    """

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write one file for the first layer and one for every label of the others."""
        source = result.volume.source
        native = source.native if source is not None else None
        segmentation = result.segmentation
        if isinstance(native, Grid):
            segmentation = segmentation.onto(native)
        for name, array, labels in _files(segmentation):
            path = folder / f"{name}.nii.gz"
            write_labels(array, segmentation.grid, path, labels=labels, source=source)
            yield path
        if source is None or not isinstance(native, Planes):
            return
        array = source.on_slices(segmentation)
        slices = replace(segmentation, array=array, grid=_evenly(native))
        for name, array, labels in _files(slices):
            path = folder / f"{name}{SLICES}.nii.gz"
            remarks = ("slices uneven",)
            write_labels(array, slices.grid, path, labels=labels, source=source, remarks=remarks)
            yield path


def _evenly(planes: Planes) -> Grid:
    """A grid with a slice for each plane, as if they were evenly spaced from the first to the last."""
    affine = planes.affines[0].copy()
    count = len(planes.affines)
    if count > 1:
        affine[:3, 2] = (planes.affines[-1][:3, 3] - affine[:3, 3]) / (count - 1)
    return Grid((*planes.shape, count), affine)


def _files(segmentation: Segmentation) -> Iterable[tuple[str, np.ndarray, LabelTable]]:
    """Stem of the file's name, array `[i, j, k]` and the labels in it, one at a time."""
    first = [label for label in segmentation.labels if label.layer == 0]
    yield "segmentation", segmentation.array[0], _table(segmentation, 0, first)
    taken = {SLICES.lstrip("-")}
    for label in segmentation.labels:
        if label.layer == 0:
            continue
        layer = segmentation.array[label.layer]
        own = np.where(segmentation.mask(label.name), layer, layer.dtype.type(0))
        yield f"segmentation-{_slug(label, taken)}", own, _table(segmentation, label.layer, [label])


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
    while not taken.isdisjoint({name, f"{name}{SLICES}"}):
        number += 1
        name = f"{slug}-{number}"
    taken |= {name, f"{name}{SLICES}"}
    return name
