"""A pipeline file and what is installed, made into a Pipeline: the only place where names meet classes."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from medseg.config import Call, PipelineFile, StepCall, describe
from medseg.errors import PipelineError, PluginError, UsageError, did_you_mean, in_one_line
from medseg.pipeline import Input, Pipeline, Stage, blamed, come_before
from medseg.plugin.catalog import Catalog, Entry
from medseg.segmentation import LabelTable
from medseg.steps import (
    Augmentation,
    Head,
    Loss,
    Measurement,
    Metric,
    Network,
    Postprocessor,
    Preprocessor,
    Refiner,
    Segmenter,
    Step,
    Writer,
)

__all__ = [
    "BASES",
    "assemble",
    "component_class",
    "component_schema",
    "holds_steps",
    "pipeline_schema",
    "require_labels",
    "require_order",
    "stage_at",
    "stages",
    "stages_after",
    "stages_named",
]

BASES: dict[str, type[Step]] = {
    "preprocessor": Preprocessor,
    "segmenter": Segmenter,
    "network": Network,
    "head": Head,
    "refiner": Refiner,
    "postprocessor": Postprocessor,
    "measurement": Measurement,
    "writer": Writer,
    "loss": Loss,
    "augmentation": Augmentation,
    "metric": Metric,
}
_KIND_OF = {base: kind for kind, base in BASES.items()}
_CALL: TypeAdapter[StepCall] = TypeAdapter(Call)
S = TypeVar("S", bound=Step)


def assemble(file: PipelineFile, catalog: Catalog, *, folder: Path | None = None) -> Pipeline:
    """Resolve every name and check every parameter, nested components included.

    `folder` is where the files that parameters name are: the model's. Raises PipelineError with the place in
    the file; imports the named components only, and reads no volume.
    """
    segment = stage_at(Segmenter, "segment", file.segment, catalog)
    labels = _labels(file, segment)
    segment = _bound(segment, labels, folder)
    later = stages_after(file, segment, labels, catalog)
    return Pipeline(
        inputs=tuple(Input(spec.name, spec.modality, spec.select) for spec in file.inputs),
        labels=labels,
        preprocess=stages(Preprocessor, "preprocess", file.preprocess, catalog),
        segment=segment,
        refine=later.refine,
        postprocess=later.postprocess,
        measure=later.measure,
        write=later.write,
    )


def _refiners(
    file: PipelineFile, segment: Stage[Segmenter], labels: LabelTable, catalog: Catalog
) -> tuple[Stage[Refiner], ...]:
    """The steps on scores; raises PipelineError where they name no label, or there are no scores."""
    found = stages(Refiner, "refine", file.refine, catalog)
    for stage in found:
        require_labels(stage, labels)
        if not segment.step.refinable:
            raise PipelineError(
                f"{stage.place}.{stage.name}: segmenter {segment.name!r} gives no scores that could be "
                "refined; steps on labels belong under `postprocess:`"
            )
    return found


class StagesAfter(NamedTuple):
    """What comes after the segmenter."""

    refine: tuple[Stage[Refiner], ...]
    postprocess: tuple[Stage[Postprocessor], ...]
    measure: tuple[Stage[Measurement], ...]
    write: tuple[Stage[Writer], ...]


def stages_after(
    file: PipelineFile, segment: Stage[Segmenter], labels: LabelTable, catalog: Catalog
) -> StagesAfter:
    """What comes after the segmenter, which gives these labels; raises PipelineError with the place."""
    found = StagesAfter(
        _refiners(file, segment, labels, catalog),
        stages(Postprocessor, "postprocess", file.postprocess, catalog),
        stages(Measurement, "measure", file.measure, catalog),
        stages(Writer, "write", file.write, catalog),
    )
    for stage in (segment, *found.postprocess, *found.measure, *found.write):
        require_labels(stage, labels)
    if segment.step.of_objects:
        _require_for_objects(found.postprocess, segment)
    writers = [(stage.distribution, stage.name) for stage in found.write]  # however they are spelt
    for index, stage in enumerate(found.write):
        if writers.index((stage.distribution, stage.name)) < index:
            raise PipelineError(f"{stage.place}: {stage.name!r} is named twice")
    require_order(found.write)
    return found


def require_order(write: Sequence[Stage[Writer]]) -> None:
    """Raise PipelineError where a writer stands before one that it must come after, or that one lacks."""
    for index, stage in enumerate(write):
        for name in come_before(stage):
            if not any(other.is_called(name) for other in write):
                raise PipelineError(
                    f"{stage.place}.{stage.name}: refers to what {name!r} writes; add that before it"
                )
            if not any(other.is_called(name) for other in write[:index]):
                raise PipelineError(
                    f"{stage.place}.{stage.name}: refers to what {name!r} writes; put that before it"
                )


def _require_for_objects(postprocess: Sequence[Stage[Postprocessor]], segment: Stage[Segmenter]) -> None:
    """Refuse steps that change labels, where what comes is objects."""
    for stage in postprocess:
        if not stage.step.takes_objects:
            raise PipelineError(
                f"{stage.place}.{stage.name}: changes labels, and segmenter {segment.name!r} gives objects; "
                "leave it out"
            )


def stages(base: type[S], key: str, calls: Sequence[StepCall], catalog: Catalog) -> tuple[Stage[S], ...]:
    """The steps of one kind that a list under `key` names; raises PipelineError with the place in it."""
    return tuple(stage_at(base, f"{key}[{index}]", call, catalog) for index, call in enumerate(calls))


def stages_named(base: type[S], key: str, text: str, catalog: Catalog, *, like: str) -> tuple[Stage[S], ...]:
    """The steps of a list as a pipeline file would write it under `key`: names, or names with parameters.

    Raises PipelineError where there is no such step or parameter; UsageError, with `like` as an example,
    where it is no list or nothing is in it.
    """
    advice = f"give names with a comma between them, as in {like}"
    try:
        calls = yaml.safe_load(f"[{text}]")
    except (yaml.YAMLError, RecursionError) as problem:
        raise UsageError(f"{key} {text!r}: {advice}") from problem
    if not calls:
        raise UsageError(f"{key}: none is given; {advice}")
    try:
        steps = TypeAdapter(list[Call]).validate_python(calls)
    except ValidationError as problem:
        raise PipelineError(f"{key}{describe(problem, StepCall)}") from problem
    return stages(base, key, steps, catalog)


def _bound(segment: Stage[Segmenter], labels: LabelTable, folder: Path | None) -> Stage[Segmenter]:
    """The segmenter told of the labels and its files; what it refuses is a fault of the pipeline."""
    try:
        with blamed(segment):
            bound: object = segment.step.bound(labels=labels, folder=folder)
            if not isinstance(bound, Segmenter):
                raise PluginError(f"bound() returned {type(bound).__name__}, not a Segmenter")
            return replace(segment, step=bound)
    except PipelineError as problem:
        raise type(problem)(f"{segment.place}.{segment.name}: {problem}") from problem


def _labels(file: PipelineFile, segment: Stage[Segmenter]) -> LabelTable:
    """The labels of the file, or of the segmenter; where both name them, the file renames the segmenter's."""
    said, found = file.label_table(), _announced(segment)
    if said is None and found is None:
        raise PipelineError(f"labels: is missing, and segmenter {segment.name!r} does not name its labels")
    if said is None or found is None:
        return said or found or LabelTable(())
    places = {(label.value, label.layer) for label in said}
    for label in found:
        if (label.value, label.layer) not in places:
            raise PipelineError(
                f"labels: segmenter {segment.name!r} gives {label.value} ({label.name}) "
                f"in layer {label.layer}; name it too"
            )
    for label in said:
        if label.layer >= found.layers:
            raise PipelineError(
                f"labels[{label.value}].layer: segmenter {segment.name!r} gives no layer {label.layer}, "
                f"its last is {found.layers - 1}"
            )
    return said


