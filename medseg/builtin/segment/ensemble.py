"""The members of an ensemble, often one: their mean over mirrored copies of a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import PluginError
from medseg.inference.engines import Engine
from medseg.steps import Head

__all__ = ["Ensemble", "member_count", "unmirrors_itself"]


@dataclass(frozen=True)
class Ensemble:
    """Networks of one architecture with `channels` channels, whose logits are averaged.

    Windows and logits are `[N, C, i, j, k]`, for 2-D networks (`flat`) with one voxel along k: arrays, or
    tensors on a GPU, as they come.
    """

    engines: tuple[Engine, ...]
    head: Head
    channels: int
    flat: bool

    def mean_logits(self, images: Any, mirrors: Sequence[tuple[int, ...]], *, apart: bool) -> Any:
        """Mean logits of all members and of copies mirrored along each set of axes, the empty one first.

        With `apart`, each member's mean over its mirrored copies follows, side by side as further channels;
        of a single network, each mirrored copy. Raises PluginError where a network gives another shape.
        """
        if len(mirrors) * len(self.engines) == 1:
            return self._logits(self.engines[0], images, ())
        alone = len(self.engines) == 1
        groups = 1 + member_count(len(self.engines), len(mirrors)) * apart
        shape = (len(images), groups, self.channels, *images.shape[2:])
        sums = np.zeros(shape, np.float32) if isinstance(images, np.ndarray) else images.new_zeros(shape)
        for copy, axes in enumerate(mirrors, start=1):
            for number, engine in enumerate(self.engines, start=1):
                logits = self._logits(engine, images, axes)
                sums[:, 0] += logits
                if apart:
                    sums[:, copy if alone else number] += logits
        sums[:, 0] /= _divisor(images, len(mirrors) * len(self.engines))
        if not alone:
            sums[:, 1:] /= _divisor(images, len(mirrors))
        return sums.reshape(len(images), groups * self.channels, *images.shape[2:])

    def _logits(self, engine: Engine, images: Any, axes: tuple[int, ...]) -> Any:
        """One member's logits of windows mirrored along some axes, turned back."""
        here, turned = isinstance(images, np.ndarray), tuple(2 + axis for axis in axes)
        given = images
        if axes:
            given = np.flip(images, turned) if here else images.flip(turned)
        given = given[..., 0] if self.flat else given
        logits: Any = engine(given) if here else engine.infer(given)
        logits = logits[..., None] if self.flat else logits
        expected = (len(images), self.channels, *images.shape[2:])
        if tuple(logits.shape) != expected:
            raise PluginError(f"the network gave {list(logits.shape)}, not logits of {list(expected)}")
        if axes and here:
            return np.stack([self.head.unmirror(one, axes) for one in logits])
        return logits.flip(turned) if axes else logits


def member_count(networks: int, copies: int) -> int:
    """How many there are to be kept apart: networks, or the mirrored copies that a single one is shown."""
    return networks if networks > 1 else copies


def _divisor(images: Any, count: int) -> Any:
    """A number to divide by: a plain one a GPU would make a multiplication by its reciprocal of."""
    return count if isinstance(images, np.ndarray) else images.new_full((), count)


def unmirrors_itself(head: Head) -> str | None:
    """Why a head's logits cannot be turned back on a GPU; None where they can, in the way of all heads."""
    own = type(head).unmirror is not Head.unmirror
    return f"head {type(head).__name__} turns mirrored logits back in its own way" if own else None
