from collections.abc import Callable

import numpy as np

from medseg.evaluation.volumes import volume_pairs
from medseg.report.agreement import VolumePair
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

Painted = Callable[..., Segmentation]


def test_volumes_of_both(painted: Painted) -> None:
    """Cubes of 64 voxels of 4.5 mm3."""
    found = painted({1: ("liver", 2), 2: ("spleen", None)})
    wanted = painted({1: ("liver", 4), 2: ("spleen", 8)})
    assert volume_pairs("c", found, wanted) == (
        VolumePair("c", "liver", 0.288, 0.288, "mL"),
        VolumePair("c", "spleen", 0.0, 0.288, "mL"),
    )


def test_layers_objects_and_large_values_in_pixels() -> None:
    grid = Grid((6, 6, 1), np.eye(4), "px")
    table = LabelTable((Label(1, "cell"), Label(100_000, "far", layer=1), Label(3, "nucleus", layer=2)))
    array = np.zeros((3, *grid.shape), np.uint32)
    array[0, :2], array[1, :3], array[2, 0, :2], array[2, 5, :3] = 1, 100_000, 8, 9
    objects = (Object(8, "nucleus"), Object(9, "nucleus"))
    both = Segmentation(array, grid, table, kinds=("labels", "labels", "objects"), objects=objects)
    assert {pair.label: pair.reference for pair in volume_pairs("c", both, both)} == {
        "cell": 12,
        "nucleus": 5,
        "far": 18,
    }
