"""What a network's channels mean."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from numpy.typing import NDArray

from medseg.prediction import Sink
from medseg.segmentation import LabelTable, Segmentation
from medseg.steps.step import Step
from medseg.volume import Grid

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["Head"]

SURE = 20.0  # as a logit a probability of 2e-9: less than a voxel in the sum over a large image


class Head(Step, ABC):
    """Says what the channels of a network's output mean: how many, how windows merge, how they are decoded.

    `merge` is "average" where overlapping windows add up to one field of scores, "per-window" where each
    window is decoded by itself. `decodes_on` is "native" where scores are interpolated onto the native grid
    before they are decoded; "model" where they are in the model grid's voxels (flows, rays, distances), and
    ids go back by nearest. `activation` says what makes probabilities of the channels: "softmax" where
    channel 0 is the background and the others are the labels in order of value, "sigmoid" where each channel
    is a label by itself, None where channels are something else; soft volumes, entropy and probability maps
    are then not to be had. `of_objects` says that it tells the objects of a label apart, and so must know in
    training which voxel is of which; `lengths_in_voxels` that what channels say depends on lengths in the
    network's voxels, as rays and the width of a border do, so that an enlarged window has other ones.
    `default_loss` is the loss, as `distribution/name`, that a network with this head is trained with where
    the user names none.
    """

    merge: ClassVar[Literal["average", "per-window"]] = "average"
    decodes_on: ClassVar[Literal["native", "model"]] = "native"
    activation: ClassVar[Literal["softmax", "sigmoid"] | None] = None
    of_objects: ClassVar[bool] = False
    lengths_in_voxels: ClassVar[bool] = False
    default_loss: ClassVar[str] = "medseg/dice-ce"

    @abstractmethod
    def channels(self, labels: LabelTable) -> int:
        """How many channels the network must give for these labels."""

    @abstractmethod
    def target(self, segmentation: Segmentation) -> NDArray[np.float32]:
        """The network's ideal output `[C, i, j, k]` for a reference segmentation; probabilities, not logits.

        A head `of_objects` is given objects in layers of their own, any other may be given either and asks
        for `mask`s.
        """

    def logits(self, target: NDArray[np.float32]) -> NDArray[np.float32]:
        """Output `[C, i, j, k]` of a network that is sure of what `target` says.

        By default of channels that are all probabilities; override it where some are not.
        """
        return SURE * (target - 0.5)

    def targets(
        self,
        labels: torch.Tensor,
        table: LabelTable,
        *,
        spacing: tuple[float, ...],
        objects: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The ideal outputs `[N, C, *patch]`, float32, for patches of labels `[N, L, *patch]`, in training.

        What `target` says, for a batch and on its device; by default by `target` itself, one patch after the
        other. A patch has 2 or 3 axes; `spacing` is that of its voxels, one number per axis, in mm, or in px
        for pictures without a scale.

        `labels` are integers and hold the labels' values; `objects[N, L, *patch]`, which only heads
        `of_objects` are given, hold the ids of the objects that the voxels are of, 0 where there is none.
        """
        import numpy as np
        import torch

        layers, *patch = labels.shape[1:]
        i, j, k = (*patch, 1)[:3]
        grid = Grid((i, j, k), np.diag([*(*spacing, 1.0)[:3], 1.0]))

        def samples(of: torch.Tensor) -> NDArray[np.int32]:
            return of.cpu().numpy().reshape(-1, layers, i, j, k)

        ideal = []
        for number, values in enumerate(samples(labels)):
            if objects is None:
                segmentation = Segmentation(values.astype(np.uint32), grid, table)  # PyTorch's are signed
            else:
                ids = samples(objects)[number].astype(np.uint32)
                segmentation = Segmentation.from_objects(ids, values, grid, table)
            found = self.target(segmentation)
            ideal.append(torch.from_numpy(found).reshape(len(found), *patch))
        return torch.stack(ideal).to(labels.device)

    def at_scale(self, target: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
        """The ideal outputs `[N, C, *size]` of a coarser output, of those in full, `target[N, C, *patch]`.

        By default that of the nearest voxel. Channels in voxels, as flows, rays and distances, become smaller
        with the patch: override this where yours are.
        """
        from torch.nn.functional import interpolate

        return interpolate(target, list(size), mode="nearest-exact")

    def unmirror(self, logits: NDArray[np.float32], axes: Sequence[int]) -> NDArray[np.float32]:
        """Turn logits `[C, i, j, k]` of an image that was mirrored along `axes` (0 to 2) back.

        Channels that are vectors or directions must be turned too: override this where yours are.
        """
        return logits[(slice(None), *(slice(None, None, -1 if axis in axes else 1) for axis in range(3)))]

    def background_logits(self, labels: LabelTable) -> tuple[float, ...] | None:
        """Logits, one per channel, of a voxel that is surely background; None where there are none to name.

        What voxels get whose windows are not computed because they are empty. By default what `activation`
        makes a background of: with softmax channel 0, with sigmoid no channel.
        """
        channels = self.channels(labels)
        if self.activation == "softmax":
            return (0.0, *(-SURE,) * (channels - 1))
        return (-SURE,) * channels if self.activation == "sigmoid" else None

    def deciding(self, labels: LabelTable, wanted: Collection[str]) -> LabelTable:
        """The labels without whose channels it cannot be said where the wanted ones are; by default all.

        Asked where a run is limited to some labels and each channel is a label by itself (`activation` is
        "sigmoid"). The others' channels are then not kept: `sink` is made for the table that is returned, and
        sees its channels only. Channels that are compared with each other, as by an arg-max, are all needed:
        the largest of those that are not wanted cannot stand for them, since windows are averaged first, and
        the mean of what is largest in each window is not the largest of the means.
        """
        return labels

    def work_bytes(self, labels: LabelTable, grid: Grid) -> int:
        """Memory that its sink takes at most beside the labels on the grid that it decodes on, `grid`.

        None where voxels are decided one by one. Override it where whole objects are decoded.
        """
        return 0

    def finishing_bytes(self, labels: LabelTable, grid: Grid) -> int:
        """What of `work_bytes` is there only while the sink's `finish` runs, as a block that is decoded.

        Where there are several sinks, as of an ensemble's members, they finish one after the other. By
        default nothing: all of it is there until the segmentation is forgotten.
        """
        return 0

    @abstractmethod
    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        """A sink that decodes slabs of scores on `grid`, coming along `axis`, into labels on `onto`.

        What its `finish` returns is a Segmentation. Where the head `decodes_on` "model", `onto` is `grid`.
        """
