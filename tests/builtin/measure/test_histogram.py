import numpy as np
import pytest
from closed_forms import measured, segmented, turned_grid
from numpy.typing import NDArray
from pydantic import ValidationError

from medseg.builtin.measure.histogram import Histogram
from medseg.prediction import Measured
from medseg.volume import Grid, Volume

GRID = turned_grid((3.0, 4.0, 5.0), 30)


def counted(step: Histogram, image: NDArray[np.generic], mask: NDArray[np.bool_]) -> dict[str, Measured]:
    """The rows of the one label of an image, by quantity, in their order."""
    grid = Grid(mask.shape, GRID.affine)
    rows = measured(step, segmented(grid, lump=mask), volume=Volume(image[None], grid))
    return {quantity: row for (_, _, quantity), row in rows.items()}


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("chunk", [1 << 19, 100])
def test_counts_are_those_of_numpy(
    kind: type[np.generic], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medseg.builtin.measure.histogram.CHUNK_VALUES", chunk)
    random = np.random.default_rng(0)
    image = (random.normal(60, 50, GRID.shape).clip(0, 255)).astype(kind)
    mask = random.random(GRID.shape) < 0.6
    rows = counted(Histogram(low=10, high=110, bins=8, of="voxels"), image, mask)
    edges = [-np.inf, *np.linspace(10, 110, 9), np.inf]
    assert [row.value for row in rows.values()] == np.histogram(image[mask], edges)[0].tolist()
    assert sum(int(row.value or 0) for row in rows.values()) == np.count_nonzero(mask)


def test_whole_numbers_on_edges_are_in_the_range_that_begins_there() -> None:
    image = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)  # each value once
    rows = counted(Histogram(low=-50, high=40, width=30, of="voxels"), image, np.ones(image.shape, bool))
    assert {name: row.value for name, row in rows.items()} == {
        "histogram_below_-50": 10,
        "histogram_-50_to_-20": 30,
        "histogram_-20_to_10": 30,
        "histogram_10_to_40": 30,
        "histogram_from_40": 20,
    }
    assert {row.unit for row in rows.values()} == {""}


def test_shares_of_a_ramp_are_the_widths_of_the_ranges() -> None:
    image = np.linspace(0, 1, 20_000, endpoint=False, dtype=np.float64).reshape(20, 20, 50)
    rows = counted(Histogram(low=0.25, high=0.75, bins=4), image, np.ones(image.shape, bool))
    assert list(rows) == [
        "histogram_below_0.25",
        "histogram_0.25_to_0.375",
        "histogram_0.375_to_0.5",
        "histogram_0.5_to_0.625",
        "histogram_0.625_to_0.75",
        "histogram_from_0.75",
    ]
    assert [row.value for row in rows.values()] == pytest.approx([25, 12.5, 12.5, 12.5, 12.5, 25], abs=0.01)
    assert sum(float(row.value or 0) for row in rows.values()) == pytest.approx(100)
    assert {row.unit for row in rows.values()} == {"%"}


def test_only_the_first_channel_and_what_is_under_the_mask_counts() -> None:
    first, second = np.zeros(GRID.shape, np.int16), np.full(GRID.shape, 90, np.int16)
    mask = np.zeros(GRID.shape, bool)
    mask[2:5, 3, 4] = True
    first[2, 3, 4] = first[0, 0, 0] = 90
    image = Volume(np.stack([first, second]), GRID, channels=("t1", "flair"))
    rows = measured(Histogram(low=0, high=100, bins=2, of="voxels"), segmented(GRID, lump=mask), volume=image)
    assert [row.value for row in rows.values()] == [0, 2, 1, 0]


def test_what_is_not_finite_is_left_out_and_flagged() -> None:
    image = np.full((2, 2, 2), 5.0, np.float32)
    image[0, 0, 0], image[0, 0, 1], image[0, 1, 0] = np.nan, np.inf, -np.inf
    rows = counted(Histogram(low=0, high=10, bins=1), image, np.ones(image.shape, bool))
    assert [row.value for row in rows.values()] == [0, 100, 0]
    assert {row.flag for row in rows.values()} == {"3 voxels not finite"}
    rows = counted(Histogram(low=0, high=10, bins=1), np.full((2, 2, 2), np.nan), np.ones(image.shape, bool))
    assert [row.value for row in rows.values()] == [None] * 3


def test_an_empty_label_keeps_its_rows() -> None:
    rows = counted(
        Histogram(low=0, high=10, bins=2), np.zeros((2, 2, 2), np.int16), np.zeros((2, 2, 2), bool)
    )
    assert [(row.value, row.flag) for row in rows.values()] == [(None, "empty")] * 4


def test_names_do_not_spell_out_rounding() -> None:
    image = np.zeros((2, 2, 2))
    rows = counted(Histogram(low=0, high=0.6, width=0.1), image, np.ones(image.shape, bool))
    assert "histogram_0.2_to_0.3" in rows
    assert "histogram_0.3_to_0.4" in rows


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"low": 5, "high": 5, "bins": 2}, "low is below high"),
        ({"low": 0, "high": 10}, "one of bins and width"),
        ({"low": 0, "high": 10, "bins": 2, "width": 5}, "one of bins and width"),
        ({"low": 0, "high": 10, "width": 4}, "2.5 widths"),
        ({"low": 0, "high": 10, "width": 0.001}, "whole number up to 1000"),
        ({"low": 1e9, "high": 1e9 + 0.1, "bins": 10}, "too narrow"),
        ({"low": 0, "high": float("inf"), "bins": 2}, "finite"),
    ],
)
def test_ranges_that_are_none_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Histogram.model_validate(wrong)
