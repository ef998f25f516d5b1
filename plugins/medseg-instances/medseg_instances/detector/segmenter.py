"""The segmenter `detector`: Mask R-CNN, or RetinaNet with masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, PrivateAttr, model_validator

from medseg.errors import PipelineError, UsageError
from medseg.prediction import Resources
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Predictor, Step, TrainableSegmenter
from medseg.volume import Volume
from medseg.weights import WeightsFile, require_weights

if TYPE_CHECKING:
    import torch

    from medseg_instances.detector.network import DetectorNetwork

__all__ = ["Detector", "DetectorWindow"]

Side = Annotated[int, Field(ge=1, le=1024)]
Width = Annotated[int, Field(ge=1, le=4096)]
Stride = Annotated[int, Field(ge=1, le=8)]


class DetectorWindow(BaseModel):
    """How an image is cut into windows, each of which is searched by itself."""

    model_config = Step.model_config

    patch: Annotated[tuple[Side, ...], Field(min_length=2, max_length=3)]
    """Voxels of a window along i, j, k; along i, j for a detector in pictures."""

    overlap: float = Field(default=0.5, ge=0, le=0.9)
    """Part of a window that the next one covers again. It must hold the largest object: each is whole in some
    window then."""


class Detector(TrainableSegmenter):
    """Objects by boxes: each has a box, a label, a score, and a mask in its box.

    `mask-rcnn` proposes regions first and tells them apart then (He et al., ICCV 2017; Jaeger et al., 2018);
    `retinanet` tells labels at once (Lin et al., ICCV 2017; Fu et al., 2019). Both on a feature pyramid, in
    pictures and in space. Each window is searched by itself; of what overlapping windows find of one object
    the surest is kept that no window's border cuts. Every voxel is of one object: where two overlap, of the
    surer one. A patch of two numbers makes it one for pictures: it sees one slice at a time, along the last
    axis k.
    """

    kind: Literal["mask-rcnn", "retinanet"] = "mask-rcnn"
    """`mask-rcnn` or `retinanet`: two stages, or one, which is quicker."""

    features: Annotated[tuple[Width, ...], Field(min_length=2, max_length=8)] = (16, 32, 64, 128, 256)
    """Features at each stage of the backbone, from the full resolution down."""

    strides: tuple[Stride | tuple[Stride, ...], ...] | None = None
    """Downsampling between stages, one fewer than stages: a number, or one per axis; 2 if left out."""

    finest: int = Field(default=2, ge=0, le=7)
    """The stage that the pyramid begins at, counted from 0: 2 is at a quarter of the resolution."""

    pyramid: int = Field(default=64, ge=4, le=1024)
    """Features of each level of the pyramid."""

    anchor_size: float = Field(default=4.0, gt=0, le=64)
    """Side of a level's smallest anchors, in places of the level: of 4, those of a level at a quarter of the
    resolution have 16 voxels. Objects should be between half the size of the finest level's anchors and twice
    that of the coarsest's."""

    octave: int = Field(default=2, ge=1, le=4)
    """Sizes of anchors from one level to the next, twice as large one."""

    elongations: Annotated[tuple[Annotated[float, Field(gt=1, le=16)], ...], Field(max_length=4)] = (2.0,)
    """Anchors that are so many times as long along one axis as along the others, beside cubes."""

    proposals: int = Field(default=256, ge=1, le=2000)
    """Regions of a window that `mask-rcnn` looks at again; more than there are objects."""

    samples: int = Field(default=128, ge=4, le=2000)
    """Regions of a sample that `mask-rcnn` learns from in a step, a quarter of them of objects."""

    mask_bins: int = Field(default=14, ge=2, le=64)
    """Bins along each axis of a box that its mask is made from; the mask has twice as many cells."""

    score: float = Field(default=0.5, gt=0, le=1)
    """Objects that are less sure are left out."""

    overlap: float = Field(default=0.5, gt=0, lt=1)
    """What boxes of one label in a window may share, as intersection over union, before the surer one alone
    is kept; in space as much along each axis as in a picture, which is less in all."""

    shared: float = Field(default=0.5, gt=0, le=1)
    """Part of an object's mask that surer objects may have, of whatever label or window, before it is left
    out."""

    most: int = Field(default=200, ge=1, le=1000)
    """Objects of a window at most."""

    weights: Annotated[tuple[WeightsFile, ...], Field(max_length=32)] = ()
    """Files as `{path: …, sha256: …}`: one, or several, of which each may find an object; none where they are
    still to be trained."""

    window: DetectorWindow
    """Windows as `{patch: [i, j, k], overlap: 0.5}`; the overlap must hold the largest object."""

    _labels: LabelTable | None = PrivateAttr(None)
    _folder: Path | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        if self.strides is not None and len(self.strides) != len(self.features) - 1:
            count = len(self.features)
            raise ValueError(f"{count} stages have {count - 1} strides between them")
        if self.finest >= len(self.features):
            raise ValueError(f"finest: there is no stage {self.finest} of {len(self.features)}, from 0 on")
        return self

    @property
    def dims(self) -> Literal[2, 3]:
        """Axes of the network."""
        return 2 if len(self.window.patch) == 2 else 3

    @property
    def steps(self) -> tuple[tuple[int, ...], ...]:
        """The strides between stages along each axis."""
        given = self.strides or (2,) * (len(self.features) - 1)
        return tuple((each,) * self.dims if isinstance(each, int) else each for each in given)

    @property
    def level_strides(self) -> tuple[tuple[int, ...], ...]:
        """Voxels from place to place of each level of the pyramid, along each axis."""
        first = (1,) * self.dims
        all_stages = accumulate(
            self.steps,
            lambda so_far, step: tuple(a * b for a, b in zip(so_far, step, strict=True)),
            initial=first,
        )
        return tuple(all_stages)[self.finest :]

    @property
    def patch(self) -> tuple[int, int, int]:
        """Voxels of a window along i, j, k, in pictures too."""
        i, j, k = (*self.window.patch, 1)[:3]
        return i, j, k

    @property
    def patch_voxels(self) -> tuple[int, ...]:
        """Those of a window."""
        return self.window.patch

    @property
    def of_objects(self) -> bool:
        """It gives ids."""
        return True

    def labels(self) -> None:
        """The pipeline file names the labels."""
        return

    def files(self) -> Mapping[str, str]:
        """The weights."""
        return {file.path: file.sha256 for file in self.weights}

    def check(self, labels: LabelTable) -> None:
        """Refuse what does not fit together."""
        if not len(labels):
            raise PipelineError("labels: are missing; a detector finds objects of labels")
        wrong = next((step for step in self.steps if len(step) != self.dims), None)
        if wrong is not None:
            raise PipelineError(f"strides: {list(wrong)} is not for the {self.dims} axes of window.patch")
        coarsest = self.level_strides[-1]
        if any(side % step for side, step in zip(self.window.patch, coarsest, strict=True)):
            raise PipelineError(
                f"window.patch: {list(self.window.patch)} does not fit the network, whose patches are "
                f"multiples of {list(coarsest)}"
            )

    def bound(self, *, labels: LabelTable, folder: Path | None) -> Self:
        """Refuse what does not fit together, and weights that are missing or altered."""
        self.check(labels)
        bound = self.model_copy()
        bound._labels, bound._folder = labels, require_weights(self.weights, folder)
        return bound

    def open(self, resources: Resources) -> AbstractContextManager[Predictor]:
        """Load the weights onto the device."""
        if self._labels is None or self._folder is None:
            raise UsageError("a detector is opened after bound(labels=…, folder=…), as assemble() does")
        return self._opened(resources, self._labels, self._folder)

    @contextmanager
    def _opened(self, resources: Resources, labels: LabelTable, folder: Path) -> Iterator[Predictor]:
        from medseg_instances.detector.predictor import DetectorPredictor

        yield DetectorPredictor(self, labels, folder, resources)

    # ---- in training

    def untrained(self, labels: LabelTable) -> DetectorNetwork:
        """The network of this kind."""
        from medseg_instances.detector.mask_rcnn import MaskRcnn
        from medseg_instances.detector.retinanet import RetinaNet

        return {"mask-rcnn": MaskRcnn, "retinanet": RetinaNet}[self.kind](self, labels)

    def training_loss(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        *,
        labels: LabelTable,
        spacing: tuple[float, ...],
        loss: Callable[..., torch.Tensor] | None,
    ) -> torch.Tensor:
        """The sum of the network's own losses: of classes, boxes and masks."""
        from medseg_instances.detector.network import DetectorNetwork

        assert isinstance(network, DetectorNetwork)
        return network.loss(batch)

    def segmented(
        self,
        forward: Callable[[torch.Tensor], Any],
        volume: Volume,
        *,
        labels: LabelTable,
        device: torch.device,
    ) -> Segmentation:
        """By windows, as an opened detector does."""
        from medseg_instances.detector.search import search

        return search(volume, [lambda images: forward(images.to(device))], how=self, labels=labels)

    def trained(self, weights: Mapping[str, str]) -> Mapping[str, Any]:
        """The files."""
        return {"weights": [{"path": path, "sha256": sha256} for path, sha256 in weights.items()]}
