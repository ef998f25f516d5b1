"""A training from end to end: open, fingerprint, plan, prepare, fit, appraise, write model and report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from medseg.config import PipelineFile, StepCall
from medseg.errors import InputError, UsageError
from medseg.evaluation import metrics_named
from medseg.evaluation.summary import Statistics, summarise
from medseg.io import digests
from medseg.plugin.catalog import Catalog, discover
from medseg.prediction import Resources
from medseg.training.appraisal import Appraised, appraise, calls, chosen_steps, predicted
from medseg.training.dataset import Case, Dataset, open_dataset, read_case
from medseg.training.fingerprint import Fingerprint, fingerprint, fingerprint_key
from medseg.training.folds import single_split, subjects_folds
from medseg.training.model_folder import card_of, sha256_of, weights_saved, write_model
from medseg.training.overlay import overridden
from medseg.training.planning import Machine, Planned, plan
from medseg.training.prepared import PreparedCase, prepared_case
from medseg.training.processes import Processes, joined
from medseg.training.recipe import Recipe, recipe
from medseg.training.run_folder import Begun, RunFolder, begin
from medseg.training.schedule import Budget
from medseg.training.standing import Row

__all__ = ["Heard", "Trained", "Wishes", "planned", "train"]

METRICS = "dice, hd95"
RESERVE = 0.06  # of a time budget, for what follows the last epoch
LEAST_RESERVE_S = 45.0
MOST_RESERVE = 0.4
WORST = 4  # cases that the report draws


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a user asks of a training; what is None is planned or stays as it was when the training began.

    `folds` of 1 is a single split with a share `validation` of cases (by subject) to validate with; more is
    cross-validation, of which `fold` names the one to train, None all. `validation` of 0 trains on all cases.
    `epochs` or `seconds` of the whole command is the budget.
    """

    pipeline: Path | None = None
    subjects: Path | None = None
    folds: int = 1
    fold: int | None = None
    validation: float = 0.2
    epochs: int | None = None
    seconds: float | None = None
    seed: int | None = None
    name: str | None = None


def _silent(row: Row, fold: int) -> None:
    """Hear of an epoch, and say nothing."""


@dataclass(frozen=True, kw_only=True)
class Heard:
    """Who hears how it goes: `tell` a line for people, `epoch` each row of the log with its fold."""

    tell: Callable[[str], object] = field(default=lambda line: None)
    epoch: Callable[[Row, int], object] = _silent


@dataclass(frozen=True)
class Trained:
    """What came of it: the model, if all folds are done, its report, and the metrics over validation cases."""

    model: Path | None
    report: Path | None
    measured: tuple[Statistics, ...] = ()
    missing: tuple[int, ...] = ()


def planned(
    dataset: Path, wishes: Wishes, resources: Resources, *, catalog: Catalog | None = None
) -> tuple[Planned, Dataset, tuple[str, ...]]:
    """The plan for a dataset, and the paths of what the user's pipeline file says instead."""
    found = open_dataset(dataset, subjects=wishes.subjects)
    _require_cases(found)
    facts = fingerprint(found, found.trainable, resources.progress)
    made, paths = _with_wishes(plan(found, facts, _machine(resources)), wishes)
    recipe(made.file, catalog or discover())
    return made, found, paths


def train(
    dataset: Path,
    out: Path,
    *,
    wishes: Wishes = Wishes(),
    resources: Resources | None = None,
    resume: bool = False,
    overwrite: bool = False,
    heard: Heard = Heard(),
) -> Trained:
    """Train a model on a dataset, in the folder `out`; with `resume`, go on with the training that is there.

    Raises InputError for what is wrong with the data, PipelineError with the plan or its components,
    UsageError with what is asked for, ResourceError where memory or disk run out. A training that was stopped
    goes on with `resume` from the last epoch.
    """
    from medseg.inference.torch_runtime import torch_device

    started = time.monotonic()
    resources = resources or Resources()
    device = torch_device(resources)
    with joined(gpu=device.type == "cuda") as processes:
        work = _Training(dataset, out, wishes, replace(resources, device=str(device)), processes, heard)
        if processes.first:
            work.begin(started, resume=resume, overwrite=overwrite)
        processes.wait()
        work.load()
        for number in work.numbers:
            work.fit(number, resume=resume or not processes.first)
        if not processes.first:
            return Trained(None, None)
        return work.finish()


