import numpy as np
from numpy.typing import NDArray

from medseg import Grid, Label, LabelTable
from medseg.inference.planning import (
    Effort,
    Pass,
    SinkCost,
    choose,
    choose_on_gpu,
    label_cost,
    least,
    measured_pass,
    priced,
    priced_on_gpu,
    reserve,
)
from medseg.inference.windows import Windows

MB = 1 << 20
WINDOWS = Windows((96, 80, 40), (32, 32, 32))


def effort(**changes: object) -> Effort:
    plain = {
        "windows": WINDOWS,
        "inputs": 1,
        "channels": 100,
        "slab_channels": 100,
        "passes": 2,
        "halo": 1,
        "sinks": SinkCost(held=5 * MB),
        "one_pass": lambda batch: Pass(batch * MB, batch * 0.5),
        "threads": 2,
    }
    return Effort(**{**plain, **changes})  # type: ignore[arg-type]


def test_a_slab_of_all_channels_is_what_counts() -> None:
    way = priced(effort(), batch=1, blocks=1)
    assert WINDOWS.axis == 0
    assert way.slab == (33, 80, 40)
    slab = 4 * 101 * 33 * 80 * 40
    logits = 4 * 32**3 * (2 + 100)
    assert slab < way.peak_bytes - 5 * MB < 1.02 * slab + 2 * logits + MB
    assert way.evaluations == len(WINDOWS)
    assert way.seconds > len(WINDOWS) * 2 * 0.5


def test_blocks_take_less_memory_and_more_windows() -> None:
    ways = [priced(effort(), batch=1, blocks=blocks) for blocks in (1, 2, 4)]
    peaks, counts = [way.peak_bytes for way in ways], [way.evaluations for way in ways]
    assert peaks == sorted(peaks, reverse=True)
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


def test_the_quickest_way_that_fits_is_taken() -> None:
    whole = priced(effort(), batch=1, blocks=1)
    roomy = choose(effort(), [4, 2, 1], 10**12)
    assert roomy is not None
    assert (roomy.batch, roomy.blocks) == (4, 1)
    exact = choose(effort(), [4, 2, 1], whole.peak_bytes + reserve(whole.peak_bytes))
    assert exact == whole
    tight = choose(effort(), [1], whole.peak_bytes + reserve(whole.peak_bytes) - 1)
    assert tight is not None
    assert tight.blocks > 1
    again = choose(effort(), [1], 10**12, blocks_from=3)
    assert again is not None
    assert again.blocks == 3


def test_where_nothing_fits_the_least_says_what_would() -> None:
    smallest = least(effort(), [4, 1])
    assert choose(effort(), [4, 1], smallest.peak_bytes + reserve(smallest.peak_bytes) - 1) is None
    enough = choose(effort(), [4, 1], smallest.peak_bytes + reserve(smallest.peak_bytes))
    assert enough is not None
    assert enough.peak_bytes <= smallest.peak_bytes


def test_what_is_kept_free_is_a_share_and_never_little() -> None:
    assert reserve(0) == 64 * MB
    assert reserve(1000 * MB) == 150 * MB


def test_sinks_hold_together_and_work_in_turn() -> None:
    both = SinkCost(held=1, at_work=10, reads=3) + SinkCost(held=2, at_work=7, reads=4)
    assert both == SinkCost(held=3, at_work=10, reads=7)
    labels = LabelTable((Label(1, "a"), Label(300, "b", layer=1)))
    cost = label_cost(labels, channels=2, onto=Grid((10, 20, 30), np.eye(4)), threads=3)
    assert cost.held == 2 * 2 * 6000  # two layers of uint16
    assert cost.reads == 2 * 6000
    assert cost.at_work > 3 * 4 * 600


def test_on_a_gpu_the_slab_is_there_and_only_labels_are_here() -> None:
    labels = 5 * MB
    sinks = SinkCost(held=labels + 3 * MB, labels=labels, at_work=20 * MB)
    way = priced_on_gpu(effort(sinks=sinks), batch=1, blocks=1)
    slab, image = 4 * 101 * 33 * 80 * 40, 4 * 96 * 80 * 40
    assert way.on_gpu
    assert 0 < way.gpu_bytes - slab - image - labels < 0.02 * slab + 4 * 32**3 * 250
    assert (
        way.peak_bytes == 3 * MB + 8 * MB + image
    )  # labels in pinned memory, of which a power of 2 is taken
    fetching = priced_on_gpu(effort(sinks=sinks + SinkCost(at_work=MB, fetches=True)), batch=1, blocks=1)
    assert fetching.peak_bytes > way.peak_bytes + 0.9 * slab
    assert fetching.gpu_bytes == way.gpu_bytes


def test_on_a_gpu_what_fits_both_memories_is_taken() -> None:
    whole = priced_on_gpu(effort(), batch=1, blocks=1)
    here, there = (count + reserve(count) for count in (whole.peak_bytes, whole.gpu_bytes))
    assert choose_on_gpu(effort(), [1], here, there) == whole
    fewer = choose_on_gpu(effort(), [4, 1], here, there)
    assert fewer == whole
    cut = choose_on_gpu(effort(), [1], here, there - 1)
    assert cut is not None
    assert cut.blocks > 1
    assert cut.gpu_bytes < whole.gpu_bytes
    assert choose_on_gpu(effort(), [1], here - 1, 10**12) is None
    again = choose_on_gpu(effort(), [1], here, 10**12, blocks_from=3)
    assert again is not None
    assert again.blocks == 3


def test_a_pass_is_measured_without_what_stays() -> None:
    kept: list[NDArray[np.float32]] = []

    def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
        if not kept:
            kept.append(np.ones(40 * MB // 4, np.float32))  # as a library does at its first pass
        return np.ones(80 * MB // 4, np.float32) + 0

    measured = measured_pass(forward, (1, 1, 8, 8, 8))
    assert 75 * MB <= measured.work_bytes <= 190 * MB
    assert measured.seconds > 0
