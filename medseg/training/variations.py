"""What `medseg tune` varies: parameters of steps after the network, and the pipelines with their values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product
from typing import Any, Literal

import yaml

from medseg.assemble import assemble, stages_after
from medseg.config import PipelineFile, StepCall
from medseg.errors import PipelineError, UsageError
from medseg.model import Model
from medseg.pipeline import Pipeline, Stage
from medseg.plugin.catalog import Catalog
from medseg.steps import Step

__all__ = ["Choice", "Variations", "Varied", "in_words", "parse", "variations"]

FORM = re.compile(r"\s*([a-z]+)\[(\d+)\]\.([A-Za-z_]\w*)\s*=(.*)", re.DOTALL)
EXAMPLE = "'postprocess[0].below_ml=0.1,0.5'"
MOST_CHECKED = 4096  # combinations of one step's parameters that are checked before the first image is read

Choice = tuple[int, ...]
"""The number of a value for each parameter that is varied; 0 is the file's own."""


@dataclass(frozen=True)
class Varied:
    """A parameter of a step, by the step's place in the pipeline file, and the values it may have."""

    key: Literal["refine", "postprocess"]
    index: int
    parameter: str
    values: tuple[Any, ...]

    @property
    def place(self) -> str:
        """Where the step is, as in `refine[0]`."""
        return f"{self.key}[{self.index}]"

    def __str__(self) -> str:
        return f"{self.place}.{self.parameter}"


def parse(text: str) -> Varied:
    """What `PLACE.PARAMETER=V1,V2` means; values are YAML, so that lists are in brackets.

    Raises UsageError where it means nothing.
    """
    found = FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"--vary {text!r}: write PLACE.PARAMETER=VALUE,VALUE, as in {EXAMPLE}")
    key, index, parameter, listed = found.groups()
    if key not in ("refine", "postprocess"):
        raise UsageError(f"--vary {text!r}: only steps after the network, refine[…] and postprocess[…], vary")
    try:
        values = yaml.safe_load(f"[{listed}]")
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise UsageError(f"--vary {text!r}: {listed!r} is no list of YAML values") from problem
    if not values:
        raise UsageError(f"--vary {text!r}: give at least one value")
    return Varied(key, int(index), parameter, tuple(values))  # type: ignore[arg-type]  # one of the two, above


def in_words(value: Any) -> str:
    """A value as YAML takes it, on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


@dataclass(frozen=True)
class Variations:
    """A model's pipeline with all values of what is varied; the first of each is the file's own."""

    model: Model
    catalog: Catalog
    own: Pipeline
    varied: tuple[Varied, ...]

    @property
    def count(self) -> int:
        """How many combinations there are."""
        return math.prod(len(each.values) for each in self.varied)

    @cached_property
    def refining(self) -> tuple[int, ...]:
        """Which of those that are varied are parameters of refiners."""
        return tuple(n for n, each in enumerate(self.varied) if each.key == "refine")

    def all(self) -> Iterator[Choice]:
        """Every combination, the file's own first."""
        return product(*(range(len(each.values)) for each in self.varied))

    def values(self, choice: Choice) -> tuple[Any, ...]:
        """The value of each parameter."""
        return tuple(each.values[number] for each, number in zip(self.varied, choice, strict=True))

    def changes(self, choice: Choice) -> dict[str, tuple[Any, Any]]:
        """Parameters that differ from the file's own: its own value, and the other."""
        return {
            str(each): (each.values[0], each.values[number])
            for each, number in zip(self.varied, choice, strict=True)
            if number
        }

    def file(self, choice: Choice) -> PipelineFile:
        """The pipeline file with these values; what stays as it is stays unwritten."""
        calls = {key: list(getattr(self.model.file, key)) for key in ("refine", "postprocess")}
        for each, number in zip(self.varied, choice, strict=True):
            if number:
                call: StepCall = calls[each.key][each.index]
                parameters = {**call.parameters, each.parameter: each.values[number]}
                calls[each.key][each.index] = StepCall(name=call.name, parameters=parameters)
        return self.model.file.model_copy(update={key: tuple(steps) for key, steps in calls.items()})

    def pipeline(self, choice: Choice) -> Pipeline:
        """The pipeline with these values, up to its postprocessing; raises PipelineError with the place.

        What comes before, the weights above all, is the own one's and not looked at again.
        """
        file = self.file(choice)
        later = stages_after(file, self.own.segment, self.own.labels, self.catalog)
        return replace(self.own, refine=later.refine, postprocess=later.postprocess, measure=(), write=())

    def check(self) -> None:
        """Assemble the pipeline with every value, and every step with all that its parameters may be.

        Raises PipelineError with the place.
        """
        for n, each in enumerate(self.varied):
            for number in range(1, len(each.values)):
                alone = tuple(number if m == n else 0 for m in range(len(self.varied)))
                _assembled(self.model, self.file(alone), self.catalog)
        for place in {each.place for each in self.varied}:
            ranges = [range(len(e.values)) if e.place == place else range(1) for e in self.varied]
            for choice in islice(product(*ranges), MOST_CHECKED):
                try:
                    self.pipeline(choice)
                except PipelineError as problem:
                    raise type(problem)(f"--vary: {problem}") from problem


def variations(model: Model, wished: Sequence[Varied], catalog: Catalog) -> Variations:
    """What is varied, with the file's own values first and none twice; all of it checked, no image read.

    Raises UsageError where a place is not in the file or named twice, PipelineError with the place where a
    parameter or a value is wrong.
    """
    own = _assembled(model, model.file, catalog)
    seen: set[str] = set()
    for each in wished:
        there = len(getattr(own, each.key))
        if each.index >= there:
            counted = f"its last is {each.key}[{there - 1}]" if there else f"it has no `{each.key}:`"
            raise UsageError(f"--vary {each}: there is no {each.place} in the pipeline; {counted}")
        if str(each) in seen:
            raise UsageError(f"--vary {each}: is given twice; give all its values at once")
        seen.add(str(each))
    found = Variations(model, catalog, own, tuple(_with_own(each, own) for each in wished))
    found.check()
    return replace(found, varied=tuple(_without_doubles(found, n) for n in range(len(found.varied))))


def _assembled(model: Model, file: PipelineFile, catalog: Catalog) -> Pipeline:
    try:
        return assemble(file, catalog, folder=model.folder)
    except PipelineError as problem:
        where = str(model.path) if file is model.file else "--vary"
        raise type(problem)(f"{where}: {problem}") from problem


def _with_own(varied: Varied, own: Pipeline) -> Varied:
    """The file's own value, written or by default, before the others; None where nothing is called so."""
    stage: Stage[Step] = getattr(own, varied.key)[varied.index]
    return replace(varied, values=(_written(stage, varied.parameter), *varied.values))


def _without_doubles(found: Variations, n: int) -> Varied:
    """The parameter without values that mean the same, as 1 and 1.0; the first of them stays."""
    each = found.varied[n]
    kept: dict[str, Any] = {}
    for number, value in enumerate(each.values):
        alone = tuple(number if m == n else 0 for m in range(len(found.varied)))
        stage: Stage[Step] = getattr(found.pipeline(alone), each.key)[each.index]
        kept.setdefault(json.dumps(_written(stage, each.parameter), sort_keys=True, default=str), value)
    return replace(each, values=tuple(kept.values()))


def _written(stage: Stage[Step], parameter: str) -> Any:
    (parameters,) = stage.written.values()
    return parameters.get(parameter)