def _announced(segment: Stage[Segmenter]) -> LabelTable | None:
    """The labels a segmenter says it gives; raises PluginError that blames it where it cannot say."""
    try:
        with blamed(segment):
            found: object = segment.step.labels()
    except UsageError as problem:
        raise PluginError(f"{segment}: labels(): {problem}") from problem
    if found is None or isinstance(found, LabelTable):
        return found
    raise PluginError(f"{segment}: labels() returned {type(found).__name__}, not a LabelTable")


def require_labels(stage: Stage[Step], table: LabelTable) -> None:
    """Raise PipelineError where a parameter of a step, or of one in it, names a label that is not there."""
    _require_labels(stage.step, f"{stage.place}.{stage.name}", table)


def _require_labels(step: Step, place: str, table: LabelTable) -> None:
    for field in step.label_fields:
        given: object = getattr(step, field, None)
        names = (given,) if isinstance(given, str) else given
        if not isinstance(names, tuple | Mapping):
            continue
        for name in names:
            if isinstance(name, str) and name not in table:
                known = did_you_mean(name, [label.name for label in table])
                raise PipelineError(f"{place}.{field}: there is no label {name!r}{known}")
    for field in type(step).model_fields:
        inner: object = getattr(step, field)
        for part in inner if isinstance(inner, tuple) else (inner,):
            if isinstance(part, Step):
                _require_labels(part, f"{place}.{field}", table)


