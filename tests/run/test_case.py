import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import medseg
from medseg import Grid, PipelineError, PluginError, ResourceError, Resources, Volume
from medseg.memory import peak_bytes, reset_peak, resident_bytes
from medseg.run.chosen import prepare

GRID = Grid((30, 30, 30), np.diag([2.0, 2.0, 2.0, 1.0]))


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "bright.yaml"
    path.write_text("segment: {threshold: {above: 50}}\npostprocess: [keep-largest]\n")
    return path


@pytest.fixture
def ball() -> Volume:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij"), axis=-1)
    inside = np.linalg.norm(GRID.to_world(index) - GRID.centre, axis=-1) <= 20
    return Volume(np.where(inside, 100, 0).astype(np.int16)[None], GRID)


def test_from_python_with_a_volume_and_no_files(ball: Volume, pipeline: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    result = medseg.segment(ball, model=pipeline)
    (volume,) = [row for row in result.measurements if row.quantity == "volume"]
    assert volume.value == pytest.approx(33.51, rel=0.01)  # a ball of 20 mm radius
    assert np.array_equal(result.segmentation.mask("foreground"), ball.array[0] == 100)
    assert result.provenance["inputs"][0]["format"] == "array"
    assert sorted(tmp_path.iterdir()) == before


def test_from_python_with_files(ball: Volume, pipeline: Path, tmp_path: Path) -> None:
    medseg.segment(model=pipeline, inputs={"image": ball}, out=tmp_path / "out")
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert set(record["outputs"]) == {
        "segmentation.nii.gz",
        "measurements.csv",
        "measurements.json",
        "preview.png",
    }
    assert record["left_out"] == {}


def test_what_does_not_fit_into_memory_is_refused_before_the_work(
    ball: Volume, pipeline: Path, tmp_path: Path
) -> None:
    with pytest.raises(ResourceError, match=r"this needs .*GB in all") as refusal:
        medseg.segment(ball, model=pipeline, out=tmp_path / "out", resources=Resources(max_memory_bytes=1000))
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_the_walk_keeps_to_its_processors_and_gives_them_back(ball: Volume, pipeline: Path) -> None:
    before, during = os.sched_getaffinity(0), set[int]()
    medseg.segment(
        ball,
        model=pipeline,
        resources=Resources(threads=1),
        listener=lambda place, name, seconds: during.add(len(os.sched_getaffinity(0))),
    )
    assert during == {1}
    assert os.sched_getaffinity(0) == before


def test_the_listener_hears_the_walk_in_order(ball: Volume, pipeline: Path) -> None:
    heard: list[str] = []
    medseg.segment(
        ball,
        model=pipeline,
        listener=lambda place, name, seconds: heard.append(place) if seconds is None else None,
    )
    assert heard == ["read", "segment", "postprocess[0]", "measure[0]"]


def test_a_pipelines_fault_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("segment: {threshold: {above: high}}\n")
    with pytest.raises(PipelineError, match=r"wrong\.yaml: segment\.threshold\.above") as fault:
        prepare(path)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("segmenter", "said"),
    [("open-fails", "failed: KeyError: 'weights'"), ("no-predictor", "failed: TypeError: ")],
)
def test_a_segmenter_that_cannot_be_opened_is_blamed(
    install: Callable[..., None], ball: Volume, tmp_path: Path, segmenter: str, said: str
) -> None:
    install("misbehaving")
    (tmp_path / "p.yaml").write_text(f"segment: {segmenter}\n")
    with pytest.raises(PluginError) as caught:
        medseg.segment(ball, model=tmp_path / "p.yaml", out=tmp_path / "out")
    assert str(caught.value).startswith(f"segment: {segmenter} (fake-misbehaving 1.2) {said}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("preprocess: [exits]", "preprocess[0]: exits"),
        ("measure: [wants-fails]", "measure[0]: wants-fails"),
        ("write: [nifti, needs-fails]", "write[1]: needs-fails"),
        ("write: [nifti, absent]", "write[1]: absent"),
    ],
)
def test_a_plugin_that_fails_leaves_nothing_behind(
    install: Callable[..., None], ball: Volume, tmp_path: Path, lines: str, name: str
) -> None:
    install("misbehaving")
    (tmp_path / "p.yaml").write_text(f"segment: {{threshold: {{above: 50}}}}\n{lines}\n")
    with pytest.raises(PluginError) as caught:
        medseg.segment(ball, model=tmp_path / "p.yaml", out=tmp_path / "out")
    whole = "; ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert f"{name} (fake-misbehaving 1.2)" in whole
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def test_a_step_that_would_pass_the_limit_is_refused_before_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "preprocess: [{resample: {spacing: 0.7}}]\n"
        "segment: {threshold: {above: 50}}\nlabels: {1: {name: foreground}}\n"
    )
    volume = Volume(np.zeros((1, 160, 160, 160), np.int16), Grid((160, 160, 160), np.eye(4)), ("c",))
    limit = resident_bytes() + (40 << 20)
    reset_peak()
    with pytest.raises(ResourceError, match="give --max-memory") as refusal:
        medseg.segment(volume, model=file, resources=Resources(max_memory_bytes=limit))
    assert peak_bytes() <= limit
    assert "preprocess[0]: resample" in "".join(refusal.value.__notes__)
