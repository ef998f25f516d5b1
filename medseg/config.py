"""The pipeline file: what it may say, read safely, faults told by their place in the file.

This module knows names, not plugins: which components there are and what parameters they take is decided when
the file is assembled.
"""

from __future__ import annotations

import re
import typing
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails

from medseg.errors import MedsegError, PipelineError, did_you_mean
from medseg.segmentation import Label, LabelTable

__all__ = [
    "InputSpec",
    "LabelSpec",
    "PipelineFile",
    "SeriesRule",
    "StepCall",
    "TrainingSpec",
    "describe",
    "load_yaml",
    "read_pipeline",
]

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_SHOWN = 80  # characters of a wrong value that a message repeats
MAX_LABEL = 65535  # masks are uint8 or uint16
INPUT_NAME = r"^[a-z][a-z0-9_-]*$"


class Strict(BaseModel):
    """Unknown keys are refused, values are frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StepCall(Strict):
    """A component's name and its parameters: `name` or `name: {parameters}` in the file."""

    name: str = Field(min_length=1, max_length=200)
    parameters: dict[str, Any] = Field(default_factory=dict)


def _step_call(value: Any) -> Any:
    """Accept `name`, `name: {…}` and `name:` with nothing."""
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        ((name, parameters),) = value.items()
        if isinstance(name, str) and (parameters is None or isinstance(parameters, dict)):
            odd = [key for key in parameters or {} if not isinstance(key, str)]
            if odd:
                raise ValueError(f"{_shown(name)} has no parameter {_shown(odd[0])}; they have names")
            return {"name": name, "parameters": parameters or {}}
        if isinstance(name, str):
            raise ValueError(
                f"the parameters of {_shown(name)} are {_shown(parameters)}, not `key: value` pairs"
            )
    if isinstance(value, StepCall):
        return value
    raise ValueError(
        "a step is a name, or one name with its parameters, as in `resample: {spacing: [1, 1, 1]}`"
    )


def _label_value(value: Any) -> Any:
    """Refuse `yes:` and the like, which YAML reads as true and Python as 1."""
    if isinstance(value, bool):
        raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
            f"a label's value is a whole number from 1 to {MAX_LABEL}, not {value}"
        )
    return value


LabelValue = Annotated[int, Field(le=MAX_LABEL), BeforeValidator(_label_value)]


def _as_written(call: StepCall) -> Any:
    return {call.name: dict(call.parameters)} if call.parameters else call.name


STEP_SCHEMA = {
    "oneOf": [
        {"type": "string"},
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": {"type": ["object", "null"]},
        },
    ]
}
Call = Annotated[
    StepCall, BeforeValidator(_step_call), PlainSerializer(_as_written), WithJsonSchema(STEP_SCHEMA)
]


def _expression(text: str) -> str:
    """Refuse what is no regular expression before a study is read."""
    try:
        re.compile(text)
    except re.error as problem:
        raise ValueError(f"{_shown(text)} is no regular expression: {problem}") from problem
    return text


class SeriesRule(Strict):
    """Which series of a DICOM study is meant: all that is given here must hold; other formats ignore it."""

    uid: str | None = Field(default=None, pattern=r"^[0-9.]{1,64}$")
    """Series UID, or the end of it as `medseg info` shows it."""

    modality: str | None = None
    """DICOM modality, as in "CT"."""

    description: Annotated[str, AfterValidator(_expression)] | None = Field(default=None, max_length=200)
    """Regular expression to be found in SeriesDescription; case does not matter."""

    min_thickness_mm: float | None = Field(default=None, gt=0)
    """Smallest distance between slices."""

    max_thickness_mm: float | None = Field(default=None, gt=0)
    """Largest distance between slices."""

    orientation: Literal["axial", "coronal", "sagittal", "oblique"] | None = None
    """How slices lie: within 10 degrees of the plane, else oblique."""

    image_type: tuple[str, ...] = ()
    """Values that ImageType must contain, as in ORIGINAL."""

    min_slices: int | None = Field(default=None, ge=1)
    """Least number of slices."""

    @model_validator(mode="after")
    def _some_thickness_fits(self) -> SeriesRule:
        low, high = self.min_thickness_mm, self.max_thickness_mm
        if low is not None and high is not None and low > high:
            raise ValueError(f"no thickness is at least {low:g} mm and at most {high:g} mm")
        return self


class InputSpec(Strict):
    """One image the pipeline takes; the order in the file is the order on the command line."""

    name: str = Field(default="image", pattern=INPUT_NAME)
    """Name of the input, for `--input NAME=PATH` and as the channel's name."""

    modality: str | None = None
    """DICOM modality it must have ("CT", "MR", …); anything goes where this is left out."""

    select: SeriesRule | None = None
    """Which series of a study to take; `--series` on the command line comes first."""


