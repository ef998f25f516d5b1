"""The lesions of a label, numbered from the largest: its connected parts, or the objects that it has."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import cut_out
from medseg.builtin.postprocess.connected_parts import connected_parts
from medseg.components import Connectivity
from medseg.extent import Box
from medseg.segmentation import Label, Segmentation

__all__ = ["NumberedLesions", "numbered_lesions", "renumbered"]


@dataclass(frozen=True)
class NumberedLesions:
    """Lesions, the largest first; of equal ones that with the lowest id, or which begins first.

    Masks are made one at a time: there may be many thousands of nuclei, of which few are asked for.
    """

    names: Sequence[int]
    """Of each lesion its object's id, or its rank from 1."""

    sizes: Sequence[int]
    """Voxels of each lesion."""

    _numbers: NDArray[np.integer[Any]]  # [i, j, k] of the label's box
    _order: Sequence[int]  # of each lesion its value in `_numbers`
    _boxes: Sequence[Box | None]  # of each value from 1 on
    _start: tuple[int, int, int]

    def placed(self, rank: int) -> tuple[NDArray[np.bool_], Box]:
        """The mask of a lesion, counted from 0, and the box of the image that it fills."""
        number = self._order[rank]
        own = self._boxes[number - 1]
        assert own is not None, "sizes say that it is there"
        where = [slice(o.start + n, o.stop + n) for o, n in zip(own, self._start, strict=True)]
        return self._numbers[own] == number, (where[0], where[1], where[2])


def numbered_lesions(
    label: Label, box: Box, segmentation: Segmentation, connectivity: Connectivity
) -> NumberedLesions:
    """The lesions of a label that lies in a box."""
    from scipy.ndimage import find_objects

    numbers: NDArray[np.integer[Any]]
    ids: list[int] | None = None
    if segmentation.kinds[label.layer] == "objects":
        ids = sorted(thing.id for thing in segmentation.objects if thing.label == label.name)
        numbers, counts = renumbered(segmentation.array[label.layer][box], ids)
    else:
        numbers, counts = connected_parts(cut_out(segmentation, label.name, box)[0], connectivity)
    order = np.argsort(-counts[1:], kind="stable") + 1
    order = order[counts[order] > 0]
    return NumberedLesions(
        names=range(1, len(order) + 1) if ids is None else [ids[n - 1] for n in order.tolist()],
        sizes=counts[order].tolist(),
        _numbers=numbers,
        _order=order.tolist(),
        _boxes=find_objects(numbers, max_label=len(counts) - 1),
        _start=(box[0].start, box[1].start, box[2].start),
    )


def renumbered(numbers: NDArray[Any], ids: Sequence[int]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Objects `[i, j, k]` as 1, 2, ... in the order of their ascending ids, all else 0; voxels of each.

    Ids may be up to four thousand millions, and what is kept by number has a place for every number up to the
    highest. The work is done plane by plane, since places that are looked up take eight bytes a voxel.
    """
    found = np.zeros(numbers.shape, np.int32)
    counts = np.zeros(len(ids) + 1, np.int64)
    known = np.array(ids, np.uint64)
    if len(known) == 0:
        return found, counts
    for plane, into in zip(numbers, found, strict=True):
        at = np.searchsorted(known, plane.astype(np.uint64)).clip(max=len(known) - 1)
        into[:] = np.where(known[at] == plane, at + 1, 0)
        counts += np.bincount(into.ravel(), minlength=len(counts))
    counts[0] = 0
    return found, counts
