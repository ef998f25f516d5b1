"""What passes between the steps of the walk besides images and labels: wishes, predictions, measurements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Grid, Volume, read_only

__all__ = [
    "Measured",
    "Plan",
    "Prediction",
    "Resources",
    "Result",
    "Scores",
    "Sink",
    "Wanted",
]

Progress = Callable[[str, int, int], None]


def silent(step: str, done: int, total: int) -> None:
    """Report progress to nobody."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the run may use; made once per run and passed down, so that no step has a device of its own.

    `device` is "cpu", "cuda", "cuda:1" …, or "auto": a GPU if there is one, for those who can use it.
    `threads` and `max_memory_bytes` of None mean what the machine has. `progress(step, done, total)` is
    called by long work.
    """

    device: str = "auto"
    engine: str = "auto"
    precision: str = "fp32"
    max_memory_bytes: int | None = None
    threads: int | None = None
    seed: int = 0
    deterministic: bool = False
    progress: Progress = silent


@dataclass(frozen=True, eq=False)
class Scores:
    """A slab or a box of a network's output: `array[C, i, j, k]` on its own grid; never promised whole."""

    array: NDArray[Any] = field(repr=False)
    grid: Grid
    kind: Literal["logits", "probabilities"]

    def __post_init__(self) -> None:
        array = read_only(self.array)
        if array.ndim != 4 or array.shape[1:] != self.grid.shape:
            raise GeometryError(
                f"scores are [C, i, j, k] on their grid {self.grid.shape}; this array is {array.shape}"
            )
        object.__setattr__(self, "array", array)


class Sink(ABC):
    """What the streaming engine feeds, slab by slab along one axis of the model grid, several at once.

    `halo` is how many slices before a slab the sink must see again: each slab but the first begins with the
    last `halo` slices of the one before.
    """

    halo: int = 0

    @abstractmethod
    def take(self, slab: Scores, start: int) -> None:
        """Take the next slab; its first slice is slice `start` of the model grid along the streaming axis."""

    @abstractmethod
    def finish(self) -> Any:
        """Say that no slab follows, and get what was made of them."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to keep of a prediction: the union of what refiners, measurements and writers declare.

    `labels` of None means all of them; `score_boxes` are grids in which scores must be kept; `members` asks
    for one segmentation per ensemble member; `reductions` for streamed sums: "soft-volume", "entropy".
    """

    labels: frozenset[str] | None = None
    score_boxes: tuple[Grid, ...] = ()
    members: bool = False
    reductions: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        boxes = sorted(set(self.score_boxes), key=lambda box: (box.shape, box.unit, box.affine.tolist()))
        object.__setattr__(self, "score_boxes", tuple(boxes))  # in one order, so that a | b equals b | a

    def __or__(self, other: Wanted) -> Wanted:
        """What satisfies both."""
        labels = None if self.labels is None or other.labels is None else self.labels | other.labels
        return Wanted(
            labels=labels,
            score_boxes=self.score_boxes + other.score_boxes,
            members=self.members or other.members,
            reductions=self.reductions | other.reductions,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a predictor intends to do, stated before it runs: device, peak memory, and how, in words."""

    device: str
    peak_bytes: int
    strategy: str = ""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a predictor gives: labels on the grid that was asked for, and whatever else was wanted.

    `soft_ml` is the volume in mL per label from summed probabilities; `maps` are images such as entropy;
    `used` says what was really used (device, precision, windows …) and goes into the run's provenance.
    """

    segmentation: Segmentation
    members: tuple[Segmentation, ...] = ()
    soft_ml: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, Volume] = field(default_factory=dict)
    used: Mapping[str, Any] = field(default_factory=dict)

    def renamed(self, labels: LabelTable) -> Prediction:
        """The same under the names of another table; raises UsageError where that lacks a label."""
        found = self.segmentation.renamed(labels)
        names = {(label.value, label.layer): label.name for label in labels}
        soft = {names[old.value, old.layer]: self.soft_ml.get(old.name) for old in self.segmentation.labels}
        return replace(
            self,
            segmentation=found,
            members=tuple(member.renamed(labels) for member in self.members),
            soft_ml={name: ml for name, ml in soft.items() if ml is not None},
        )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One number: of a label or one of its objects, which quantity, its value and unit.

    `value` is None where it cannot be said; `interval` bounds it from below and above; `flag` says in a word
    or two why the number must be read with care ("empty", "truncated: superior").
    """

    label: str
    quantity: str
    value: float | int | str | None
    unit: str = ""
    object: int | None = None
    interval: tuple[float, float] | None = None
    flag: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished case, as writers get it: what came in, what was found, what was measured, and how."""

    case_id: str
    volume: Volume
    prediction: Prediction
    segmentation: Segmentation
    measurements: tuple[Measured, ...]
    provenance: Mapping[str, Any]
