"""Many more examples of the geometry properties in tests/test_volume.py.

Seeded by batch, so that a long run can be stopped and taken up again:

    MEDSEG_SOAK_FIRST=20 MEDSEG_SOAK_BATCHES=10 make soak
"""

import os
from collections.abc import Callable
from typing import Any

import pytest
import test_volume
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.strategies import SearchStrategy
from strategies import grids, whole_voxel_moves

FIRST = int(os.environ.get("MEDSEG_SOAK_FIRST", "0"))
BATCHES = int(os.environ.get("MEDSEG_SOAK_BATCHES", "5"))
EXAMPLES = 1000
GRID = {"grid": grids()}
UNCROPPED = {**GRID, "steps": whole_voxel_moves(croppable=False)}
CROPPED = {**GRID, "steps": whole_voxel_moves()}


@pytest.mark.parametrize("batch", range(FIRST, FIRST + BATCHES))
@pytest.mark.parametrize(
    ("check", "inputs"),
    [
        (test_volume.test_any_chain_of_turns_and_pads_comes_back_bit_for_bit, UNCROPPED),
        (test_volume.test_what_a_chain_with_crops_kept_comes_back_and_nothing_else, CROPPED),
        (test_volume.test_every_voxel_keeps_its_place_in_the_world, CROPPED),
        (test_volume.test_a_source_puts_a_segmentation_back_exactly, UNCROPPED),
    ],
)
def test_a_batch_of_examples(
    check: Callable[..., None], inputs: dict[str, SearchStrategy[Any]], batch: int
) -> None:
    property_holds = check.hypothesis.inner_test  # type: ignore[attr-defined]  # hypothesis adds it
    many = settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    seed(batch)(many(given(**inputs)(property_holds)))()
