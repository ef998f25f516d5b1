"""What was found: labels, objects and the masks that hold them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, UsageError, did_you_mean
from medseg.sampling import sample
from medseg.volume import Grid, read_only

__all__ = ["Label", "LabelTable", "LayerKind", "Object", "Segmentation"]

SIDE = re.compile(r"(?<![a-z])(left|right|links?e?[rs]?|rechte?[rs]?|l|r|lt|rt|sin|dex)(?![a-z])")
"""Words that tell the sides of the body apart, as in "kidney_left", "left lung", "Niere links"."""
ONE_SIDE = re.compile(rf"(?<!\d){SIDE.pattern}(?!\d)")

LayerKind = Literal["labels", "objects"]


@dataclass(frozen=True)
class Label:
    """One structure: its value in the array, its name, and what viewers and reports need.

    `code` is "SCHEME:VALUE", as in "SCT:10200004" for the liver; `colour` is "#rrggbb"; `layer` is the
    array's first index; `pair` names the same structure on the other side of the body.
    """

    value: int
    name: str
    code: str | None = None
    colour: str | None = None
    layer: int = 0
    pair: str | None = None


@dataclass(frozen=True)
class LabelTable:
    """The labels of a segmentation, in order of value; names and values are unique, 0 is background."""

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(sorted(self.labels, key=lambda label: label.value)))
        for what in ("value", "name"):
            taken = Counter(getattr(label, what) for label in self.labels)
            twice = [repr(key) for key, count in taken.items() if count > 1]
            if twice:
                raise UsageError(f"two labels share the {what} {', '.join(twice)}")
        for label in self.labels:
            if label.value < 1 or label.layer < 0:
                raise UsageError(f"label {label.name!r}: values start at 1 (0 is background), layers at 0")
            if label.pair is None:
                continue
            if label.pair == label.name or self[label.pair].pair != label.name:
                raise UsageError(f"labels {label.name!r} and {label.pair!r} are not paired with each other")

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __contains__(self, name: object) -> bool:
        return any(label.name == name for label in self.labels)

    def __getitem__(self, name: str) -> Label:
        """The label of this name; raises UsageError with the names there are."""
        for label in self.labels:
            if label.name == name:
                return label
        raise UsageError(
            f"no label {name!r}; the labels are {', '.join(label.name for label in self.labels)}"
        )

    def sides(self) -> tuple[str, str] | None:
        """Two labels that are left and right of one structure, by `pair` or by their names; None without.

        Names count too, as a table that forgot to say `pair` must not lose what depends on it.
        """
        seen: dict[str, str] = {}
        for label in self.labels:
            if label.pair is not None:
                return label.name, label.pair
            structure = SIDE.sub("*", label.name.lower())
            if "*" in structure and structure in seen:
                return seen[structure], label.name
            seen[structure] = label.name
        return None

    def one_sided(self) -> str | None:
        """The first label that lies on one side of the body, by `pair` or by its name; None without.

        Whether its other half is in the table or not: in a mirrored image a left kidney is a right one. The
        letter before or behind a number is none: L5 is a vertebra.
        """
        sides = self.sides()
        if sides is not None:
            return sides[0]
        return next((label.name for label in self.labels if ONE_SIDE.search(label.name.lower())), None)

    def only(self, names: Collection[str]) -> LabelTable:
        """These labels alone, with the values and layers that they have; a pair whose half is gone is none.

        Raises UsageError with the names there are, or the one that may be meant.
        """
        for name in names:
            if name not in self:
                known = [label.name for label in self.labels]
                raise UsageError(f"there is no label {name!r}{did_you_mean(name, known)}")
        return LabelTable(
            tuple(
                replace(label, pair=label.pair if label.pair in names else None)
                for label in self.labels
                if label.name in names
            )
        )

    @property
    def layers(self) -> int:
        """How many layers these labels need."""
        return 1 + max((label.layer for label in self.labels), default=0)


@dataclass(frozen=True)
class Object:
    """One instance in a layer of objects: its id there, its label, and how sure the model was (0 to 1)."""

    id: int
    label: str
    score: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on a grid: `array[L, i, j, k]` of layers, read-only unsigned integers.

    A layer holds label values or object ids, never both (`kinds`). Overlapping labels lie in different
    layers. Ask `mask(label)`; never compare values. Raises GeometryError where array and grid disagree.
    """

    array: NDArray[Any] = field(repr=False)
    grid: Grid
    labels: LabelTable
    kinds: tuple[LayerKind, ...] = ()
    objects: tuple[Object, ...] = ()

    def __post_init__(self) -> None:
        array = read_only(self.array)
        if array.ndim != 4 or array.shape[1:] != self.grid.shape:
            raise GeometryError(
                f"a segmentation is [L, i, j, k] on its grid {self.grid.shape}; this array is {array.shape}"
            )
        if array.dtype.kind != "u":
            raise GeometryError(f"a segmentation holds unsigned integers, not {array.dtype}")
        kinds = self.kinds or ("labels",) * array.shape[0]
        if len(kinds) != array.shape[0] or self.labels.layers > array.shape[0]:
            raise GeometryError(
                f"{array.shape[0]} layers, {len(kinds)} kinds, labels for {self.labels.layers} layers"
            )
        if not set(kinds) <= set(get_args(LayerKind)):
            raise GeometryError(f"a layer holds labels or objects, not {', '.join(sorted(set(kinds)))}")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "kinds", tuple(kinds))

    @classmethod
    def from_masks(
        cls, masks: Mapping[str, NDArray[np.bool_]], grid: Grid, labels: LabelTable
    ) -> Segmentation:
        """Paint masks `[i, j, k]` by label name; within a layer, later names win where masks overlap."""
        highest = max((label.value for label in labels), default=0)
        array = np.zeros((labels.layers, *grid.shape), np.min_scalar_type(highest))
        for name, mask in masks.items():
            label = labels[name]
            array[label.layer][_checked(mask, name, grid)] = label.value
        return cls(array, grid, labels)

    @classmethod
    def from_objects(
        cls, ids: NDArray[Any], values: NDArray[Any], grid: Grid, labels: LabelTable
    ) -> Segmentation:
        """Layers `[L, i, j, k]` of objects, by ids; each is of the label whose value its first voxel has."""
        names = {(label.layer, label.value): label.name for label in labels}
        objects = []
        for layer, (own, of) in enumerate(zip(ids, values, strict=True)):
            numbers, first = np.unique(own, return_index=True)
            for number, place in zip(numbers.tolist(), first.tolist(), strict=True):
                if number:
                    objects.append(Object(number, names[layer, int(of.reshape(-1)[place])]))
        kinds: list[LayerKind] = ["objects"] * len(ids)
        return cls(ids, grid, labels, tuple(kinds), tuple(objects))

    def replace(self, **changes: Any) -> Segmentation:
        """A copy with some fields exchanged."""
        return replace(self, **changes)

    def mask(self, label: str) -> NDArray[np.bool_]:
        """Where a label is, as bool `[i, j, k]`; for a layer of objects, the union of the label's objects."""
        wanted = self.labels[label]
        layer = self.array[wanted.layer]
        if self.kinds[wanted.layer] == "labels":
            return np.asarray(layer == wanted.value)
        return np.isin(layer, [thing.id for thing in self.objects if thing.label == label])

    def by_label(self) -> Segmentation:
        """The same without objects: their voxels have their label's value, those of unknown ids 0."""
        highest = max((label.value for label in self.labels), default=0)
        array = np.empty(self.array.shape, np.promote_types(np.min_scalar_type(highest), np.uint8))
        for number, (layer, kind) in enumerate(zip(self.array, self.kinds, strict=True)):
            if kind == "labels":
                array[number] = layer
                continue
            things = [thing for thing in self.objects if self.labels[thing.label].layer == number]
            value = {0: 0} | {thing.id: self.labels[thing.label].value for thing in things}
            ids = np.array(sorted(value), self.array.dtype)
            values = np.array([value[int(id_)] for id_ in ids], array.dtype)
            for into, plane in zip(array[number], layer, strict=True):
                place = np.searchsorted(ids, plane).clip(max=len(ids) - 1)
                into[:] = np.where(ids[place] == plane, values[place], 0)
        return replace(self, array=array, kinds=(), objects=())

    def with_mask(self, label: str, mask: NDArray[np.bool_]) -> Segmentation:
        """A copy in which `label` is exactly `mask`: it loses what lies outside, takes what lies inside."""
        wanted = self.labels[label]
        if self.kinds[wanted.layer] != "labels":
            raise UsageError(f"label {label!r} lies in a layer of objects; masks replace labels only")
        inside = _checked(mask, label, self.grid)
        array = self.array.astype(np.promote_types(self.array.dtype, np.min_scalar_type(wanted.value)))
        layer = array[wanted.layer]
        layer[(layer == wanted.value) & ~inside] = 0
        layer[inside] = wanted.value
        return replace(self, array=array)

    def only(self, names: Collection[str]) -> Segmentation:
        """The same with these labels alone: voxels and objects of the others become background.

        Layers stay where they are, empty ones too. Raises UsageError for a name that is no label.
        """
        labels = self.labels.only(names)
        objects = tuple(thing for thing in self.objects if thing.label in labels)
        array = np.empty_like(self.array)
        for number, (layer, kind) in enumerate(zip(self.array, self.kinds, strict=True)):
            if kind == "labels":
                kept = [label.value for label in labels if label.layer == number]
            else:
                kept = [thing.id for thing in objects if labels[thing.label].layer == number]
            for into, plane in zip(array[number], layer, strict=True):  # by plane: isin takes much memory
                into[:] = np.where(np.isin(plane, kept), plane, 0)
        return replace(self, array=array, labels=labels, objects=objects)

    def renamed(self, labels: LabelTable) -> Segmentation:
        """The same array under the names of another table, which must know every value of this one."""
        names = {(label.value, label.layer): label.name for label in labels}
        new: dict[str, str] = {}
        for old in self.labels:
            if (old.value, old.layer) not in names:
                raise UsageError(f"no label is named for {old.value} ({old.name!r}) in layer {old.layer}")
            new[old.name] = names[old.value, old.layer]
        objects = tuple(replace(thing, label=new.get(thing.label, thing.label)) for thing in self.objects)
        return replace(self, labels=labels, objects=objects)

    def onto(self, grid: Grid) -> Segmentation:
        """The same labels at the voxels of another grid: nearest; outside this grid is background."""
        if grid.same_as(self.grid):
            return replace(self, grid=grid)
        if self.grid.unit != grid.unit:
            raise GeometryError(f"labels in {self.grid.unit} cannot be placed on a grid in {grid.unit}")
        moved = sample(self.array, self.grid.index_map(grid), grid.shape, interpolation="nearest", fill=0)
        return replace(self, array=moved, grid=grid)


def _checked(mask: NDArray[np.bool_], label: str, grid: Grid) -> NDArray[np.bool_]:
    """The mask, if it is one: NumPy would take 0 and 1 for row numbers, and a plane for every slice."""
    mask = np.asarray(mask)
    if mask.dtype != np.bool_ or mask.shape != grid.shape:
        raise GeometryError(
            f"the mask of {label!r} must be bool on its grid {grid.shape}, not {mask.dtype} {mask.shape}"
        )
    return mask
