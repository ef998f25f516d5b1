"""What every plugin must keep to, as checks that its author can run.

    from medseg.testing.contracts import check_plugin

    def test_contract() -> None:
        check_plugin("medseg-ct")

`medseg plugins check` runs the same.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.assemble import assemble, component_class, component_schema, holds_steps
from medseg.config import describe
from medseg.errors import InputError, MedsegError, PipelineError, PluginError, in_one_line
from medseg.model import find_model
from medseg.plugin.catalog import Catalog, Entry, Fault, discover, normalised
from medseg.prediction import Prediction, Resources, Result, Scores, Wanted
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import (
    Head,
    Measurement,
    Network,
    Postprocessor,
    Predictor,
    Preprocessor,
    Refiner,
    Segmenter,
    Step,
    Writer,
)
from medseg.testing.known_image import known_image, known_objects, twice
from medseg.testing.training_contracts import run_augmentation, run_loss, run_metric
from medseg.volume import Grid

__all__ = ["Finding", "check_plugin", "check_plugins"]

SAME_OBJECT = 0.9  # intersection over union


@dataclass(frozen=True)
class Finding:
    """What was found of one component, or of a plugin as a whole: `problem` is empty where all is well."""

    what: str
    problem: str = ""
    traceback: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.problem or 'ok'}{f' ({self.note})' if self.note else ''}"

    def as_json(self) -> dict[str, str]:
        """The finding as plain data."""
        return asdict(self)


def check_plugin(distribution: str) -> None:
    """Fail with every fault of a distribution's plugin, one a line; for a plugin's own tests."""
    problems = [str(finding) for finding in check_plugins(discover(), distribution) if finding.problem]
    if problems:
        raise AssertionError("\n".join(problems))


def check_plugins(catalog: Catalog, distribution: str | None = None) -> tuple[Finding, ...]:
    """Load every component (of one distribution, or of all) and hold it against the contract of its kind.

    Raises PipelineError where the distribution offers nothing.
    """
    faults = [fault for fault in catalog.faults if _is(fault, distribution)]
    entries = [entry for entry in catalog.entries if _is(entry, distribution)]
    if not faults and not entries:
        raise PipelineError(f"no installed distribution called {distribution!r} offers medseg plugins")
    return (*map(_faulty, faults), *(_checked(entry, catalog) for entry in entries))


def _is(found: Fault | Entry, distribution: str | None) -> bool:
    return distribution is None or normalised(found.distribution) == normalised(distribution)


def _faulty(fault: Fault) -> Finding:
    trace = "".join(traceback.format_exception(fault.exception)) if fault.exception else ""
    return Finding(f"{fault.distribution} {fault.version}", fault.problem, trace)


def _checked(entry: Entry, catalog: Catalog) -> Finding:
    what = f"{entry.qualified} ({entry.kind})"
    try:
        note = _check_model(entry, catalog) if entry.kind == "model" else _check_component(entry)
    except MedsegError as problem:
        cause = problem.__cause__
        trace = "" if cause is None else "".join(traceback.format_exception(cause))
        return Finding(what, " ".join(str(problem).split()), trace)
    except (Exception, SystemExit) as problem:  # noqa: BLE001 - foreign code runs here
        reason = in_one_line(problem)
        return Finding(what, f"raised {reason}", "".join(traceback.format_exception(problem)))
    return Finding(what, note=note)


def _check_model(entry: Entry, catalog: Catalog) -> str:
    model = find_model(entry.qualified, catalog)
    assemble(model.file, catalog, folder=model.folder)
    return ""


def _check_component(entry: Entry) -> str:
    """The class, its documentation, and a run on a small image where its parameters all have defaults."""
    kind = component_class(entry)
    if not (kind.__doc__ or "").strip():
        raise PluginError(f"{kind.__name__} has no docstring")
    bare = [name for name, field in kind.model_fields.items() if not field.description]
    if bare:
        raise PluginError(f"parameters without a docstring under them: {', '.join(bare)}")
    if not kind.model_config.get("frozen") or kind.model_config.get("extra") != "forbid":
        raise PluginError("its model_config lets parameters change, or takes unknown ones without a word")
    component_schema(kind)
    needed = [name for name, field in kind.model_fields.items() if field.is_required()]
    if needed:
        return f"not run: {', '.join(needed)} must be given"
    try:
        step = kind()
    except ValidationError as problem:  # parameters of which one or another must be given
        return f"not run without parameters: {describe(problem, kind)}"
    steps = {n: getattr(step, n) for n, field in kind.model_fields.items() if holds_steps(field.annotation)}
    if kind.model_validate({**step.model_dump(mode="json", exclude=set(steps)), **steps}) != step:
        raise PluginError("its parameters do not survive being written to a file and read again")
    return _RUNS[entry.kind](step)


def _check_wants(declared: object) -> None:
    if not isinstance(declared, Wanted):
        raise PluginError(f"wants {type(declared).__name__}, not a Wanted")


def _run_preprocessor(step: Step) -> str:
    assert isinstance(step, Preprocessor)
    volume, _ = known_image()
    first, second = twice(lambda: Preprocessor.check(step(volume)), volume.array)
    if not np.array_equal(first.array, second.array):
        raise PluginError("gave two different images for one input")
    return ""


def _run_segmenter(step: Step) -> str:
    assert isinstance(step, Segmenter)
    volume, _ = known_image()
    labels = step.labels()
    if labels is not None and not isinstance(labels, LabelTable):
        raise PluginError(f"labels() returned {type(labels).__name__}, not a LabelTable")
    try:
        with step.open(Resources()) as predictor:
            if not isinstance(predictor, Predictor):
                raise PluginError(f"open() gave {type(predictor).__name__}, not a Predictor")
            Predictor.check_plan(predictor.plan(volume.grid, onto=volume.grid, wanted=Wanted()))
            twice(
                lambda: Predictor.check(
                    predictor(volume, onto=volume.grid, wanted=Wanted()), onto=volume.grid, labels=labels
                ),
                volume.array,
            )
    except InputError as refusal:
        return f"refused the test image: {refusal}"
    return ""


def _run_refiner(step: Step) -> str:
    """Scores of a known segmentation that are not sure of themselves, under both meanings of channels."""
    assert isinstance(step, Refiner)
    volume, segmentation = known_image()
    masks = np.stack([segmentation.mask(label.name) for label in segmentation.labels])
    sigmoid = np.where(masks, 2.0, -2.0).astype(np.float32)
    softmax = np.concatenate([-sigmoid.max(axis=0, keepdims=True), sigmoid])
    if not step.margin_mm >= 0:
        raise PluginError(f"margin_mm is {step.margin_mm}, not a length")
    for scores in (
        Scores(softmax, volume.grid, "logits", "softmax"),
        Scores(sigmoid, volume.grid, "logits", "sigmoid"),
    ):
        results = twice(partial(step, scores, volume), scores.array, volume.array)
        first, second = (Refiner.check(result, like=scores) for result in results)
        if not np.array_equal(first.array, second.array):
            raise PluginError("gave two different results for one input")
        here = Refiner.check(step.on("cpu")(scores, volume), like=scores)
        if not np.array_equal(first.array, here.array):
            raise PluginError('on("cpu") gives another result than the step itself')
    return ""


def _run_postprocessor(step: Step) -> str:
    assert isinstance(step, Postprocessor)
    volume, segmentation = known_image()
    first, second = twice(
        lambda: Postprocessor.check(step(segmentation, volume), onto=volume.grid),
        segmentation.array,
        volume.array,
    )
    if not np.array_equal(first.array, second.array):
        raise PluginError("gave two different masks for one input")
    return ""


def _run_measurement(step: Step) -> str:
    assert isinstance(step, Measurement)
    _check_wants(step.wants)
    volume, segmentation = known_image()
    prediction = Prediction(segmentation=segmentation)
    first, second = twice(
        lambda: Measurement.check(step(volume, segmentation, prediction), segmentation=segmentation),
        segmentation.array,
        volume.array,
    )
    if first != second:
        raise PluginError("measured two different results for one input")
    return ""


def _run_writer(step: Step) -> str:
    assert isinstance(step, Writer)
    _check_wants(step.wants)
    for kind in ("after", "mentions"):
        named: object = getattr(step, kind)
        if not isinstance(named, tuple) or not all(isinstance(name, str) for name in named):
            raise PluginError(f"{kind} is {named!r}, not a tuple of names")
    if step.after:
        return f"not run: refers to files of {', '.join(step.after)}"
    volume, segmentation = known_image()
    prediction = Prediction(segmentation=segmentation)
    lack = step.needs(volume) or prediction.lacks(step.wants)
    if lack is not None:
        return f"not run: {lack}"
    result = Result(
        case_id="check",
        volume=volume,
        prediction=prediction,
        segmentation=segmentation,
        measurements=(),
        provenance={},
    )
    with tempfile.TemporaryDirectory() as folder:
        if not Writer.check(step(result, Path(folder)), folder=Path(folder)):
            raise PluginError("wrote nothing")
    return ""


def _run_network(step: Step) -> str:
    """Build it in every number of axes it has, and see what comes out of two patches of different sizes."""
    assert isinstance(step, Network)
    import torch

    built = []
    for dims in (2, 3):
        try:
            divisor = step.divisor(dims=dims)
            module = step.build(dims=dims, inputs=2, outputs=3).eval()
        except (ValueError, PipelineError) as refusal:
            built.append(f"not in {dims}-D: {refusal}")
            continue
        if len(divisor) != dims or min(divisor) < 1:
            raise PluginError(f"divisor() gave {divisor} for {dims} axes")
        for times in (2, 3):
            patch = [times * n for n in divisor]
            with torch.inference_mode():
                logits: object = module(torch.zeros(1, 2, *patch))
            if not isinstance(logits, torch.Tensor) or list(logits.shape) != [1, 3, *patch]:
                shape = list(getattr(logits, "shape", ()))
                raise PluginError(
                    f"gave {type(logits).__name__} {shape} for a patch of {patch} and 3 outputs"
                )
    if len(built) == 2:
        raise PluginError(f"can be built neither in 2-D nor in 3-D: {'; '.join(built)}")
    return "; ".join(built)


def _run_head(step: Step) -> str:
    """Decode the ideal output of a known segmentation: the same labels and objects must come back."""
    assert isinstance(step, Head)
    segmentation = known_objects() if step.of_objects else known_image()[1]
    labels = segmentation.labels
    channels = step.channels(labels)
    target = step.target(segmentation)
    if target.shape != (channels, *segmentation.grid.shape):
        raise PluginError(
            f"target() has shape {target.shape} for {channels} channels on {segmentation.grid!r}"
        )
    found = _decoded(step, labels, step.logits(target), segmentation.grid)
    if step.of_objects:
        _require_objects(found, segmentation)
    else:
        for label in labels:
            if not np.array_equal(found.mask(label.name), segmentation.mask(label.name)):
                raise PluginError(f"does not give back label {label.name!r} from its own target")
    background = step.background_logits(labels)
    if background is not None:
        if len(background) != channels:
            raise PluginError(f"background_logits() gave {len(background)} numbers for {channels} channels")
        everywhere = np.broadcast_to(np.reshape(background, (-1, 1, 1, 1)), target.shape)
        if _decoded(step, labels, everywhere, segmentation.grid).array.any():
            raise PluginError("its own background_logits() are decoded as a label")
    return ""


def _require_objects(found: Segmentation, wanted: Segmentation) -> None:
    """Refuse other objects than those wanted, each nine tenths the same: rays and flows round corners off."""
    if found.kinds != ("objects",) or len(found.objects) != len(wanted.objects):
        raise PluginError(
            f"gave {len(found.objects)} objects of its own target in layers of {', '.join(found.kinds)}, "
            f"not {len(wanted.objects)} in one layer of objects"
        )
    for thing in wanted.objects:
        mask = wanted.array[0] == thing.id
        ids, counts = np.unique(found.array[0][mask], return_counts=True)
        most = int(ids[counts.argmax()])
        share = counts.max() / np.count_nonzero(mask | (found.array[0] == most))
        label = next((other.label for other in found.objects if other.id == most), None)
        if share < SAME_OBJECT or label != thing.label:
            raise PluginError(
                f"gives back an object of {thing.label!r} as one of {label!r} that is {share:.0%} the same"
            )


def _decoded(head: Head, labels: LabelTable, logits: NDArray[Any], grid: Grid) -> Segmentation:
    """What the head's sink makes of logits `[C, i, j, k]`, which come in slabs along k."""
    sink = head.sink(labels, grid=grid, axis=2, onto=grid)
    for start in range(0, grid.shape[2], 7):
        first = max(0, start - sink.halo) if start else 0
        stop = min(grid.shape[2], start + 7)
        part = grid.cropped((0, 0, first), (grid.shape[0], grid.shape[1], stop))
        sink.take(Scores(logits[..., first:stop].astype(np.float32), part, "logits"), first)
    found: object = sink.finish()
    if not isinstance(found, Segmentation):
        raise PluginError(f"its sink gave {type(found).__name__}, not a Segmentation")
    return found


_RUNS: dict[str, Callable[[Step], str]] = {
    "preprocessor": _run_preprocessor,
    "segmenter": _run_segmenter,
    "network": _run_network,
    "head": _run_head,
    "refiner": _run_refiner,
    "postprocessor": _run_postprocessor,
    "measurement": _run_measurement,
    "writer": _run_writer,
    "loss": run_loss,
    "augmentation": run_augmentation,
    "metric": run_metric,
}
