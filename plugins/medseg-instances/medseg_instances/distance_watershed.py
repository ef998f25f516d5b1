"""The head `distance-watershed`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medseg.inference import Decoded
from medseg.segmentation import LabelTable, Segmentation
from medseg_instances.distance import distance, finest
from medseg_instances.instance_head import InstanceHead, softmax
from medseg_instances.parts import anchors_of, basins, described, seeded, summits

__all__ = ["DistanceWatershed"]

REACH = 4  # standard deviations, as far as a Gaussian is computed


class DistanceWatershed(InstanceHead):
    """Objects as hills: the network tells how deep in its object each voxel lies, and hills are cut apart.

    The depth is the distance to the object's outside as a part of the largest in that object, so that small
    objects are as high as large ones (a softer form of the energy of Bai and Urtasun, Deep watershed
    transform, CVPR 2017). A hill that is deeper than `seed` after some smoothing, and stands out from a
    deeper one beside it by `prominence`, is an object: every voxel of a label goes to the hill that the
    steepest way up leads to. With `outline` the shape of what is connected makes hills, too. A part of a
    label without a hill is an object if it is as deep somewhere before smoothing, as one of a few voxels is,
    and else nothing.
    """

    libraries: ClassVar[Mapping[str, int]] = {**InstanceHead.libraries, "SimpleITK": 96 << 20, "edt": 2 << 20}
    default_loss: ClassVar[str] = "medseg-instances/labels-and-field"

    seed: float = Field(default=0.4, gt=0, lt=1)
    """How deep it must be at the top of a hill: 0 is the outside, 1 the deepest place of an object."""

    prominence: float = Field(default=0.25, ge=0, lt=1)
    """How far the height falls at least between two objects, as a part of the top of the flatter one. More
    where objects fall into pieces; with 0 all that is deeper than `seed` and connected is one object."""

    outline: float = Field(default=0.0, ge=0, le=1)
    """How much the outline of what is connected says, too. Heights are the depth, multiplied by a power of
    the distance to the outside, up to half of `size`: this is the exponent. With 0.5, objects that meet in a
    waist are cut there though the depth hardly falls. On the other hand objects that meet along a broad face,
    where the distance is largest, must have a deeper valley between them to stay two, and long objects of
    changing width may fall into pieces. Not with a `prominence` of 0."""

    smooth: float = Field(default=1.0, ge=0, le=8)
    """Standard deviation, in the finest voxels, of the Gaussian that depth and distance are smoothed with
    before hills are looked for: more where objects fall into pieces, 0 for none. Across thick slices it is as
    long as within them, so that flat objects above each other stay apart."""

    @property
    def margin(self) -> int:
        """An object, how far smoothing reaches, and with the outline how far the outside counts."""
        return self.size + math.ceil(REACH * self.smooth) + bool(self.outline) * (self.size // 2)

    @model_validator(mode="after")
    def _cuts(self) -> Self:
        """Refuse an outline that could cut nothing."""
        if self.outline and not self.prominence:
            raise ValueError("outline: with prominence: 0 nothing is cut, by an outline neither")
        return self

    def fields(self, labels: LabelTable) -> int:
        """The depth."""
        return 1

    def target(self, segmentation: Segmentation) -> NDArray[np.float32]:
        """Background and labels, 1 or 0, and the depth from 0 to 1."""
        objects = self.objects(segmentation)
        return np.concatenate([objects.one_hot(len(segmentation.labels)), objects.relative_depth()[None]])

    def logits(self, target: NDArray[np.float32]) -> NDArray[np.float32]:
        """The depth stays as it is."""
        return np.concatenate([super().logits(target[:-1]), target[-1:]])

    def decode(self, logits: NDArray[np.float32]) -> Decoded:
        """Seeds, and the ways up to them."""
        shares = softmax(logits[:-1])
        inside = shares[0] < 0.5
        depth = np.where(inside, logits[-1].clip(0, 1), np.float32(0))  # outside nothing was asked of it
        deep = depth > self.seed
        depth = self._smoothed(depth)
        # as a logarithm it falls by parts of what it falls from; what is flatter than any valley is alike
        height = np.log(np.maximum(depth, np.float32(self.seed * (1 - self.prominence) / 2)))
        if self.outline:
            height += np.float32(self.outline) * np.log(self._smoothed(self._away(inside)))
        sure = summits(height, depth > self.seed, prominence=-math.log1p(-self.prominence))
        seeds = seeded(sure, inside, deep)
        ids = basins(height if self.outline else depth, seeds, inside)
        return described(ids, anchors_of(seeds), shares[1:], least_voxels=self.least_voxels)

    def _smoothed(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """By a Gaussian that is as long across thick slices as within them."""
        from scipy.ndimage import gaussian_filter

        if not self.smooth:
            return values
        least = finest(self._spacing, values.shape)
        deviations = [
            self.smooth * least / side if n > 1 else 0.0
            for side, n in zip(self._spacing, values.shape, strict=True)
        ]
        return np.asarray(gaussian_filter(values, deviations, mode="nearest"), np.float32)

    def _away(self, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Distance to the outside in the finest voxels, from a half to half of `size`.

        No farther, so that blocks agree. What the image ends at is no outside.
        """
        return distance(inside, self._spacing).clip(0.5, self.size / 2)
