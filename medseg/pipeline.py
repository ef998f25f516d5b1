"""The walk: preprocess, segment, postprocess, measure, write, in the order of the pipeline file.

Reading comes before it and publishing after it (`medseg.run`). Here are the verbs only; every step's output
is held against its contract, and whatever fails says which step of which plugin it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Generic, TypeVar

from medseg.errors import MedsegError, PluginError
from medseg.prediction import Measured, Prediction, Result, Wanted
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Measurement, Postprocessor, Predictor, Preprocessor, Segmenter, Step, Writer
from medseg.volume import Volume

__all__ = ["Input", "Pipeline", "Stage", "Watch", "walk", "write"]

S_co = TypeVar("S_co", bound=Step, covariant=True)


@dataclass(frozen=True)
class Input:
    """One image the pipeline takes: its name and, if it must have one, its DICOM modality."""

    name: str
    modality: str | None = None


@dataclass(frozen=True)
class Stage(Generic[S_co]):
    """A step in its place: where the pipeline file names it, whose it is, and itself.

    `written` is the step as a pipeline file would say it in full: qualified name and all parameters.
    """

    place: str
    name: str
    distribution: str
    version: str
    step: S_co
    written: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.place}: {self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True)
class Pipeline:
    """An assembled pipeline: every name resolved, every parameter checked, nothing heavy loaded yet."""

    inputs: tuple[Input, ...]
    labels: LabelTable
    preprocess: tuple[Stage[Preprocessor], ...]
    segment: Stage[Segmenter]
    postprocess: tuple[Stage[Postprocessor], ...]
    measure: tuple[Stage[Measurement], ...]
    write: tuple[Stage[Writer], ...]

    @property
    def stages(self) -> tuple[Stage[Step], ...]:
        """All steps in the order of the walk."""
        return (*self.preprocess, self.segment, *self.postprocess, *self.measure, *self.write)

    @property
    def wanted(self) -> Wanted:
        """What must be kept of the prediction: the union of what measurements and writers declare."""
        declared = [measure.step.wants for measure in self.measure] + [write.step.wants for write in self.write]
        return reduce(Wanted.__or__, declared, Wanted())


Watch = Callable[[Stage[Step]], AbstractContextManager[None]]


def unwatched(stage: Stage[Step]) -> AbstractContextManager[None]:
    """Watch nothing."""
    return nullcontext()


def walk(
    pipeline: Pipeline, volume: Volume, predictor: Predictor, *, watch: Watch = unwatched
) -> tuple[Prediction, Segmentation, tuple[Measured, ...]]:
    """Take a volume, as read, through the pipeline up to its measurements; all results lie on its grid."""
    prepared = volume
    for stage in pipeline.preprocess:
        with watch(stage), blamed(stage):
            prepared = Preprocessor.check(stage.step(prepared))

    with watch(pipeline.segment), blamed(pipeline.segment):
        returned = predictor(prepared, onto=volume.grid, wanted=pipeline.wanted)
        prediction = Predictor.check(returned, onto=volume.grid)

    segmentation = prediction.segmentation.replace(labels=pipeline.labels)
    for improve in pipeline.postprocess:
        with watch(improve), blamed(improve):
            segmentation = Postprocessor.check(improve.step(segmentation, volume), onto=volume.grid)

    measurements: list[Measured] = []
    for measure in pipeline.measure:
        with watch(measure), blamed(measure):
            rows = measure.step(volume, segmentation, prediction)
            measurements.extend(Measurement.check(rows, segmentation=segmentation))
    return prediction, segmentation, tuple(measurements)


def write(pipeline: Pipeline, result: Result, folder: Path, *, watch: Watch = unwatched) -> tuple[Path, ...]:
    """Let every writer of the pipeline that can write this result do so; return the files."""
    paths: list[Path] = []
    for stage in pipeline.write:
        if stage.step.needs(result.volume) is None:
            with watch(stage), blamed(stage):
                paths.extend(Writer.check(stage.step(result, folder), folder=folder))
    return tuple(paths)


@contextmanager
def blamed(stage: Stage[Step]) -> Iterator[None]:
    """Let a failure say which step of which plugin it was.

    What medseg raises on purpose gets a note; whatever else leaves a third party's step becomes a PluginError
    with the original as its cause. In a step of medseg's own it is our bug and stays what it is.
    """
    try:
        yield
    except (MedsegError, MemoryError) as problem:
        problem.add_note(str(stage))
        raise
    except Exception as problem:
        if stage.distribution == "medseg":
            problem.add_note(str(stage))
            raise
        reason = " ".join(str(problem).split())
        raise PluginError(f"{stage} failed: {type(problem).__name__}: {reason}") from problem
