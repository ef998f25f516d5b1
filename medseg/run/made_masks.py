"""Masks made elsewhere, measured on the image that they were drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medseg.assemble import require_labels, stages_named
from medseg.errors import GeometryError, InputError
from medseg.io import STRICT, Policy
from medseg.io.atomic import staged_folder
from medseg.io.masks import read_segmentation
from medseg.io.masks.objects import ids_of, may_be_ids
from medseg.pipeline import Input, Stage, blamed, lack, write
from medseg.plugin.catalog import Catalog, discover
from medseg.prediction import Measured, Prediction, Result
from medseg.run.case import memory_as_resource
from medseg.run.inputs import Image, case_id, read_inputs
from medseg.run.provenance import (
    Journal,
    Listener,
    asked,
    describe_input,
    environment,
    maker,
    sha256_of,
    write_run_json,
)
from medseg.segmentation import Segmentation
from medseg.steps import Measurement, Writer
from medseg.volume import Volume

__all__ = ["DEFAULT_MEASURE", "measure_mask", "measurements_named"]

DEFAULT_MEASURE = "volumes, shape, diameters, lesions, quality"
OF_PICTURES = "volumes, diameters, lesions, quality"  # and of images in pixels: no surface
OF_OBJECTS = "volumes, objects, quality"  # diameters and surface of all together say nothing
WRITE = "csv, json, preview"
NAME = "image"


def measurements_named(text: str, catalog: Catalog | None = None) -> tuple[Stage[Measurement], ...]:
    """The measurements of a list as a pipeline file would write it; see `stages_named`."""
    return stages_named(Measurement, "measure", text, catalog or discover(), like=DEFAULT_MEASURE)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What one run was asked for; `measure` of None means what suits the image."""

    measure: tuple[Stage[Measurement], ...] | None
    write: tuple[Stage[Writer], ...]
    catalog: Catalog
    policy: Policy
    labels: tuple[str, ...] | None
    objects: str | None


def measure_mask(  # noqa: PLR0913 - the front door: all but image and mask are named
    image: Image,
    mask: str | Path,
    *,
    out: str | Path | None = None,
    measure: str | None = None,
    labels: Sequence[str] | None = None,
    objects: str | None = None,
    overwrite: bool = False,
    pixel_size: float | None = None,
    policy: Policy = STRICT,
    case: str | None = None,
    listener: Listener | None = None,
) -> Result:
    """Measure a mask made elsewhere on its image; with `out`, write tables, a picture and `run.json` there.

    Args:
        image: path or Volume that the mask belongs to.
        mask: a file in any format of masks that medseg reads.
        out: folder to publish into; it appears complete or not at all.
        measure: measurements as a pipeline file would list them; None for what suits the image.
        labels: names of the labels to which the results are limited; None for all.
        objects: label of which the mask's values are objects' ids; None where the mask says what it holds.
        overwrite: replace a folder that an earlier run wrote.
        pixel_size: millimetres per pixel of a picture without a scale.
        policy: what is made of a doubtful geometry, and which series is meant.
        case: name of the case in the results; by default the image's first file's, or a hash for DICOM.
        listener: called as `listener(step, component, seconds)`; seconds is None when a step starts.

    Raises:
        InputError: a file cannot be read, or the mask lies outside the image.
        PipelineError, ResourceError, UsageError: see `medseg.errors`; nothing is left in `out`.
    """
    catalog = discover()
    ask = _Asked(
        measure=None if measure is None else measurements_named(measure, catalog),
        write=stages_named(Writer, "write", WRITE, catalog, like=WRITE),
        catalog=catalog,
        policy=policy,
        labels=None if labels is None else tuple(dict.fromkeys(labels)),
        objects=objects,
    )
    journal = Journal(listener)
    with memory_as_resource():
        staged = nullcontext() if out is None else staged_folder(Path(out), overwrite=overwrite)
        with staged as folder:
            result = _measured(ask, image, Path(mask), journal, pixel_size=pixel_size, case=case)
            if folder is not None:
                _publish(ask, result, folder, journal)
            return result