class LabelSpec(Strict):
    """One label: what its value in the mask means."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")
    """Plain name, as in "left kidney"."""

    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+:\S+$")
    """Code as SCHEME:VALUE, as in "SCT:10200004"."""

    colour: str | None = Field(default=None, pattern=r"^#[0-9a-fA-F]{6}$")
    """Colour as #rrggbb."""

    layer: int = Field(default=0, ge=0, le=63)
    """Layer of the mask; labels that overlap lie in different layers."""

    pair: str | None = None
    """Name of the same structure on the other side of the body."""


class TrainingSpec(Strict):
    """How a network is trained; what is left out is planned from the data."""

    loss: Call | None = None
    """What is made small; left out, what the head says of itself: dice-ce for softmax and sigmoid."""

    augment: tuple[Call, ...] = ()
    """Random changes of training samples, in order: places first, then values."""

    batch: int = Field(default=2, ge=1, le=4096)
    """Samples in a step, over all devices together."""

    foreground: float = Field(default=0.33, ge=0, le=1)
    """Share of samples placed about a voxel of a label, each label as often; the others lie anywhere."""

    balance: float = Field(default=0, ge=0, le=1)
    """How far rare strata of cases are made up for: at 0 all cases come up equally often, at 1 all strata."""

    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with Nesterov momentum of 0.99."""

    rate: float | None = Field(default=None, gt=0, le=10)
    """Learning rate at its highest; left out, 2e-3 with AdamW and 1e-2 with SGD."""

    weight_decay: float | None = Field(default=None, ge=0, le=10)
    """Decay of weights; left out, 1e-2 with AdamW and 3e-5 with SGD."""

    schedule: Literal["poly", "cosine"] | None = None
    """How the rate falls to 0 at the end of the training: (1 - t)^0.9, or half a cosine.

    Left out, cosine with AdamW and poly with SGD.
    """

    warm_up: int = Field(default=100, ge=0, le=100_000)
    """Steps in which the rate rises from 0."""

    clip: float = Field(default=12.0, gt=0, le=1_000_000)
    """Gradients longer than this (the norm over all weights) are shortened to it."""

    averaging: float = Field(default=0.999, ge=0, lt=1)
    """Decay per step of the weights' moving average, which is what is validated and kept; 0 for none."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """What the network computes in; auto: bf16 on a GPU that has it, else fp32."""

    steps_per_epoch: int = Field(default=100, ge=1, le=100_000)
    """Steps in an epoch; after each, a row is logged and a checkpoint kept."""

    epochs: int | None = Field(default=None, ge=1, le=1_000_000)
    """Epochs of the whole training; left out, a time budget decides."""

    validate_every: int | None = Field(default=None, ge=1, le=1_000_000)
    """Epochs from one validation to the next; left out, so many that it takes a small part of the time."""

    patience: int | None = Field(default=None, ge=1, le=10_000)
    """Stop after so many validations without a better Dice, or, where objects are told apart, a better mean
    of Dice and AP, and keep the best weights; null for never."""

    seed: int = Field(default=0, ge=0, lt=2**32)
    """All that is random follows from it."""


