"""The segmenter `network`: a trained network by sliding window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, PrivateAttr

from medseg.errors import PipelineError, UsageError
from medseg.prediction import Resources
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps import Head, Network, Predictor, Step, TrainableSegmenter
from medseg.volume import Volume
from medseg.weights import WeightsFile, require_weights

if TYPE_CHECKING:
    import torch

__all__ = ["NetworkSegmenter", "SlidingWindow", "WeightsFile"]

Side = Annotated[int, Field(ge=1, le=1024)]
Zoom = Annotated[float, Field(ge=0.5, le=4)]
Mirror = Literal["left-right", "anterior-posterior", "superior-inferior"]


class SlidingWindow(BaseModel):
    """How a volume is cut into windows and how their scores are joined."""

    model_config = Step.model_config

    patch: Annotated[tuple[Side, ...], Field(min_length=2, max_length=3)]
    """Voxels of a window along i, j, k; along i, j for a 2-D network."""

    training_patch: Annotated[tuple[Side, ...], Field(min_length=2, max_length=3)] | None = None
    """Voxels of a patch that the network is trained with; left out, those of a window. Held-out images are
    seen by windows while it learns, too."""

    overlap: float = Field(default=0.5, ge=0, le=0.9)
    """Part of a window that the next one covers again."""

    blend: Literal["gaussian", "constant"] = "gaussian"
    """Weight of a window's voxels: falling towards its border, or the same everywhere."""

    skip_empty: bool = False
    """Leave out windows in which every channel is at its smallest value everywhere, as in air after ct-window
    or around a padded body: what no other window reaches becomes background. Labels up to a patch from such
    windows can differ from those of all windows."""


