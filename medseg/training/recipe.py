"""A pipeline file to be trained, assembled: steps, network, loss and augmentations, with no weights yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medseg.assemble import stage_at, stages, stages_after
from medseg.config import PipelineFile, StepCall, TrainingSpec
from medseg.errors import PipelineError
from medseg.model import Model
from medseg.pipeline import Input, Stage, blamed
from medseg.plugin.catalog import Catalog
from medseg.segmentation import LabelTable
from medseg.steps import (
    Augmentation,
    IntensityAugmentation,
    Loss,
    Preprocessor,
    Segmenter,
    SpatialAugmentation,
    TrainableSegmenter,
)

if TYPE_CHECKING:
    import torch

__all__ = ["Recipe", "recipe", "require_trainable"]


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how: the pipeline file, which names the loss now, with its names resolved.

    `loss` is None where the segmenter has losses of its own.
    """

    file: PipelineFile
    inputs: tuple[Input, ...]
    labels: LabelTable
    preprocess: tuple[Stage[Preprocessor], ...]
    segment: Stage[TrainableSegmenter]
    loss: Stage[Loss] | None
    augment: tuple[Stage[Augmentation], ...]
    spec: TrainingSpec

    @property
    def patch(self) -> tuple[int, ...]:
        """Voxels of a sample along the network's axes."""
        return self.segment.step.patch_voxels

    def built_loss(self, spacing: tuple[float, ...]) -> torch.nn.Module | None:
        """The module of the loss for the segmenter's scores, with voxels of this spacing; None without."""
        if self.loss is None:
            return None
        head = self.segment.step.scores_head
        assert head is not None  # or no loss is taken
        with blamed(self.segment):
            channels = head.channels(self.labels)
        with blamed(self.loss):
            return self.loss.step.build(head, spacing=spacing, channels=channels)

    def bound_to(self, axes: str) -> tuple[Stage[Augmentation], ...]:
        """The augmentations that know labels and axes ("RAS"); raises PipelineError for what cannot be."""
        bound = []
        for stage in self.augment:
            with blamed(stage):
                step = stage.step.bound(labels=self.labels, axes=axes[: len(self.patch)])
            bound.append(
                Stage(stage.place, stage.name, stage.distribution, stage.version, step, stage.written)
            )
        return tuple(bound)

    def written(self) -> dict[str, Any]:
        """What decides the prepared cases: steps and loss in full."""
        head = self.segment.step.scores_head
        kind = type(head)
        return {
            "preprocess": [dict(stage.written) for stage in self.preprocess],
            "loss": None if self.loss is None else dict(self.loss.written),
            "head": head and {f"{kind.__module__}:{kind.__qualname__}": head.model_dump(mode="json")},
            **({"objects": True} if self.segment.step.of_objects else {}),
            "labels": [[label.value, label.name, label.layer] for label in self.labels],
        }

    def file_with(
        self,
        weights: Mapping[str, str],
        postprocess: tuple[StepCall, ...] = (),
        temperature: float | None = None,
    ) -> PipelineFile:
        """The pipeline file that runs these weights, as path in the model's folder to sha256.

        With a temperature, logits are divided by it, so that probabilities come true as often as they say.
        """
        call, step = self.file.segment, self.segment.step
        found = {} if temperature is None else step.calibrated(temperature)
        trained = {**call.parameters, **step.trained(weights), **found}
        return self.file.model_copy(
            update={
                "segment": StepCall(name=call.name, parameters=trained),
                "postprocess": (*self.file.postprocess, *postprocess),
            }
        )


def require_trainable(model: Model, catalog: Catalog) -> None:
    """Check what a model's pipeline file says of training; raises PipelineError with the place."""
    if model.file.training is None:
        return
    try:
        recipe(model.file, catalog)
    except PipelineError as problem:
        raise type(problem)(f"{model.path}: {problem}") from problem


def recipe(file: PipelineFile, catalog: Catalog) -> Recipe:
    """Resolve every name and check every parameter; raises PipelineError with the place in the file."""
    labels, spec = file.label_table(), file.training
    if labels is None:
        raise PipelineError("labels: is missing; say what the values in the masks mean")
    if spec is None:
        raise PipelineError("training: is missing")
    segment = stage_at(Segmenter, "segment", file.segment, catalog)
    if not isinstance(segment.step, TrainableSegmenter):
        raise PipelineError(f"segment: {segment.name!r} has nothing to train; take `network`")
    try:
        with blamed(segment):
            segment.step.check(labels)
    except PipelineError as problem:
        raise type(problem)(f"segment.{segment.name}: {problem}") from problem
    augment = stages(Augmentation, "training.augment", spec.augment, catalog)
    kinds = [isinstance(stage.step, IntensityAugmentation) for stage in augment]
    if kinds != sorted(kinds):
        late = next(stage for n, stage in enumerate(augment) if not kinds[n] and any(kinds[:n]))
        raise PipelineError(
            f"{late.place}: {late.name!r} moves places; put it before those that change values"
        )
    for stage in augment:
        if not isinstance(stage.step, SpatialAugmentation | IntensityAugmentation):
            raise PipelineError(f"{stage.place}: {stage.name!r} changes neither places nor values")
    # not needed before the end, when it is late to learn of a fault
    stages_after(file, segment, labels, catalog)
    called = _loss_call(spec.loss, segment.step, segment.name)
    spec = spec.model_copy(update={"loss": called})
    made = Recipe(
        file=file.model_copy(update={"training": spec}),
        inputs=tuple(Input(each.name, each.modality, each.select) for each in file.inputs),
        labels=labels,
        preprocess=stages(Preprocessor, "preprocess", file.preprocess, catalog),
        segment=Stage(
            segment.place, segment.name, segment.distribution, segment.version, segment.step, segment.written
        ),
        loss=None if called is None else stage_at(Loss, "training.loss", called, catalog),
        augment=augment,
        spec=spec,
    )
    _require_loss(made)
    return made


def _loss_call(named: StepCall | None, segmenter: TrainableSegmenter, name: str) -> StepCall | None:
    """The loss that is named, or that the segmenter's head asks for; None where it has no head."""
    head = segmenter.scores_head
    if head is not None:
        return named or StepCall(name=head.default_loss)
    if named is not None:
        raise PipelineError(f"training.loss: segmenter {name!r} has losses of its own; leave it out")
    return None


def _require_loss(made: Recipe) -> None:
    """Refuse a loss that does not suit head and labels, before anything is read."""
    try:
        made.built_loss((1.0,) * len(made.patch))
    except PipelineError as problem:
        if made.loss is None:
            raise
        raise type(problem)(f"{made.loss.place}: {problem}") from problem
