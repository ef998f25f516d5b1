"""Images of objects that touch, with known answers; what a head makes of them; how good it is."""

from collections.abc import Sequence

import numpy as np
from medseg_instances.instance_head import InstanceHead
from numpy.typing import NDArray

from medseg.builtin.metric.average_precision import AveragePrecision
from medseg.inference import ObjectSink
from medseg.prediction import Scores
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

Ids = NDArray[np.uint32]
Floats = NDArray[np.float32]
TABLE = LabelTable((Label(2, "round"), Label(5, "long")))
DISCS = ((20, 20), (20, 40), (45, 30), (60, 5), (5, 63), (58, 58))
DISC_RADII = (10, 10, 12, 7, 6, 9)
BALLS = ((12, 12, 12), (12, 12, 30), (28, 20, 20), (5, 35, 5), (30, 36, 37))
BALL_RADII = (9, 9, 9, 6, 5)


def balls(shape: tuple[int, int, int], centres: Sequence[Sequence[float]], radii: Sequence[float]) -> Ids:
    """Ids of balls, discs in an image of one slice; the first of two that overlap has the voxels of both."""
    place = np.indices(shape)
    ids = np.zeros(shape, np.uint32)
    for n, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        far = sum((axis - at) ** 2 for axis, at in zip(place, (*centre, 0)[:3], strict=True))
        ids[np.asarray(far <= radius**2) & (ids == 0)] = n
    return ids


def reference(ids: Ids, affine: NDArray[np.float64] | None = None) -> Segmentation:
    """Objects with these ids; every third is "long"."""
    i, j, k = ids.shape
    values = np.where(ids == 0, 0, np.where(ids % 3 == 0, 5, 2))
    grid = Grid((i, j, k), np.eye(4) if affine is None else affine)
    return Segmentation.from_objects(ids[None], values[None], grid, TABLE)


def flat() -> Segmentation:
    """Discs, of which some touch each other and the image's border."""
    return reference(balls((64, 66, 1), DISCS, DISC_RADII))


def deep() -> Segmentation:
    """Balls in 3-D."""
    return reference(balls((40, 42, 40), BALLS, BALL_RADII))


def decoded(
    head: InstanceHead, logits: Floats, like: Segmentation, kind: type[ObjectSink] | None = None
) -> Segmentation:
    """What a head's sink makes of logits; `kind` is a sink with blocks of another size."""
    sink = head.sink(like.labels, grid=like.grid, axis=2, onto=like.grid)
    if kind is not None:
        bound = head.model_copy()
        bound._spacing = like.grid.spacing  # as `sink` has it
        channels = head.channels(like.labels)
        sink = kind(
            like.labels, grid=like.grid, axis=2, channels=channels, decode=bound.decode, margin=head.margin
        )
    sink.take(Scores(logits.astype(np.float32, copy=False), like.grid, "logits"), 0)
    found: Segmentation = sink.finish()
    return found


def ideal(head: InstanceHead, like: Segmentation) -> Floats:
    """The output of a network that is right."""
    return head.logits(head.target(like))


def average_precision(found: Segmentation, wanted: Segmentation, threshold: float) -> dict[str, float | None]:
    """TP / (TP + FP + FN) of each label."""
    rows = AveragePrecision(thresholds=(threshold,))(found, wanted)
    return {row.label: row.value for row in rows if row.quantity != "map"}  # type: ignore[misc]  # numbers


def stacked(slices: int, thickness: float) -> Segmentation:
    """Three flat objects above each other, each so many slices thick, which touch by whole faces."""
    i, j, k = np.indices((24, 24, 3 * slices + 2))
    ids = np.zeros(i.shape, np.uint32)
    for number in range(3):
        middle = 1 + slices * number + (slices - 1) / 2
        across = ((i - 11.5) ** 2 + (j - 11.5) ** 2) / 64
        ids[across + ((k - middle) / (slices / 2)) ** 2 <= 1] = number + 1
    return reference(ids, np.diag([1.0, 1.0, thickness, 1.0]))
