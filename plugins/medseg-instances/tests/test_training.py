"""`medseg train` on masks of ids, with no more than a head: every object of two touching kinds is found."""

from pathlib import Path

import pytest
from learning import learnt


@pytest.mark.parametrize("head", ["border-core", "distance-watershed"])
def test_objects_that_touch_are_learnt_in_pictures(head: str, tmp_path: Path) -> None:
    parameters = {"border": 1.5} if head == "border-core" else {}
    found = learnt(tmp_path, head, (90, 90), epochs=8, least_voxels=30, **parameters)
    assert found == {"round": [1.0, 1.0], "long": [1.0, 1.0]}
