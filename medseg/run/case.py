"""One case, from its files to its published folder: read, walk, write, and what was done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from medseg.allocator import return_freed_memory
from medseg.errors import InputError, PluginError, ResourceError
from medseg.io import STRICT, Policy
from medseg.io.atomic import staged_folder
from medseg.memory import (
    available_bytes,
    highest_bytes,
    release_freed_memory,
    resident_bytes,
    too_little,
)
from medseg.model import Model
from medseg.model.precision import precision_for
from medseg.pipeline import (
    Pipeline,
    Stage,
    blamed,
    lack,
    lack_of_image,
    lacks,
    measure,
    predict,
    preprocess,
    refine,
)
from medseg.pipeline import write as write_files
from medseg.prediction import Plan, Prediction, Resources, Result
from medseg.run.budget import Outline, outlined, require_room
from medseg.run.chosen import prepare
from medseg.run.inputs import Image, case_id, join, match, read_inputs
from medseg.run.provenance import (
    Journal,
    Listener,
    asked,
    describe_input,
    identity,
    provenance,
    sha256_of,
    write_run_json,
)
from medseg.steps import Predictor, Step, Writer
from medseg.volume import Volume

__all__ = ["Case", "Setup", "memory_as_resource", "processors", "segment"]


def segment(  # noqa: PLR0913 - the front door: all but the images are named
    *images: Image,
    model: str | Path,
    inputs: Mapping[str, Image] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    force_modality: bool = False,
    pixel_size: float | None = None,
    policy: Policy = STRICT,
    resources: Resources | None = None,
    listener: Listener | None = None,
    case: str | None = None,
    labels: Sequence[str] | None = None,
    write: str | None = None,
) -> Result:
    """Segment one case and measure what was found; with `out`, write its files there.

        result = medseg.segment("ct.nii.gz", model="ct-tissue")
        result.segmentation.mask("bone")

    Args:
        images: paths or Volumes, in the order of the pipeline's inputs.
        model: an installed model, a model folder or a pipeline file.
        inputs: images by the pipeline's names for them; the others are taken by position.
        out: folder to publish into; it appears complete or not at all.
        overwrite: replace a folder that an earlier run wrote.
        force_modality: accept another DICOM modality than the pipeline asks for.
        pixel_size: millimetres per pixel of a picture without a scale.
        policy: what is made of a doubtful geometry, and which series is meant; by default doubt is refused.
        resources: device, memory, threads and seed; by default the CPU and what the machine has.
        case: name of the case in the results; by default the first file's, or a hash for DICOM.
        labels: names of the labels to which masks, measurements and files are limited; None for all.
        write: writers beside the pipeline's own, as it would list them; refused where they lack something.
        listener: called as `listener(step, component, seconds)`; seconds is None when a step starts.

    Raises:
        InputError, PipelineError, ResourceError, UsageError: see `medseg.errors`; nothing is left in `out`.
    """
    chosen, pipeline = prepare(model, labels=labels, write=write)
    setup = Setup(
        model=chosen,
        pipeline=pipeline,
        resources=resources or Resources(),
        force_modality=force_modality,
        pixel_size=pixel_size,
        policy=policy,
    )
    run = Case(setup, match(pipeline.inputs, images, inputs or {}), Journal(listener), name=case)
    with memory_as_resource(), processors(setup.resources.threads):
        staged = nullcontext() if out is None else staged_folder(Path(out), overwrite=overwrite)
        with staged as folder:
            run.look()
            with setup.opened() as predictor:
                run.read(predictor)
                result = run.walk(predictor)
            return result if folder is None else run.publish(result, folder)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What all cases of a run share: the assembled model, what it may use, and how images are read."""

    model: Model
    pipeline: Pipeline
    resources: Resources
    force_modality: bool = False
    pixel_size: float | None = None
    policy: Policy = STRICT
    passed: list[str] = field(default_factory=list, compare=False)
    """A line where opening the model passed the limit on memory; `opened` says so."""

    @property
    def precision(self) -> str:
        """The precision that is asked for, or that the model's card decides on."""
        weights = self.pipeline.segment.step.files().values()
        return precision_for(self.model.card, weights, self.resources)

    @contextmanager
    def opened(self) -> Iterator[Predictor]:
        """Open the segmenter; a failure to do so names its plugin."""
        limit = self.resources.max_memory_bytes
        if limit is not None:
            return_freed_memory()  # what a process keeps counts against its limit
        before = highest_bytes()
        with ExitStack() as stack:
            with blamed(self.pipeline.segment):
                segmenter = self.pipeline.segment.step
                resources = replace(self.resources, precision=self.precision)
                predictor = stack.enter_context(segmenter.open(resources))
                if not isinstance(predictor, Predictor):
                    raise PluginError(f"open() gave {type(predictor).__name__}, not a Predictor")
            if limit is not None and highest_bytes() > max(before, limit):
                self.passed[:] = [overrun("opening the model", highest_bytes(), limit)]
            yield predictor

    def identity(self, inputs: Mapping[str, str]) -> str:
        """A digest of all that decides the results of a case whose inputs have these SHA-256, by name."""
        return identity(
            self.pipeline,
            inputs=inputs,
            seed=self.resources.seed,
            pixel_size=self.pixel_size,
            policy=self.policy,
            precision=self.precision,
        )


