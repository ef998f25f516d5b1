"""The walk: preprocess, segment, refine, postprocess, measure, write, in the order of the pipeline file.

Reading comes before it, publishing after it (`medseg.run`). Every step's output is held against its contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from medseg.errors import MedsegError, PluginError, in_one_line
from medseg.inference.on_device import OnDevice, device_of
from medseg.prediction import Measured, Plan, Prediction, Result, Scores, Wanted
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import (
    Measurement,
    Postprocessor,
    Predictor,
    Preprocessor,
    Refiner,
    Segmenter,
    Step,
    Writer,
)
from medseg.volume import Grid, Volume

if TYPE_CHECKING:
    from medseg.config import SeriesRule

__all__ = [
    "Found",
    "Input",
    "Pipeline",
    "Room",
    "Stage",
    "Watch",
    "blamed",
    "come_before",
    "lack",
    "lack_of_image",
    "lacks",
    "measure",
    "predict",
    "preprocess",
    "refine",
    "walk",
    "write",
]

S_co = TypeVar("S_co", bound=Step, covariant=True)


@dataclass(frozen=True)
class Input:
    """One image the pipeline takes: its name and, where it says so, its DICOM modality and series."""

    name: str
    modality: str | None = None
    select: SeriesRule | None = None


@dataclass(frozen=True)
class Stage(Generic[S_co]):
    """A step in its place: where the pipeline file names it, whose it is, and itself.

    `written` is the step as a pipeline file would say it in full: qualified name and all parameters. A writer
    is `demanded` where the user named it: what it lacks is then refused, and not left out with a note.
    """

    place: str
    name: str
    distribution: str
    version: str
    step: S_co
    written: Mapping[str, Any]
    demanded: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.name} ({self.distribution} {self.version})"

    def is_called(self, name: str) -> bool:
        """Whether `name` means this component: as it is, or with its distribution before it."""
        return name in (self.name, f"{self.distribution}/{self.name}")


@dataclass(frozen=True)
class Pipeline:
    """An assembled pipeline: names resolved, parameters checked, nothing heavy loaded yet.

    `only` are the labels to which the results are limited, None for all of `labels`; `asked` is what whoever
    runs it wants kept of the prediction, beside what its steps ask for.
    """

    inputs: tuple[Input, ...]
    labels: LabelTable
    preprocess: tuple[Stage[Preprocessor], ...]
    segment: Stage[Segmenter]
    postprocess: tuple[Stage[Postprocessor], ...]
    measure: tuple[Stage[Measurement], ...]
    write: tuple[Stage[Writer], ...]
    only: tuple[str, ...] | None = None
    refine: tuple[Stage[Refiner], ...] = ()
    asked: Wanted = Wanted()  # noqa: RUF009 - it is frozen

    @property
    def stages(self) -> tuple[Stage[Step], ...]:
        """All steps in the order of the walk."""
        before, after = self.preprocess, (*self.postprocess, *self.measure, *self.write)
        return (*before, self.segment, *self.refine, *after)

    @property
    def margin_mm(self) -> float:
        """How far the refiners look, one after the other."""
        return sum(stage.step.margin_mm for stage in self.refine)

    def refining_bytes(self, scores: Scores, volume: Volume) -> int:
        """Memory that the refiners take at most beside a box of scores and of the image."""
        return max((stage.step.work_bytes(scores, volume) for stage in self.refine), default=0)

    @property
    def wanted(self) -> Wanted:
        """What must be kept of the prediction: the union of what measurements and writers declare.

        With `only`, scores of those labels alone; labels too where no later step may look at others.
        """
        declared = reduce(Wanted.__or__, map(_wants, (*self.measure, *self.write)), self.asked)
        declared = replace(declared, refinable=declared.refinable or bool(self.refine))
        if self.only is None:
            return declared
        only, scored = frozenset(self.only), declared.score_labels
        return replace(
            declared,
            labels=None if self.postprocess or self.refine else only,
            score_labels=only if scored is None else scored & only,
        )


def _wants(stage: Stage[Any]) -> Wanted:
    with blamed(stage):
        declared: object = stage.step.wants
        if not isinstance(declared, Wanted):
            raise PluginError(f"wants {type(declared).__name__}, not a Wanted")
        return declared


Afford = Callable[[Plan], None]
Room = Callable[[int], None]
Watch = Callable[[Stage[Step]], AbstractContextManager[object]]
Found = tuple[Prediction, Segmentation, tuple[Measured, ...]]


def walk(
    pipeline: Pipeline,
    volume: Volume,
    predictor: Predictor,
    *,
    afford: Afford = lambda plan: None,
    watch: Watch = nullcontext,
) -> Found:
    """Take a volume, as read, through the pipeline up to its measurements; all results lie on its grid.

    `afford` hears the predictor's plan before it runs, and raises ResourceError where it costs too much.
    """
    prepared = preprocess(pipeline.preprocess, volume, watch=watch)
    found = predict(pipeline, prepared, predictor, onto=volume.grid, afford=afford, watch=watch)
    return measure(pipeline, volume, refine(pipeline, prepared, found, watch=watch), watch=watch)


def preprocess(
    stages: Sequence[Stage[Preprocessor]],
    volume: Volume,
    *,
    room: Room = lambda count: None,
    watch: Watch = nullcontext,
) -> Volume:
    """The volume as the segmenter takes it; `room` hears what memory a step needs, and may refuse it."""
    for stage in stages:
        with watch(stage), blamed(stage):
            room(stage.step.library_bytes() + stage.step.work_bytes(volume))
            volume = Preprocessor.check(stage.step(volume))
    return volume


def predict(
    pipeline: Pipeline,
    prepared: Volume,
    predictor: Predictor,
    *,
    onto: Grid,
    afford: Afford = lambda plan: None,
    watch: Watch = nullcontext,
) -> Prediction:
    """What the segmenter finds, on the native grid."""
    wanted = pipeline.wanted
    with watch(pipeline.segment), blamed(pipeline.segment):
        afford(Predictor.check_plan(predictor.plan(prepared.grid, onto=onto, wanted=wanted)))
        returned = predictor(prepared, onto=onto, wanted=wanted)
        return Predictor.check(returned, onto=onto, labels=pipeline.labels)


def refine(
    pipeline: Pipeline,
    prepared: Volume,
    prediction: Prediction,
    *,
    room: Room = lambda count: None,
    watch: Watch = nullcontext,
    keep_scores: bool = False,
) -> Prediction:
    """Improve scores around the labels that were found, and decide those anew; the rest stays as it is.

    With `keep_scores` the prediction that was given can be refined again; else its scores are gone.
    """
    if not pipeline.refine:
        return prediction
    with blamed(pipeline.segment):
        if prediction.refinable is None:
            raise PluginError("announced scores that can be refined, and kept none")

    workers = _workers(pipeline.refine, device_of(prediction.used))

    def improve(scores: Scores, volume: Volume) -> Scores:
        for stage, worker in zip(pipeline.refine, workers, strict=True):
            with blamed(stage):
                scores = Refiner.check(worker(scores, volume), like=scores)
        return scores

    with ExitStack() as stack:
        for stage in pipeline.refine:  # box by box, all of them: they are watched together
            stack.enter_context(watch(stage))
        with blamed(pipeline.refine[0]):
            room(sum(stage.step.library_bytes() for stage in pipeline.refine))
        segmentation, used = prediction.refinable.refined(
            prediction.segmentation,
            prepared,
            improve,
            margin_mm=pipeline.margin_mm,
            work=pipeline.refining_bytes,
            room=room,
        )
    if not keep_scores:
        prediction.refinable.store.close()
    used["devices"] = [worker.device for worker in workers]
    used["fallbacks"] = [
        f"{stage.place} device {worker.device}"
        for stage, worker in zip(pipeline.refine, workers, strict=True)
        if worker.ran_out
    ]
    used = {**prediction.used, "refined": used}
    return replace(prediction, segmentation=segmentation, refinable=None, used=used)


def _workers(stages: Sequence[Stage[Refiner]], device: str) -> list[OnDevice]:
    """The refiners on a device, those that cannot use it on the processor."""
    workers = []
    for stage in stages:
        with blamed(stage):
            workers.append(OnDevice(stage.step, device))
    return workers


def measure(
    pipeline: Pipeline,
    volume: Volume,
    prediction: Prediction,
    *,
    room: Room = lambda count: None,
    watch: Watch = nullcontext,
) -> Found:
    """Improve what was found, and measure it; `room` hears what memory a step needs, and may refuse it."""
    segmentation = prediction.segmentation
    for improve in pipeline.postprocess:
        with watch(improve), blamed(improve):
            room(improve.step.library_bytes() + improve.step.work_bytes(segmentation, volume))
            segmentation = Postprocessor.check(improve.step(segmentation, volume), onto=volume.grid)

    if pipeline.only is not None:  # last: the steps above may need the others
        prediction, segmentation = prediction.only(pipeline.only), segmentation.only(pipeline.only)

    measurements: list[Measured] = []
    for stage in pipeline.measure:
        with watch(stage), blamed(stage):
            room(stage.step.library_bytes() + stage.step.work_bytes(volume, segmentation))
            rows = stage.step(volume, segmentation, prediction)
            measurements.extend(Measurement.check(rows, segmentation=segmentation))
    return prediction, segmentation, tuple(measurements)


def write(
    stages: Sequence[Stage[Writer]],
    result: Result,
    folder: Path,
    *,
    room: Room = lambda count: None,
    watch: Watch = nullcontext,
) -> tuple[Path, ...]:
    """Let every writer that can write this result do so; return the files.

    `room` hears what memory a writer needs, and may refuse it.
    """
    paths: list[Path] = []
    for stage, missing in zip(stages, lacks(stages, partial(lack, result=result)), strict=True):
        if missing is None:
            with watch(stage), blamed(stage):
                room(stage.step.library_bytes() + stage.step.work_bytes(result.volume, result.segmentation))
                paths.extend(Writer.check(stage.step(result, folder), folder=folder, taken=tuple(paths)))
    return tuple(paths)


def lack(stage: Stage[Writer], result: Result) -> str | None:
    """What this image or what was kept of its prediction lacks for a writer; None where nothing lacks."""
    with blamed(stage):
        return stage.step.needs(result.volume) or result.prediction.lacks(_wants(stage))


def lack_of_image(stage: Stage[Writer], volume: Volume) -> str | None:
    """What this image lacks for a writer; None where nothing lacks."""
    with blamed(stage):
        return stage.step.needs(volume)


def lacks(
    stages: Sequence[Stage[Writer]], lack: Callable[[Stage[Writer]], str | None]
) -> tuple[str | None, ...]:
    """What each writer lacks, by `lack` or because a writer is left out that it must come after."""
    said: list[str | None] = []
    for stage in stages:
        missing = lack(stage)
        for name in () if missing else come_before(stage):
            if any(what is not None and other.is_called(name) for other, what in zip(stages, said)):  # noqa: B905 - those before it
                missing = f"what {name!r} would write, which is left out"
        said.append(missing)
    return tuple(said)


def come_before(stage: Stage[Writer]) -> tuple[str, ...]:
    """The names of writers that must come before this one; raises PluginError where it cannot say."""
    return _named(stage, "after")


def better_before(stage: Stage[Writer]) -> tuple[str, ...]:
    """The names of writers that this one refers to if they came before; raises PluginError as the other."""
    return _named(stage, "mentions")


def _named(stage: Stage[Writer], kind: str) -> tuple[str, ...]:
    with blamed(stage):
        declared: object = getattr(stage.step, kind)
        if not isinstance(declared, tuple) or not all(isinstance(name, str) for name in declared):
            raise PluginError(f"{kind} is {declared!r}, not a tuple of names")
        return declared


@contextmanager
def blamed(stage: Stage[Step]) -> Iterator[None]:
    """Let a failure say which step of which plugin it was.

    What medseg raises on purpose gets a note; whatever else a third party raises is a PluginError.
    """
    try:
        yield
    except (MedsegError, MemoryError) as problem:
        problem.add_note(str(stage))
        raise
    except (Exception, SystemExit) as problem:
        if stage.distribution == "medseg":  # our own bug: it stays what it is
            problem.add_note(str(stage))
            raise
        reason = in_one_line(problem)
        raise PluginError(f"{stage} failed: {reason}") from problem
