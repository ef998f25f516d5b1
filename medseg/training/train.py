"""A training from end to end: open, fingerprint, plan, prepare, fit each fold, finish."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.config import PipelineFile
from medseg.errors import InputError, UsageError
from medseg.evaluation import metrics_named
from medseg.io import digests
from medseg.io.atomic import held_folder
from medseg.plugin.catalog import Catalog, discover
from medseg.prediction import Resources
from medseg.segmentation import Segmentation
from medseg.training.appraisal import Appraiser
from medseg.training.check import subjects_unstated
from medseg.training.dataset import Case, Dataset, open_dataset, read_case
from medseg.training.fingerprint import Fingerprint, fingerprint, fingerprint_key
from medseg.training.finish import Finish, metrics_for
from medseg.training.folds import single_split, subjects_folds
from medseg.training.model_folder import weights_saved
from medseg.training.outlook import network_s, scoring_s, watched
from medseg.training.planning import Machine, Planned, plan
from medseg.training.prepared import PreparedCase, ReadCase, prepared_case
from medseg.training.processes import Processes, joined
from medseg.training.recipe import Recipe, recipe
from medseg.training.run_folder import Begun, RunFolder, begin
from medseg.training.schedule import Budget
from medseg.training.wished_plan import for_time, with_wishes
from medseg.training.wishes import Heard, Trained, Wishes
from medseg.volume import Volume

__all__ = ["planned", "train"]

OBJECTS = "average-precision: {thresholds: [0.5]}"  # what is said of objects in training
RESERVE = 0.06  # of a time budget, for what follows the last epoch
LEAST_RESERVE_S = 45.0
MOST_RESERVE = 0.4
DEFAULT_SECONDS = 3600.0
FOLD_SEED = 1_000_003  # apart, so that no fold has the seed of another training's
PLANNED, NOBODY = Wishes(), Heard()


def planned(
    dataset: Path, wishes: Wishes, resources: Resources, *, catalog: Catalog | None = None
) -> tuple[Planned, Dataset, tuple[str, ...]]:
    """The plan for a dataset, and the paths of what the user's pipeline file says instead."""
    found = open_dataset(dataset, subjects=wishes.subjects)
    _require_cases(found)
    facts = fingerprint(found, found.trainable, resources.progress)
    catalog = catalog or discover()
    made = plan(found, facts, _machine(resources), _heads(catalog))
    made, paths = for_time(*with_wishes(made, wishes), wishes)
    file = recipe(made.file, catalog).file
    return replace(made, file=file), found, paths


def train(
    dataset: Path,
    out: Path,
    *,
    wishes: Wishes = PLANNED,
    resources: Resources | None = None,
    heard: Heard = NOBODY,
) -> Trained:
    """Train a model on a dataset, in the folder `out`.

    Raises InputError for what is wrong with the data, PipelineError with the plan or its components,
    UsageError with what is asked for, ResourceError where memory or disk run out or another command trains
    the same fold. A training that was stopped goes on with `resume` from the last epoch.
    """
    from medseg.inference.torch_runtime import torch_device

    started = time.monotonic()
    resources = resources or Resources()
    device = torch_device(resources)
    with joined(gpu=device.type == "cuda") as processes, ExitStack() as held:
        resources = replace(resources, device=str(device))
        if not processes.first:  # one of them tells how far it is
            resources = replace(resources, progress=Resources().progress)
        work = _Training(dataset, out, wishes, resources, processes, heard)
        processes.after_first(lambda: work.begin(started, held))
        work.load()
        for number in work.numbers:
            work.fit(number)
        if not processes.first:
            return Trained(None, None)
        return work.finish()


def _machine(resources: Resources) -> Machine:
    """What the plan is made for."""
    import torch

    from medseg.inference.torch_runtime import torch_device

    device = torch_device(resources)
    if device.type != "cuda":
        return Machine()
    return Machine(gpu=True, gpu_bytes=torch.cuda.get_device_properties(device).total_memory)


