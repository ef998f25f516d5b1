"""A sliding window whose scores are never held whole.

Windows are visited in order along one axis. A slab as deep as a patch holds the weighted mean of the scores
so far; slices that no later window reaches are handed to the sinks, and the slab moves on. Peak memory is
channels times slab, however long that axis is.

The mean is updated window by window, mean += w / W * (score - mean) with W the sum of weights so far (West,
Communications of the ACM 22, 1979, 532-535), instead of divided at the end: a network that gives one value
everywhere then gives exactly that value back, and float32 is enough however many windows overlap.

Two threads take turns: the caller's runs the network, the other cuts windows out, takes logits into the slab
and feeds the sinks. What the other does, and in which order, does not depend on which is faster.

On a GPU the image and the slab lie in its memory, and labels are decided there (`gpu`): logits stay where
they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import GeometryError, PluginError
from medseg.inference.feed import Feed, Step
from medseg.inference.threads import background
from medseg.inference.windows import Place, Region, Windows
from medseg.prediction import Progress, Sink, silent
from medseg.volume import Volume

__all__ = ["Forward", "stream"]

Forward = Callable[[Any], Any]
"""Takes windows `[N, C, *patch]` of an image and gives their logits `[N, K, *patch]`.

Arrays of NumPy in float32; where the slab lies on a GPU, tensors there, logits in any floating type.
"""


def stream(  # noqa: PLR0913 - the one place where all that a sliding window can be told comes together
    volume: Volume,
    windows: Windows,
    forward: Forward,
    sinks: Sequence[Sink],
    *,
    batch: int = 1,
    blocks: int = 1,
    content: NDArray[np.bool_] | None = None,
    empty: Sequence[float] | None = None,
    threads: int | None = None,
    gpu: str | None = None,
    progress: Progress = silent,
) -> tuple[Any, ...]:
    """Slide a network over a volume, feed every sink, and give what the sinks made of it.

    Slabs of logits come along `windows.axis`, first slice first. A slab's array is used again for the next
    one: a sink that needs it later copies it. Around a volume smaller than the patch the network sees the
    smallest value of each channel. `forward` and `progress` are called by the caller's thread, sinks by
    another, one at a time, while the network computes its next windows; `threads` share that work, None for
    one per processor. Raises ModelError where scores are not finite.

    `blocks` cuts the plane into pieces that are done one after the other, each in a slab of its own size.
    Windows at the seams are computed twice; of the same window logits, each voxel's score is the same to the
    last bit.

    `content[i, j, k]` says which voxels may hold anything: windows that touch none of them are not computed,
    but for one where otherwise nobody knew how many channels there are, whose logits are not used. Voxels
    that then have no window get the logits `empty`, one per channel, all 0 if None: background for an
    arg-max, and no label for a threshold. Labels near such voxels can differ from those of all windows.

    With `gpu`, the device "cuda:0" say, image, slab and labels lie in that GPU's memory; sinks that decide no
    labels get slabs in the processor's. Of the same window logits, labels are the same to the last voxel.
    """
    if windows.shape != volume.grid.shape:
        raise GeometryError(f"windows for {windows.shape} voxels do not lie on {volume.grid!r}")
    halo = max((sink.halo for sink in sinks), default=0)
    steps = list(_steps(windows, batch, halo, windows.regions(blocks), _kept(windows, content)))
    done, total = 0, sum(len(step.places) for step in steps)
    feed = _feed(gpu)(volume, windows, sinks, halo, empty)
    with background(threads) as worker:
        earlier: Future[None] | None = None
        cut = worker.submit(feed.cut, steps[0].places)
        for step, following in zip(steps, (*steps[1:], Step()), strict=True):
            images = cut.result()
            cut = worker.submit(feed.cut, following.places)
            logits = _shaped(forward(images), len(images), windows.patch) if step.places else None
            if earlier is not None:
                earlier.result()  # no more than one batch of logits waits while the network is at work
            earlier = worker.submit(feed.take, step, logits)
            del images, logits
            if step.places:
                done += len(step.places)
                progress("segment", done, total)
        assert earlier is not None  # there is a window
        earlier.result()
        return worker.submit(feed.finish).result()


def _kept(windows: Windows, content: NDArray[np.bool_] | None) -> Callable[[Place], bool]:
    """Which windows are computed."""
    if content is None:
        return lambda place: True
    if content.shape != windows.shape:
        raise GeometryError(f"content of {content.shape} voxels does not lie on windows for {windows.shape}")

    def touches(place: Place) -> bool:
        sides = zip(place, windows.patch, strict=True)
        inside = tuple(slice(max(0, start), start + side) for start, side in sides)
        return bool(content[inside].any())

    return touches


def _steps(
    windows: Windows, batch: int, halo: int, regions: Sequence[Region], kept: Callable[[Place], bool]
) -> Iterator[Step]:
    """What is done, in order; each block has one step that begins it, each start one that ends slices.

    The first step of all has a window in any case, as it tells how many channels there are.
    """
    axis = windows.axis
    starts = windows.starts(axis)
    ends = dict(zip(starts, (*starts[1:], windows.shape[axis]), strict=True))
    told = False
    for region in regions:
        begins: Region | None = region
        for start, places in groupby(windows.places(region, halo=halo), key=lambda place: place[axis]):
            line = tuple(places)
            due = tuple(filter(kept, line))
            unused = not (due or told)
            due, told = line[:1] if unused else due, True
            lots = [due[n : n + batch] for n in range(0, len(due), batch)] or [()]
            for number, lot in enumerate(lots, 1):
                yield Step(lot, begins, ends[start] if number == len(lots) else None, unused)
                begins = None


def _feed(gpu: str | None) -> Callable[..., Feed]:
    """What lies between network and sinks, on a GPU or not."""
    if gpu is None:
        return Feed
    from medseg.inference.gpu import GpuFeed

    return partial(GpuFeed, gpu)


def _shaped(logits: Any, count: int, patch: Place) -> Any:
    """Logits of the right shape; raises PluginError."""
    if logits.ndim != 5 or logits.shape[0] != count or tuple(logits.shape[2:]) != patch:
        raise PluginError(
            f"the network gave {list(logits.shape)} for {count} windows of {list(patch)} voxels"
        )
    return logits
