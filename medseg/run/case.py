"""One case, from its files to its published folder: read, walk, write, and what was done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from medseg.assemble import assemble
from medseg.errors import PipelineError, PluginError, ResourceError
from medseg.io.atomic import staged_folder
from medseg.model import Model, find_model
from medseg.pipeline import Pipeline, Stage, blamed, lack, walk, write
from medseg.plugin.catalog import Catalog, discover
from medseg.prediction import Plan, Resources, Result
from medseg.run.inputs import Image, case_id, join, match, read_inputs
from medseg.run.provenance import Journal, Listener, describe_input, provenance, sha256_of, write_run_json
from medseg.steps import Predictor, Step
from medseg.volume import Volume

__all__ = ["prepare", "segment"]


def segment(  # noqa: PLR0913 - the front door: all but the images are named
    *images: Image,
    model: str | Path,
    inputs: Mapping[str, Image] | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    force_modality: bool = False,
    pixel_size: float | None = None,
    resources: Resources | None = None,
    listener: Listener | None = None,
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
        resources: device, memory, threads and seed; by default the CPU and what the machine has.
        listener: called as `listener(step, component, seconds)`; seconds is None when a step starts.

    Raises:
        InputError, PipelineError, ResourceError, UsageError: see `medseg.errors`; nothing is left in `out`.
    """
    chosen, pipeline = prepare(model)
    matched = match(pipeline.inputs, images, inputs or {})
    case = _Case(chosen, pipeline, matched, resources or Resources(), Journal(listener))
    with _memory_as_resource(), _processors((resources or Resources()).threads):
        staged = nullcontext() if out is None else staged_folder(Path(out), overwrite=overwrite)
        with staged as folder:
            return case.run(folder, force_modality=force_modality, pixel_size=pixel_size)


def prepare(model: str | Path, catalog: Catalog | None = None) -> tuple[Model, Pipeline]:
    """Find a model and assemble its pipeline; reads no volume and loads no weights."""
    installed = catalog or discover()
    chosen = find_model(model, installed)
    try:
        return chosen, assemble(chosen.file, installed, folder=chosen.folder)
    except PipelineError as problem:
        raise type(problem)(f"{chosen.path}: {problem}") from problem


class _Case:
    """One case on its way through a pipeline."""

    def __init__(
        self,
        model: Model,
        pipeline: Pipeline,
        images: Mapping[str, Image],
        resources: Resources,
        journal: Journal,
    ) -> None:
        self.model = model
        self.pipeline = pipeline
        self.images = images
        self.resources = resources
        self.journal = journal

    def run(self, folder: Path | None, *, force_modality: bool, pixel_size: float | None) -> Result:
        """Read, walk, and write into `folder` where one is given."""
        with self.journal.step("read", ", ".join(self.images)):
            volumes = read_inputs(
                self.pipeline.inputs, self.images, force_modality=force_modality, pixel_size=pixel_size
            )
            volume = join(volumes)
        record = provenance(
            case=case_id(self.images, volumes),
            model=self.model,
            pipeline=self.pipeline,
            inputs=[describe_input(name, part) for name, part in volumes.items()],
            resources=self.resources,
        )
        del volumes
        with self._opened() as predictor:
            self._afford(predictor, volume)
            prediction, segmentation, measurements = walk(self.pipeline, volume, predictor, watch=self._watch)
        record["used"] = dict(prediction.used)
        result = Result(
            case_id=record["case"],
            volume=volume,
            prediction=prediction,
            segmentation=segmentation,
            measurements=measurements,
            provenance=record,
        )
        return result if folder is None else self._publish(result, record, folder)

    def _publish(self, result: Result, record: dict[str, Any], folder: Path) -> Result:
        """Write every file, `run.json` last."""
        record["left_out"] = {
            stage.name: missing
            for stage in self.pipeline.write
            if (missing := lack(stage, result.volume)) is not None
        }
        paths = write(self.pipeline, result, folder, watch=self._watch)
        record["outputs"] = {str(path.relative_to(folder)): sha256_of(path) for path in paths}
        record["steps"] = self.journal.steps
        record["started"] = self.journal.started.isoformat(timespec="seconds")
        record["seconds"] = round(self.journal.seconds, 3)
        write_run_json(folder, record)
        return result

    def _watch(self, stage: Stage[Step]) -> AbstractContextManager[None]:
        return self.journal.step(stage.place, stage.name)

    @contextmanager
    def _opened(self) -> Iterator[Predictor]:
        """Open the segmenter, once; a failure to do so names its plugin."""
        with ExitStack() as stack:
            with blamed(self.pipeline.segment):
                predictor = stack.enter_context(self.pipeline.segment.step.open(self.resources))
                if not isinstance(predictor, Predictor):
                    raise PluginError(f"open() gave {type(predictor).__name__}, not a Predictor")
            yield predictor

    def _afford(self, predictor: Predictor, volume: Volume) -> None:
        """Refuse before the work begins what the machine's or the user's memory cannot hold."""
        wanted = self.pipeline.wanted
        with blamed(self.pipeline.segment):
            plan = predictor.plan(volume.grid, onto=volume.grid, wanted=wanted)
            if not isinstance(plan, Plan):
                raise PluginError(f"plan() returned {type(plan).__name__}, not a Plan")
        limit = self.resources.max_memory_bytes or _available_bytes()
        if limit is not None and plan.peak_bytes > limit:
            raise ResourceError(
                f"segmenting {volume.grid!r} needs about {plan.peak_bytes / 1e9:.1f} GB, "
                f"and {limit / 1e9:.1f} GB may be used; free memory or give a smaller field of view"
            )


@contextmanager
def _processors(threads: int | None) -> Iterator[None]:
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


def _available_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


@contextmanager
def _memory_as_resource() -> Iterator[None]:
    """Say "out of memory" in one line, with the step if it is known."""
    try:
        yield
    except MemoryError as problem:
        where = "; ".join(getattr(problem, "__notes__", ())) or "reading"
        raise ResourceError(f"out of memory in {where}; free memory or give a smaller image") from problem
