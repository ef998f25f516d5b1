"""The fully connected CRF gives on a GPU what it gives on the processor, and leaves one that is too small."""

from __future__ import annotations

import numpy as np
import pytest
import torch  # noqa: TID253
from crf_phantoms import INTENSITY, phantom
from medseg_crf.dense_crf import DenseCrf

from medseg.inference.on_device import OnDevice

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize("seed", [0, 1])
def test_logits_are_those_of_the_processor(seed: int) -> None:
    case, step = phantom(seed), DenseCrf(intensity=INTENSITY)
    here, there = step(case.scores, case.image), step.on("cuda:0")(case.scores, case.image)
    assert np.abs(here.array - there.array).max() < 1e-2, "sums are added up in another order"
    assert (here.array.argmax(0) != there.array.argmax(0)).mean() < 1e-4


def test_a_gpu_without_memory_is_left_for_the_processor() -> None:
    case, step = phantom(0), DenseCrf(intensity=INTENSITY)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(8 * 2**20 / total)
    worker = OnDevice(step, "cuda:0")
    try:
        found = worker(case.scores, case.image)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert (worker.device, worker.ran_out) == ("cpu", True)
    assert np.array_equal(found.array, step(case.scores, case.image).array)
