"""What the user chose before anything is read: a model, some of its labels, writers beside its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from medseg.assemble import assemble, require_labels, require_order, stages_named
from medseg.errors import PipelineError, UsageError
from medseg.model import Model, find_model
from medseg.pipeline import Pipeline, Stage, better_before, come_before
from medseg.plugin.catalog import Catalog, discover
from medseg.steps import Writer

__all__ = ["limited", "prepare", "with_writers"]

OPTION = "--write"


def prepare(
    model: str | Path,
    catalog: Catalog | None = None,
    *,
    labels: Sequence[str] | None = None,
    write: str | None = None,
) -> tuple[Model, Pipeline]:
    """Find a model and assemble its pipeline, limited to some labels, with `write`'s writers added.

    Reads no volume, loads no weights.
    """
    installed = catalog or discover()
    chosen = find_model(model, installed)
    try:
        pipeline = assemble(chosen.file, installed, folder=chosen.folder)
    except PipelineError as problem:
        raise type(problem)(f"{chosen.path}: {problem}") from problem
    if write is not None:
        pipeline = with_writers(pipeline, write, installed)
    return chosen, pipeline if labels is None else limited(pipeline, labels)


def limited(pipeline: Pipeline, labels: Sequence[str]) -> Pipeline:
    """The pipeline whose results are limited to these labels; raises UsageError for what cannot be meant."""
    only = tuple(dict.fromkeys(labels))
    if not only:
        raise UsageError("labels: name at least one")
    pipeline.labels.only(only)
    for stage in (*pipeline.measure, *pipeline.write):
        named = getattr(stage.step, "labels", None)
        for name in named if isinstance(named, tuple) else ():
            if name not in only:
                raise UsageError(f"labels: {stage.place}.{stage.name} names {name!r}; give it too")
    return replace(pipeline, only=only)


def with_writers(pipeline: Pipeline, text: str, catalog: Catalog) -> Pipeline:
    """The pipeline with the writers of a list added, each after those that it must come after.

    One that the pipeline has already is not doubled, but counts as named by the user from here on. Raises
    PipelineError for an unknown name or parameter, UsageError for what cannot be done with this pipeline.
    """
    asked = stages_named(Writer, OPTION, text, catalog, like="dicom-seg,dicom-sr")
    own = list(pipeline.write)
    more: list[Stage[Writer]] = []
    for stage in asked:
        require_labels(stage, pipeline.labels)
        for found in (own, more):
            at = next((n for n, other in enumerate(found) if _same(other, stage)), None)
            if at is not None:
                _require_alike(found[at], stage)
                found[at] = replace(found[at], demanded=True)
                break
        else:
            more.append(replace(stage, demanded=True))
    whole = _numbered(_in_order([*own, *more], added=more))
    try:
        require_order(whole)
    except PipelineError as problem:
        raise UsageError(f"{OPTION} {text}: {problem}") from problem
    return replace(pipeline, write=whole)


def _same(one: Stage[Writer], other: Stage[Writer]) -> bool:
    return (one.distribution, one.name) == (other.distribution, other.name)


def _require_alike(own: Stage[Writer], asked: Stage[Writer]) -> None:
    """Refuse parameters for what is there already with others; none given means as it is."""
    if asked.step.model_fields_set and asked.written != own.written:
        raise UsageError(f"{OPTION} {asked.name}: the pipeline has it with other parameters; name it alone")


def _in_order(stages: Iterable[Stage[Writer]], *, added: Sequence[Stage[Writer]]) -> list[Stage[Writer]]:
    """The stages in their order, save that each stands behind those of them that it must come after.

    Behind what it only mentions it stands where one of both was added: what a pipeline has stays as it is.
    """
    waiting, placed = list(stages), list[Stage[Writer]]()
    while waiting:
        ready = next((stage for stage in waiting if not _waits(stage, waiting, added)), waiting[0])
        waiting.remove(ready)
        placed.append(ready)
    return placed


def _waits(stage: Stage[Writer], waiting: Sequence[Stage[Writer]], added: Sequence[Stage[Writer]]) -> bool:
    if any(other.is_called(name) for name in come_before(stage) for other in waiting):
        return True
    movable = waiting if stage in added else [other for other in waiting if other in added]
    return any(other.is_called(name) for name in better_before(stage) for other in movable)


def _numbered(stages: list[Stage[Writer]]) -> tuple[Stage[Writer], ...]:
    """The stages with their places in the list that they make together."""
    return tuple(replace(stage, place=f"write[{index}]") for index, stage in enumerate(stages))
