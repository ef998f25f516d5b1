"""Labels of the streaming engine equal those of the method that holds all scores, to the last voxel.

`tests/benchmarks/bench_equal.py` does the same with larger volumes.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from equal_labels import CASES, Case, compare
from known_network import KINDS, Kind, KnownNetwork, image, known_logits

SMALL = Case("small", (40, 24, 20), (16, 16, 16), (59, 33, 29), 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_labels_equal_those_of_the_whole_volume(case: Case, kind: Kind, tmp_path: Path) -> None:
    found = compare(case, kind, tmp_path)
    assert found.labels > 0.8 * case.classes
    assert found.different == 0
    assert found.wrong == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_comparison_sees_a_forgotten_slice(kind: Kind, tmp_path: Path) -> None:
    found = compare(SMALL, kind, tmp_path)
    assert found.different == 0
    assert found.without_halo > found.voxels / 200


def test_the_comparison_sees_a_shortcut_that_rounding_forbids(tmp_path: Path) -> None:
    """Where all corners of a cell agree by the last bit, a voxel within may still fall to another channel."""
    found = compare(SMALL, "unanimous", tmp_path)
    assert found.different == 0
    assert found.by_corners > 100
    assert compare(SMALL, "spread", tmp_path).by_corners == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_known_network_gives_what_numpy_does(kind: Kind) -> None:
    import torch

    images = image((2, 1, 9, 8, 7), 5).reshape(2, 1, 9, 8, 7)
    module = KnownNetwork(kind=kind).build(dims=3, inputs=1, outputs=5)
    given = module(torch.from_numpy(images)).detach().numpy()
    assert (given == known_logits(kind, 5, images)).all()
