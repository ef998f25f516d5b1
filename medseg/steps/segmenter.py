"""The component that segments, and the predictor it opens."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medseg.errors import PluginError, UsageError
from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps.head import Head
from medseg.steps.step import Step
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    import torch

__all__ = ["Predictor", "Segmenter", "TrainableSegmenter"]


class Predictor(ABC):
    """An opened segmenter: owns weights and memory, used for one case or a whole cohort."""

    @abstractmethod
    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """Say, without running, what a volume on `grid` will take."""

    @abstractmethod
    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Segment `volume` (as preprocessed) and return labels on the native grid `onto`."""

    @staticmethod
    def check(returned: object, *, onto: Grid, labels: LabelTable | None = None) -> Prediction:
        """Hold what came back against the contract; raises PluginError with what is wrong.

        With `labels`, give it back under the names of that table, which must know all of its labels.
        """
        if not isinstance(returned, Prediction):
            raise PluginError(f"returned {type(returned).__name__}, not a Prediction")
        for segmentation in (returned.segmentation, *returned.members):
            check_segmentation(segmentation, onto=onto)
        maps: Mapping[str, object] = returned.maps
        for name, image in maps.items():
            if not isinstance(image, Volume) or not np.isfinite(image.array).all():
                raise PluginError(f"returned a map {name!r} that is not a Volume of finite numbers")
        for label, ml in returned.soft_ml.items():
            if label not in returned.segmentation.labels or not (math.isfinite(ml) and ml >= 0):
                raise PluginError(
                    f"returned a soft volume of {ml} mL for {label!r}; name a label and a finite volume"
                )
        try:
            return returned if labels is None else returned.renamed(labels)
        except UsageError as problem:
            raise PluginError(f"returned labels that were not announced: {problem}") from problem

    @staticmethod
    def check_plan(returned: object) -> Plan:
        """Hold a plan against the contract; raises PluginError with what is wrong."""
        if not isinstance(returned, Plan):
            raise PluginError(f"plan() returned {type(returned).__name__}, not a Plan")
        return returned


class Segmenter(Step, ABC):
    """Finds structures in a preprocessed volume; parameters only, `open` gives the working Predictor."""

    @abstractmethod
    def labels(self) -> LabelTable | None:
        """The labels it gives; None where the pipeline file's `labels:` says so."""

    @property
    def refinable(self) -> bool:
        """Whether its scores can be refined: whether it gives `Prediction.refinable` where that is wanted."""
        return False

    @property
    def of_objects(self) -> bool:
        """Whether it tells the objects of a label apart: whether what it gives holds ids, not labels."""
        return False

    def bound(self, *, labels: LabelTable, folder: Path | None) -> Self:
        """The segmenter that knows the pipeline's labels and the model's folder, where its files lie.

        Called once when a pipeline is assembled, before anything is read: the place to refuse parameters that
        do not fit the labels, or files that are not there. Most segmenters need neither.
        """
        return self

    def files(self) -> Mapping[str, str]:
        """The files of the model's folder that it loads, as relative path to sha256; none for most.

        What a model is checked against: every file named here must be there and unaltered, and weights in the
        folder that are not named here are refused.
        """
        return {}

    @abstractmethod
    def open(self, resources: Resources) -> AbstractContextManager[Predictor]:
        """Load what is needed, once, and give a Predictor."""


