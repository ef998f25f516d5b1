"""Labels as NIfTI files on the original grid."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from medseg.io.nifti import write_labels
from medseg.prediction import Result
from medseg.report.label_files import SLICES, label_files
from medseg.steps import Writer
from medseg.volume import Grid, Planes

__all__ = ["Nifti"]


class Nifti(Writer):
    """`segmentation.nii.gz`, the first layer; `segmentation-LABEL.nii.gz` for each label of further layers.

    The files lie on the original image's voxels with its affine and codes, and carry the names of the labels
    they hold in the header extension. A label keeps its value in a file of its own; a layer of objects holds
    their ids, and its header also says whose object each is.

    Where slices of the original are missing or unevenly spaced, no affine can place them: the files then lie
    on the even grid that was segmented, and beside each is one that ends in `-slices.nii.gz`, with a slice
    for every original slice, in order. Its header has the mean distance of slices; `planes` in run.json has
    where each of them lies.
    """

    libraries: ClassVar[Mapping[str, int]] = {"nibabel": 40 << 20}

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write one file for the first layer and one for every label of the others."""
        source = result.volume.source
        native = source.native if source is not None else None
        segmentation = result.segmentation
        if isinstance(native, Grid):
            segmentation = segmentation.onto(native)
        for ending, array, labels, objects in label_files(segmentation):
            path = folder / f"segmentation{ending}.nii.gz"
            write_labels(array, segmentation.grid, path, labels=labels, source=source, objects=objects)
            yield path
        if source is None or not isinstance(native, Planes):
            return
        array = source.on_slices(segmentation)
        slices = replace(segmentation, array=array, grid=_evenly(native))
        uneven = ("slices uneven",)
        for ending, array, labels, objects in label_files(slices):
            path = folder / f"segmentation{ending}{SLICES}.nii.gz"
            write_labels(
                array, slices.grid, path, labels=labels, source=source, remarks=uneven, objects=objects
            )
            yield path


def _evenly(planes: Planes) -> Grid:
    """A grid with a slice for each plane, as if they were evenly spaced from the first to the last."""
    affine = planes.affines[0].copy()
    count = len(planes.affines)
    if count > 1:
        affine[:3, 2] = (planes.affines[-1][:3, 3] - affine[:3, 3]) / (count - 1)
    return Grid((*planes.shape, count), affine)
