"""What a case takes from reading to writing, told from headers before a voxel is read, against a limit."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import ResourceError
from medseg.inference.refining import least_bytes
from medseg.io import Policy, foretell, inspect
from medseg.io.verdict import Candidate
from medseg.memory import promised, release_freed_memory, resident_bytes, too_little
from medseg.pipeline import Input, Pipeline, Stage, blamed
from medseg.run.inputs import Image, policy_for, require_modality
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Measurement, Predictor, Preprocessor, Step, Writer
from medseg.volume import Grid, Volume

__all__ = ["Outline", "outlined", "prepared_outline", "require_room"]

INT16_AND_MASK = 3  # bytes of a voxel
FLOAT = np.dtype(np.float32)
SIMPLEITK_BYTES = 96 << 20  # with its threads
READERS_BYTES = 16 << 20  # beside the voxels: chunks of files, what reads them


@dataclass(frozen=True)
class Outline:
    """An image before it is read: `volume` has its shape and type, and no memory.

    `reading_bytes` is what reading takes at most, `held_bytes` what the process holds of it already.
    """

    volume: Volume
    reading_bytes: int
    held_bytes: int = 0


def outlined(
    inputs: Sequence[Input],
    images: Mapping[str, Image],
    *,
    force_modality: bool,
    pixel_size: float | None,
    policy: Policy,
) -> Outline:
    """What `read_inputs` would give, and its refusals, from headers as far as they tell it."""
    found = []
    for spec in inputs:
        outline, modality = _outlined(
            images[spec.name], policy_for(spec, policy), asked=policy, pixel_size=pixel_size
        )
        if not force_modality:
            require_modality(spec, modality, images[spec.name])
        found.append(outline)
    return found[0] if len(found) == 1 else _joined(found, tuple(spec.name for spec in inputs))


def _joined(found: Sequence[Outline], names: tuple[str, ...]) -> Outline:
    """Several images as channels of one, those of other grids resampled onto the first's."""
    first = found[0].volume
    moved = [each.volume for each in found[1:] if not _alike(each.volume.grid, first.grid)]
    kinds = {each.volume.array.dtype for each in found} | ({FLOAT} if moved else set())
    joined = _empty((len(found), *first.grid.shape), np.result_type(*kinds))
    channel = joined.nbytes // len(found)
    read = sum(each.reading_bytes for each in found)
    # each of the others once as resampled; then all of them in one type, and side by side
    at_work = max((2 * FLOAT.itemsize * each.array.size + 2 * channel for each in moved), default=0)
    libraries = SIMPLEITK_BYTES if moved and "SimpleITK" not in sys.modules else 0
    most = read + len(moved) * channel + max(at_work, 2 * joined.nbytes) + libraries
    return Outline(Volume(joined, first.grid, names), reading_bytes=most)


def _alike(one: Grid, other: Grid) -> bool:
    """Whether two grids may be the same, of which headers say no more than shape and spacing."""
    return one.shape == other.shape and np.allclose(one.spacing, other.spacing, rtol=1e-4)


def require_room(pipeline: Pipeline, outline: Outline, predictor: Predictor, *, limit: int) -> int:
    """What the process will have at most; raises ResourceError where that is more than `limit` bytes.

    The refusal names the first step that would pass the limit, and a number that is enough for all of them.
    """
    needs = list(_needs(pipeline, outline, predictor))
    most = max(count for _, count in needs)
    for stage, count in needs:
        if count > limit:
            refusal = too_little("this needs", needed=most, usable=limit, limited=True)
            refusal.add_note("read" if stage is None else str(stage))
            raise refusal
    return most


def _needs(
    pipeline: Pipeline, outline: Outline, predictor: Predictor
) -> Iterator[tuple[Stage[Step] | None, int]]:
    """Each step, None for reading, with what the process will have at most when it is at work."""
    release_freed_memory()
    before = resident_bytes() - outline.held_bytes
    image, loaded = outline.volume, dict[str, int]()
    yield pipeline.segment, resident_bytes()  # opened, before anything is read
    yield None, before + outline.reading_bytes + READERS_BYTES
    prepared = image
    for stage in pipeline.preprocess:
        held = before + _bytes(image, prepared) + _with_libraries(stage, loaded)
        with blamed(stage):
            yield stage, held + stage.step.work_bytes(prepared)
        prepared = _after(stage, prepared)
    arrays = _bytes(image, prepared) + sum(loaded.values()) - outline.held_bytes
    yield pipeline.segment, _segmenting(pipeline, prepared, image.grid, predictor, arrays)
    found = _segmentation(pipeline.labels, image.grid)
    if pipeline.refine:
        libraries = max(_with_libraries(stage, loaded) for stage in pipeline.refine)
        held = before + _bytes(image, prepared) + found.array.nbytes + _kept(pipeline, prepared.grid)
        yield pipeline.refine[0], held + libraries + _refining(pipeline, prepared)
    copies = 1 + bool(pipeline.postprocess) + bool(pipeline.only)
    before += image.array.nbytes + copies * found.array.nbytes + _kept(pipeline, prepared.grid)
    for improve in pipeline.postprocess:
        held = before + _with_libraries(improve, loaded)
        with blamed(improve):
            yield improve, held + improve.step.work_bytes(found, image)
    after: tuple[Stage[Measurement] | Stage[Writer], ...] = (*pipeline.measure, *pipeline.write)
    for later in after:
        held = before + _with_libraries(later, loaded)
        with blamed(later):
            yield later, held + later.step.work_bytes(image, found)


