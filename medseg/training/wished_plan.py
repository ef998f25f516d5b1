"""A plan with what the user says instead, and with what a short time asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medseg.config import PipelineFile
from medseg.errors import PipelineError
from medseg.training.overlay import overridden
from medseg.training.planning import Planned
from medseg.training.wishes import Wishes

__all__ = ["for_time", "with_wishes"]

SHORT_S, LEAST_STEPS = 1800.0, 5  # a budget for which epochs are made shorter, and how short


def with_wishes(made: Planned, wishes: Wishes) -> tuple[Planned, tuple[str, ...]]:
    """The plan with the user's pipeline file and options laid over it."""
    file: PipelineFile = made.file
    paths: tuple[str, ...] = ()
    if wishes.pipeline is not None:
        file, paths = overridden(file, wishes.pipeline)
        _require_labels(file, made.file, wishes.pipeline)
    said = {"epochs": wishes.epochs, "seed": wishes.seed}
    spec = file.training
    assert spec is not None  # a plan has it
    spec = spec.model_copy(update={name: value for name, value in said.items() if value is not None})
    return replace(made, file=file.model_copy(update={"training": spec})), paths


def _require_labels(file: PipelineFile, planned: PipelineFile, path: Path) -> None:
    """Refuse a pipeline file by which a value of the masks would mean another structure than there."""
    told, meant = (
        {value: (spec.name, spec.layer) for value, spec in each.labels.items()} for each in (file, planned)
    )
    if told != meant:
        value = next(value for value in {**told, **meant} if told.get(value) != meant.get(value))
        said, there = (each[value][0] if value in each else "nothing" for each in (told, meant))
        raise PipelineError(
            f"{path}: labels: {value} is {said!r} here, and {there!r} in the dataset; "
            "colours and codes may differ, names and values may not"
        )


def for_time(made: Planned, paths: tuple[str, ...], wishes: Wishes) -> tuple[Planned, tuple[str, ...]]:
    """The plan with epochs of which some fit into a short time, unless the user says how long they are."""
    spec, name = made.file.training, "training.steps_per_epoch"
    assert spec is not None  # a plan has it
    if wishes.seconds is None or wishes.seconds >= SHORT_S or name in paths:
        return made, paths
    steps = max(LEAST_STEPS, round(spec.steps_per_epoch * wishes.seconds / SHORT_S))
    if steps >= spec.steps_per_epoch:
        return made, paths
    file = made.file.model_copy(update={"training": spec.model_copy(update={"steps_per_epoch": steps})})
    reason = "time is short: the rate falls, and the network is validated, from epoch to epoch"
    return Planned(file, {**made.reasons, name: reason}), paths