def _measured(
    ask: _Asked, image: Image, mask: Path, journal: Journal, *, pixel_size: float | None, case: str | None
) -> Result:
    """Read, limit and measure; the record of it is the result's provenance."""
    notes: list[str] = []
    with journal.step("read", NAME):
        volumes = read_inputs(
            [Input(NAME)], {NAME: image}, force_modality=True, pixel_size=pixel_size, policy=ask.policy
        )
    volume = volumes[NAME]
    with journal.step("read", "mask"):
        segmentation = _read_mask(mask, volume, notes, ask.objects)
    if ask.labels is not None:
        segmentation = segmentation.only(ask.labels)
    if volume.source is not None:  # every output repeats what was decided
        source = volume.source
        volume = volume.replace(source=replace(source, decided=(*source.decided, *notes)))
    flat = volume.is_picture or volume.grid.unit != "mm"
    fits = OF_PICTURES if flat else DEFAULT_MEASURE
    if "objects" in segmentation.kinds:
        fits = OF_OBJECTS if set(segmentation.kinds) == {"objects"} else f"{fits}, objects"
    steps = measurements_named(fits, ask.catalog) if ask.measure is None else ask.measure
    for stage in steps:
        require_labels(stage, segmentation.labels)
    prediction = Prediction(segmentation=segmentation)
    rows: list[Measured] = []
    for stage in steps:
        with journal.step(stage.place, stage.name), blamed(stage):
            found = stage.step(volume, segmentation, prediction)
            rows += Measurement.check(found, segmentation=segmentation)
    return Result(
        case_id=case or case_id({NAME: image}, volumes),
        volume=volume,
        prediction=prediction,
        segmentation=segmentation,
        measurements=tuple(rows),
        provenance=_record(ask, steps, volume, segmentation, mask),
    )


def _read_mask(mask: Path, onto: Volume, notes: list[str], objects: str | None) -> Segmentation:
    """The labels on the image's voxels, or the objects of one; what was decided on the way is noted."""
    try:
        found = read_segmentation(
            mask, onto=onto, tell=lambda line: notes.append(f"mask: {line}"), ids=objects is not None
        )
    except GeometryError as problem:  # raised with the mask's name
        raise InputError(str(problem)) from problem
    if objects is not None:
        return ids_of(objects, found)
    if may_be_ids(found.labels):
        notes.append("mask: its values have no names; if they are ids of objects, say --objects NAME")
    return found


def _record(
    ask: _Asked,
    steps: Sequence[Stage[Measurement]],
    volume: Volume,
    segmentation: Segmentation,
    mask: Path,
) -> dict[str, Any]:
    """What was measured, and by what; no paths, as they may hold a patient's name."""
    source = volume.source
    used = (*steps, *ask.write)
    return {
        **maker(),
        "measure": [dict(stage.written) for stage in steps],
        "write": [dict(stage.written) for stage in ask.write],
        "only": None if ask.labels is None else list(ask.labels),
        **({} if ask.objects is None else {"objects": ask.objects}),
        "plugins": {stage.distribution: stage.version for stage in used},
        "inputs": [describe_input(NAME, volume)],
        "mask": {
            "sha256": sha256_of(mask),
            "labels": {label.value: label.name for label in segmentation.labels},
        },
        "policy": asked(ask.policy),
        "policies": list(source.policies) if source else [],
        "notes": list(source.decided) if source else [],
        "environment": environment(),
    }


def _publish(ask: _Asked, result: Result, folder: Path, journal: Journal) -> None:
    """Write every file, `run.json` last."""
    missing = {stage.name: lacks for stage in ask.write if (lacks := lack(stage, result)) is not None}
    paths = write(ask.write, result, folder, watch=lambda stage: journal.step(stage.place, stage.name))
    write_run_json(
        folder,
        {
            **result.provenance,
            "case": result.case_id,
            "left_out": missing,
            "outputs": {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths},
            "steps": journal.steps,
            "started": journal.started.isoformat(timespec="seconds"),
            "seconds": round(journal.seconds, 3),
        },
    )
