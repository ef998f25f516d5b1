"""A model run twice on the same images, in fp32 and in a lower precision: are the labels the same?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from medseg.errors import ModelError, UsageError
from medseg.io import STRICT, Policy
from medseg.model import Model, PrecisionEvidence
from medseg.pipeline import Pipeline, walk
from medseg.prediction import Resources
from medseg.run.case import Setup, memory_as_resource, processors
from medseg.run.chosen import prepare
from medseg.run.inputs import join, match, read_inputs
from medseg.segmentation import Segmentation
from medseg.steps import Predictor
from medseg.volume import Volume

__all__ = ["Agreement", "agreement", "verify_precision"]


@dataclass(frozen=True)
class Agreement:
    """Dice of each label between two segmentations of one image; None where neither has it."""

    image: str
    dice: dict[str, float | None]


def verify_precision(
    name: str | Path,
    images: Sequence[str | Path],
    *,
    precision: str,
    resources: Resources,
    policy: Policy = STRICT,
    heard: Callable[[Agreement], None] = lambda agreement: None,
) -> tuple[Model, PrecisionEvidence]:
    """Segment every image in fp32 and in `precision`, each with its own postprocessing, and compare labels.

    Both runs use one engine. `heard` gets each image's Dice as it is known, under the image's number. Raises
    UsageError where no label was found in any image: nothing would be shown.
    """
    model, pipeline = prepare(name)
    weights = tuple(pipeline.segment.step.files().values())
    if not weights:
        raise ModelError(f"model {model.name!r} has no weights, and so no precision")
    if model.card is None:
        raise ModelError(f"{model.path}: is a lone pipeline file; evidence belongs to a model's card")
    plain = replace(pipeline, measure=(), write=())
    found: list[Agreement] = []
    engine = ""
    with memory_as_resource(), processors(resources.threads), ExitStack() as stack:
        in_full, lower = (
            stack.enter_context(_setup(model, plain, resources, each, policy).opened())
            for each in ("fp32", precision)
        )
        for number, image in enumerate(images, start=1):
            volume = join(
                read_inputs(
                    plain.inputs,
                    match(plain.inputs, (image,), {}),
                    force_modality=False,
                    pixel_size=None,
                    policy=policy,
                )
            )
            reference, engine = _segmented(plain, volume, in_full, "fp32")
            tested, engine = _segmented(plain, volume, lower, precision)
            found.append(Agreement(f"image {number}", agreement(reference, tested)))
            heard(found[-1])
    return model, _evidence(found, precision, engine, weights)


def agreement(reference: Segmentation, tested: Segmentation) -> dict[str, float | None]:
    """Dice of each label; None where neither segmentation has a voxel of it."""
    found: dict[str, float | None] = {}
    for label in reference.labels:
        first, second = reference.mask(label.name), tested.mask(label.name)
        size = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
        found[label.name] = 2 * int(np.count_nonzero(first & second)) / size if size else None
    return found


def _setup(model: Model, pipeline: Pipeline, resources: Resources, precision: str, policy: Policy) -> Setup:
    return Setup(
        model=model, pipeline=pipeline, resources=replace(resources, precision=precision), policy=policy
    )


def _segmented(
    pipeline: Pipeline, volume: Volume, predictor: Predictor, precision: str
) -> tuple[Segmentation, str]:
    """The finished labels and the engine; raises ModelError where it was not run in this precision."""
    prediction, segmentation, _ = walk(pipeline, volume, predictor)
    ran = prediction.used.get("precision")
    if ran != precision:
        raise ModelError(
            f"{pipeline.segment.name} ran in {ran or 'a precision it does not tell'}, not in {precision}"
        )
    return segmentation, str(prediction.used.get("engine", "torch"))


def _evidence(
    found: Sequence[Agreement], precision: str, engine: str, weights: tuple[str, ...]
) -> PrecisionEvidence:
    by_label: dict[str, list[float]] = {}
    for each in found:
        for label, dice in each.dice.items():
            if dice is not None:
                by_label.setdefault(label, []).append(dice)
    if not by_label:
        raise UsageError("no label was found in any image; give images that show what the model segments")
    every = list(chain.from_iterable(by_label.values()))
    return PrecisionEvidence.model_validate(
        {
            "precision": precision,
            "engine": engine,
            "weights_sha256": weights,
            "cases": len(found),
            "dice_mean": _down(float(np.mean(every))),
            "dice_lowest": _down(min(every)),
            "labels": {label: _down(float(np.mean(dices))) for label, dices in by_label.items()},
        }
    )


def _down(dice: float) -> float:
    """Six digits, never rounded up: 0.9999999 is not 1."""
    return int(dice * 1e6) / 1e6
