"""Dice of centre lines: whether tubes such as vessels are found along their whole length and connected."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from medseg.builtin.metric.counts import share
from medseg.builtin.metric.label_pair import label_pairs
from medseg.prediction import Measured
from medseg.segmentation import Segmentation
from medseg.steps import Metric

__all__ = ["Cldice"]


class Cldice(Metric):
    """`cldice` of each label: the harmonic mean of how much of either skeleton lies in the other mask.

    The share of the prediction's skeleton inside the reference (no tube is made up), and the share of the
    reference's skeleton inside the prediction (none is lost). A thin tube counts as much as a thick one of
    the same length. Skeletons are scikit-image's (in an image of one slice those of the plane) and go by
    voxels, not by mm: where slices are thick, a tube along them counts by its number of slices. A mask of
    which thinning leaves nothing is its own skeleton.

    A label that is absent from both has no value and the flag "absent from both"; absent from one of them it
    is 0, and the flag says from which.

    Shit S et al. clDice: a novel topology-preserving loss function for tubular structure segmentation. CVPR
    2021. Lee TC, Kashyap RL, Chu CN. Building skeleton models via 3-D medial surface/axis thinning
    algorithms. CVGIP 56 (1994) 462-478.
    """

    def __call__(self, prediction: Segmentation, reference: Segmentation) -> Iterable[Measured]:
        """Yield one row for each label of the reference's table."""
        for pair in label_pairs(prediction, reference):
            value = None if pair.absent == "absent from both" else 0.0
            if not pair.absent:
                precision = _covered(_skeleton(pair.prediction), pair.reference)
                sensitivity = _covered(_skeleton(pair.reference), pair.prediction)
                value = share(2 * precision * sensitivity, precision + sensitivity) or 0.0
            yield Measured(label=pair.label, quantity="cldice", value=value, flag=pair.absent)


def _covered(skeleton: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """The share of a skeleton inside a mask."""
    return float(np.count_nonzero(skeleton & mask) / np.count_nonzero(skeleton))


def _skeleton(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The middle lines of a mask, one voxel thick."""
    from skimage.morphology import skeletonize

    flat = [axis for axis, size in enumerate(mask.shape) if size == 1]
    if len(flat) > 1:  # a line or a voxel, which is thin already
        return mask
    plane = np.squeeze(mask, flat[0]) if flat else mask
    thin = np.asarray(skeletonize(np.pad(plane, 1)), bool)[(slice(1, -1),) * plane.ndim]
    return thin.reshape(mask.shape) if thin.any() else mask
