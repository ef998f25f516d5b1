"""What a dataset says of its labels: values to names, names to values, regions, the value to be ignored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from medseg.config import LabelSpec, describe
from medseg.errors import InputError, UsageError
from medseg.segmentation import Label, LabelTable

__all__ = ["ANY", "Named", "named_labels"]

BACKGROUND, IGNORE, ANY = "background", "ignore", "any"
MOST_VALUE = 65535  # masks are uint8 or uint16


@dataclass(frozen=True)
class Named:
    """Labels as a table, the values in a mask that make up each, by name, and the value to be ignored.

    No values at all stand for any but 0 and what is ignored: ids of objects.
    """

    table: LabelTable
    values: Mapping[str, tuple[int, ...]]
    ignore: int | None = None


@dataclass(frozen=True)
class _Entry:
    """One label as written: its name, the values that make it up, and colour, code, pair if told."""

    name: str
    values: tuple[int, ...]
    more: Mapping[str, Any] = field(default_factory=dict)
    any: bool = False


def named_labels(told: Any, *, layers: bool = False, apart: bool = False) -> Named:
    """The labels in a dataset's description.

    `{1: liver}`, `{liver: 1}`, `{whole tumour: [1, 2, 3]}`, `{1: {name: liver, colour: "#dd8265"}}` or
    `[liver, spleen]`, whose values are 1 and 2. `{nucleus: any}` or `{1: {name: nucleus, values: any}}` is
    for masks of objects, whose values are ids: alone, or, where labels have masks `apart` from each other,
    for some or all of them. 0 and "background" are left out; "ignore" is the value of voxels that are not
    trained on. Labels that share a value overlap and get a layer each, as they all do with `layers`. Values
    stay as they are where each label has its own, else they become 1, 2, 3.

    Raises InputError for anything else.
    """
    entries = [entry for entry in _entries(told) if entry.values != (0,)]
    ignore = [entry for entry in entries if entry.name.casefold() == IGNORE]
    entries = [entry for entry in entries if entry not in ignore and entry.name.casefold() != BACKGROUND]
    if len(ignore) > 1 or any(len(entry.values) != 1 for entry in ignore):
        raise InputError(f"labels: {IGNORE!r} is one value, whose voxels are not trained on")
    if not entries:
        raise InputError("labels: there are none but the background; name at least one")
    ignored = ignore[0].values[0] if ignore else None
    of_objects = any(entry.any for entry in entries) and (apart or len(entries) == 1)
    _require_values([entry for entry in entries if not (of_objects and entry.any)], ignored)
    counts = Counter(value for entry in entries for value in entry.values)
    shared = layers or max(counts.values(), default=1) > 1
    plain = not shared and not of_objects and all(len(entry.values) == 1 for entry in entries)
    table = [
        _label(entry, entry.values[0] if plain else number, layer=number - 1 if shared else 0)
        for number, entry in enumerate(entries, start=1)
    ]
    try:
        labels = LabelTable(tuple(table))
    except UsageError as problem:
        raise InputError(f"labels: {problem}; give each a name and a value of its own") from problem
    return Named(labels, {entry.name: entry.values for entry in entries}, ignored)


def _entries(told: Any) -> Iterator[_Entry]:
    """Each entry in order, whichever way round it is written."""
    if isinstance(told, Sequence) and not isinstance(told, str):
        told = dict(enumerate(told, start=1))
    if not isinstance(told, Mapping):
        raise InputError("labels: must be names and values, as in {liver: 1, tumour: 2}")
    for key, value in told.items():
        number = _whole(key)
        if isinstance(value, Mapping) and number is not None:
            more = dict(value)
            name, objects = str(more.pop("name", "")).strip(), more.get("values") == ANY
            if objects:
                del more["values"]
            yield _Entry(name, () if objects else (number,), more, any=objects)
        elif isinstance(key, str) and number is None and value == ANY:
            yield _Entry(key.strip(), (), any=True)
        elif isinstance(value, str) and number is not None:
            yield _Entry(value.strip(), (number,))
        elif isinstance(key, str) and isinstance(value, Sequence) and not isinstance(value, str):
            yield _Entry(key.strip(), tuple(_required(key, each) for each in value))
        else:
            yield _Entry(str(key).strip(), (_required(key, value),))


def _whole(value: Any) -> int | None:
    """A whole number, or one in quotes as JSON's keys must be; None for anything else."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value.strip()[:10])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _required(key: Any, value: Any) -> int:
    number = _whole(value)
    if number is None:
        raise InputError(f"labels: {str(key)[:64]!r} has {str(value)[:64]!r}, not a value of the mask")
    return number


def _require_values(entries: Sequence[_Entry], ignore: int | None) -> None:
    for entry in entries:
        if not entry.values or len(set(entry.values)) < len(entry.values):
            raise InputError(
                f"labels: {entry.name[:64]!r} must have one or more different values "
                f"({ANY!r} only alone, or where each label has a mask of its own)"
            )
        wrong = [value for value in entry.values if not 1 <= value <= MOST_VALUE or value == ignore]
        if wrong:
            raise InputError(
                f"labels: {entry.name[:64]!r} cannot have the value {wrong[0]}: "
                f"labels are 1 to {MOST_VALUE}, 0 is background, and what is ignored is no label"
            )


def _label(entry: _Entry, value: int, *, layer: int) -> Label:
    try:
        spec = LabelSpec.model_validate({**entry.more, "name": entry.name, "layer": layer})
    except ValidationError as problem:
        raise InputError(f"labels: {entry.name[:64]!r}: {describe(problem, LabelSpec)}") from problem
    return Label(value, **spec.model_dump())
