from collections.abc import Callable
from itertools import permutations, product

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.preprocess.reorient import Reorient
from medseg.volume import Grid, Volume

ALL_48 = ["".join(c) for p in permutations(("LR", "PA", "IS")) for c in product(*p)]


@pytest.mark.parametrize("codes", ALL_48)
def test_every_value_keeps_its_place_in_the_patient(
    codes: str, two_channels: Callable[[Grid], Volume]
) -> None:
    affine = np.array([[0, 0.1, 3, 5], [-0.8, 0, 0, 6], [0, 1.2, 0.1, -7], [0, 0, 0, 1]])
    volume = two_channels(Grid((5, 4, 3), affine))
    turned = Reorient(to=codes)(volume)
    assert turned.grid.axis_codes == codes
    index = np.argwhere(np.ones(turned.grid.shape, bool))
    old = np.rint(volume.grid.to_index(turned.grid.to_world(index))).astype(int)
    assert np.array_equal(turned.array[:, *index.T], volume.array[:, *old.T])
    assert turned.array.dtype == volume.array.dtype
    assert turned.channels == volume.channels


def test_known_answer() -> None:
    volume = Volume(
        np.arange(6, dtype=np.int16).reshape(1, 3, 2, 1), Grid((3, 2, 1), np.diag([-1.0, 1, 1, 1]))
    )
    assert Reorient()(volume).array[0, :, :, 0].tolist() == [[4, 5], [2, 3], [0, 1]]


def test_image_already_turned_comes_back_as_it_is(straight: Callable[..., Grid]) -> None:
    volume = Volume(np.zeros((1, 3, 4, 5), np.int16), straight((3, 4, 5)))
    assert Reorient(to="ras")(volume) is volume


@pytest.mark.parametrize("codes", ["RAR", "RA", "RASL", "RLS", "XYZ", ""])
def test_what_is_no_orientation_is_refused(codes: str) -> None:
    with pytest.raises(ValidationError, match="name each of L/R, P/A, I/S once"):
        Reorient(to=codes)
