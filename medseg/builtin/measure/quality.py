"""Whether each label looks as one expects, and if not, why."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.builtin.label_boxes import cut_out, label_boxes
from medseg.builtin.measure.frame import Frame
from medseg.builtin.measure.lesions import is_lesion
from medseg.builtin.postprocess.connected_parts import parts_of_labels
from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Volume

__all__ = ["Quality"]


class Quality(Measurement):
    """A verdict for each label, `qc`, "ok" or "check", with its reasons as the flag; no proof of either.

    For each label:

    - `pieces`: connected parts (voxels that touch, by corners too), and `largest_piece` in %: the share of
      the largest.
    - `agreement`, with `members`: the mean Dice of all pairs of the ensemble's members, or of one network's
      mirrored copies, before postprocessing; 1 where they all say the same.
    - `qc`: "check" for one of these reasons, else "ok":
        `empty`; `truncated: …`, the faces of the image that it touches; `2 large pieces`, where one is
        expected, as it is not of objects; `volume below 800 mL`, `volume above 2500 mL`, as `volumes_ml`
        says; `members differ: 10.2 to 18.1 mL`.
    """

    label_fields: ClassVar[tuple[str, ...]] = ("single", "volumes_ml")

    single: tuple[str, ...] | None = None
    """Labels expected in one piece; null for all but objects and what is called a lesion (see `lesions`)."""

    large_percent: float = Field(default=10.0, gt=0, le=50)
    """A piece is large from this share of its label on; smaller ones are no reason to look."""

    volumes_ml: Mapping[str, tuple[float, float]] = {}
    """Least and most volume that is expected of a label, by its name."""

    members: bool = False
    """Whether to compare members: networks, or mirrored copies; each takes as much slab as all together."""

    most_spread_percent: float = Field(default=20.0, gt=0)
    """From the smallest to the largest member, over their mean; more is a reason."""

    @property
    def wants(self) -> Wanted:
        """Members, where they are asked for."""
        return Wanted(members=self.members)

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield the rows of each label; raises UsageError for a name that is no label."""
        segmentation.labels.only((*(self.single or ()), *self.volumes_ml))
        frame, boxes = Frame(segmentation.grid, volume.is_picture), label_boxes(segmentation)
        for label in segmentation.labels:
            box, reasons, sizes = boxes[label.name], [], np.zeros(0, np.int64)
            if box is None:
                reasons.append("empty")
            else:
                mask, _ = cut_out(segmentation, label.name, box)
                sizes = _sizes(mask)
                faces = frame.faces_touched(box)
                reasons += [f"truncated: {', '.join(faces)}"] if faces else []
                of_objects = segmentation.kinds[label.layer] == "objects"
                reasons += self._pieces(label.name, sizes, of_objects=of_objects)
                reasons += self._size(label.name, sizes, segmentation)
            share = 100 * float(sizes.max()) / float(sizes.sum()) if len(sizes) else None
            flag = "" if len(sizes) else "empty"
            yield Measured(label=label.name, quantity="pieces", value=len(sizes), flag=flag)
            yield Measured(label=label.name, quantity="largest_piece", value=share, unit="%", flag=flag)
            if self.members:
                yield _agreement(label.name, prediction)
                reasons += self._spread(label.name, prediction)
            verdict = "check" if reasons else "ok"
            yield Measured(label=label.name, quantity="qc", value=verdict, flag="; ".join(reasons))

    def _pieces(self, label: str, sizes: NDArray[np.int64], *, of_objects: bool) -> Iterator[str]:
        """Several large pieces, where one is expected."""
        expected = not of_objects and not is_lesion(label) if self.single is None else label in self.single
        large = int((sizes >= self.large_percent / 100 * sizes.sum()).sum())
        if expected and large > 1:
            yield f"{large} large pieces"

    def _size(self, label: str, sizes: NDArray[np.int64], segmentation: Segmentation) -> Iterator[str]:
        """A volume that is not expected."""
        if label not in self.volumes_ml:
            return
        least, most = self.volumes_ml[label]
        ml = float(sizes.sum()) * segmentation.grid.voxel_ml
        if ml < least:
            yield f"volume below {least:g} mL"
        if ml > most:
            yield f"volume above {most:g} mL"

    def _spread(self, label: str, prediction: Prediction) -> Iterator[str]:
        """Members whose volumes lie far apart."""
        members = prediction.members
        if len(members) < 2 or members[0].grid.unit != "mm":
            return
        volumes = [np.count_nonzero(member.mask(label)) * member.grid.voxel_ml for member in members]
        if max(volumes) - min(volumes) > self.most_spread_percent / 100 * float(np.mean(volumes)):
            yield f"members differ: {min(volumes):.1f} to {max(volumes):.1f} mL"

    def work_bytes(self, volume: Volume, segmentation: Segmentation) -> int:
        """What any measurement takes, and the numbered parts of a label, or a mask of each of two members."""
        return super().work_bytes(volume, segmentation) + 12 * int(np.prod(segmentation.grid.shape))


def _sizes(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Voxels of each connected part; of a single one, as most organs are, those of the mask."""
    parts = parts_of_labels(mask, 26)
    return np.array([np.count_nonzero(mask)], np.int64) if parts.count == 1 else parts.sizes[1:]


def _agreement(label: str, prediction: Prediction) -> Measured:
    """Mean Dice of all pairs of members; none where all are empty, or there are no two."""
    members = prediction.members
    if len(members) < 2:
        flag = "one member" if members else "not given"
        return Measured(label=label, quantity="agreement", value=None, flag=flag)
    dices = []
    for one, other in combinations(members, 2):
        first, second = one.mask(label), other.mask(label)
        total = np.count_nonzero(first) + np.count_nonzero(second)
        if total:
            dices.append(2 * np.count_nonzero(first & second) / total)
    value = float(np.mean(dices)) if dices else None
    return Measured(label=label, quantity="agreement", value=value, flag="" if dices else "empty")
