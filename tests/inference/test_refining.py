"""Scores refined in a box: decided as the first time, and nothing outside of the box changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_weights import saved

import medseg
from medseg import Grid, Label, LabelTable, PipelineError, PluginError, ResourceError, Scores, Volume
from medseg.assemble import assemble
from medseg.builtin.network.unet import Unet
from medseg.config import PipelineFile
from medseg.inference import refining
from medseg.inference.refining import Part, Refinable, least_bytes
from medseg.inference.score_store import ScoreSink
from medseg.inference.sinks import ArgmaxSink
from medseg.pipeline import predict, preprocess, refine
from medseg.plugin.catalog import discover
from medseg.prediction import Resources, Sink, Wanted
from medseg.run.chosen import prepare
from medseg.segmentation import Segmentation

TABLE = LabelTable((Label(1, "liver"), Label(4, "spleen")))
GRID = Grid((20, 16, 12), np.array([[2.0, 0, 0, -5], [0, 1.5, 0.3, 7], [0, 0, 3.0, 1], [0, 0, 0, 1]]))
FINER = GRID.respaced((1.1, 1.2, 1.7)).reoriented("LPI")
IMAGE = Volume(np.random.default_rng(0).normal(size=(1, *GRID.shape)).astype(np.float32), GRID)


def logits() -> Any:
    """A blob of each label, exact in half precision, with scores of background beyond."""
    i, j, k = np.indices(GRID.shape)
    near = 6 - np.hypot(np.hypot(i - 6, j - 6), k - 5)
    far = 3 - np.hypot(np.hypot(i - 11, j - 9), k - 5)
    scores = np.stack([np.zeros(GRID.shape), near, far])
    return (np.rint(scores * 8) / 8).astype(np.float32)


def argmax(grid: Grid, axis: int, onto: Grid) -> Sink:
    return ArgmaxSink(TABLE, grid=grid, axis=axis, onto=onto)


def decided(scores: Any, onto: Grid) -> Segmentation:
    sink = argmax(GRID, 0, onto)
    sink.take(Scores(scores, GRID, "logits"), 0)
    found = sink.finish()
    assert isinstance(found, Segmentation)
    return found


def refinable() -> Refinable:
    sink = ScoreSink(TABLE, grid=GRID, axis=0, channels=3, activation=None, wanted=Wanted(whole_scores=True))
    sink.take(Scores(logits(), GRID, "logits"), 0)
    return Refinable(sink.finish(), "softmax", argmax)


def refined(improve: Any, onto: Grid, margin_mm: float = 0, **more: Any) -> tuple[Segmentation, Any]:
    return refinable().refined(
        decided(logits(), onto),
        IMAGE,
        improve,
        margin_mm=margin_mm,
        work=more.pop("work", lambda scores, volume: 0),
        **more,
    )


def grown(scores: Scores, volume: Volume) -> Scores:
    """Both labels larger by more than a voxel, wherever there are voxels."""
    return Scores(
        scores.array + np.array([0, 1.5, 1.5], np.float32)[:, None, None, None], scores.grid, "logits"
    )


@pytest.mark.parametrize("onto", [GRID, FINER], ids=["same grid", "finer and turned"])
@pytest.mark.parametrize("thick", [1, 3, 100])
def test_scores_that_stay_as_they_are_give_the_same_labels(
    onto: Grid, thick: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "MOST_BYTES", 12 * 3 * thick * 16 * 12)
    found, used = refined(lambda scores, volume: scores, onto)
    assert np.array_equal(found.array, decided(logits(), onto).array)
    assert used["parts"] >= 15 // thick


@pytest.mark.parametrize("onto", [GRID, FINER], ids=["same grid", "finer and turned"])
@pytest.mark.parametrize("parts", [1, 4])
def test_labels_in_the_box_are_those_of_the_refined_scores_and_others_stay(onto: Grid, parts: int) -> None:
    scores = grown(Scores(logits(), GRID, "logits"), IMAGE).array

    def room(count: int) -> None:
        if count > 60_000 and parts > 1:
            raise ResourceError("no room")

    found, used = refined(grown, onto, margin_mm=3.0, room=room)
    assert (used["parts"] > 1) == (parts > 1)
    before, whole = decided(logits(), onto).array, decided(scores, onto).array
    assert not np.array_equal(before, whole)
    low, high = used["box"]
    index = np.stack(np.meshgrid(*map(np.arange, onto.shape), indexing="ij"), axis=-1)
    place = GRID.to_index(onto.to_world(index))
    edge = np.array(GRID.shape)
    first = np.where(np.array(low) == 0, -0.5, low) - 1e-3
    last = np.where(np.array(high) == edge, edge - 0.5, np.array(high) - 1) + 1e-3
    inside = ((place >= first) & (place <= last)).all(axis=-1)
    assert 0 < inside.mean() < 1
    assert np.array_equal(found.array[0], np.where(inside, whole[0], before[0]))


def test_a_part_is_seen_with_its_margin_and_its_piece_of_the_image() -> None:
    seen: list[Scores] = []

    def note(scores: Scores, volume: Volume) -> Scores:
        low = np.rint(GRID.to_index(scores.grid.affine[:3, 3])).astype(int)
        part = tuple(slice(a, a + n) for a, n in zip(low, scores.grid.shape, strict=True))
        assert np.array_equal(scores.array, logits()[:, *part])
        assert np.array_equal(volume.array, IMAGE.array[:, *part])
        assert scores.activation == "softmax"
        seen.append(scores)
        return scores

    _, used = refined(note, GRID, margin_mm=4.0)
    box = Part(tuple(used["box"][0]), tuple(used["box"][1]))
    (scores,) = seen
    assert scores.grid.same_as(box.grown((2, 3, 2), GRID).grid(GRID))


def test_without_labels_nothing_is_refined() -> None:
    nothing = decided(logits() * 0, GRID)
    found, used = refinable().refined(nothing, IMAGE, grown, margin_mm=0, work=lambda scores, volume: 0)
    assert found is nothing
    assert used == {"box": None}


def test_too_little_memory_for_a_slice_is_an_error() -> None:
    def room(count: int) -> None:
        raise ResourceError("no room")

    with pytest.raises(ResourceError, match="no room"):
        refined(grown, GRID, room=room)


def test_the_least_memory_grows_with_the_margin() -> None:
    def work(scores: Scores, volume: Volume) -> int:
        return scores.array.size

    found = [least_bytes(3, GRID, IMAGE, margin_mm=margin, work=work) for margin in (0.0, 2.0, 4.0)]
    assert found == [13 * 3 * n * 16 * 12 + 4 * 20 * 16 * 12 for n in (1, 2, 3)]  # at the grid's edge


# ---- through the whole walk

SMALL = Unet(channels=(4, 8))


def pipeline(folder: Path, more: str) -> Path:
    file = saved(SMALL, folder)
    path = folder / "pipeline.yaml"
    path.write_text(
        "labels: {1: {name: liver}, 2: {name: spleen}}\n"
        "preprocess: [{resample: {spacing: [3, 3, 3]}}]\n"
        "segment:\n  network:\n    architecture: {unet: {channels: [4, 8]}}\n    head: softmax\n"
        f"    weights: [{{path: {file['path']}, sha256: {file['sha256']}}}]\n"
        "    window: {patch: [8, 8, 8]}\n"
        f"write: [nifti]\n{more}"
    )
    return path


def segmented(folder: Path, more: str, **options: Any) -> medseg.Result:
    path = pipeline(folder, more)
    resources = options.pop("resources", Resources(threads=1))
    return medseg.segment(IMAGE, model=path, resources=resources, **options)


def test_a_pipeline_refines_between_the_network_and_the_labels(
    tmp_path: Path, install: Callable[..., None]
) -> None:
    install("refining")
    plain = segmented(tmp_path, "")
    same = segmented(tmp_path, "refine: [{favour: {look_mm: 6}}]")
    assert (same.segmentation.array != plain.segmentation.array).mean() < 1e-3  # scores in half precision
    more = segmented(
        tmp_path,
        "refine: [{favour: {by: 50, look_mm: 6}}, favour]\npostprocess: [{keep-largest: {labels: [liver]}}]",
        out=tmp_path / "out",
    )
    assert more.prediction.refinable is None
    assert more.segmentation.mask("liver").mean() > 0.9
    assert not more.segmentation.mask("spleen").any()
    record = more.provenance
    assert record["used"]["refined"]["parts"] == 1
    assert record["pipeline"]["refine"][1] == {
        "fake-refining/favour": {"channel": 1, "by": 0.0, "look_mm": 0.0, "labels": [], "takes_gb": 0.0}
    }
    assert [each["step"] for each in record["steps"]][2:5] == ["segment", "refine[1]", "refine[0]"]
    assert "GB of scores on disk" in record["plan"]["strategy"]


def test_refiners_that_a_gpu_has_no_memory_for_are_told_of(
    tmp_path: Path, install: Callable[..., None]
) -> None:
    install("refining")
    path = pipeline(tmp_path, "refine: [{favour: {by: 1}}, {runs-out: {by: 50}}]")
    _, assembled = prepare(path)
    prepared = preprocess(assembled.preprocess, IMAGE)
    found = []
    for device in ("cpu", "cuda:0"):
        with assembled.segment.step.open(Resources(threads=1)) as predictor:
            prediction = predict(assembled, prepared, predictor, onto=IMAGE.grid)
        there = replace(prediction, used={**prediction.used, "device": device})  # no GPU is asked for
        found.append(refine(assembled, prepared, there))
    here, ran_out = found
    assert ran_out.segmentation.mask("liver").mean() > 0.9
    assert np.array_equal(here.segmentation.array, ran_out.segmentation.array)
    assert here.used["refined"]["devices"] == ran_out.used["refined"]["devices"] == ["cpu", "cpu"]
    assert here.used["refined"]["fallbacks"] == []
    assert ran_out.used["refined"]["fallbacks"] == ["refine[1] device cpu"]


def test_results_for_some_labels_are_those_of_the_full_run(
    tmp_path: Path, install: Callable[..., None]
) -> None:
    install("refining")
    refine = "refine: [{favour: {by: 0.1, channel: 2}}]"
    whole = segmented(tmp_path, refine)
    some = segmented(tmp_path, refine, labels=["spleen"])
    assert np.array_equal(some.segmentation.mask("spleen"), whole.segmentation.mask("spleen"))


def test_a_limit_on_memory_holds_for_refining(tmp_path: Path, install: Callable[..., None]) -> None:
    install("refining")
    limit = Resources(threads=1, max_memory_bytes=6 << 30)
    kept = segmented(tmp_path, "refine: [{favour: {by: 50}}]", resources=limit)
    assert kept.segmentation.mask("liver").any()
    with pytest.raises(ResourceError, match="this needs") as caught:
        segmented(tmp_path, "refine: [{favour: {takes_gb: 100}}]", resources=limit)
    assert any("refine[0]: favour" in note for note in caught.value.__notes__)


@pytest.mark.parametrize(
    ("step", "said"),
    [("bad-type", "ndarray, not Scores"), ("writes-scores", "failed: ValueError: assignment destination")],
)
def test_a_refiner_that_breaks_its_contract_is_blamed(
    step: str, said: str, tmp_path: Path, install: Callable[..., None]
) -> None:
    install("refining")
    with pytest.raises(PluginError, match=said) as caught:
        segmented(tmp_path, f"refine: [favour, {step}]")
    told = f"{caught.value} {getattr(caught.value, '__notes__', '')}"
    assert f"refine[1]: {step} (fake-refining 1.2)" in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"postprocess": ["favour"]}, r"postprocess\[0\].*it is a refiner and belongs under `refine:`"),
        (
            {"refine": ["keep-largest"]},
            r"refine\[0\].*it is a postprocessor and belongs under `postprocess:`",
        ),
        (
            {"refine": ["favour"]},
            r"refine\[0\]\.favour: segmenter 'threshold' gives no scores that could be refined",
        ),
        ({"refine": [{"favour": {"labels": ["livr"]}}]}, "there is no label 'livr'; did you mean 'liver'"),
    ],
)
def test_steps_in_the_wrong_place_are_told_where_they_belong(
    content: Any, said: str, install: Callable[..., None]
) -> None:
    install("refining")
    whole = {"labels": {1: {"name": "liver"}}, "segment": {"threshold": {"above": 0}}, **content}
    with pytest.raises(PipelineError, match=said):
        assemble(PipelineFile.model_validate(whole), discover())
