import numpy as np

from medseg.builtin.metric.volume_error import VolumeError
from medseg.evaluation import evaluate
from medseg.evaluation.cube import cube


def test_it_is_a_cube_of_8_mm_with_room_around_it() -> None:
    mask = cube()
    assert mask.grid.voxel_ml * np.count_nonzero(mask.mask("cube")) == 0.512
    assert not np.pad(mask.mask("cube")[1:-1, 1:-1, 1:-1], 1).sum() - 512


def test_metrics_give_their_quantities_on_it() -> None:
    rows = evaluate(cube(), cube(), "volume-error")
    assert {row.quantity for row in rows} == {row.quantity for row in VolumeError()(cube(), cube())}