def component_class(entry: Entry) -> type[Step]:
    """Import a component's class and hold it against its kind; raises PluginError that blames the plugin."""
    found = entry.load()
    base = BASES[entry.kind]
    if not (isinstance(found, type) and issubclass(found, base)):
        raise PluginError(
            f"{entry.kind} {entry.origin}: {entry.component.target} is not a medseg.{base.__name__}"
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise PluginError(f"{entry.kind} {entry.origin}: {entry.component.target} does not define {missing}")
    return found


def stage_at(base: type[S], place: str, call: StepCall, catalog: Catalog) -> Stage[S]:
    """The step that a call at `place` names; raises PipelineError with the place in it."""
    step, entry, written = _build(base, place, call, catalog)
    return Stage(place, entry.component.name, entry.distribution, entry.version, step, written)


def _build(base: type[S], place: str, call: StepCall, catalog: Catalog) -> tuple[S, Entry, dict[str, Any]]:
    """The step a call means, whose it is, and the call written in full."""
    try:
        entry = catalog.find(_KIND_OF[base], call.name)
    except PipelineError as problem:
        raise PipelineError(f"{place}: {problem}") from problem
    kind = component_class(entry)
    here = f"{place}.{call.name}"
    parameters: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    for key, value in call.parameters.items():
        field = kind.model_fields.get(key)
        if field is None or field.annotation is None:
            parameters[key] = value  # left for the validation below to refuse
            continue
        parameters[key], as_written = _resolve(field.annotation, value, f"{here}.{key}", catalog)
        if parameters[key] is not value:
            nested[key] = as_written
    try:
        step = kind.model_validate(parameters)
    except ValidationError as problem:
        fault = describe(problem, kind)
        joint = "." if problem.errors()[0]["loc"] else ": "
        raise PipelineError(f"{here}{joint}{fault}") from problem
    except (Exception, SystemExit) as problem:  # a validator of the plugin's
        reason = in_one_line(problem)
        raise PluginError(f"{here}: {entry.origin} failed on its parameters: {reason}") from problem
    assert isinstance(step, base)  # component_class has seen to it
    default = {  # steps that are the plugin's default have no name that could be written
        name
        for name, field in kind.model_fields.items()
        if name not in nested and holds_steps(field.annotation) and getattr(step, name)
    }
    full = {**step.model_dump(mode="json", exclude={*nested, *default}), **nested}
    return step, entry, {entry.qualified: full}


def _resolve(annotation: Any, value: Any, place: str, catalog: Catalog) -> tuple[Any, Any]:
    """Build the components nested in a parameter; return the value and how it is written in full.

    Anything that is not typed as a kind of step comes back as the very same object.
    """
    if annotation in _KIND_OF:
        step, _, written = _build(annotation, place, _call(value, place), catalog)
        return step, written
    if not holds_steps(annotation):
        return value, value
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType, Annotated):
        inner = next(argument for argument in arguments if holds_steps(argument))
        return (value, value) if value is None else _resolve(inner, value, place, catalog)
    if isinstance(value, list) and issubclass(origin, Sequence):
        one_each = origin is tuple and arguments[-1] is not Ellipsis
        pairs = [
            _resolve(arguments[min(n, len(arguments) - 1) if one_each else 0], item, f"{place}[{n}]", catalog)
            for n, item in enumerate(value)
        ]
        return [step for step, _ in pairs], [written for _, written in pairs]
    if isinstance(value, dict) and issubclass(origin, Mapping):
        named = {key: _resolve(arguments[1], item, f"{place}.{key}", catalog) for key, item in value.items()}
        return {k: step for k, (step, _) in named.items()}, {k: written for k, (_, written) in named.items()}
    return value, value


