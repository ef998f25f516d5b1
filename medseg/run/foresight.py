"""What a run would take, told from headers: nothing is read in full, run or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from medseg.io import STRICT, Policy
from medseg.memory import available_bytes, promised, resident_bytes
from medseg.pipeline import blamed
from medseg.prediction import Plan, Resources
from medseg.run.budget import outlined, prepared_outline, require_room
from medseg.run.case import Setup, memory_as_resource, processors
from medseg.run.chosen import prepare
from medseg.run.inputs import Image, match
from medseg.volume import Grid

__all__ = ["Foreseen", "foresee"]


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
    write: str | None = None,
) -> Foreseen:
    """Plan a case without running it; the model is loaded, and computes one empty window to be measured.

    Takes what `segment` takes, and raises what it would raise before it runs: among others InputError for a
    wrong modality, ResourceError where memory cannot do.
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
    named = match(pipeline.inputs, images, inputs or {})
    outline = outlined(
        pipeline.inputs, named, force_modality=force_modality, pixel_size=pixel_size, policy=policy
    )
    image, prepared = outline.volume, prepared_outline(pipeline, outline.volume)
    arrays = image.array.nbytes - outline.held_bytes + prepared.array.nbytes
    limit = setup.resources.max_memory_bytes
    with ExitStack() as stack:
        stack.enter_context(memory_as_resource())
        stack.enter_context(processors(setup.resources.threads))
        predictor = stack.enter_context(setup.opened())
        if limit is not None:
            require_room(pipeline, outline, predictor, limit=limit)
        stack.enter_context(blamed(pipeline.segment))
        stack.enter_context(promised(arrays))
        plan = predictor.plan(prepared.grid, onto=image.grid, wanted=pipeline.wanted)
        held = resident_bytes() + arrays
    if not plan.resident_bytes:
        plan = replace(plan, resident_bytes=held)
    return Foreseen(image.grid, prepared.grid, plan, limit or available_bytes() + held - arrays)
