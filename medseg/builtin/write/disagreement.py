"""Where the members of an ensemble disagree, as a NIfTI file on the original grid."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.write.native_slabs import covering, native_slabs, written_grid
from medseg.io.nifti import write_slabs
from medseg.prediction import Result, Wanted
from medseg.steps import Writer
from medseg.volume import Grid

__all__ = ["Disagreement"]


class Disagreement(Writer):
    """`disagreement.nii.gz`: the share of an ensemble's members that do not say what most of them say.

    0 where all agree; the variation ratio of Freeman (Elementary applied statistics, 1965). Where labels may
    overlap, the largest share over their layers; of objects their labels count, not their ids. Float32,
    before post-processing. Of a single network that mirrors, members are its mirrored copies. Left out where
    there are fewer than two: one agrees with itself.
    """

    libraries: ClassVar[Mapping[str, int]] = {"nibabel": 40 << 20}

    @property
    def wants(self) -> Wanted:
        """The labels of each member."""
        return Wanted(members=True)

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the map."""
        members = result.prediction.members
        if len(members) < 2:
            return
        # ids of objects are each member's own: the same nucleus is 3 in one and 5 in another
        named = [member.by_label() if "objects" in member.kinds else member for member in members]
        grid, arrays = members[0].grid, [member.array for member in named]

        def read(box: Grid) -> tuple[NDArray[np.float32], Grid] | None:
            found = covering(grid, box)
            if found is None:
                return None
            return variation_ratio([array[:, *found[0]] for array in arrays]), found[1]

        path = folder / "disagreement.nii.gz"
        onto = written_grid(result.volume)
        write_slabs(native_slabs(onto, read), onto, path, source=result.volume.source)
        yield path


def variation_ratio(members: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Of labels `[L, i, j, k]` of each member, the share that differs from the commonest value."""
    most = np.zeros(members[0].shape, np.uint8)
    for one in members:
        votes = np.zeros_like(most)
        for other in members:
            votes += one == other
        np.maximum(most, votes, out=most)
    fewest: NDArray[np.uint8] = most.min(axis=0)
    return np.float32(1) - fewest.astype(np.float32) / np.float32(len(members))