def _with_libraries(stage: Stage[Step], loaded: dict[str, int]) -> int:
    """The libraries that are loaded once a step is at work, those of the steps before it included."""
    loaded |= {name: size for name, size in stage.step.libraries.items() if name not in sys.modules}
    return sum(loaded.values())


def prepared_outline(pipeline: Pipeline, volume: Volume) -> Volume:
    """What the steps before the segmenter make of a volume, at most: its shape and type, and no memory."""
    for stage in pipeline.preprocess:
        volume = _after(stage, volume)
    return volume


def _after(stage: Stage[Preprocessor], volume: Volume) -> Volume:
    with blamed(stage):
        grid = stage.step.foretold(volume.grid)
    return Volume(_empty((len(volume.channels), *grid.shape), FLOAT), grid, volume.channels)


def _segmenting(pipeline: Pipeline, prepared: Volume, onto: Grid, predictor: Predictor, arrays: int) -> int:
    """What the segmenter takes in the way that it would choose, or at least, where there is no way."""
    with blamed(pipeline.segment), promised(arrays):
        try:
            plan = Predictor.check_plan(predictor.plan(prepared.grid, onto=onto, wanted=pipeline.wanted))
        except ResourceError as problem:
            if not problem.needed_bytes:
                raise
            return problem.needed_bytes
        return plan.total_bytes if plan.resident_bytes else resident_bytes() + arrays + plan.peak_bytes


def _refining(pipeline: Pipeline, prepared: Volume) -> int:
    """What refining takes at least, in the thinnest parts, of the scores of all labels and a background."""
    channels = 1 + len(pipeline.labels)
    return least_bytes(
        channels,
        prepared.grid,
        prepared,
        margin_mm=pipeline.margin_mm,
        work=pipeline.refining_bytes,
    )


def _kept(pipeline: Pipeline, grid: Grid) -> int:
    """What is kept of a prediction beside its labels: maps, in single precision on the segmenter's grid."""
    return FLOAT.itemsize * len(pipeline.wanted.reductions) * math.prod(grid.shape)


def _segmentation(labels: LabelTable, grid: Grid) -> Segmentation:
    highest = max((label.value for label in labels), default=0)
    return Segmentation(_empty((labels.layers, *grid.shape), np.min_scalar_type(highest)), grid, labels)


def _bytes(image: Volume, prepared: Volume) -> int:
    return image.array.nbytes + (0 if prepared is image else prepared.array.nbytes)


def _empty(shape: Sequence[int], kind: np.dtype[Any]) -> NDArray[Any]:
    """An array of zeros that takes no memory: all its voxels are one."""
    return np.broadcast_to(np.zeros((), kind), shape)


# ---- from headers


def _outlined(
    image: Image, policy: Policy, *, asked: Policy, pixel_size: float | None
) -> tuple[Outline, str | None]:
    """One image and its modality; of formats other than DICOM where it lies in space is left out.

    What headers alone do not settle, as one of several volumes in a file, is read. The series that
    `policy` names may be the pipeline's choice, which is for DICOM only; `asked` has the user's own.
    """
    if isinstance(image, Volume):
        own = image.source.modality if image.source else None
        return Outline(image, reading_bytes=0, held_bytes=image.array.nbytes), own
    candidates = inspect(image, pixel_size=pixel_size)
    if any(candidate.format.startswith("DICOM") for candidate in candidates):
        told = foretell(image, policy=policy)
        return _dicom(candidates, told.grid), told.modality
    (candidate,) = candidates
    replace(policy, series=asked.series).require_use(candidate.format, image)
    if candidate.shape is None or candidate.spacing is None or not candidate.readable or policy.phase:
        told = foretell(image, policy=policy)
        return _of(candidate, told.grid), told.modality
    return _of(candidate, _grid(candidate)), candidate.modality


def _of(candidate: Candidate, grid: Grid) -> Outline:
    """A file that is no DICOM, on this grid."""
    voxels = candidate.channels * math.prod(grid.shape)
    kind = np.dtype(candidate.dtype)
    if candidate.reading_bytes > kind.itemsize * voxels * 5 // 4:  # they are scaled
        kind = np.dtype(np.float64 if kind.itemsize >= 4 else np.float32)
    names = (
        ("image",) if candidate.channels == 1 else tuple(f"channel-{n}" for n in range(candidate.channels))
    )
    return Outline(Volume(_empty((len(names), *grid.shape), kind), grid, names), candidate.reading_bytes)


def _dicom(candidates: Sequence[Candidate], grid: Grid) -> Outline:
    """A series on this grid, which may be another than its slices': then both are there for a while."""
    voxels = math.prod(grid.shape)
    own = [each.reading_bytes for each in candidates if each.shape == grid.shape]
    others = max(each.reading_bytes for each in candidates)
    read = max(own) if own else others + INT16_AND_MASK * voxels
    kind = np.int16 if max(own, default=0) <= INT16_AND_MASK * voxels else np.float32
    return Outline(Volume(_empty((1, *grid.shape), np.dtype(kind)), grid), read)


def _grid(candidate: Candidate) -> Grid:
    """The grid of a header; where it lies in space is left out."""
    assert candidate.shape is not None
    assert candidate.spacing is not None
    grid = Grid(candidate.shape, np.diag([*candidate.spacing, 1.0]), candidate.unit)
    if candidate.axis_codes is None or candidate.axis_codes == grid.axis_codes:
        return grid
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (code, step) in enumerate(zip(candidate.axis_codes, grid.spacing, strict=True)):
        world = next(n for n, pair in enumerate(("LR", "PA", "IS")) if code in pair)
        matrix[world, axis] = step if code in "RAS" else -step
    return Grid(grid.shape, matrix, grid.unit)