class PipelineFile(Strict):
    """A pipeline as written: data only, names of components and their parameters in the order of the walk."""

    inputs: tuple[InputSpec, ...] = Field(default=(InputSpec(),), min_length=1)
    """Images the pipeline takes; several become channels of one volume."""

    labels: dict[LabelValue, LabelSpec] = Field(default_factory=dict)
    """What the values in the mask mean; may be left out where the segmenter says so itself."""

    preprocess: tuple[Call, ...] = ()
    """Steps that turn the image into what the segmenter expects, in order."""

    segment: Call
    """The one segmenter."""

    refine: tuple[Call, ...] = ()
    """Steps that improve the network's scores before labels are decided, in order."""

    postprocess: tuple[Call, ...] = ()
    """Steps that improve the labels on the native grid, in order."""

    measure: tuple[Call, ...] = (StepCall(name="medseg/volumes"),)
    """Measurements to take."""

    write: tuple[Call, ...] = tuple(
        StepCall(name=f"medseg/{name}") for name in ("nifti", "csv", "json", "preview")
    )
    """Files to write."""

    training: TrainingSpec | None = None
    """How its network is, or was, trained."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> PipelineFile:
        names = [spec.name for spec in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError(f"two inputs are called {max(names, key=names.count)!r}")
        writers = [call.name for call in self.write]
        if len(set(writers)) != len(writers):
            raise ValueError(f"write names {max(writers, key=writers.count)!r} twice")
        try:
            self.label_table()
        except MedsegError as problem:
            raise ValueError(f"labels: {problem}") from problem
        return self

    def label_table(self) -> LabelTable | None:
        """The labels as a table; None where the file names none."""
        if not self.labels:
            return None
        return LabelTable(
            tuple(Label(value=value, **spec.model_dump()) for value, spec in sorted(self.labels.items()))
        )


class _Loader(yaml.SafeLoader):
    """Plain data only, no aliases (they can grow without bound), no key twice, limited depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # untyped in types-PyYAML
            raise PipelineError(
                f"line {mark.line + 1}: anchors and aliases (& and *) are not allowed; write it out"
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise PipelineError(f"nested deeper than {MAX_DEPTH} levels")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        # Two ways to write one key, as 1 and 0x1: the constructed key is the same (repr, as 1 equals true).
        meant = [repr(self.construct_object(key)) for key, _ in node.value if key.value != "<<"]
        for keys in (written, meant):
            key, count = next(iter(Counter(keys).most_common(1)), ("", 0))
            if count > 1:
                raise PipelineError(f"line {node.start_mark.line + 1}: {_shown(key)} is written twice")
        return mapping


def load_yaml(path: Path) -> Any:
    """Plain data of a YAML file; raises PipelineError naming file and line, whatever is wrong with it."""
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise PipelineError(f"{path}: is not a file")
        if size > MAX_BYTES:
            raise PipelineError(f"{path}: {size} bytes are more than a pipeline file may have ({MAX_BYTES})")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file") from None
    except OSError as problem:
        raise PipelineError(f"{path}: cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise PipelineError(f"{path}: is not a text file in UTF-8") from problem
    except ValueError as problem:  # a null character
        raise PipelineError(f"{str(path)!r}: is no possible file name") from problem
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except PipelineError as problem:
        raise PipelineError(f"{path}: {problem}") from problem
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        what = getattr(problem, "problem", None) or str(problem)
        place = f"line {mark.line + 1}: " if mark else ""
        raise PipelineError(f"{path}: {place}not valid YAML: {_line(what)}") from problem
    # A value that is not of the form its tag promises: PyYAML lets what comes of it pass.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as problem:
        raise PipelineError(
            f"{path}: not valid YAML: a number, date or tag in it cannot be read"
        ) from problem


def read_pipeline(path: Path) -> PipelineFile:
    """The pipeline a YAML file describes; raises PipelineError with the place and what is wrong there."""
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise PipelineError(f"{path}: is not a pipeline file; it must hold at least `segment:`")
    try:
        return PipelineFile.model_validate(content)
    except ValidationError as problem:
        raise PipelineError(f"{path}: {describe(problem, PipelineFile)}") from problem


def describe(problem: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a validation as one line: place, what is wrong, and the closest name for a typo."""
    faults = problem.errors(include_url=False)
    fault = next((f for f in faults if f["type"] == "extra_forbidden"), faults[0])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{_place(fault)}{_reason(fault, model)}{more}"


def _place(fault: ErrorDetails) -> str:
    path = ""
    for part in fault["loc"]:
        if part != "[key]":  # pydantic's word for "the key, not its value"
            path += f"[{part}]" if isinstance(part, int) else f".{_line(part)}" if path else _line(part)
    return f"{path}: " if path else ""


def _line(text: str) -> str:
    """One printable line of limited length, whatever the text."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line if len(line) <= MAX_SHOWN * 3 else f"{line[: MAX_SHOWN * 3]}…"


def _shown(value: Any) -> str:
    """A wrong value as a message repeats it: on one line, shortened."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


PLAIN_WORDS = {
    "tuple_type": "is not a list",
    "list_type": "is not a list",
    "dict_type": "is not `key: value` pairs",
}


def _reason(fault: ErrorDetails, model: type[BaseModel]) -> str:
    if fault["type"] == "extra_forbidden":
        name = str(fault["loc"][-1])
        known = _fields_at(model, fault["loc"][:-1])
        return f"there is no {_shown(name)} here{did_you_mean(name, known)}"
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] in PLAIN_WORDS:
        return PLAIN_WORDS[fault["type"]]
    message = _line(re.sub(r"^(Value|Assertion) error, ", "", fault["msg"])) or "is wrong"
    given = fault.get("input")
    simple = isinstance(given, str | int | float | bool) and _shown(given) not in message
    return f"{message[0].lower()}{message[1:]}{f', not {_shown(given)}' if simple else ''}"


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Names allowed where an unknown one was found: follow the place through models within models."""
    here = [model]
    for part in loc:
        fields = [found.model_fields[str(part)] for found in here if str(part) in found.model_fields]
        if fields:  # else the index, key or type by which a field's value is told from its siblings
            here = [inner for field in fields for inner in _models_in(field.annotation)]
    return [name for found in here for name in found.model_fields]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type names, as in `tuple[Window, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
