"""What was found: labels, objects and the masks that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, UsageError
from medseg.sampling import sample
from medseg.volume import Grid, read_only

__all__ = ["Label", "LabelTable", "LayerKind", "Object", "Segmentation"]

LayerKind = Literal["labels", "objects"]


@dataclass(frozen=True)
class Label:
    """One structure: its value in the array, its name, and what viewers and reports need.

    `code` is "SCHEME:VALUE", as in "SCT:10200004" for the liver; `colour` is "#rrggbb"; `layer` is the array's
    first index; `pair` names the same structure on the other side of the body.
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
        values = [label.value for label in self.labels]
        names = [label.name for label in self.labels]
        if len(set(values)) != len(values) or len(set(names)) != len(names):
            raise UsageError("two labels share a value or a name")
        if any(value < 1 for value in values):
            raise UsageError("label values start at 1; 0 is background")
        for label in self.labels:
            if label.pair is not None and self[label.pair].pair != label.name:
                raise UsageError(f"label {label.name!r} is paired with {label.pair!r}, which is not paired with it")

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
        raise UsageError(f"no label {name!r}; the labels are {', '.join(label.name for label in self.labels)}")

    @property
    def layers(self) -> int:
        """How many layers these labels need."""
        return 1 + max((label.layer for label in self.labels), default=0)


@dataclass(frozen=True)
class Object:
    """One instance in a layer of objects: its id there, the label it belongs to, and how sure the model was (0 to 1)."""

    id: int
    label: str
    score: float | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on a grid: `array[L, i, j, k]` of layers, read-only unsigned integers.

    A layer holds label values or object ids, never both (`kinds`). Overlapping labels lie in different layers.
    Ask `mask(label)`; never compare values. Raises GeometryError where array and grid disagree.
    """

    array: NDArray[Any]
    grid: Grid
    labels: LabelTable
    kinds: tuple[LayerKind, ...] = ()
    objects: tuple[Object, ...] = ()

    def __post_init__(self) -> None:
        array = read_only(self.array)
        if array.ndim != 4 or array.shape[1:] != self.grid.shape:
            raise GeometryError(f"a segmentation is [L, i, j, k] on its grid {self.grid.shape}; this array is {array.shape}")
        if array.dtype.kind != "u":
            raise GeometryError(f"a segmentation holds unsigned integers, not {array.dtype}")
        kinds = self.kinds or ("labels",) * array.shape[0]
        if len(kinds) != array.shape[0] or self.labels.layers > array.shape[0]:
            raise GeometryError(f"{array.shape[0]} layers, {len(kinds)} kinds, labels for {self.labels.layers} layers")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "kinds", tuple(kinds))

    @classmethod
    def from_masks(cls, masks: Mapping[str, NDArray[np.bool_]], grid: Grid, labels: LabelTable) -> Segmentation:
        """Paint masks `[i, j, k]` by label name; within a layer, later names win where masks overlap."""
        highest = max((label.value for label in labels), default=0)
        kind = np.uint8 if highest < 256 else np.uint16 if highest < 65536 else np.uint32
        array = np.zeros((labels.layers, *grid.shape), kind)
        for name, mask in masks.items():
            label = labels[name]
            array[label.layer][mask] = label.value
        return cls(array, grid, labels)

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

    def with_mask(self, label: str, mask: NDArray[np.bool_]) -> Segmentation:
        """A copy in which `label` is exactly `mask`; what it gives up becomes background, what it gains it takes over."""
        wanted = self.labels[label]
        if self.kinds[wanted.layer] != "labels":
            raise UsageError(f"label {label!r} lies in a layer of objects; masks replace labels only")
        array = self.array.copy()
        layer = array[wanted.layer]
        layer[(layer == wanted.value) & ~mask] = 0
        layer[mask] = wanted.value
        return replace(self, array=array)

    def onto(self, grid: Grid) -> Segmentation:
        """The same labels at the voxels of another grid: nearest; outside this grid is background."""
        if grid.same_as(self.grid):
            return replace(self, grid=grid)
        if self.grid.unit != grid.unit:
            raise GeometryError(f"labels in {self.grid.unit} cannot be placed on a grid in {grid.unit}")
        moved = sample(self.array, self.grid.index_map(grid), grid.shape, interpolation="nearest", fill=0)
        return replace(self, array=moved, grid=grid)
