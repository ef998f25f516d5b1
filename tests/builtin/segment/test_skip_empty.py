"""`window: {skip_empty: true}`: windows that hold nothing are not computed."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from saved_weights import saved

import medseg
from medseg import Grid, Label, LabelTable, PipelineError, Prediction, Resources, Volume, Wanted
from medseg.builtin.head.sigmoid import Sigmoid
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.network.unet import Unet
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.builtin.segment.network_predictor import NetworkPredictor
from medseg.inference.windows import Windows
from medseg.steps import Head

SMALL = Unet(channels=(4, 8))
ONE_THREAD = Resources(threads=1)
GRID = Grid((48, 12, 16), np.diag([2.0, 2.0, 3.0, 1.0]))
PATCH = (8, 8, 8)
BODY = 20  # slices along i; the rest is air
LABELS = LabelTable((Label(1, "liver"), Label(2, "spleen")))
APART = LabelTable((Label(1, "liver"), Label(2, "tumour", layer=1)))
REDUCTIONS = Wanted(reductions=frozenset({"soft-volume", "entropy"}), members=True)


def half(body: int = BODY) -> Volume:
    """Noise above -1 in the first slices, -1 in the others."""
    array = np.full((1, *GRID.shape), -1, np.float32)
    array[0, :body] += np.random.default_rng(5).uniform(1, 3, (body, *GRID.shape[1:])).astype(np.float32)
    return Volume(array, GRID)


def predicted(
    folder: Path,
    volume: Volume,
    *,
    skip: bool,
    head: Head | None = None,
    labels: LabelTable = LABELS,
    seeds: tuple[int, ...] = (0,),
    wanted: Wanted | None = None,
    **parameters: Any,
) -> Prediction:
    head = head or Softmax()
    network = NetworkSegmenter.model_validate(
        {
            "architecture": SMALL,
            "head": head,
            "weights": [saved(SMALL, folder, seed=seed, outputs=head.channels(labels)) for seed in seeds],
            "window": {"patch": PATCH, "skip_empty": skip},
            **parameters,
        }
    )
    with network.bound(labels=labels, folder=folder).open(ONE_THREAD) as predictor:
        plan = predictor.plan(GRID, onto=GRID, wanted=wanted or Wanted())
        assert ("; windows that are empty will be skipped" in plan.strategy) == skip
        found = predictor(volume, onto=GRID, wanted=wanted or Wanted())
        assert found.used["evaluations"] + found.used["skipped"] == plan.evaluations
        return found


def empty_windows() -> tuple[int, NDArray[np.bool_]]:
    """How many windows hold no body, and the voxels that only others reach."""
    windows, untouched, count = Windows(GRID.shape, PATCH), np.ones(GRID.shape, bool), 0
    for place in product(*(windows.starts(axis) for axis in range(3))):
        if place[0] >= BODY:
            untouched[tuple(slice(a, a + n) for a, n in zip(place, PATCH, strict=True))] = False
            count += 1
    return count, untouched


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize(
    ("head", "labels", "seeds"),
    [(Softmax(), LABELS, (0, 1)), (Sigmoid(), APART, (4,))],
    ids=["softmax", "sigmoid"],
)
def test_empty_windows_are_skipped_and_what_is_far_from_them_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int, head: Head, labels: LabelTable, seeds: Any
) -> None:
    way = NetworkPredictor._way
    monkeypatch.setattr(
        NetworkPredictor,
        "_way",
        lambda self, effort, held, *, blocks_from=1: way(self, effort, held, blocks_from=blocks),
    )
    told = {"head": head, "labels": labels, "seeds": seeds, "wanted": REDUCTIONS, "mirror": ["left-right"]}
    whole = predicted(tmp_path, half(), skip=False, **told)
    found = predicted(tmp_path, half(), skip=True, **told)
    count, untouched = empty_windows()
    assert whole.used["skipped"] == 0
    assert found.used["blocks"] == blocks
    assert found.used["passes"] == 2 * len(seeds)
    if blocks == 1:
        assert found.used["skipped"] == count > whole.used["windows"] / 3
    assert found.used["skipped"] >= count
    assert len(found.members) == 2  # networks, or the mirrored copies of one
    for one, other in zip(
        (found.segmentation, *found.members), (whole.segmentation, *whole.members), strict=True
    ):
        assert np.array_equal(one.array[:, untouched], other.array[:, untouched])
        assert len(np.unique(one.array[:, untouched])) > 1
        assert not one.array[:, BODY + 8 :].any()
        assert other.array[:, BODY + 8 :].any()  # of air, the untrained network would make something


def test_skipped_voxels_are_surely_background(tmp_path: Path) -> None:
    for head, labels in ((Softmax(), LABELS), (Sigmoid(), APART)):
        wanted = Wanted(whole_scores=True, reductions=REDUCTIONS.reductions)
        found = predicted(tmp_path, half(), skip=True, head=head, labels=labels, wanted=wanted)
        assert found.maps["entropy"].array[0, :BODY].mean() > 0.1
        assert found.maps["entropy"].array[0, BODY + 8 :].max() < 1e-3
        assert found.scores is not None
        shares = found.scores.read(GRID).array
        assert shares[:, BODY + 8 :].max() < 1e-6
        assert sum(found.soft_ml.values()) == pytest.approx(shares.sum() * GRID.voxel_ml, rel=1e-3)


@pytest.mark.parametrize("head", [Softmax(), Sigmoid()], ids=["softmax", "sigmoid"])
def test_an_image_of_nothing_is_background_and_takes_one_window(tmp_path: Path, head: Head) -> None:
    air = half(0)
    assert predicted(tmp_path, air, skip=False, head=head).segmentation.array.any()
    found = predicted(tmp_path, air, skip=True, head=head)
    assert not found.segmentation.array.any()
    assert (found.used["evaluations"], found.used["skipped"]) == (1, found.used["windows"] - 1)


class Unknown(Softmax):
    """A head of which nobody knows what it takes for background."""

    def background_logits(self, labels: LabelTable) -> None:
        return None


def test_a_head_without_background_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"window\.skip_empty: the head does not say"):
        predicted(tmp_path, half(), skip=True, head=Unknown())


def test_a_pipeline_file_asks_for_it_and_run_json_says_what_came_of_it(tmp_path: Path) -> None:
    weights = saved(SMALL, tmp_path)
    (tmp_path / "pipeline.yaml").write_text(
        "labels: {1: {name: liver}, 2: {name: spleen}}\n"
        "segment:\n"
        "  network:\n"
        "    architecture: {unet: {channels: [4, 8]}}\n"
        "    head: softmax\n"
        f"    weights: [{{path: {weights['path']}, sha256: {weights['sha256']}}}]\n"
        "    window: {patch: [8, 8, 8], skip_empty: true}\n"
    )
    medseg.segment(half(), model=tmp_path / "pipeline.yaml", out=tmp_path / "out", resources=ONE_THREAD)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["used"]["skipped"] == empty_windows()[0]
    assert record["plan"]["evaluations"] == record["used"]["evaluations"] + record["used"]["skipped"]
    assert "empty will be skipped" in record["plan"]["strategy"]
