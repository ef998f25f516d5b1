"""The probability of each label, as NIfTI files on the original grid."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.write.native_slabs import native_slabs, written_grid
from medseg.errors import GeometryError
from medseg.io.nifti import write_slabs
from medseg.prediction import Result, Wanted
from medseg.report.label_files import slug
from medseg.steps import Writer
from medseg.volume import Grid

__all__ = ["Probabilities"]

STEPS = 255  # of uint8: a probability is off by at most 0.002, and files are a fraction of float32's
KEPT = "probabilities"


class Probabilities(Writer):
    """`probability-LABEL.nii.gz`: how likely each voxel is to be the label, by the network's own account.

    Stored as uint8 with a slope of 1/255, so that NIfTI readers give 0 to 1 in steps of 0.004. Probabilities
    are kept on disk while the network runs and read back a few slices at a time. They are interpolated from
    the network's grid to the voxels of the original, 0 outside, and are those before postprocessing. Labels
    are decided on interpolated logits, so at a boundary the largest probability can be another label's.

    They are seldom calibrated: 0.9 does not mean that nine in ten such voxels are right. Left out where the
    segmenter gives no probabilities.
    """

    libraries: ClassVar[Mapping[str, int]] = {"nibabel": 40 << 20}

    labels: tuple[str, ...] | None = None
    """Names of the labels to write; null for all."""

    @property
    def wants(self) -> Wanted:
        """Probabilities of these labels on the whole grid."""
        labels = None if self.labels is None else frozenset(self.labels)
        return Wanted(whole_scores=True, score_labels=labels)

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write one file for each label that is left in the segmentation."""
        scores = result.prediction.scores
        if scores is None or scores.kind != KEPT:
            return
        onto = written_grid(result.volume)
        taken: set[str] = set()
        for label in result.segmentation.labels:
            name = slug(label, taken)
            if label.name not in scores.channels or (self.labels and label.name not in self.labels):
                continue

            def read(box: Grid, label: str = label.name) -> tuple[NDArray[np.float32], Grid] | None:
                try:
                    found = scores.read(box, [label])
                except GeometryError:  # the box lies outside what was segmented
                    return None
                return np.asarray(found.array[0]), found.grid

            path = folder / f"probability-{name}.nii.gz"
            slabs = _stored(native_slabs(onto, read))
            write_slabs(slabs, onto, path, source=result.volume.source, slope=1 / STEPS)
            yield path


def _stored(slabs: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.uint8]]:
    for slab in slabs:
        yield np.rint(slab * np.float32(STEPS)).astype(np.uint8)