class NetworkSegmenter(TrainableSegmenter):
    """A trained network, slid over the volume as it comes out of the preprocessing.

    Scores of overlapping windows are averaged and go to the native grid slab by slab; they are never held
    whole. A patch of two numbers makes the network 2-D: it sees one slice at a time, along the last axis k
    (after `reorient: {to: RAS}`, axial slices). Around a volume smaller than the patch the network sees the
    smallest value of each channel.
    """

    architecture: Network
    """The network, as it was trained."""

    head: Head
    """What its channels mean."""

    weights: Annotated[tuple[WeightsFile, ...], Field(max_length=32)] = ()
    """Files as `{path: …, sha256: …}`: one, or several of one architecture whose logits are averaged; none
    where they are still to be trained."""

    window: SlidingWindow
    """Windows as `{patch: [i, j, k], overlap: 0.5, blend: gaussian}`; blend may be constant. With
    `skip_empty: true`, windows are not computed where every channel is at its smallest value, as in air
    around the body; what only they cover becomes background, and labels up to a patch away can differ. With
    `training_patch`, the network is trained with patches of another size than its windows have."""

    mirror: tuple[Mirror, ...] = ()
    """Axes along which mirrored copies are segmented too and averaged; each doubles the time. Not left-right
    where labels name a pair."""

    zoom: Annotated[tuple[Zoom, ...], Field(max_length=4)] = ()
    """Factors by which each window is shown to the network larger, or smaller, as well; the logits are
    averaged. One of 1.5 takes as long again as 2.25 windows of a 2-D network, 3.4 of a 3-D one. Worth trying
    where what is to be found differs in size more than it did in training."""

    temperature: float = Field(default=1.0, gt=0, le=100)
    """What logits are divided by, so that probabilities come true as often as they say; labels stay what they
    are. `medseg train` finds it on held-out cases."""

    _labels: LabelTable | None = PrivateAttr(None)
    _folder: Path | None = PrivateAttr(None)

    @property
    def dims(self) -> Literal[2, 3]:
        """Axes of the network."""
        return 2 if len(self.window.patch) == 2 else 3

    @property
    def patch(self) -> tuple[int, int, int]:
        """Voxels of a window along i, j, k, for a 2-D network too."""
        i, j, k = (*self.window.patch, 1)[:3]
        return i, j, k

    @property
    def refinable(self) -> bool:
        """Where the head's channels can be made probabilities, and are decided on the native grid."""
        return self.head.activation is not None and self.head.decodes_on == "native"

    @property
    def of_objects(self) -> bool:
        """As the head says."""
        return self.head.of_objects

    @property
    def scores_head(self) -> Head:
        """The head."""
        return self.head

    @property
    def channels_last(self) -> bool:
        """As the architecture says."""
        return self.architecture.channels_last

    def labels(self) -> None:
        """The pipeline file names the labels."""
        return

    def files(self) -> Mapping[str, str]:
        """The weights."""
        return {file.path: file.sha256 for file in self.weights}

    def bound(self, *, labels: LabelTable, folder: Path | None) -> Self:
        """Refuse what does not fit together, and weights that are missing or altered."""
        self.check(labels)
        bound = self.model_copy()
        bound._labels, bound._folder = labels, require_weights(self.weights, folder)
        return bound

    def check(self, labels: LabelTable) -> None:
        """Refuse what does not fit together, whatever the weights."""
        self._check_mirror(labels)
        self._check_zoom()
        self._check_head(labels)
        self._check_patch()

    @property
    def window_voxels(self) -> tuple[int, ...]:
        """Those of a window, also where the network is trained with smaller patches."""
        return self.window.patch

    @property
    def copies(self) -> float:
        """Mirrored ones, and those of other sizes by their voxels."""
        return float(2 ** len(self.mirror) * (1 + sum(factor**self.dims for factor in self.zoom)))

    @property
    def patch_voxels(self) -> tuple[int, ...]:
        """The training patch, or a window."""
        return self.window.training_patch or self.window.patch

    def untrained(self, labels: LabelTable) -> torch.nn.Module:
        """What the architecture builds for the head's channels."""
        outputs = self.head.channels(labels)
        return self.architecture.build(dims=self.dims, inputs=self.channels, outputs=outputs)

    def training_loss(
        self,
        network: torch.nn.Module,
        batch: Mapping[str, Any],
        *,
        labels: LabelTable,
        spacing: tuple[float, ...],
        loss: Callable[..., torch.Tensor] | None,
    ) -> torch.Tensor:
        """The loss over all scales that the network gives: half the weight at half the size."""
        from medseg.builtin.segment.network_training import loss_over_scales

        assert loss is not None  # there is a head
        return loss_over_scales(network, batch, head=self.head, labels=labels, spacing=spacing, loss=loss)

    def segmented(
        self,
        forward: Callable[[torch.Tensor], Any],
        volume: Volume,
        *,
        labels: LabelTable,
        device: torch.device,
    ) -> Segmentation:
        """By MONAI's sliding window, decoded by the head."""
        from medseg.builtin.segment.network_training import slid_over

        patch = self.window.patch
        return slid_over(forward, volume, head=self.head, labels=labels, patch=patch, device=device)

    def trained(self, weights: Mapping[str, str]) -> Mapping[str, Any]:
        """The files of the members."""
        return {"weights": [{"path": path, "sha256": sha256} for path, sha256 in weights.items()]}

    def calibrated(self, temperature: float) -> Mapping[str, Any]:
        """The temperature, times the one there is."""
        return {"temperature": float(f"{self.temperature * temperature:.4g}")}

    def open(self, resources: Resources) -> AbstractContextManager[Predictor]:
        """Load the weights onto the device."""
        if self._labels is None or self._folder is None:
            raise UsageError("a network is opened after bound(labels=…, folder=…), as assemble() does")
        return self._opened(resources, self._labels, self._folder)

    @contextmanager
    def _opened(self, resources: Resources, labels: LabelTable, folder: Path) -> Iterator[Predictor]:
        from medseg.builtin.segment.network_predictor import NetworkPredictor

        yield NetworkPredictor(self, labels, folder, resources)

    def _check_mirror(self, labels: LabelTable) -> None:
        twice = next((axis for axis in self.mirror if self.mirror.count(axis) > 1), None)
        if twice is not None:
            raise PipelineError(f"mirror: {twice} is named twice")
        sides = labels.sides()
        if "left-right" in self.mirror and sides is not None:
            raise PipelineError(
                f"mirror: left-right cannot be used with the pair {sides[0]!r} and {sides[1]!r}: "
                "in a mirrored image the one looks like the other; leave left-right out"
            )

    def _check_zoom(self) -> None:
        twice = next((factor for factor in self.zoom if factor == 1 or self.zoom.count(factor) > 1), None)
        if twice is not None:
            raise PipelineError(
                f"zoom: {twice:g} is {'what is shown anyway' if twice == 1 else 'named twice'}; leave it out"
            )
        if self.zoom and self.head.lengths_in_voxels:
            raise PipelineError(
                "zoom: what the head's channels say depends on lengths in voxels, and an enlarged window "
                "has more of them; leave it out"
            )

    def _check_head(self, labels: LabelTable) -> None:
        if self.head.merge != "average":
            raise PipelineError("head: decodes each window by itself, and network averages windows")
        try:
            self.head.channels(labels)
        except PipelineError as problem:
            raise PipelineError(f"head: {problem}") from problem
        if self.temperature != 1 and self.head.activation is None:
            raise PipelineError(
                "temperature: divides logits, and the head's channels are other things too; leave it out"
            )
        if self.window.skip_empty and self.head.background_logits(labels) is None:
            raise PipelineError(
                "window.skip_empty: the head does not say what its channels are in the background; "
                "leave it out"
            )

    def _check_patch(self) -> None:
        try:
            divisor = self.architecture.divisor(dims=self.dims)
        except ValueError as problem:
            raise PipelineError(f"architecture: {problem}") from problem
        patches = {"patch": self.window.patch, "training_patch": self.patch_voxels}
        for name, patch in patches.items():
            if len(patch) != self.dims:
                raise PipelineError(
                    f"window.{name}: has {len(patch)} numbers, and window.patch {self.dims}; give as many"
                )
            if any(side % multiple for side, multiple in zip(patch, divisor, strict=True)):
                raise PipelineError(
                    f"window.{name}: {list(patch)} does not fit the network, "
                    f"whose patches are multiples of {list(divisor)}"
                )
