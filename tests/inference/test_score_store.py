"""Scores on disk: what was written comes back, box by box, and nothing stays behind."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reductions import GRID, TABLE, WINDOWS, expected, slid
from scipy.special import softmax  # noqa: TID253

from medseg import GeometryError, Grid, UsageError, Wanted
from medseg.inference.score_store import ScoreSink, ScoreStore, stored_bytes

WHOLE = Wanted(whole_scores=True)


def sink(wanted: Wanted = WHOLE, activation: Any = "softmax") -> ScoreSink:
    return ScoreSink(TABLE, grid=GRID, axis=WINDOWS.axis, channels=3, activation=activation, wanted=wanted)


def shares() -> Any:
    return softmax(expected().astype(float), axis=0)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_the_probabilities_of_the_whole_grid_come_back(blocks: int) -> None:
    (store,) = slid(sink(), blocks=blocks)
    assert isinstance(store, ScoreStore)
    assert (store.kind, store.channels, store.boxes) == ("probabilities", ("liver", "spleen"), (GRID,))
    assert store.disk_bytes == stored_bytes(GRID, WHOLE, 2) == 2 * 2 * 14 * 11 * 9
    found = store.read(GRID)
    assert found.grid == GRID
    assert found.kind == "probabilities"
    assert found.array == pytest.approx(shares()[1:], abs=2.5e-4)


def test_a_box_brings_its_neighbours_along() -> None:
    (store,) = slid(sink())
    box = GRID.cropped((3, 2, 4), (7, 6, 9))
    found = store.read(box, ["spleen"])
    assert found.grid.same_as(GRID.cropped((2, 1, 3), (8, 7, 9)))
    assert found.array[0] == pytest.approx(shares()[2, 2:8, 1:7, 3:9], abs=2.5e-4)


def test_only_boxes_and_labels_that_are_wanted_are_stored() -> None:
    boxes = (GRID.cropped((1, 2, 3), (4, 5, 6)), GRID.cropped((8, 6, 0), (13, 11, 4)), far())
    wanted = Wanted(score_boxes=boxes, score_labels=frozenset({"spleen"}))
    (store,) = slid(sink(wanted), blocks=2)
    assert store.channels == ("spleen",)
    assert len(store.boxes) == 2
    assert store.disk_bytes == stored_bytes(GRID, wanted, 1) == 2 * (5 * 5 * 5 + 7 * 6 * 5)
    for box in boxes[:2]:
        found = store.read(box)
        low = np.rint(GRID.to_index(found.grid.affine[:3, 3])).astype(int)
        part = tuple(slice(a, a + n) for a, n in zip(low, found.grid.shape, strict=True))
        assert found.array == pytest.approx(shares()[2:, *part], abs=2.5e-4)
    with pytest.raises(GeometryError, match="no scores were kept for"):
        store.read(far())
    with pytest.raises(UsageError, match="'liver'; there are spleen"):
        store.read(boxes[0], ["liver"])


def far() -> Grid:
    affine = GRID.affine.copy()
    affine[:3, 3] += 500
    return Grid((3, 3, 3), affine)


def test_a_box_between_the_stored_ones_is_refused() -> None:
    wanted = Wanted(score_boxes=(GRID.cropped((1, 2, 3), (4, 5, 6)), GRID.cropped((8, 6, 0), (13, 11, 4))))
    (store,) = slid(sink(wanted))
    with pytest.raises(GeometryError, match="no scores were kept for"):
        store.read(GRID)


def test_channels_that_are_no_labels_are_kept_as_they_come() -> None:
    (store,) = slid(sink(activation=None))
    assert (store.kind, store.channels) == ("logits", ())
    assert store.read(GRID).array == pytest.approx(expected(), rel=5e-4, abs=1e-6)


def test_logits_beyond_half_precision_stay_finite() -> None:
    (store,) = slid(sink(activation=None), forward=lambda windows: np.repeat(windows, 3, axis=1) * 1e8)
    assert np.isfinite(store.read(GRID).array).all()


def test_an_unknown_label_is_refused_before_the_run() -> None:
    with pytest.raises(UsageError, match="did you mean 'liver'"):
        sink(Wanted(whole_scores=True, score_labels=frozenset({"lever"})))


def test_names_follow_the_labels() -> None:
    (store,) = slid(sink())
    renamed = store.renamed({"liver": "Leber"})
    assert renamed.channels == ("Leber", "spleen")
    assert np.array_equal(renamed.read(GRID, ["Leber"]).array, store.read(GRID, ["liver"]).array)


OPEN = Path("/proc/self/fd")


def unnamed_files() -> int:
    gc.collect()
    links = []
    for link in OPEN.iterdir():
        try:
            links.append(str(link.readlink()))
        except OSError:  # the one that lists the folder
            continue
    return sum(link.endswith("(deleted)") for link in links)


@pytest.mark.skipif(not OPEN.is_dir(), reason="needs Linux")
def test_forgetting_a_store_frees_the_disk() -> None:
    before = unnamed_files()
    (store,) = slid(sink())
    assert unnamed_files() == before + 1
    store.close()
    assert unnamed_files() == before
    (store,) = slid(sink())
    del store
    assert unnamed_files() == before