def _heads(catalog: Catalog) -> frozenset[str]:
    """The heads that are installed."""
    return frozenset(entry.qualified for entry in catalog.entries if entry.kind == "head")


def _require_cases(dataset: Dataset) -> None:
    if not dataset.trainable:
        raise InputError(f"{dataset.name}: has no case with labels to train on; see `medseg dataset check`")


class _Training:
    """One command's work on the folder of a training."""

    def __init__(
        self,
        dataset: Path,
        out: Path,
        wishes: Wishes,
        resources: Resources,
        processes: Processes,
        heard: Heard,
    ) -> None:
        self._wishes, self._resources, self._heard = wishes, resources, heard
        self._processes = processes
        self._catalog = discover()
        self._dataset = open_dataset(dataset, subjects=wishes.subjects)
        _require_cases(self._dataset)
        self._run = RunFolder(out)
        self._prepared: dict[str, PreparedCase] = {}

    def begin(self, started: float, held: ExitStack) -> None:
        """Plan and prepare, or find what was planned and prepared; the first process does, for all.

        Until `held` is closed, no other command can train the folds of this one.
        """
        for note in self._dataset.notes:
            self._heard.tell(note)
        unstated = subjects_unstated(self._dataset)
        if unstated is not None:
            self._heard.tell(str(unstated))
        self._hold(held)
        with self._turn("prepares the cases"):
            self._plan_and_prepare(started)

    def _hold(self, held: ExitStack) -> None:
        """Make or clear the folder, and take the folds that are to be trained."""
        with held_folder(self._run.path, waiting=lambda: None):  # for a moment
            begin(self._run.path, resume=self._wishes.resume, overwrite=self._wishes.overwrite)
            begun = self._run.begun()
            for number in self._fold_numbers(self._wishes.folds if begun is None else len(begun.folds)):
                held.enter_context(held_folder(self._run.fold(number)))

    def _turn(self, doing: str) -> AbstractContextManager[Path]:
        """What commands that train different folds do one after the other."""
        return held_folder(
            self._run.cases,
            waiting=lambda: self._heard.tell(f"another command {doing}; this one waits for it"),
        )

    def _plan_and_prepare(self, started: float) -> None:
        begun = self._run.begun()
        if begun is None:
            facts = fingerprint(self._dataset, self._dataset.trainable, self._resources.progress)
            made = plan(self._dataset, facts, _machine(self._resources), _heads(self._catalog))
            made, _ = for_time(*with_wishes(made, self._wishes), self._wishes)
            whole = recipe(made.file, self._catalog)
            if whole.spec.balance and len({case.stratum for case in self._dataset.trainable}) < 2:
                self._heard.tell("training.balance changes nothing: all cases are of one stratum")
            self._prepare(whole)
            file = whole.file
            self._run.record(self._begun(file, facts, started), file, facts.as_json())
        else:
            self._require_same(begun)
            self._prepare(recipe(self._run.file(), self._catalog))

    def _begun(self, file: PipelineFile, facts: Fingerprint, started: float) -> Begun:
        """Folds and budget, decided."""
        wishes, spec = self._wishes, file.training
        assert spec is not None  # a plan has it
        folds = self._folds(spec.seed)
        seconds = wishes.seconds
        if seconds is None and spec.epochs is None:
            seconds = DEFAULT_SECONDS
            self._heard.tell(f"no budget is given: it is {DEFAULT_SECONDS / 3600:g} hour")
        if seconds is not None:
            given, kept = seconds, self._reserve(seconds, file, folds)
            spent = time.monotonic() - started
            seconds = given - spent - kept
            if seconds <= 0:
                raise UsageError(
                    f"preparing took {spent / 60:.1f} min of the {given / 60:.1f} there are, and no time is "
                    "left to train; what was prepared is kept: give more time, and --resume"
                )
            seconds /= len(folds) if wishes.fold is None else 1
        return Begun(self._dataset.name, facts.key, folds, spec.epochs, seconds, spec.seed, self._strata())

    def _reserve(self, seconds: float, file: PipelineFile, folds: tuple[tuple[str, ...], ...]) -> float:
        """Seconds of the budget that are kept for what follows the last epoch."""
        fold = self._wishes.fold
        held = [name for n, names in enumerate(folds) if fold in (None, n) for name in names]
        cases, made = [self._prepared[name] for name in held], recipe(file, self._catalog)
        metrics = metrics_for(made, self._catalog)
        appraiser = Appraiser(self._dataset, metrics, self._catalog, self._resources)
        appraisal = network_s(cases, made, self._resources.device) + scoring_s(cases, made, appraiser)
        needed = max(LEAST_RESERVE_S, RESERVE * seconds, appraisal)
        if needed > MOST_RESERVE * seconds:
            beyond = (needed - MOST_RESERVE * seconds) / 60
            self._heard.tell(
                f"segmenting and scoring the held-out cases will take up to {beyond:.0f} min beyond the "
                "budget"
            )
        return min(MOST_RESERVE * seconds, needed)

    def _folds(self, seed: int) -> tuple[tuple[str, ...], ...]:
        """The cases that each fold is validated with."""
        wishes, cases = self._wishes, self._dataset.trainable
        if wishes.folds > 1:
            return subjects_folds(cases, wishes.folds, seed)
        if not wishes.validation:
            return ((),)
        if len({case.subject for case in cases}) < 2:
            self._heard.tell("all cases are of one subject: none is left to validate with")
            return ((),)
        return (single_split(cases, wishes.validation, seed).validation,)

    def _strata(self) -> dict[str, str]:
        """The stratum of each case that has one."""
        return {case.id: case.stratum for case in self._dataset.trainable if case.stratum}

    def _require_same(self, begun: Begun) -> None:
        """Refuse to go on with other data or another course than the training began with."""
        wishes, path = self._wishes, self._run.path
        if fingerprint_key(self._dataset, self._dataset.trainable) != begun.key:
            raise UsageError(f"{path}: was begun with other images or labels; begin anew with --overwrite")
        if wishes.folds not in (1, len(begun.folds)):
            raise UsageError(f"{path}: was begun with {len(begun.folds)} folds; leave --folds out")
        asked = {"--epochs": (wishes.epochs, begun.epochs), "--seed": (wishes.seed, begun.seed)}
        for option, (now, then) in asked.items():
            if now is not None and now != then:
                raise UsageError(
                    f"{path}: was begun with {option} {then}; leave {option} out, or --overwrite"
                )
        file = self._run.file()
        if with_wishes(Planned(file, {}), wishes)[0].file != file:
            raise UsageError(f"{path}: was begun with another --pipeline; leave it out, or --overwrite")
        balanced = file.training is not None and file.training.balance > 0
        if balanced and begun.strata is not None and begun.strata != self._strata():
            raise UsageError(f"{path}: was begun with other strata of cases; begin anew with --overwrite")
        if wishes.seconds is not None:
            self._heard.tell("the time is that which the training began with; --time-budget changes nothing")

    def _prepare(self, made: Recipe) -> None:
        batch, processes = made.spec.batch, self._processes.count
        if batch % processes:
            raise UsageError(
                f"training.batch: {batch} samples cannot be shared by {processes} processes; give a multiple"
            )
        if self._processes.first:
            self._run.mark()
        cases = self._dataset.trainable
        for number, case in enumerate(cases, start=1):
            self._prepared[case.id] = self._prepared_case(case, made)
            self._resources.progress("prepare", number, len(cases))

    def _prepared_case(self, case: Case, made: Recipe) -> PreparedCase:
        try:
            return prepared_case(
                case,
                sha256=[
                    self._dataset.meaning,
                    *(sum_ for path in case.files.values() for sum_ in digests(path)),
                ],
                read=_reading(case, self._dataset),
                recipe=made,
                folder=self._run.cases,
            )
        except InputError as problem:
            told = str(problem)
            raise type(problem)(told if told.startswith("case ") else f"case {case.id}: {told}") from problem

    def load(self) -> None:
        """What was decided, in every process."""
        begun = self._run.begun()
        assert begun is not None  # the first process has seen to it
        self._begun_with = begun
        self._recipe = recipe(self._run.file(), self._catalog)
        if not self._prepared:
            self._prepare(self._recipe)
        axes = {each.grid.axis_codes[: len(self._recipe.patch)] for each in self._prepared.values()}
        if len(axes) > 1:
            raise InputError(
                f"cases lie in different orientations ({', '.join(sorted(axes))}) after the preprocessing; "
                "put `reorient: {to: RAS}` first"
            )

    @property
    def numbers(self) -> Sequence[int]:
        """The folds that this command trains."""
        return self._fold_numbers(len(self._begun_with.folds))

    def _fold_numbers(self, count: int) -> Sequence[int]:
        fold = self._wishes.fold
        if fold is None:
            return range(count)
        if not 0 <= fold < count:
            raise UsageError(f"--fold {fold}: there are folds 0 to {count - 1}; see --folds")
        return (fold,)

    def _parts(self, number: int) -> tuple[list[PreparedCase], list[PreparedCase]]:
        """Cases to train on and to validate with."""
        held = self._begun_with.folds[number]
        training = [each for name, each in self._prepared.items() if name not in held]
        if not training:
            raise InputError("all cases are to be validated with, and none is left to train on")
        return training, [self._prepared[name] for name in held]

    def fit(self, number: int) -> None:
        """Train one fold, unless it is done, and keep its weights."""
        from medseg.training.fit import Course, Hardware, fit

        if self._wishes.resume and self._run.weights(number).is_file():
            return
        training, validation = self._parts(number)
        begun, gpu = self._begun_with, self._resources.device.startswith("cuda")
        of_objects = self._recipe.segment.step.of_objects
        course = Course(
            recipe=self._recipe,
            cases=training,
            validation=watched(validation, self._recipe),
            metric=metrics_named("dice", self._catalog)[0],
            objects=metrics_named(OBJECTS, self._catalog)[0] if of_objects else None,
            budget=Budget(begun.epochs, begun.seconds),
            folder=self._run.fold(number),
            seed=(begun.seed + FOLD_SEED * number) % 2**32,
            hardware=Hardware(
                device=self._resources.device,
                devices=self._processes.on_machine,
                nodes=self._processes.machines,
                precision=_precision(self._recipe.spec.precision, gpu=gpu),
                threads=self._resources.threads,
                deterministic=self._resources.deterministic,
            ),
        )
        course.folder.mkdir(parents=True, exist_ok=True)
        heard = self._heard.epoch
        fitted = fit(course, resume=self._wishes.resume, listener=lambda row, _: heard(row, number))
        if self._processes.first:
            weights_saved(fitted.network.cpu(), self._run.weights(number))
        self._processes.wait()

    def finish(self) -> Trained:
        """Appraise the folds that were trained; once all are, write model and report."""
        finish = Finish(
            self._run, self._recipe, self._dataset, self._begun_with, self._catalog, self._resources
        )
        for number in self.numbers:
            finish.appraised(number)
        with self._turn("writes the model"):
            return finish(self._wishes.name)


def _reading(case: Case, dataset: Dataset) -> ReadCase:
    """What reads a case: image, labels, and where labels are known (None: everywhere)."""

    def read() -> tuple[Volume, Segmentation, NDArray[np.bool_] | None]:
        volume, segmentation, ignore = read_case(case, dataset)
        assert segmentation is not None  # a case to train on is labelled
        return volume, segmentation, None if ignore is None else ~ignore

    return read


def _precision(wanted: str, *, gpu: bool) -> str:
    """The precision to train in; raises UsageError for half precision on a CPU."""
    if wanted == "auto":
        import torch

        return "bf16" if gpu and torch.cuda.is_bf16_supported() else "fp32"
    if wanted == "fp16" and not gpu:
        raise UsageError("training.precision: fp16 needs a GPU; leave it out")
    return wanted
