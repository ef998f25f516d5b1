"""A run limited to some labels: it computes what those need, and finds what the full run finds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from saved_weights import saved

import medseg
from medseg import Grid, Label, LabelTable, Plan, Prediction, Resources, UsageError, Volume, Wanted
from medseg.builtin.head.sigmoid import Sigmoid
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.network.unet import Unet
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.steps import Head

SMALL = Unet(channels=(4, 8))
ONE_THREAD = Resources(threads=1)
GRID = Grid((20, 12, 9), np.diag([2.0, 2.0, 3.0, 1.0]))
FINE = GRID.respaced((1.5, 1.5, 1.5))
LABELS = LabelTable(
    (
        Label(1, "left kidney", pair="right kidney"),
        Label(2, "right kidney", pair="left kidney"),
        Label(3, "tumour", layer=1),
        Label(4, "cyst", layer=1),
        Label(300, "vessel", layer=2),
    )
)
FLAT = LabelTable((Label(1, "liver"), Label(2, "spleen"), Label(5, "bowel")))
EVERYTHING: dict[str, Any] = {"members": True, "reductions": frozenset({"soft-volume"}), "whole_scores": True}


def image() -> Volume:
    return Volume(np.random.default_rng(3).normal(0, 3, (1, *GRID.shape)).astype(np.float32), GRID)


def predicted(
    folder: Path,
    wanted: Wanted,
    *,
    head: Head | None = None,
    labels: LabelTable = LABELS,
    members: int = 1,
    **parameters: Any,
) -> tuple[Prediction, Plan]:
    head = head or Sigmoid()
    network = NetworkSegmenter.model_validate(
        {
            "architecture": SMALL,
            "head": head,
            "weights": [
                saved(SMALL, folder, seed=seed, outputs=head.channels(labels)) for seed in range(members)
            ],
            "window": {"patch": [8, 8, 8], "skip_empty": True},
            **parameters,
        }
    )
    with network.bound(labels=labels, folder=folder).open(ONE_THREAD) as predictor:
        plan = predictor.plan(GRID, onto=FINE, wanted=wanted)
        return predictor(image(), onto=FINE, wanted=wanted), plan


@pytest.mark.parametrize(
    ("names", "channels"),
    [
        (["left kidney"], 2),  # of labels in one layer the most likely wins: its other half is needed
        (["cyst"], 2),
        (["vessel"], 1),
        (["vessel", "tumour"], 3),
        (["vessel", "tumour", "right kidney"], 5),
    ],
)
def test_labels_are_those_of_the_full_run(tmp_path: Path, names: list[str], channels: int) -> None:
    only = frozenset(names)
    found, plan = predicted(
        tmp_path,
        Wanted(labels=only, score_labels=only, **EVERYTHING),
        members=2,
        mirror=["superior-inferior"],
    )
    full, whole = predicted(tmp_path, Wanted(**EVERYTHING), members=2, mirror=["superior-inferior"])
    assert f"with {3 * channels} channels" in plan.strategy  # of the mean and of two members
    assert "with 15 channels" in whole.strategy
    for one, other in zip(
        (found.segmentation, *found.members), (full.segmentation, *full.members), strict=True
    ):
        some, same = one.only(names), other.only(names)
        assert some.array.dtype == same.array.dtype == np.uint16
        assert np.array_equal(some.array, same.array)
        assert some.kinds == same.kinds
        assert some.labels == same.labels
        assert all(some.mask(name).any() for name in names)
    assert {name: found.soft_ml[name] for name in names} == pytest.approx(
        {name: full.soft_ml[name] for name in names}, rel=1e-6
    )
    assert found.scores is not None
    assert full.scores is not None
    assert np.array_equal(found.scores.read(GRID, names).array, full.scores.read(GRID, names).array)


def test_the_plan_is_for_the_channels_that_are_needed(tmp_path: Path) -> None:
    network = NetworkSegmenter.model_validate(
        {
            "architecture": SMALL,
            "head": Sigmoid(),
            "weights": [saved(SMALL, tmp_path, outputs=5)],
            "window": {"patch": [32, 32, 32]},
        }
    )
    grid = Grid((300, 300, 300), np.eye(4))
    with network.bound(labels=LABELS, folder=tmp_path).open(ONE_THREAD) as predictor:
        whole = predictor.plan(grid, onto=GRID, wanted=Wanted())
        some = predictor.plan(grid, onto=GRID, wanted=Wanted(labels=frozenset({"vessel"})))
    slab = 4 * 33 * 300 * 300
    assert whole.peak_bytes - some.peak_bytes == pytest.approx(4 * slab, rel=0.05)
    assert some.seconds is not None
    assert whole.seconds is not None
    assert some.seconds < whole.seconds


class Sides(Sigmoid):
    """In a mirrored image the left kidney is the right one."""

    def unmirror(self, logits: NDArray[np.float32], axes: Sequence[int]) -> NDArray[np.float32]:
        return super().unmirror(logits, axes)[[1, 0, 2, 3, 4] if 0 in axes else slice(None)]


def test_channels_that_mirroring_exchanges_are_exchanged_before_some_are_dropped(tmp_path: Path) -> None:
    apart = LabelTable(
        tuple(Label(n, f"side {chr(96 + n)}", layer=n - 1) for n in range(1, 6))
    )  # no names of sides: those are refused together with left-right
    told: dict[str, Any] = {"head": Sides(), "labels": apart, "mirror": ["left-right"]}
    full, _ = predicted(tmp_path, Wanted(), **told)
    plain, _ = predicted(tmp_path, Wanted(), **told | {"head": Sigmoid()})
    found, plan = predicted(tmp_path, Wanted(labels=frozenset({"side b"})), **told)
    assert "with 1 channels" in plan.strategy
    assert np.array_equal(found.segmentation.mask("side b"), full.segmentation.mask("side b"))
    assert (plain.segmentation.mask("side b") != full.segmentation.mask("side b")).any()


@pytest.mark.parametrize(
    ("head", "labels", "wanted", "channels"),
    [
        (Softmax(), FLAT, Wanted(labels=frozenset({"liver"})), 4),
        (Sigmoid(), LABELS, Wanted(labels=frozenset({"cyst"}), reductions=frozenset({"entropy"})), 5),
        (Sigmoid(), LABELS, Wanted(labels=frozenset({"cyst"}), whole_scores=True), 5),
        (Sigmoid(), LABELS, Wanted(), 5),
    ],
    ids=["softmax", "entropy", "scores of all", "all"],
)
def test_what_needs_every_channel_has_every_channel(
    tmp_path: Path, head: Head, labels: LabelTable, wanted: Wanted, channels: int
) -> None:
    found, plan = predicted(tmp_path, wanted, head=head, labels=labels)
    full, _ = predicted(tmp_path, Wanted(), head=head, labels=labels)
    assert f"with {channels} channels" in plan.strategy
    assert np.array_equal(found.segmentation.array, full.segmentation.array)


def test_a_name_that_is_no_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no label 'cysts'; did you mean 'cyst'"):
        predicted(tmp_path, Wanted(labels=frozenset({"cysts"})))


@pytest.mark.parametrize(("after", "channels"), [("", 1), ("postprocess: [keep-largest]\n", 2)])
def test_a_step_after_the_segmenter_may_look_at_other_labels(
    tmp_path: Path, after: str, channels: int
) -> None:
    weights = saved(SMALL, tmp_path, outputs=2)
    (tmp_path / "pipeline.yaml").write_text(
        "labels: {1: {name: organ}, 2: {name: tumour, layer: 1}}\n"
        "segment:\n"
        "  network:\n"
        "    architecture: {unet: {channels: [4, 8]}}\n"
        "    head: sigmoid\n"
        f"    weights: [{{path: {weights['path']}, sha256: {weights['sha256']}}}]\n"
        f"    window: {{patch: [8, 8, 8]}}\n{after}"
    )
    told: dict[str, Any] = {"model": tmp_path / "pipeline.yaml", "resources": ONE_THREAD}
    full = medseg.segment(image(), **told)
    some = medseg.segment(image(), labels=["organ"], out=tmp_path / "out", **told)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert f"with {channels} channels" in record["plan"]["strategy"]
    assert np.array_equal(some.segmentation.array, full.segmentation.only(["organ"]).array)
    assert some.segmentation.array[0].any()
    assert [row for row in full.measurements if row.label == "organ"] == list(some.measurements)
