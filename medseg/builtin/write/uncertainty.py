"""Where the network is unsure, as a NIfTI file on the original grid."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.write.native_slabs import covering, native_slabs, written_grid
from medseg.io.nifti import write_slabs
from medseg.prediction import Result, Wanted
from medseg.steps import Writer
from medseg.volume import Grid

__all__ = ["Uncertainty"]


class Uncertainty(Writer):
    """`entropy.nii.gz`: Shannon entropy of the network's probabilities in nats, 0 where it is sure.

    With a softmax head at most the logarithm of the number of labels and background, 0.69 for one label;
    with a sigmoid head the sum over the labels. Float32, interpolated from the network's grid to the voxels
    of the original, 0 outside. Of an ensemble, the entropy of the averaged logits. A network can be sure and
    wrong. Left out where the segmenter gives no probabilities.
    """

    libraries: ClassVar[Mapping[str, int]] = {"nibabel": 40 << 20}

    @property
    def wants(self) -> Wanted:
        """The map of entropy."""
        return Wanted(reductions=frozenset({"entropy"}))

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the map."""
        entropy = result.prediction.maps.get("entropy")
        if entropy is None:
            return
        grid, values = entropy.grid, entropy.array[0]

        def read(box: Grid) -> tuple[NDArray[np.float32], Grid] | None:
            found = covering(grid, box)
            return None if found is None else (values[found[0]].astype(np.float32), found[1])

        path = folder / "entropy.nii.gz"
        onto = written_grid(result.volume)
        write_slabs(native_slabs(onto, read), onto, path, source=result.volume.source)
        yield path
