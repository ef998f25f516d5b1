"""What passes between the steps of the walk besides images and labels: wishes, predictions, measurements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from medseg.errors import GeometryError
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Grid, Volume, read_only

if TYPE_CHECKING:
    from medseg.inference.refining import Refinable
    from medseg.inference.score_store import ScoreStore

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
    `engine` is "torch", "openvino", "onnx", or "auto"; `precision` "fp32", "bf16", "fp16", or "auto": single
    precision, unless the model's card says that less gives the same. `max_memory_bytes` bounds what the whole
    process has in memory; of None, it and `threads` mean what the machine has.
    `progress(step, done, total)` is called by long work.
    """

    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    max_memory_bytes: int | None = None
    threads: int | None = None
    seed: int = 0
    deterministic: bool = False
    progress: Progress = silent


@dataclass(frozen=True, eq=False)
class Scores:
    """A slab or a box of a network's output: `array[C, i, j, k]` on its own grid; never promised whole.

    `activation` says what makes probabilities of the channels, as a head's does, where that is known.
    """

    array: NDArray[Any] = field(repr=False)
    grid: Grid
    kind: Literal["logits", "probabilities"]
    activation: Literal["softmax", "sigmoid"] | None = None

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

    def begin(self, region: tuple[slice, slice, slice]) -> None:  # noqa: B027 - most need not know
        """Hear which voxels of the model grid the next slabs are to settle; said before the first one too.

        Where the whole plane would not fit into memory, the grid comes in blocks side by side, each streamed
        from its first slice to its last. Slabs of a block begin `halo` voxels before it along every axis
        where there are so many.
        """

    @abstractmethod
    def take(self, slab: Scores, start: int) -> None:
        """Take the next slab; its first slice is slice `start` of the model grid along the streaming axis."""

    @abstractmethod
    def finish(self) -> Any:
        """Say that no slab follows, and get what was made of them."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to keep of a prediction: the union of what refiners, measurements and writers declare.

    `labels` of None means all of them; `score_boxes` are grids in which scores must be kept, `whole_scores`
    asks for them everywhere; `score_labels` says whose, None for all; `members` asks for one segmentation per
    ensemble member, or mirrored copy; `reductions` for streamed sums: "soft-volume", "entropy"; `refinable`
    for what is needed to improve scores and decide anew. What a segmenter cannot give, it leaves out: ask
    `Prediction.lacks`.
    """

    labels: frozenset[str] | None = None
    score_boxes: tuple[Grid, ...] = ()
    whole_scores: bool = False
    score_labels: frozenset[str] | None = None
    members: bool = False
    reductions: frozenset[str] = frozenset()
    refinable: bool = False

    def __post_init__(self) -> None:
        boxes = sorted(set(self.score_boxes), key=lambda box: (box.shape, box.unit, box.affine.tolist()))
        object.__setattr__(self, "score_boxes", tuple(boxes))  # in one order, so that a | b equals b | a
        if not self.scores:
            object.__setattr__(self, "score_labels", None)

    @property
    def scores(self) -> bool:
        """Whether scores must be kept anywhere."""
        return self.whole_scores or bool(self.score_boxes)

    def __or__(self, other: Wanted) -> Wanted:
        """What satisfies both."""
        asking = [each.score_labels for each in (self, other) if each.scores]
        return Wanted(
            labels=_union([self.labels, other.labels]),
            score_boxes=self.score_boxes + other.score_boxes,
            whole_scores=self.whole_scores or other.whole_scores,
            score_labels=_union(asking),
            members=self.members or other.members,
            reductions=self.reductions | other.reductions,
            refinable=self.refinable or other.refinable,
        )