def _call(value: Any, place: str) -> StepCall:
    try:
        return _CALL.validate_python(value)
    except ValidationError as problem:
        raise PipelineError(f"{place}: {describe(problem, StepCall)}") from problem


def holds_steps(annotation: Any) -> bool:
    """Whether a parameter's type names a kind of step, as in `tuple[Postprocessor, ...]`."""
    return annotation in _KIND_OF or any(holds_steps(argument) for argument in typing.get_args(annotation))


def component_schema(kind: type[Step]) -> dict[str, Any]:
    """JSON Schema of a component's parameters."""
    try:
        schema = kind.model_json_schema()
    except PydanticUserError as problem:
        raise PluginError(f"{kind.__name__}: a parameter cannot be written to a file: {problem}") from problem
    schema.pop("title", None)
    return schema


def pipeline_schema(catalog: Catalog) -> dict[str, Any]:
    """JSON Schema of pipeline files with the components that are installed, for editors.

    Components that cannot be loaded are left out: `medseg plugins check` tells why.
    """
    schema = PipelineFile.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for kind in BASES:
        choices: list[Mapping[str, Any]] = []
        for entry in catalog.of_kind(kind):
            try:
                parameters = component_schema(component_class(entry))
            except PluginError:
                continue
            prefix = f"{entry.kind}.{entry.distribution}.{entry.component.name}"
            inner, parameters = _apart(parameters, prefix)
            definitions.update(inner)
            required = bool(parameters.get("required"))
            for name in (entry.component.name, entry.qualified):
                if not required:
                    choices.append({"const": name, "description": entry.component.summary})
                choices.append(
                    {
                        "type": "object",
                        "properties": {
                            name: parameters if required else {"anyOf": [parameters, {"type": "null"}]}
                        },
                        "required": [name],
                        "additionalProperties": False,
                    }
                )
        if not choices:  # none is installed: none is right
            choices.append({"not": {}})
        definitions[kind] = {"anyOf": choices}
    properties = schema["properties"]
    for key, kind in (
        ("preprocess", "preprocessor"),
        ("refine", "refiner"),
        ("postprocess", "postprocessor"),
        ("measure", "measurement"),
        ("write", "writer"),
    ):
        properties[key]["items"] = {"$ref": f"#/$defs/{kind}"}
    description = properties["segment"].get("description", "")
    properties["segment"] = {"$ref": "#/$defs/segmenter", "description": description}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "medseg pipeline"}


def _apart(schema: dict[str, Any], prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A component's `$defs` and the rest, so named that two components' models of one name stay apart.

    A parameter typed as a kind of step becomes a reference to all components of that kind.
    """
    kinds = {base.__name__: kind for base, kind in _KIND_OF.items()}

    def moved(part: Any) -> Any:
        if isinstance(part, list):
            return [moved(item) for item in part]
        if not isinstance(part, dict):
            return part
        target = part.get("$ref")
        if isinstance(target, str):
            name = target.removeprefix("#/$defs/")
            return {**part, "$ref": f"#/$defs/{kinds.get(name, f'{prefix}.{name}')}"}
        return {key: moved(item) for key, item in part.items()}

    own = {name: part for name, part in schema.get("$defs", {}).items() if name not in kinds}
    rest = {key: part for key, part in schema.items() if key != "$defs"}
    return {f"{prefix}.{name}": moved(part) for name, part in own.items()}, moved(rest)
