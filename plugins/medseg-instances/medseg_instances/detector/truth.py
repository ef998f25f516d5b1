"""What a sample of a training shows: its objects as boxes, labels and masks, and where nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch  # noqa: TID253 - imported where a detector is built
from torch import Tensor  # noqa: TID253

from medseg.segmentation import LabelTable
from medseg_instances.detector.boxes import sides

__all__ = ["Truth"]


@dataclass(frozen=True, eq=False)
class Truth:
    """The objects of one sample: `boxes[G, 2 D]`, `labels[G]`, places in the table; `ids[G]` in `layers[G]`.

    `map[L, *patch]` holds the ids. `unknown[*patch]` is where nothing is to be learnt: voxels that are not
    known, and all of an object that has such voxels, since where it ends cannot be seen. An object that the
    patch cuts is one like others: its box ends where the patch does.
    """

    boxes: Tensor
    labels: Tensor
    ids: Tensor
    layers: Tensor
    map: Tensor = field(repr=False)
    unknown: Tensor = field(repr=False)

    @classmethod
    def of(cls, batch: Mapping[str, Any], number: int, table: LabelTable) -> Truth:
        """Those of a sample of a batch."""
        from scipy.ndimage import find_objects

        ids, values = (batch[name][number].cpu().numpy() for name in ("objects", "labels"))
        unknown = batch["valid"][number, 0].cpu().numpy() < 1
        learnt = ~unknown
        place = {(label.layer, label.value): n for n, label in enumerate(table)}
        found = []
        for layer, own in enumerate(ids):
            known, numbers = np.unique(own, return_inverse=True)
            numbers = numbers.reshape(own.shape)
            hidden = np.isin(own, np.unique(own[unknown & (own != 0)]))
            learnt &= ~hidden
            for n, box in enumerate(find_objects(numbers + 1)):
                if known[n] == 0 or box is None:
                    continue
                inside = numbers[box] == n
                if hidden[box][inside][0]:
                    continue
                value = int(values[layer][box][inside][0])
                low, high = [part.start for part in box], [part.stop for part in box]
                found.append(([*low, *high], place[layer, value], int(known[n]), layer))
        boxes, labels, own_ids, layers = zip(*found, strict=True) if found else ((), (), (), ())
        device, dims = batch["objects"].device, ids.ndim - 1
        return cls(
            torch.tensor(boxes, dtype=torch.float32, device=device).reshape(-1, 2 * dims),
            torch.tensor(labels, dtype=torch.long, device=device),
            torch.tensor(own_ids, dtype=torch.long, device=device),
            torch.tensor(layers, dtype=torch.long, device=device),
            batch["objects"][number],
            torch.from_numpy(~learnt).to(device),
        )

    @cached_property
    def _sums(self) -> Tensor | None:
        """How many voxels before each are unknown, along all axes; None where all are known."""
        if not self.unknown.any():
            return None
        sums = self.unknown.to(torch.int64)
        for axis in range(sums.ndim):
            sums = sums.cumsum(axis)
        return torch.nn.functional.pad(sums, [1, 0] * sums.ndim)

    def hides(self, boxes: Tensor) -> Tensor:
        """Which boxes `[N, 2 D]` hold a voxel of which nothing is known: what is in them may be an object."""
        if self._sums is None:
            return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
        dims = boxes.shape[1] // 2
        size = torch.tensor(self.unknown.shape, device=boxes.device)
        low = torch.minimum(boxes[:, :dims].floor().long().clamp(min=0), size)
        high = torch.minimum(boxes[:, dims:].ceil().long().clamp(min=0), size)
        count = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        for corner in range(2**dims):
            upper = [corner >> axis & 1 for axis in range(dims)]
            at = [high[:, a] if up else low[:, a] for a, up in enumerate(upper)]
            count += (-1) ** (dims - sum(upper)) * self._sums[tuple(at)]
        return count > 0

    def masks(self, boxes: Tensor, numbers: Tensor, cells: int) -> Tensor:
        """How much of an object each of `cells` cells along each axis of a box holds, `[R, *(cells,) * D]`.

        `numbers[R]` says which object a box is of. Read at the middle of each cell, linear between voxels.
        """
        dims = boxes.shape[1] // 2
        step = (torch.arange(cells, device=boxes.device) + 0.5) / cells
        at = boxes[:, :dims, None] + step * sides(boxes)[:, :, None] - 0.5
        low = at.floor()
        part, low = at - low, low.long()
        ids = self.ids[numbers].reshape(-1, *[1] * dims)
        layer = self.layers[numbers].reshape(-1, *[1] * dims)
        found = boxes.new_zeros((len(boxes), *(cells,) * dims))
        for corner in range(2**dims):
            index, weight = [layer], torch.ones_like(found)
            for axis in range(dims):
                up = corner >> axis & 1
                line = (low[:, axis] + up).clamp(0, self.unknown.shape[axis] - 1)
                share = part[:, axis] if up else 1 - part[:, axis]
                shape = (len(boxes), *(cells if a == axis else 1 for a in range(dims)))
                index.append(line.reshape(shape))
                weight = weight * share.reshape(shape)
            found += weight * (self.map[tuple(index)] == ids)
        return found
