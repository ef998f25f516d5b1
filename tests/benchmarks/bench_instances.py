# ruff: noqa: T201 - a script: it prints
"""Decoding of 5,000 touching objects on 2048 x 2048 pixels, beside scikit-image's watershed and relabelling.

    python tests/benchmarks/bench_instances.py [--side 2048] [--spacing 29] [--rounds 3]

Each head decodes the output of a network that is right, with noise. The peer gets the same: a foreground and
a depth; it finds seeds (`measure.label` of what is deep), floods (`segmentation.watershed`) and numbers the
objects on (`segmentation.relabel_sequential`). Processor time of this process and its threads, the least of
some rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from medseg_instances.border_core import BorderCore
from medseg_instances.distance_watershed import DistanceWatershed
from medseg_instances.embedding import Embedding
from medseg_instances.flows import Flows
from medseg_instances.instance_head import InstanceHead
from medseg_instances.star_convex import StarConvex
from numpy.typing import NDArray
from skimage.measure import label  # noqa: TID253 - a script
from skimage.segmentation import relabel_sequential, watershed  # noqa: TID253

from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

HEADS: tuple[InstanceHead, ...] = (
    BorderCore(size=48),
    DistanceWatershed(size=48),
    DistanceWatershed(size=48, outline=0.5),
    Flows(size=48),
    Embedding(size=48),
    StarConvex(size=48, axes=2),
)
GOAL = 0.5
NOISE = 0.01


def field(side: int, spacing: int) -> Segmentation:
    """Discs in rows, each touching its neighbours."""
    place = np.indices((side, side))
    row, column = (axis // spacing for axis in place)
    far = sum((axis % spacing - (spacing - 1) / 2) ** 2 for axis in place)
    across = -(-side // spacing)
    ids = np.where(far <= (0.52 * spacing) ** 2, 1 + row * across + column, 0).astype(np.uint32)
    grid = Grid((side, side, 1), np.eye(4), "px")
    table = LabelTable((Label(1, "nucleus"),))
    return Segmentation.from_objects(ids[None, :, :, None], (ids > 0)[None, :, :, None], grid, table)


def least(call: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Seconds of processor time, and what came of it."""
    times, found = [], None
    for _ in range(rounds):
        begun = time.process_time()
        found = call()
        times.append(time.process_time() - begun)
    return min(times), found


def peer(foreground: NDArray[np.bool_], depth: NDArray[np.float32]) -> NDArray[Any]:
    """As a script would have it."""
    seeds = label(depth > 0.5, connectivity=1)
    flooded = watershed(-depth, seeds, mask=foreground)
    numbered: NDArray[Any] = relabel_sequential(flooded)[0]
    return numbered


def main() -> None:
    """Print seconds, numbers of objects and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--spacing", type=int, default=29)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    wanted = field(asked.side, asked.spacing)
    noise = np.random.default_rng(0).normal(0, NOISE, wanted.grid.shape).astype(np.float32)
    depth = DistanceWatershed().target(wanted)[-1] + noise
    seconds, found = least(lambda: peer(wanted.array[0, :, :, 0] > 0, depth[:, :, 0]), asked.rounds)
    print(f"{asked.side} x {asked.side}, {len(wanted.objects)} objects")
    print(f"scikit-image: {seconds:.2f} s, {found.max()} objects")
    for head in HEADS:
        logits = head.logits(head.target(wanted)) + noise
        own, decoded = least(lambda: head.decode(logits), asked.rounds)  # noqa: B023 - called at once
        verdict = "met" if own <= GOAL * seconds else "NOT MET"
        name = type(head).__name__ + (", outline" if getattr(head, "outline", 0) else "")
        ratio = f"{own / seconds:.2f} (goal {GOAL:g}): {verdict}"
        print(f"{name}: {own:.2f} s, {len(decoded.anchors)} objects, ratio {ratio}")


if __name__ == "__main__":
    main()
