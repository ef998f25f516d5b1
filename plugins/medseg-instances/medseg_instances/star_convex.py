"""The head `stardist`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from medseg.errors import PipelineError
from medseg.inference import Decoded, largest_block
from medseg.prediction import Sink
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Grid
from medseg_instances.instance_head import FLOAT, InstanceHead, softmax
from medseg_instances.parts import described
from medseg_instances.rays import distances, mirrored_rays, relative
from medseg_instances.star_shapes import PILE, best_apart, painted, star

__all__ = ["StarConvex"]

Floats = NDArray[np.float32]

RAYS = {2: 32, 3: 96}  # as in the two papers
SHORTEST = 0.25  # of a ray, in voxels
SURELY = 1e-4  # nearer to 0 and 1 a probability does not go as a logit
PILE_BYTES = 40  # a voxel of shapes that are compared with each other
LADDER = 8  # offsets are made for lengths up to a multiple of this, and kept
COPIES = 2  # that decoding makes of channels, mostly
SHAPES = 20  # bytes a voxel that each of a few shapes is compared and painted with
OFFSET_MADE, OFFSET_USED = 80, 56  # bytes an offset; those made before are kept
BEYOND = 1.25  # times as far as the shape's boundary a label's voxels still join it


class StarConvex(InstanceHead):
    """Objects as star-convex shapes: how far it is from each voxel to its object's boundary along rays.

    After StarDist (Schmidt et al., Cell detection with star-convex polygons, MICCAI 2018; Weigert et al.,
    Star-convex polyhedra for 3D object detection, WACV 2020). The network tells the labels, how deep in its
    object a voxel lies, and the rays' lengths. Voxels that are deeper than all around propose shapes, and of
    those that overlap the deepest stays. Right where objects are crowded and roundish, and where every place
    of their boundary can be seen from the middle.
    """

    libraries: ClassVar[Mapping[str, int]] = {**InstanceHead.libraries, "scipy.spatial": 11 << 20}
    default_loss: ClassVar[str] = "medseg-instances/star-convex"
    lengths_in_voxels: ClassVar[bool] = True

    axes: Literal[2, 3] = 3
    """Whether objects are in space, 3, or in pictures, 2."""

    rays: int | None = Field(default=None, ge=8, le=512)
    """How many rays: by default 32 in 2-D, 96 in 3-D. In 2-D a multiple of 4, in 3-D of 8, so that an image
    can be mirrored."""

    threshold: float = Field(default=0.4, gt=0, lt=1)
    """How deep a voxel must lie at least to propose a shape: 0 at the outside, 1 in an object's middle."""

    overlap: float = Field(default=0.4, ge=0, lt=1)
    """A shape that has more in common with a better one is dropped: as a part of the smaller one's voxels."""

    refine: bool = True
    """Whether labels decide about voxels at the boundary: those of the background leave a shape, those of a
    label join it, up to a quarter farther from its middle. Else objects are the shapes alone."""

    size: int = Field(default=64, ge=4, le=1024)
    """About how large objects are, in the network's finest voxels; rays are no longer than that. Large images
    are decoded in blocks that overlap by so much."""

    @model_validator(mode="after")
    def _mirrored(self) -> Self:
        """Refuse rays without mirror images."""
        multiple = 4 * (self.axes - 1)
        if self._rays % multiple:
            raise ValueError(f"rays: {self._rays} is no multiple of {multiple}, as {self.axes} axes need it")
        return self

    @property
    def _rays(self) -> int:
        return self.rays or RAYS[self.axes]

    @property
    def field_count(self) -> int:
        """The depth and the rays."""
        return 1 + self._rays

    def fields(self, labels: LabelTable) -> int:
        """The depth and the rays."""
        return self.field_count

    def target(self, segmentation: Segmentation) -> Floats:
        """Background and labels, the depth from 0 to 1, and the rays in the finest voxel's side.

        A ray that leaves the image within its object is negative: it is at least so long.
        """
        self._check(segmentation.grid)
        objects = self.objects(segmentation)
        depth = objects.depth()
        most = np.maximum(objects.most_of_each(depth), 1e-6)
        ids = self._flat(objects.ids)
        sides = relative(objects.spacing, self.axes)
        rays = distances(ids, sides, self._rays, most=self.size).reshape(-1, *depth.shape)
        return np.concatenate([objects.one_hot(len(segmentation.labels)), (depth / most)[None], rays])

    def logits(self, target: Floats) -> Floats:
        """The rays stay as they are, at least as long as they are said to be."""
        labels = len(target) - 1 - self._rays
        depth = target[labels].clip(SURELY, 1 - SURELY)
        fields = [np.log(depth / (1 - depth))[None], np.abs(target[labels + 1 :])]
        return np.concatenate([super().logits(target[:labels]), *fields])

    def unmirror(self, logits: Floats, axes: Sequence[int]) -> Floats:
        """The rays change places with their mirror images, too."""
        order = np.arange(len(logits))
        rays = order[-self._rays :]
        for axis in set(axes) & set(range(self.axes)):
            rays[:] = rays[mirrored_rays(self.axes, self._rays, axis)]
        turned: Floats = super().unmirror(logits, axes)[order]
        return turned

    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        """Decodes block by block; refuses an image with another number of axes."""
        self._check(grid)
        return super().sink(labels, grid=grid, axis=axis, onto=onto)

    def work_bytes(self, labels: LabelTable, grid: Grid) -> int:
        """Ids, a block, what shapes have beyond it, and offsets; refuses another number of axes."""
        self._check(grid)
        block = largest_block(
            grid, self.channels(labels), margin=self.margin, decoding=self.decoding_bytes(labels)
        )
        sides = relative(grid.spacing, self.axes)
        around = [n + 2 * math.ceil(BEYOND * self.size / side) for n, side in zip(block, sides, strict=False)]
        rim = math.prod(around) - math.prod(block)
        offsets = math.prod(2 * BEYOND * self.size / side + LADDER for side in sides)
        shapes = self._shape_bytes * rim + PILE_BYTES * PILE + OFFSET_USED * offsets
        return super().work_bytes(labels, grid) + int(max(shapes, OFFSET_MADE * offsets))

    def decoding_bytes(self, labels: LabelTable) -> int:
        """Rays are read where shapes are proposed, and not copied but there; shapes have voxels."""
        proposed = 2 * FLOAT * self._rays // 3**self.axes  # at a voxel no neighbour of which is deeper
        copies = COPIES * FLOAT * self._rays
        return super().decoding_bytes(labels) - copies + proposed + self._shape_bytes

    @property
    def _shape_bytes(self) -> int:
        """A voxel, where shapes lie as close as they may: the more so, the more they may overlap."""
        return math.ceil(SHAPES / (1 - self.overlap))

    def decode(self, logits: Floats) -> Decoded:
        """Shapes around the deepest voxels, the deepest shape first."""
        count = len(logits) - 1 - self._rays
        shares = softmax(logits[:count])
        inside = self._flat(shares[0] < 0.5)
        middles = self._middles(self._flat(logits[count]), inside)
        lengths = logits[count + 1 :].reshape(self._rays, -1)[:, middles].T.clip(SHORTEST, self.size)
        sides = relative(self._spacing, self.axes)
        beyond = BEYOND if self.refine else 1.0
        longest = beyond * float(lengths.max(initial=1))
        bodies = star(sides, self._rays, LADDER * math.ceil(longest / LADDER))
        rim = tuple(math.ceil(longest / side) for side in sides)
        padded = tuple(size + 2 * more for size, more in zip(inside.shape, rim, strict=True))
        at = np.stack(np.unravel_index(middles, inside.shape))
        centres = np.ravel_multi_index(tuple(at + np.reshape(rim, (-1, 1))), padded)
        stay = best_apart(bodies, centres, lengths, padded, overlap=self.overlap)[0]
        ids = painted(bodies, centres[stay], lengths[stay], padded, beyond=beyond)
        ids = ids[tuple(slice(more, more + size) for more, size in zip(rim, inside.shape, strict=True))]
        if self.refine:
            ids = np.where(inside, ids, 0)
        anchors = np.zeros((len(stay), 3), np.int64)
        anchors[:, : self.axes] = at[:, stay].T
        return described(
            np.ascontiguousarray(ids.reshape(shares.shape[1:])),
            anchors,
            shares[1:],
            least_voxels=self.least_voxels,
        )

    def _middles(self, depth: Floats, inside: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Voxels that no neighbour is deeper than, flat; the deepest first, then the first."""
        from scipy.ndimage import maximum_filter

        enough = inside & (depth > math.log(self.threshold / (1 - self.threshold)))
        found = np.flatnonzero(enough & (depth >= maximum_filter(depth, 3)))
        return found[np.argsort(-depth.ravel()[found], kind="stable")]

    def _flat(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[..., 0] if self.axes == 2 else array

    def _check(self, grid: Grid) -> None:
        """Refuse an image with another number of axes; raises PipelineError."""
        deep = grid.shape[2]
        if self.axes == 2 and deep > 1:
            raise PipelineError(
                f"stardist with axes: 2 tells objects in pictures apart, and the image has {deep} slices; "
                "write axes: 3 and train a network with patches of three numbers"
            )
        if self.axes == 3 and deep == 1:
            raise PipelineError(
                "stardist with axes: 3 tells objects in space apart, and the image or patch is flat; "
                "write head: {stardist: {axes: 2}}"
            )
