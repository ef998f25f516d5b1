import numpy as np
import pytest

from medseg.builtin.preprocess.rgb import Rgb
from medseg.errors import InputError
from medseg.volume import Grid, Volume


def picture(*names: str) -> Volume:
    """Channels that hold 10, 20, 30 … everywhere."""
    array = np.stack([np.full((3, 2, 1), 10 * n, np.uint8) for n in range(1, len(names) + 1)])
    return Volume(array, Grid((3, 2, 1), np.eye(4), "px"), names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("grey",), [10, 10, 10]),
        (("grey", "alpha"), [10, 10, 10]),
        (("red", "green", "blue"), [10, 20, 30]),
        (("red", "green", "blue", "alpha"), [10, 20, 30]),
    ],
)
def test_every_picture_has_three_channels(names: tuple[str, ...], expected: list[int]) -> None:
    volume = picture(*names)
    found = Rgb()(volume)
    assert found.array[:, 0, 0, 0].tolist() == expected
    assert found.channels == ("red", "green", "blue")
    assert found.array.dtype == np.uint8
    assert found.grid.same_as(volume.grid)


@pytest.mark.parametrize("names", [("t1", "t2"), ("a", "b", "c", "d"), ("a", "b", "c", "d", "e")])
def test_other_channels_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=f"this image has {len(names)} channels"):
        Rgb()(picture(*names))
