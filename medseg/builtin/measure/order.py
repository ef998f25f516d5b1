"""Whether structures lie in the order that anatomy has them in."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.label_boxes import cut_out, label_boxes
from medseg.builtin.measure.line_counts import mean_index
from medseg.prediction import Measured, Prediction
from medseg.segmentation import Segmentation
from medseg.steps import Measurement
from medseg.volume import Volume

__all__ = ["Order"]


class Order(Measurement):
    """A verdict, `order`, for each label that is named: "ok", or "check" where one lies out of its order.

    Lists name structures as they follow each other in the body, as vertebrae from head to feet. Centroids of
    neighbours in a list are compared along the patient's axis, also on oblique grids; a label that is nowhere
    is passed over, and its row flagged "empty". The flag of a label out of order names its neighbour: "not
    above vertebrae L2". Nothing is changed: what is wrong of the two, only a reader can say.
    """

    label_fields: ClassVar[tuple[str, ...]] = ("head_to_feet", "left_to_right", "front_to_back")

    head_to_feet: tuple[str, ...] = ()
    """Names of labels, the one nearest to the head first."""

    left_to_right: tuple[str, ...] = ()
    """Names of labels, the one furthest to the patient's left first."""

    front_to_back: tuple[str, ...] = ()
    """Names of labels, the one furthest to the front first."""

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        """Yield a row for each label that is named, in the order of the label table."""
        named = tuple(dict.fromkeys((*self.head_to_feet, *self.left_to_right, *self.front_to_back)))
        segmentation.labels.only(named)
        if not named:
            return
        segmentation.grid.require_mm("order, which goes by the directions of the body,")
        centres = dict(_centres(segmentation, named))
        reasons: dict[str, list[str]] = {name: [] for name in named}
        # along an axis of RAS+, the sign of the step from one to the next, and what each is not to the other
        for names, axis, sign, one, other in (
            (self.head_to_feet, 2, -1, "above", "below"),
            (self.left_to_right, 0, 1, "left of", "right of"),
            (self.front_to_back, 1, -1, "in front of", "behind"),
        ):
            for first, second in _out_of_order(names, centres, axis, sign):
                reasons[first].append(f"not {one} {second}")
                reasons[second].append(f"not {other} {first}")
        for label in segmentation.labels:
            if label.name in reasons:
                empty = label.name not in centres
                value = None if empty else "check" if reasons[label.name] else "ok"
                flag = "empty" if empty else "; ".join(reasons[label.name])
                yield Measured(label=label.name, quantity="order", value=value, flag=flag)


def _out_of_order(
    names: tuple[str, ...], centres: Mapping[str, NDArray[np.float64]], axis: int, sign: int
) -> Iterator[tuple[str, str]]:
    """Pairs of neighbours among the labels that are there whose centres do not follow each other."""
    present = [name for name in names if name in centres]
    for first, second in pairwise(present):
        if sign * (centres[second][axis] - centres[first][axis]) <= 0:
            yield first, second


def _centres(segmentation: Segmentation, names: tuple[str, ...]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """The mean of the voxel centres of each label that has voxels, RAS+ in mm."""
    boxes = label_boxes(segmentation)
    for name in names:
        box = boxes[name]
        if box is None:
            continue
        mask, grid = cut_out(segmentation, name, box)
        yield name, grid.to_world(mean_index(mask))