def _with_wishes(made: Planned, wishes: Wishes) -> tuple[Planned, tuple[str, ...]]:
    """The plan with the user's pipeline file and options laid over it."""
    file: PipelineFile = made.file
    paths: tuple[str, ...] = ()
    if wishes.pipeline is not None:
        file, paths = overridden(file, wishes.pipeline)
    said = {"epochs": wishes.epochs, "seed": wishes.seed}
    spec = file.training
    assert spec is not None  # a plan has it
    spec = spec.model_copy(update={name: value for name, value in said.items() if value is not None})
    return replace(made, file=file.model_copy(update={"training": spec})), paths


def _machine(resources: Resources) -> Machine:
    """What the plan is made for."""
    import torch

    from medseg.inference.torch_runtime import torch_device

    device = torch_device(resources)
    if device.type != "cuda":
        return Machine()
    return Machine(gpu=True, gpu_bytes=torch.cuda.get_device_properties(device).total_memory)


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

    def begin(self, started: float, *, resume: bool, overwrite: bool) -> None:
        """Plan and prepare, or find what was planned and prepared; the first process does, for all."""
        for note in self._dataset.notes:
            self._heard.tell(note)
        self._run = begin(self._run.path, resume=resume, overwrite=overwrite)
        begun = self._run.begun()
        if begun is None:
            facts = fingerprint(self._dataset, self._dataset.trainable, self._resources.progress)
            made, _ = _with_wishes(plan(self._dataset, facts, _machine(self._resources)), self._wishes)
            self._prepare(recipe(made.file, self._catalog))
            self._run.record(self._begun(made.file, facts, started), made.file, facts.as_json())
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
            raise UsageError("give a budget: --time-budget or --epochs")
        if seconds is not None:
            reserve = min(MOST_RESERVE * seconds, max(LEAST_RESERVE_S, RESERVE * seconds))
            seconds = max(1.0, (seconds - (time.monotonic() - started) - reserve))
            seconds /= len(folds) if wishes.fold is None else 1
        return Begun(self._dataset.name, facts.key, folds, spec.epochs, seconds, spec.seed)

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

    def _prepare(self, made: Recipe) -> None:
        cases = self._dataset.trainable
        for number, case in enumerate(cases, start=1):
            self._prepared[case.id] = self._prepared_case(case, made)
            self._resources.progress("prepare", number, len(cases))

    def _prepared_case(self, case: Case, made: Recipe) -> PreparedCase:
        def read() -> tuple[object, ...]:
            volume, segmentation, ignore = read_case(case, self._dataset)
            return volume, segmentation, None if ignore is None else ~ignore

        try:
            return prepared_case(
                case.id,
                subject=case.subject,
                sha256=[each for path in case.files.values() for each in digests(path)],
                read=read,  # type: ignore[arg-type]  # a labelled case has a segmentation
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
        count, fold = len(self._begun_with.folds), self._wishes.fold
        if fold is None:
            return range(count)
        if not 0 <= fold < count:
            raise UsageError(f"--fold {fold}: there are folds 0 to {count - 1}")
        return (fold,)

    def _parts(self, number: int) -> tuple[list[PreparedCase], list[PreparedCase]]:
        """Cases to train on and to validate with."""
        held = self._begun_with.folds[number]
        training = [each for name, each in self._prepared.items() if name not in held]
        if not training:
            raise InputError("all cases are to be validated with, and none is left to train on")
        return training, [self._prepared[name] for name in held]

    def fit(self, number: int, *, resume: bool) -> None:
        """Train one fold, unless it is done, and keep its weights."""
        from medseg.training.fit import Course, Hardware, fit

        if resume and self._run.weights(number).is_file():
            return
        training, validation = self._parts(number)
        begun, gpu = self._begun_with, self._resources.device.startswith("cuda")
        course = Course(
            recipe=self._recipe,
            cases=training,
            validation=validation,
            metric=metrics_named("dice", self._catalog)[0],
            budget=Budget(begun.epochs, begun.seconds),
            folder=self._run.fold(number),
            seed=begun.seed + number,
            hardware=Hardware(
                device=self._resources.device,
                devices=self._processes.on_machine,
                nodes=self._processes.machines,
                precision=_precision(self._recipe.spec.precision, gpu=gpu),
                deterministic=self._resources.deterministic,
            ),
        )
        course.folder.mkdir(parents=True, exist_ok=True)
        fitted = fit(course, resume=resume, listener=lambda row, _: self._heard.epoch(row, number))
        if self._processes.first:
            weights_saved(fitted.network.cpu(), self._run.weights(number))
        self._processes.wait()

    def finish(self) -> Trained:
        """Appraise every fold, choose the post-processing, write model and report."""
        begun = self._begun_with
        missing = tuple(n for n in range(len(begun.folds)) if not self._run.weights(n).is_file())
        for number in self.numbers:
            self._appraise(number)
        if missing:
            return Trained(None, None, missing=missing)
        appraised = [each for number in range(len(begun.folds)) for each in self._appraise(number)]
        names = [label.name for label in self._recipe.labels]
        chosen = chosen_steps(appraised, names)
        measured = summarise(each.with_steps(chosen) for each in appraised)
        self._write_model(chosen, measured)
        self._write_report(appraised, chosen)
        return Trained(self._run.model, self._run.report, measured)

    def _appraise(self, number: int) -> tuple[Appraised, ...]:
        held = self._begun_with.folds[number]
        if not held:
            return ()
        weights = self._run.weights(number).relative_to(self._run.path)
        return appraise(
            [self._dataset.case(name) for name in held],
            dataset=self._dataset,
            file=self._recipe.file_with({str(weights): sha256_of(self._run.weights(number))}),
            folder=self._run.path,
            fold=number,
            metrics=metrics_named(METRICS, self._catalog),
            catalog=self._catalog,
            resources=self._resources,
            kept=self._run.fold(number) / "validation",
        )

    def _write_model(self, chosen: dict[str, str], measured: Sequence[Statistics]) -> None:
        begun = self._begun_with
        count = len(begun.folds)
        name = self._wishes.name or f"{self._dataset.name}-{self._run.path.resolve().name}"
        how = f"{count}-fold cross-validation" if count > 1 else "held-out cases of the training data"
        trained_on = [case for case in self._prepared if count > 1 or case not in begun.folds[0]]
        steps: list[StepCall] = []
        for candidate in dict.fromkeys(chosen.values()):
            steps += calls(candidate, *(label for label, own in chosen.items() if own == candidate))
        card = card_of(
            name,
            dataset=self._dataset,
            recipe=self._recipe,
            trained_on=trained_on,
            measured=measured,
            how=how,
        )
        files = {
            "weights.safetensors" if count == 1 else f"fold{n}.safetensors": self._run.weights(n)
            for n in range(count)
        }
        write_model(self._run.model, self._recipe, files, card, tuple(steps))

    def _write_report(self, appraised: Sequence[Appraised], chosen: dict[str, str]) -> None:
        from medseg.training.account import account

        account(
            self._run,
            recipe=self._recipe,
            dataset=self._dataset,
            begun=self._begun_with,
            appraised=appraised,
            chosen=chosen,
            device=self._resources.device,
            worst=self._worst(appraised, chosen),
        )

    def _worst(
        self, appraised: Sequence[Appraised], chosen: dict[str, str]
    ) -> Iterator[tuple[Appraised, object]]:
        """The cases with the lowest mean Dice, with what there is to draw."""

        def dice(each: Appraised) -> float:
            values = [
                r.value
                for r in each.with_steps(chosen)
                if r.quantity == "dice" and isinstance(r.value, float | int)
            ]
            return sum(values) / len(values) if values else 1.0

        for each in sorted(appraised, key=dice)[:WORST]:
            kept = self._run.fold(each.fold) / "validation"
            yield each, predicted(kept, self._dataset.case(each.case), self._dataset)


def _precision(wanted: str, *, gpu: bool) -> str:
    """The precision to train in; raises UsageError for half precision on a CPU."""
    if wanted == "auto":
        import torch

        return "bf16" if gpu and torch.cuda.is_bf16_supported() else "fp32"
    if wanted == "fp16" and not gpu:
        raise UsageError("training.precision: fp16 needs a GPU; leave it out")
    return wanted