class Case:
    """One case on its way through a pipeline: read, walked with an opened predictor, published.

    Without a `name` the case is called after its first file.
    """

    def __init__(
        self, setup: Setup, images: Mapping[str, Image], journal: Journal, *, name: str | None = None
    ) -> None:
        self.setup = setup
        self.images = images
        self.journal = journal
        self.name = name
        self._volume: Volume | None = None
        self._prepared: Volume | None = None
        self._prediction: Prediction | None = None
        self._record: dict[str, Any] = {}
        self._outline: Outline | None = None
        self._foreseen = 0

    def look(self) -> None:
        """Do what can fail for what is wrong with the images before the model is opened.

        They are read, unless memory has a limit: then headers say what reading them will take, and whoever
        reads a file whose header says that it cannot be read will say why.
        """
        setup = self.setup
        if setup.resources.max_memory_bytes is None:
            self._read()
            return
        try:
            self._outline = outlined(
                setup.pipeline.inputs,
                self.images,
                force_modality=setup.force_modality,
                pixel_size=setup.pixel_size,
                policy=setup.policy,
            )
        except InputError:
            self._read()

    def read(self, predictor: Predictor) -> None:
        """Read the images, unless `look` did.

        Raises ResourceError before a voxel is read, with the number that would do, where a step from here to
        writing would pass the limit.
        """
        limit = self.setup.resources.max_memory_bytes
        if self._outline is not None and limit is not None:
            self._foreseen = require_room(self.setup.pipeline, self._outline, predictor, limit=limit)
        if self._volume is None:
            self._read()

    def _read(self) -> None:
        """Read the images, check and join them, and note what came in."""
        setup = self.setup
        with self.journal.step("read", ", ".join(self.images)):
            volumes = read_inputs(
                setup.pipeline.inputs,
                self.images,
                force_modality=setup.force_modality,
                pixel_size=setup.pixel_size,
                policy=setup.policy,
            )
            self._volume = volume = join(volumes)
        inputs = [describe_input(name, part) for name, part in volumes.items()]
        self._record = provenance(
            case=self.name or case_id(self.images, volumes),
            model=setup.model,
            pipeline=setup.pipeline,
            inputs=inputs,
            resources=setup.resources,
        )
        if any(stage.demanded for stage in setup.pipeline.write):
            self._require_written(partial(lack_of_image, volume=volume))
        source = self._volume.source
        self._record["policy"] = asked(setup.policy)
        self._record["policies"] = list(source.policies) if source else []
        self._record["notes"] = list(source.decided) if source else []
        self._record["identity"] = setup.identity({part["name"]: part["sha256"] for part in inputs})

    @property
    def held_bytes(self) -> int:
        """What its images take."""
        return sum(image.array.nbytes for image in (self._volume, self._prepared) if image is not None)

    def prepare(self) -> None:
        """Take what was read through the steps before the segmenter."""
        assert self._volume is not None, "read() comes first"
        self._prepared = preprocess(
            self.setup.pipeline.preprocess, self._volume, room=self._make_room, watch=self._watch
        )

    def segment(self, predictor: Predictor) -> None:
        """Segment what was prepared, which is then forgotten, and refine the scores."""
        assert self._volume is not None, "read() comes first"
        assert self._prepared is not None, "prepare() comes first"
        prepared, self._prepared = self._prepared, None
        self._prediction = predict(
            self.setup.pipeline,
            prepared,
            predictor,
            onto=self._volume.grid,
            afford=self._afford,
            watch=self._watch,
        )
        self._prediction = refine(
            self.setup.pipeline, prepared, self._prediction, room=self._make_room, watch=self._watch
        )
        self._record["used"] = dict(self._prediction.used)

    def measure(self) -> Result:
        """Improve and measure what was found."""
        assert self._volume is not None, "read() comes first"
        assert self._prediction is not None, "segment() comes first"
        volume, self._volume = self._volume, None
        prediction, self._prediction = self._prediction, None
        found = measure(self.setup.pipeline, volume, prediction, room=self._make_room, watch=self._watch)
        prediction, segmentation, measurements = found
        return Result(
            case_id=self._record["case"],
            volume=volume,
            prediction=prediction,
            segmentation=segmentation,
            measurements=measurements,
            provenance=self._record,
        )

    def walk(self, predictor: Predictor) -> Result:
        """Prepare, segment and measure what was read."""
        self.prepare()
        self.segment(predictor)
        return self.measure()

    def publish(self, result: Result, folder: Path) -> Result:
        """Write every file, `run.json` last."""
        record, pipeline = self._record, self.setup.pipeline
        record["left_out"] = self._require_written(partial(lack, result=result))
        paths = write_files(pipeline.write, result, folder, room=self._make_room, watch=self._watch)
        record["notes"] += self._passed()
        record["used"]["peak_memory_mb"] = highest_bytes() >> 20
        record["outputs"] = {str(path.relative_to(folder)): sha256_of(path) for path in paths}
        record["steps"] = self.journal.steps
        record["started"] = self.journal.started.isoformat(timespec="seconds")
        record["seconds"] = round(self.journal.seconds, 3)
        write_run_json(folder, record)
        return result

    def _require_written(self, lack: Callable[[Stage[Writer]], str | None]) -> dict[str, str]:
        """What each writer lacks that cannot write; raises InputError for one that the user named."""
        write = self.setup.pipeline.write
        missing = {}
        for stage, what in zip(write, lacks(write, lack), strict=True):
            if what is not None and stage.demanded:
                raise InputError(f"writer {stage.name!r} needs {what}")
            if what is not None:
                missing[stage.name] = what
        return missing

    def _watch(self, stage: Stage[Step]) -> AbstractContextManager[None]:
        return self.journal.step(stage.place, stage.name)

    def _make_room(self, count: int) -> None:
        """Refuse a step that would take so many bytes more than the limit leaves."""
        limit = self.setup.resources.max_memory_bytes
        if limit is not None and resident_bytes() + count > limit:
            release_freed_memory()
            self._require(resident_bytes() + count, limit)

    def _afford(self, plan: Plan) -> None:
        """Note the predictor's plan; refuse before it runs what memory cannot hold."""
        if not plan.resident_bytes:
            plan = replace(plan, resident_bytes=resident_bytes())
        self._record["plan"] = plan.as_json()
        limit = self.setup.resources.max_memory_bytes
        self._require(plan.total_bytes, plan.resident_bytes + available_bytes() if limit is None else limit)

    def _require(self, needed: int, usable: int) -> None:
        """Refuse what is not to be had; the number is enough for what was foretold of other steps, too."""
        if needed > usable:
            limited = self.setup.resources.max_memory_bytes is not None
            most = max(needed, self._foreseen)
            raise too_little("this needs", needed=most, usable=usable, limited=limited)

    def _passed(self) -> list[str]:
        """What passed the limit all the same, a line each: what a step takes was not foretold, or wrongly."""
        limit = self.setup.resources.max_memory_bytes
        if limit is None:
            return []
        steps = [
            (f"{each['step']}: {each['component']}", each["peak_memory_mb"] << 20)
            for each in self.journal.steps
        ]
        return [*self.setup.passed, *(overrun(where, peak, limit) for where, peak in steps if peak > limit)]


def overrun(where: str, peak: int, limit: int) -> str:
    """The line that says where a limit was not kept."""
    return f"peak {peak / 1e9:.2f} GB passed the limit of {limit / 1e9:.2f} GB in {where}"


@contextmanager
def processors(threads: int | None) -> Iterator[None]:
    """Keep this thread, and those it starts, to so many processors; where the system can (Linux)."""
    if threads is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def memory_as_resource() -> Iterator[None]:
    """Say "out of memory" in one line, with the step if it is known."""
    try:
        yield
    except MemoryError as problem:
        where = "; ".join(getattr(problem, "__notes__", ())) or "reading"
        raise ResourceError(f"out of memory in {where}; free memory or give a smaller image") from problem
