"""What heads say that decoding takes a voxel, against what the process takes, its libraries included."""

import math

import numpy as np
import pytest
from medseg_instances.border_core import BorderCore
from medseg_instances.distance_watershed import DistanceWatershed
from medseg_instances.embedding import Embedding
from medseg_instances.flows import Flows
from medseg_instances.instance_head import InstanceHead
from touching import ideal, reference

from medseg.memory import peak_bytes, release_freed_memory, reset_peak, resident_bytes

SPREAD = 24
VARIES = 32 << 20  # by what the C library has at hand the same takes up to 15 MB more or less
HEADS: list[InstanceHead] = [
    BorderCore(size=32),
    DistanceWatershed(size=32),
    DistanceWatershed(size=32, outline=0.5),
    Flows(size=32),
    Embedding(size=32),
]


@pytest.mark.parametrize("shape", [(1400, 1400, 1), (128, 128, 120)], ids=["2-D", "3-D"])
@pytest.mark.parametrize(
    "head", HEADS, ids=lambda head: f"{type(head).__name__}-{getattr(head, 'outline', 0)}"
)
def test_decoding_takes_no_more_than_it_says(head: InstanceHead, shape: tuple[int, int, int]) -> None:
    """Discs or balls that touch; decoded twice, so that libraries and what they keep are there."""
    place = np.indices(shape, np.int32)
    cells = [axis // SPREAD for axis in place]
    far = sum(
        ((axis % SPREAD - (SPREAD - 1) / 2) ** 2 for axis, n in zip(place, shape, strict=True) if n > 1),
        np.zeros(shape),
    )
    across = [math.ceil(n / SPREAD) for n in shape]
    number = 1 + (cells[0] * across[1] + cells[1]) * across[2] + cells[2]
    wanted = reference(np.where(far <= (0.52 * SPREAD) ** 2, number, 0).astype(np.uint32))
    logits = ideal(head, wanted)
    del place, cells, far, number
    head.decode(logits[:, :96, :96])
    release_freed_memory()
    reset_peak()
    before = resident_bytes()
    decoded = head.decode(logits)
    taken = peak_bytes() - before
    assert len(decoded.anchors) == wanted.array.max()
    told = head.decoding_bytes(wanted.labels) * math.prod(shape)
    assert 0.3 * told < taken < told + VARIES
