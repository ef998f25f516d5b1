"""What is kept of small networks' scores, through the whole walk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from saved_weights import saved
from scipy.special import entr, expit, softmax  # noqa: TID253

import medseg
from medseg import Grid, Label, LabelTable, Prediction, Resources, UsageError, Volume, Wanted
from medseg.builtin.head.sigmoid import Sigmoid
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.network.unet import Unet
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.builtin.segment.wanted_sinks import WantedSinks
from medseg.inference import Decoded, ObjectSink
from medseg.inference.coverage import MOST_VALUES
from medseg.io.nifti import read_nifti
from medseg.prediction import Sink
from medseg.segmentation import Object, Segmentation

LABELS = LabelTable((Label(1, "liver"), Label(2, "spleen")))
SMALL = Unet(channels=(4, 8))
ONE_THREAD = Resources(threads=1)
GRID = Grid((16, 12, 8), np.diag([2.0, 2.0, 3.0, 1.0]))
ALL = Wanted(whole_scores=True, members=True, reductions=frozenset({"soft-volume", "entropy"}))


class Things(Softmax):
    """Scores of objects."""

    activation: ClassVar[Literal["softmax", "sigmoid"] | None] = None
    decodes_on: ClassVar[Literal["native", "model"]] = "model"

    def sink(self, labels: LabelTable, *, grid: Grid, axis: int, onto: Grid) -> Sink:
        def none(scores: NDArray[np.float32]) -> Decoded:
            ids = np.zeros(scores.shape[1:], np.int32)
            return Decoded(ids, np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

        return ObjectSink(labels, grid=grid, axis=axis, channels=self.channels(labels), decode=none)


def predicted(
    folder: Path,
    *seeds: int,
    wanted: Wanted = ALL,
    head: Any = None,
    grid: Grid = GRID,
    onto: Grid | None = None,
    patch: tuple[int, ...] = (16, 12, 8),
    labels: LabelTable = LABELS,
    mirror: tuple[str, ...] = (),
) -> Prediction:
    head = head or Softmax()
    network = NetworkSegmenter.model_validate(
        {
            "architecture": SMALL,
            "head": head,
            "weights": [saved(SMALL, folder, seed=seed, outputs=head.channels(labels)) for seed in seeds],
            "window": {"patch": patch},
            "mirror": mirror,
        }
    )
    with network.bound(labels=labels, folder=folder).open(ONE_THREAD) as predictor:
        image = noise(grid)
        predictor.plan(grid, onto=onto or grid, wanted=wanted)
        return predictor(image, onto=onto or grid, wanted=wanted)


def noise(grid: Grid = GRID) -> Volume:
    array = np.random.default_rng(3).normal(0, 3, (1, *grid.shape)).astype(np.float32)
    return Volume(array, grid)


def logits(seed: int, outputs: int = 3, mirrored: tuple[int, ...] = ()) -> Any:
    """Of the one window that covers the image, without medseg; shown mirrored, and turned back."""
    axes = [1 + axis for axis in mirrored]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = SMALL.build(dims=3, inputs=1, outputs=outputs).eval()
    with torch.inference_mode():
        image = torch.from_numpy(noise().array.copy()).flip(axes)
        return net(image[None])[0].flip(axes).numpy().astype(float)


def test_reductions_and_scores_are_those_of_the_networks_probabilities(tmp_path: Path) -> None:
    found = predicted(tmp_path, 0, onto=GRID.respaced((1.5, 1.5, 1.5)))
    shares = softmax(logits(0), axis=0)
    ml = shares.sum(axis=(1, 2, 3)) * GRID.voxel_ml
    assert found.soft_ml == pytest.approx({"liver": ml[1], "spleen": ml[2]}, rel=1e-4)
    entropy = found.maps["entropy"]
    assert entropy.grid == GRID
    assert entropy.array[0].astype(float) == pytest.approx(entr(shares).sum(axis=0), abs=2e-3)
    assert found.scores is not None
    assert found.scores.read(GRID).array == pytest.approx(shares[1:], abs=5e-4)
    (member,) = found.members
    assert np.array_equal(member.array, found.segmentation.array)


def test_members_are_kept_apart_and_change_nothing(tmp_path: Path) -> None:
    plain = predicted(tmp_path, 0, 1, 2, wanted=Wanted())
    found = predicted(tmp_path, 0, 1, 2)
    assert plain.members == ()
    assert np.array_equal(found.segmentation.array, plain.segmentation.array)
    assert len(found.members) == 3
    for seed, member in enumerate(found.members):
        alone = predicted(tmp_path, seed, wanted=Wanted())
        assert np.array_equal(member.array, alone.segmentation.array)
    mean = sum(logits(seed) for seed in range(3)) / 3
    ml = softmax(mean, axis=0).sum(axis=(1, 2, 3)) * GRID.voxel_ml
    assert found.soft_ml == pytest.approx({"liver": ml[1], "spleen": ml[2]}, rel=1e-4)


def test_objects_that_vanish_on_the_native_grid_are_left_out_and_told() -> None:
    """Of three, one is a voxel that lies between those of the coarser grid."""
    array = np.zeros((1, *GRID.shape), np.uint32)
    array[0, 0:6, 0:6, 0:4], array[0, 8:14, 0:6, 0:4], array[0, 7, 9, 5] = 1, 3, 2
    names = LabelTable((Label(1, "nucleus"),))
    objects = tuple(Object(number, "nucleus") for number in (1, 2, 3))
    found = Segmentation(array, GRID, names, ("objects",), objects)

    def on(grid: Grid) -> Prediction:
        sinks = WantedSinks(
            head=Softmax(), labels=names, grid=GRID, axis=0, onto=grid, wanted=Wanted(members=True), members=1
        )
        return sinks.predicted(lambda _: (found,))

    coarse = on(Grid((8, 6, 4), np.diag([4.0, 4.0, 6.0, 1.0])))
    assert [thing.id for thing in coarse.segmentation.objects] == [1, 3]
    assert set(np.unique(coarse.segmentation.array)) == {0, 1, 3}
    assert coarse.members == (coarse.segmentation,)
    assert coarse.used["notes"] == ["objects too small for the image's own grid, left out: 1"]
    assert (on(GRID).segmentation.objects, on(GRID).used) == (objects, {})


MIRROR: tuple[str, ...] = ("left-right", "superior-inferior")
COPIES: tuple[tuple[int, ...], ...] = ((), (0,), (2,), (0, 2))


def test_of_one_network_the_mirrored_copies_are_members(tmp_path: Path) -> None:
    plain = predicted(tmp_path, 5, wanted=Wanted(), mirror=MIRROR)
    assert "members" not in plain.used
    found = predicted(tmp_path, 5, mirror=MIRROR)
    assert np.array_equal(found.segmentation.array, plain.segmentation.array)
    assert found.used["members"] == "4 mirrored copies"
    assert len(found.members) == len(COPIES)
    copies = [logits(5, mirrored=axes) for axes in COPIES]
    for member, copy in zip(found.members, copies, strict=True):
        assert (member.array[0] == copy.argmax(axis=0)).mean() > 0.999  # but where two are as good as equal
    assert len({member.array.tobytes() for member in found.members}) == len(COPIES)
    ml = softmax(sum(copies) / len(COPIES), axis=0).sum(axis=(1, 2, 3)) * GRID.voxel_ml
    assert found.soft_ml == pytest.approx({"liver": ml[1], "spleen": ml[2]}, rel=1e-4)


def test_of_several_networks_members_are_these_mirrored_or_not(tmp_path: Path) -> None:
    found = predicted(tmp_path, 0, 1, mirror=MIRROR)
    assert found.used["members"] == "2 networks"
    assert len(found.members) == 2
    for seed, member in enumerate(found.members):
        mean = sum(logits(seed, mirrored=axes) for axes in COPIES) / len(COPIES)
        assert (member.array[0] == mean.argmax(axis=0)).mean() > 0.999


def test_a_sigmoid_heads_labels_overlap(tmp_path: Path) -> None:
    labels = LabelTable((Label(1, "organ"), Label(2, "tumour", layer=1)))
    found = predicted(tmp_path, 4, head=Sigmoid(), labels=labels)
    shares = expit(logits(4, 2))
    ml = shares.sum(axis=(1, 2, 3)) * GRID.voxel_ml
    assert found.soft_ml == pytest.approx({"organ": ml[0], "tumour": ml[1]}, rel=1e-4)
    expected = (entr(shares) + entr(1 - shares)).sum(axis=0)
    assert found.maps["entropy"].array[0].astype(float) == pytest.approx(expected, abs=2e-3)


def test_a_picture_without_a_scale_has_no_millilitres(tmp_path: Path) -> None:
    found = predicted(tmp_path, 0, grid=Grid(GRID.shape, np.eye(4), "px"))
    assert found.soft_ml == {}
    assert "entropy" in found.maps


def pipeline(folder: Path, more: str = "") -> Path:
    files = "".join(
        f"{{path: {f['path']}, sha256: {f['sha256']}}}, "
        for f in (saved(SMALL, folder, seed=n) for n in range(2))
    )
    path = folder / "pipeline.yaml"
    path.write_text(
        "labels: {1: {name: liver}, 2: {name: spleen}}\n"
        "preprocess: [{resample: {spacing: [3, 3, 3]}}]\n"
        "segment:\n  network:\n    architecture: {unet: {channels: [4, 8]}}\n    head: softmax\n"
        f"    weights: [{files}]\n    window: {{patch: [8, 8, 8]}}\n"
        "measure: [{volumes: {soft: true, members: true}}]\n"
        f"write: [nifti, csv, json, probabilities, uncertainty]\n{more}"
    )
    return path


def test_a_pipeline_measures_and_writes_what_it_wants(tmp_path: Path) -> None:
    path = pipeline(tmp_path)
    out = tmp_path / "out"
    result = medseg.segment(noise(), model=path, out=out, resources=ONE_THREAD)
    rows = {(row.label, row.quantity): row for row in result.measurements}
    assert rows["liver", "soft_volume"].value == pytest.approx(result.prediction.soft_ml["liver"])
    volumes = [np.count_nonzero(m.mask("liver")) * GRID.voxel_ml for m in result.prediction.members]
    members = rows["liver", "members_volume"]
    assert members.interval == pytest.approx((min(volumes), max(volumes)))
    assert members.value == pytest.approx(np.mean(volumes))
    liver, spleen = (read_nifti(out / f"probability-{name}.nii.gz").array for name in ("liver", "spleen"))
    total = liver + spleen
    assert total.shape[1:] == GRID.shape
    assert 0 <= total.min() <= total.max() <= 1 + 1 / 255
    entropy = read_nifti(out / "entropy.nii.gz").array
    assert 0 < entropy.max() <= np.log(3) + 1e-3
    said = json.loads((out / "run.json").read_text())
    assert {"probability-liver.nii.gz", "entropy.nii.gz"} <= set(said["outputs"])
    assert said["left_out"] == {}
    assert said["only"] is None


def test_only_some_labels_are_those_of_the_whole_run(tmp_path: Path) -> None:
    path = pipeline(tmp_path, "postprocess: [{keep-largest: {labels: [liver, spleen]}}]\n")
    whole = medseg.segment(noise(), model=path, resources=ONE_THREAD)
    out = tmp_path / "out"
    some = medseg.segment(noise(), model=path, labels=["spleen"], out=out, resources=ONE_THREAD)
    expected = np.where(whole.segmentation.mask("spleen"), 2, 0)
    assert expected.any()
    assert np.array_equal(some.segmentation.array[0], expected)
    assert {row.label for row in some.measurements} == {"spleen"}
    kept = {(row.quantity): row.value for row in whole.measurements if row.label == "spleen"}
    assert {(row.quantity): row.value for row in some.measurements} == kept
    assert {p.name for p in out.glob("probability-*")} == {"probability-spleen.nii.gz"}
    assert some.prediction.scores is not None
    assert some.prediction.scores.channels == ("spleen",)
    said = json.loads((out / "run.json").read_text())
    assert said["only"] == ["spleen"]
    assert said["identity"] != whole.provenance["identity"]


def test_labels_that_cannot_be_meant_are_refused_before_reading(tmp_path: Path) -> None:
    path = pipeline(tmp_path)
    with pytest.raises(UsageError, match="there is no label 'spleeen'; did you mean 'spleen'"):
        medseg.segment(tmp_path / "no-such-file", model=path, labels=["spleeen"])
    path = pipeline(tmp_path)
    path.write_text(path.read_text().replace("probabilities,", "{probabilities: {labels: [liver]}},"))
    with pytest.raises(UsageError, match=r"write\[3\]\.probabilities names 'liver'; give it too"):
        medseg.segment(tmp_path / "no-such-file", model=path, labels=["spleen"])


def test_a_segmenter_without_scores_leaves_writers_out(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        "labels: {1: {name: bright}}\nsegment: {threshold: {above: 0}}\n"
        "measure: [{volumes: {soft: true, members: true}}]\nwrite: [nifti, probabilities, uncertainty]\n"
    )
    result = medseg.segment(noise(), model=path, out=tmp_path / "out")
    assert result.provenance["left_out"] == {
        "probabilities": "the segmenter keeps no scores",
        "uncertainty": "the segmenter gives no entropy",
    }
    flags = {row.quantity: row.flag for row in result.measurements}
    assert (flags["soft_volume"], flags["members_volume"]) == ("not given", "not given")


def test_the_plan_prices_what_is_wanted(tmp_path: Path) -> None:
    grid = Grid((160, 120, 80), np.eye(4))
    files = [saved(SMALL, tmp_path, seed=n) for n in range(2)]
    network = NetworkSegmenter.model_validate(
        {"architecture": SMALL, "head": Softmax(), "weights": files, "window": {"patch": (32, 32, 32)}}
    )
    with network.bound(labels=LABELS, folder=tmp_path).open(ONE_THREAD) as predictor:
        plain = predictor.plan(grid, onto=grid, wanted=Wanted())
        stored = predictor.plan(grid, onto=grid, wanted=Wanted(whole_scores=True))
        entropy = predictor.plan(grid, onto=grid, wanted=Wanted(reductions=frozenset({"entropy"})))
        members = predictor.plan(grid, onto=grid, wanted=Wanted(members=True))
    assert "on disk" not in plain.strategy
    assert f"{2 * 2 * 160 * 120 * 80 / 1e9:.2f} GB of scores on disk" in stored.strategy
    assert entropy.peak_bytes - plain.peak_bytes >= 2 * 160 * 120 * 80
    assert members.peak_bytes - plain.peak_bytes >= 2 * 3 * 4 * 120 * 80 * 32


def test_the_plan_prices_the_scores_of_objects(tmp_path: Path) -> None:
    """On disk, once for the mean and once for each member that is kept apart; what is written is mapped."""
    grid = Grid((160, 120, 80), np.eye(4))
    files = [saved(SMALL, tmp_path, seed=n) for n in range(2)]
    network = NetworkSegmenter.model_validate(
        {"architecture": SMALL, "head": Things(), "weights": files, "window": {"patch": (32, 32, 32)}}
    )
    with network.bound(labels=LABELS, folder=tmp_path).open(ONE_THREAD) as predictor:
        plain = predictor.plan(grid, onto=grid, wanted=Wanted())
        apart = predictor.plan(grid, onto=grid, wanted=Wanted(members=True))
    assert f"; {2 * 3 * 160 * 120 * 80 / 1e9:.2f} GB of scores on disk" in plain.strategy
    assert f"; {3 * 2 * 3 * 160 * 120 * 80 / 1e9:.2f} GB of scores on disk" in apart.strategy
    sinks = WantedSinks(
        head=Things(), labels=LABELS, grid=grid, axis=0, onto=grid, wanted=Wanted(), members=1
    )
    slice_on_disk = 2 * 3 * 120 * 80
    assert sinks.cost(threads=1).at_work == 4 * 4 * MOST_VALUES + slice_on_disk


def test_blocks_of_members_are_decoded_one_after_the_other() -> None:
    """Ids are held for each, on both grids; the block that is being decoded is there once."""

    class Hungry(Things):
        of_objects: ClassVar[bool] = True

        def work_bytes(self, labels: LabelTable, grid: Grid) -> int:
            return 10**9 + self.finishing_bytes(labels, grid)

        def finishing_bytes(self, labels: LabelTable, grid: Grid) -> int:
            return 2 * 10**9

    native = Grid((32, 24, 16), np.diag([1.0, 1.0, 1.5, 1.0]))
    for members, groups in ((1, 1), (4, 5)):
        sinks = WantedSinks(
            head=Hungry(),
            labels=LABELS,
            grid=GRID,
            axis=0,
            onto=native,
            wanted=Wanted(members=True),
            members=members,
        )
        labels_there = 16 * 12 * 8
        assert sinks.cost(threads=1).held == groups * (10**9 + labels_there + 4 * 32 * 24 * 16)
        assert sinks.cost(threads=1).at_work == 2 * 10**9


def test_the_plan_prices_every_mirrored_copy(tmp_path: Path) -> None:
    grid = Grid((160, 120, 80), np.eye(4))
    network = NetworkSegmenter.model_validate(
        {
            "architecture": SMALL,
            "head": Softmax(),
            "weights": [saved(SMALL, tmp_path, seed=0)],
            "window": {"patch": (32, 32, 32)},
            "mirror": MIRROR,
        }
    )
    with network.bound(labels=LABELS, folder=tmp_path).open(ONE_THREAD) as predictor:
        plain = predictor.plan(grid, onto=grid, wanted=Wanted())
        members = predictor.plan(grid, onto=grid, wanted=Wanted(members=True))
    assert (plain.passes, members.passes) == (4, 4)
    assert f"with {(1 + 4) * 3} channels" in members.strategy
    assert members.peak_bytes - plain.peak_bytes >= 4 * 3 * 4 * 120 * 80 * 32