class TrainableSegmenter(Segmenter, ABC):
    """A segmenter of one network, whose weights `medseg train` finds.

    It says what is trained (`untrained`), what a step makes small (`training_loss`), and what a network makes
    of an image while it is trained (`segmented`); batches, optimiser, moving average, checkpoints and scores
    are the training's.
    """

    channels: int = Field(default=1, ge=1, le=1024)
    """Channels of the volume that the network takes."""

    @property
    def scores_head(self) -> Head | None:
        """The head that says what its scores mean, which `training.loss` is for; None where it has none.

        A segmenter without one has losses of its own, and `training.loss` is refused.
        """
        return None

    @property
    def channels_last(self) -> bool:
        """Whether a processor trains its network faster with the channels last in memory."""
        return False

    @abstractmethod
    def check(self, labels: LabelTable) -> None:
        """Refuse, as a PipelineError, parameters that do not fit together or the labels."""

    @property
    @abstractmethod
    def patch_voxels(self) -> tuple[int, ...]:
        """Voxels of a training patch along the axes of the network: two for a 2-D one, which sees slices."""

    @property
    def window_voxels(self) -> tuple[int, ...]:
        """Voxels of a window of an image that is segmented; by default those of a training patch."""
        return self.patch_voxels

    @property
    def copies(self) -> float:
        """How many copies of a window segmenting computes, by their voxels: 4 where two axes are mirrored.

        With it and the windows `medseg train` foretells what scoring the held-out cases will take.
        """
        return 1.0

    @abstractmethod
    def untrained(self, labels: LabelTable) -> torch.nn.Module:
        """The network with weights to begin with; all that it holds is in its `state_dict`, and in a model.

        Where it is not in training, it takes images `[N, C, *patch]` as its only argument.
        """

    @abstractmethod
    def training_loss(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        *,
        labels: LabelTable,
        spacing: tuple[float, ...],
        loss: Callable[..., torch.Tensor] | None,
    ) -> torch.Tensor:
        """What a step makes small: a scalar, the mean over the samples of what each would give alone.

        `batch` holds `image[N, C, *patch]`, `labels[N, L, *patch]`, integers, `valid[N, 1, *patch]`, 0 where
        the labels are not known, and `maps`; `objects[N, L, *patch]`, ids, where the segmenter is
        `of_objects`. `spacing` is that of the patch's voxels, one number per axis. `loss` is the module that
        a `Loss` has built for `scores_head`; None without one.
        """

    @abstractmethod
    def segmented(
        self,
        forward: Callable[[torch.Tensor], Any],
        volume: Volume,
        *,
        labels: LabelTable,
        device: torch.device,
    ) -> Segmentation:
        """What a network in training makes of a preprocessed image, on the image's own grid.

        `forward` is the network, which lies on `device`; it is called without gradients, in the precision of
        the training. To see how good the network is while it learns: quick rather than thorough.
        """

    @abstractmethod
    def trained(self, weights: Mapping[str, str]) -> Mapping[str, Any]:
        """The parameters that the pipeline file gives with these weights, as path in the folder to sha256."""

    def calibrated(self, temperature: float) -> Mapping[str, Any]:
        """The parameters with which logits are divided by `temperature`, beyond what they are now.

        What held-out cases say after training: with it, probabilities come true as often as they say. Empty
        where the segmenter has no such parameter; probabilities then stay as they are.
        """
        return {}


def check_segmentation(returned: object, *, onto: Grid) -> Segmentation:
    """A Segmentation on `onto` whose values all have a label; raises PluginError with what is wrong."""
    if not isinstance(returned, Segmentation):
        raise PluginError(f"returned {type(returned).__name__}, not a Segmentation")
    if not returned.grid.same_as(onto):
        raise PluginError(f"returned labels on {returned.grid!r}, not on {onto!r} as it was asked to")
    for layer, kind in enumerate(returned.kinds):
        if kind == "labels":
            known = {label.value for label in returned.labels if label.layer == layer}
        else:
            known = _object_ids(returned, layer)
        unknown = _unknown(returned.array[layer], known)
        if unknown:
            raise PluginError(f"returned {kind} {unknown[:5]} in layer {layer} that its table does not know")
    return returned


def _object_ids(returned: Segmentation, layer: int) -> set[int]:
    """The ids of the objects whose label lies in this layer."""
    for thing in returned.objects:
        if thing.label not in returned.labels:
            raise PluginError(
                f"returned object {thing.id} of {thing.label!r}, which is no label of its table"
            )
    return {thing.id for thing in returned.objects if returned.labels[thing.label].layer == layer}


def _unknown(layer: NDArray[Any], known: set[int]) -> list[int]:
    """The values of `layer[i, j, k]` that are neither known nor 0, in order.

    Where all numbers up to the highest are known there can be none, which is all that most layers need.
    """
    highest = int(layer.max(initial=0))
    if highest <= len(known) and known.issuperset(range(1, highest + 1)):
        return []
    values: set[int] = set()
    for plane in layer:  # both ways to count copy what they get
        found = np.flatnonzero(np.bincount(plane.ravel())) if plane.dtype.itemsize <= 2 else np.unique(plane)
        values.update(found.tolist())
    return sorted(values - known - {0})
