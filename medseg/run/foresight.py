"""What a run would take, told from headers: nothing is read in full, run or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medseg.io import STRICT, Policy, foretell, inspect
from medseg.memory import available_bytes, promised, resident_bytes
from medseg.pipeline import Input, Pipeline, blamed
from medseg.prediction import Plan, Resources
from medseg.run.case import Setup, memory_as_resource, prepare, processors
from medseg.run.inputs import Image, match, policy_for, require_modality
from medseg.volume import Grid, Volume

__all__ = ["Foreseen", "foresee"]

READ_BYTES, PREPARED_BYTES = 4, 4  # of a voxel at most, in the image and as a segmenter takes it


@dataclass(frozen=True)
class Foreseen:
    """The image's grid, the grid that the segmenter gets, the plan, and what memory may be used for it.

    Where a step crops by what it sees, the grid is the largest it can be.
    """

    image: Grid
    prepared: Grid
    plan: Plan
    limit_bytes: int


def foresee(  # noqa: PLR0913 - takes what `segment` takes
    *images: Image,
    model: str | Path,
    inputs: Mapping[str, Image] | None = None,
    labels: Sequence[str] | None = None,
    force_modality: bool = False,
    pixel_size: float | None = None,
    policy: Policy = STRICT,
    resources: Resources | None = None,
) -> Foreseen:
    """Plan a case without running it; the model is loaded, and computes one empty window to be measured.

    Takes what `segment` takes, and raises what it would raise before it runs: among others InputError for a
    wrong modality, ResourceError where memory cannot do.
    """
    chosen, pipeline = prepare(model, labels=labels)
    setup = Setup(
        model=chosen,
        pipeline=pipeline,
        resources=resources or Resources(),
        force_modality=force_modality,
        pixel_size=pixel_size,
        policy=policy,
    )
    named = match(pipeline.inputs, images, inputs or {})
    grids = [_grid(spec, named[spec.name], setup) for spec in pipeline.inputs]
    image, prepared = grids[0], _prepared(pipeline, grids[0])
    channels = len(grids)
    arrays = channels * (
        READ_BYTES * int(np.prod(image.shape)) + PREPARED_BYTES * int(np.prod(prepared.shape))
    )
    with ExitStack() as stack:
        stack.enter_context(memory_as_resource())
        stack.enter_context(processors(setup.resources.threads))
        predictor = stack.enter_context(setup.opened())
        stack.enter_context(blamed(pipeline.segment))
        stack.enter_context(promised(arrays))
        plan = predictor.plan(prepared, onto=image, wanted=pipeline.wanted)
        held = resident_bytes() + arrays
    if not plan.resident_bytes:
        plan = replace(plan, resident_bytes=held)
    limit = setup.resources.max_memory_bytes or available_bytes() + held - arrays
    return Foreseen(image, prepared, plan, limit)


def _grid(spec: Input, image: Image, setup: Setup) -> Grid:
    """The grid of what `read_inputs` would read, and its refusals; from headers, as far as they tell it."""
    if isinstance(image, Volume):
        grid, modality = image.grid, image.source.modality if image.source else None
    else:
        grid, modality = _of_headers(image, policy_for(spec, setup.policy), setup)
    if not setup.force_modality:
        require_modality(spec, modality, image)
    return grid


def _of_headers(image: str | Path, policy: Policy, setup: Setup) -> tuple[Grid, str | None]:
    """Grid and modality of a file or folder; but for DICOM where the grid lies in space is left out.

    What headers alone do not settle, as one of several volumes in a file, is read.
    """
    candidates = inspect(image, pixel_size=setup.pixel_size)
    if any(candidate.format.startswith("DICOM") for candidate in candidates):
        told = foretell(image, policy=policy)
        return told.grid, told.modality
    (candidate,) = candidates
    policy = replace(policy, series=setup.policy.series)  # the pipeline's own is for DICOM only
    policy.require_use(candidate.format, image)
    if candidate.shape is None or candidate.spacing is None or not candidate.readable or policy.phase:
        told = foretell(image, policy=policy)
        return told.grid, told.modality
    grid = Grid(candidate.shape, np.diag([*candidate.spacing, 1.0]), candidate.unit)
    if candidate.axis_codes is not None and candidate.axis_codes != grid.axis_codes:
        grid = _standing(grid, candidate.axis_codes)
    return grid, candidate.modality


def _standing(grid: Grid, codes: str) -> Grid:
    """A grid of this shape and spacing whose axes run as `codes` say."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (code, step) in enumerate(zip(codes, grid.spacing, strict=True)):
        world = next(n for n, pair in enumerate(("LR", "PA", "IS")) if code in pair)
        matrix[world, axis] = step if code in "RAS" else -step
    return Grid(grid.shape, matrix, grid.unit)


def _prepared(pipeline: Pipeline, grid: Grid) -> Grid:
    for stage in pipeline.preprocess:
        with blamed(stage):
            grid = stage.step.foretold(grid)
    return grid