def _union(names: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    """All names; None, which means every label there is, where one of them is None or there are none."""
    said = [some for some in names if some is not None]
    return frozenset().union(*said) if said and len(said) == len(names) else None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a predictor intends to do, stated before it runs: device, peak memory, and how, in words.

    `peak_bytes` is what it will take at most beyond what the process holds when asked; `resident_bytes` is
    that. The rest says how a network is slid over the volume, and is left out by other segmenters: `windows`
    of `patch` voxels, `batch` at once, each computed `passes` times (members, mirrored copies); `slab` voxels
    (i, j, k) are held at once, along `axis`, in `blocks` pieces one after the other (1: the whole plane);
    `evaluations` are windows with those computed again at seams; `seconds` is the expected time. `slab_on` is
    the device in whose memory the slab lies, and `gpu_bytes` what a GPU will have in use at most.
    """

    device: str
    peak_bytes: int
    strategy: str = ""
    resident_bytes: int = 0
    engine: str = ""
    precision: str = ""
    batch: int = 1
    windows: int = 0
    evaluations: int = 0
    patch: tuple[int, ...] = ()
    passes: int = 1
    axis: str = ""
    slab: tuple[int, ...] = ()
    blocks: int = 1
    seconds: float | None = None
    slab_on: str = "cpu"
    gpu_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """What the process will have in memory at most."""
        return self.resident_bytes + self.peak_bytes

    def as_json(self) -> dict[str, Any]:
        """What run.json and `--json` say; memory in MB of 2^20 bytes, only what is known."""
        said: dict[str, Any] = {
            "device": self.device,
            "peak_memory_mb": self.total_bytes >> 20,
            "above_resident_mb": self.peak_bytes >> 20,
            "strategy": self.strategy,
        }
        if self.windows:
            said |= {
                "engine": self.engine,
                "precision": self.precision,
                "patch": list(self.patch),
                "windows": self.windows,
                "evaluations": self.evaluations,
                "batch": self.batch,
                "passes": self.passes,
                "axis": self.axis,
                "slab": list(self.slab),
                "blocks": self.blocks,
                "slab_on": self.slab_on,
            }
        if self.gpu_bytes:
            said["gpu_memory_mb"] = self.gpu_bytes >> 20
        if self.seconds is not None:
            said["seconds"] = round(self.seconds, 1)
        return said


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a predictor gives: labels on the grid that was asked for, and whatever else was wanted.

    `soft_ml` is the volume in mL per label from summed probabilities; `maps` are images such as "entropy";
    `scores` are probabilities on disk, on the grid that was segmented; `members` are the labels of each
    member of an ensemble, or of each mirrored copy that one network was shown; `refinable` is what the labels
    were decided from, for refiners. `used` says what was really used (device, precision, windows …) and goes
    into the run's provenance.
    """

    segmentation: Segmentation
    scores: ScoreStore | None = None
    members: tuple[Segmentation, ...] = ()
    soft_ml: Mapping[str, float] = field(default_factory=dict)
    maps: Mapping[str, Volume] = field(default_factory=dict)
    used: Mapping[str, Any] = field(default_factory=dict)
    refinable: Refinable | None = None

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
            scores=self.scores
            and self.scores.renamed(
                {old.name: names[old.value, old.layer] for old in self.segmentation.labels}
            ),
        )

    def only(self, labels: Collection[str]) -> Prediction:
        """The same with these labels alone; the others' voxels are background. Scores stay as they are."""
        return replace(
            self,
            segmentation=self.segmentation.only(labels),
            members=tuple(member.only(labels) for member in self.members),
            soft_ml={name: ml for name, ml in self.soft_ml.items() if name in labels},
        )

    def lacks(self, wanted: Wanted) -> str | None:
        """What was wanted and not given, in a few words; None where nothing lacks."""
        if wanted.scores and self.scores is None:
            return "the segmenter keeps no scores"
        if wanted.members and not self.members:
            return "the segmenter keeps no members apart"
        if "soft-volume" in wanted.reductions and not self.soft_ml:
            return "the segmenter gives no soft volumes"
        if "entropy" in wanted.reductions and "entropy" not in self.maps:
            return "the segmenter gives no entropy"
        if wanted.refinable and self.refinable is None:
            return "the segmenter keeps nothing to refine"
        return None


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
