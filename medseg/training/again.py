"""How a model was trained, told so that it can be trained again: the plan and the command."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from medseg.assemble import stages
from medseg.config import PipelineFile, StepCall, read_pipeline
from medseg.errors import InputError, ModelError
from medseg.io.regular_file import printable
from medseg.model.distribution import PLAN, HowTrained
from medseg.model.folder import PIPELINE
from medseg.plugin.catalog import Catalog, discover
from medseg.steps import Segmenter, TrainableSegmenter
from medseg.training.run_folder import Begun, RunFolder, plan_text
from medseg.training.train import LEAST_RESERVE_S, RESERVE

__all__ = ["model_and_training"]

COMMAND = f"medseg train DATASET -o RUN --pipeline {PLAN}"


def model_and_training(source: Path, catalog: Catalog | None = None) -> tuple[Path, HowTrained | None]:
    """Where the model is that `source` means, and how it was trained, as far as can be known.

    `source` is the folder of a training, or else the model itself, whose pipeline file may tell of it. Raises
    ModelError where a training has no model yet.
    """
    if not source.is_dir():  # an archive
        return source, None
    run = RunFolder(source)
    begun = run.begun()
    if begun is not None:
        if not run.model.is_dir():
            raise ModelError(
                f"{printable(source)}: this training has no model yet; go on with medseg train --resume"
            )
        return run.model, HowTrained(_plan(run), " ".join(_command(run, begun)), _note(run, begun))
    if not (source / PIPELINE).is_file():
        return source, None
    file = read_pipeline(source / PIPELINE)
    if file.training is None:
        return source, None
    return source, HowTrained(plan_text(_untrained(file, catalog or discover())), COMMAND)


def _plan(run: RunFolder) -> str:
    try:
        return run.plan.read_text(encoding="utf-8")
    except (OSError, ValueError) as problem:
        raise InputError(f"{printable(run.plan)}: cannot be read") from problem


def _command(run: RunFolder, begun: Begun) -> Iterator[str]:
    """The words of a command that trains so again; a time is rounded up to whole minutes."""
    yield COMMAND
    if len(begun.folds) > 1:
        yield f"--folds {len(begun.folds)}"
    elif not begun.folds[0]:
        yield "--validation 0"
    else:
        facts = run.json("fingerprint.json") or {}
        share = len(begun.folds[0]) / max(1, len(facts.get("cases", ())))
        if 0 < share < 1:
            yield f"--validation {share:.2g}"
    if begun.seconds is not None:
        fitted = begun.seconds * len(begun.folds)
        whole = max(fitted + LEAST_RESERVE_S, fitted / (1 - RESERVE))
        yield f"--time-budget {math.ceil(whole / 60)}m"
    elif begun.epochs is not None:
        yield f"--epochs {begun.epochs}"
    if begun.seed:
        yield f"--seed {begun.seed}"


def _note(run: RunFolder, begun: Begun) -> str:
    """How far the time went on the machine that trained it."""
    if begun.seconds is None:
        return ""
    try:
        with (run.fold(0) / "log.csv").open(encoding="utf-8", newline="") as file:
            epochs = max(int(row["epoch"]) for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, TypeError):  # no log, or an unfinished one
        return ""
    return f"The time was enough for {epochs} epochs; `--epochs {epochs}` trains as many on any machine."


def _untrained(file: PipelineFile, catalog: Catalog) -> PipelineFile:
    """The pipeline file without what a training adds to its segmenter: weights and temperature."""
    (segment,) = stages(Segmenter, "segment", (file.segment,), catalog)
    if not isinstance(segment.step, TrainableSegmenter):
        return file
    added = {**segment.step.trained({}), **segment.step.calibrated(1.0)}
    rest = {key: value for key, value in file.segment.parameters.items() if key not in added}
    return file.model_copy(update={"segment": StepCall(name=file.segment.name, parameters=rest)})
