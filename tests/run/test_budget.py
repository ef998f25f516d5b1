"""Limits on memory, held by the real command in processes of its own; more of them in tests/soak."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memory_runs
import numpy as np
import pytest
import yaml
from memory_runs import Run

import medseg
from medseg import Grid, ResourceError, Resources, Volume
from medseg.io import STRICT
from medseg.memory import peak_bytes, release_freed_memory, reset_peak, resident_bytes
from medseg.pipeline import Input
from medseg.run.budget import outlined
from medseg.run.cohort import segment_cohort
from medseg.run.inputs import join, read_inputs

MIB = 1 << 20
ROOMY = 32 << 30
SIDE = 160
FINDS = {"segment": {"threshold": {"above": 50}}, "labels": {1: {"name": "foreground"}}}


# ---- a network, by the command


def test_a_limit_cuts_the_plane_into_blocks_and_is_kept_by_equal_cases(tmp_path: Path) -> None:
    """Twice what one case needs is not there; nor is room for memory that a process frees and keeps."""
    file = memory_runs.model(tmp_path, classes=60, patch=48, spacing=1.5, more=False)
    run = Run(str(file), (100, 100, 100), (1.5, 1.5, 1.5), "torch", limit=ROOMY)
    roomy = memory_runs.done(run)
    planned, above = (roomy["plan"][name] * MIB for name in ("peak_memory_mb", "above_resident_mb"))
    assert roomy["used"]["blocks"] == 1
    assert abs(roomy["peak"] - planned) <= max(0.15 * above, 64 * MIB)

    source, out = tmp_path / "in", tmp_path / "many"
    source.mkdir()
    for name in ("a.nii", "b.nii"):
        memory_runs.image(source / name, run.shape, run.spacing)
    code, peak, said = memory_runs.command(
        "cohort",
        str(source),
        "--model",
        str(file),
        "--out",
        str(out),
        engine="torch",
        limit=planned,  # nothing kept free for what plans are off by
    )
    assert code == 0, said
    assert peak <= planned
    for case in ("a", "b"):
        tight = json.loads((out / case / "run.json").read_text())
        assert tight["used"]["blocks"] > 1
        assert tight["outputs"]["segmentation.nii.gz"] == roomy["labels"]


def test_the_number_in_a_refusal_is_enough_from_the_graph_to_the_picture_and_for_equal_cases(
    tmp_path: Path,
) -> None:
    """OpenVINO's graph is not made yet; and what a process frees and keeps counts against no later case."""
    file = memory_runs.model(tmp_path, classes=5, patch=48, spacing=1.5)
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    images = [
        memory_runs.image(source / name, (110, 110, 110), (1.0, 1.0, 1.0)) for name in ("a.nii", "b.nii")
    ]
    few, cache = 700 * MIB, str(tmp_path / "none-yet")

    def run(*asked: str, limit: int) -> tuple[int, int, str]:
        more = ("--model", str(file), "--out", str(out))
        return memory_runs.command(*asked, *more, engine="openvino", limit=limit, cache=cache)

    code, peak, said = run("segment", str(images[0]), limit=few)
    assert (code, said.count("\n")) == (5, 0), said
    assert peak <= few, "refused before, not after"
    enough = memory_runs.needed(said)
    assert few < enough < 2 * few
    code, peak, said = run("cohort", str(source), limit=enough)
    assert code == 0, said
    assert peak <= enough
    for case in ("a", "b"):
        found = json.loads((out / case / "run.json").read_text())
        assert (found["used"]["engine"], found["used"]["notes"], found["notes"]) == ("openvino", [], [])


# ---- other steps, in this process


@pytest.fixture
def volume() -> Volume:
    """A noisy image, brighter than the threshold in half of its voxels."""
    array = np.random.default_rng(0).integers(-100, 200, (1, SIDE, SIDE, SIDE), np.int16)
    return Volume(array, Grid((SIDE, SIDE, SIDE), np.eye(4)), ("c",))


@pytest.fixture
def pipeline(tmp_path: Path) -> Callable[..., Path]:
    """`pipeline(postprocess=["open"])`: a file that finds bright voxels and does no more than this."""

    def made(**steps: Any) -> Path:
        file = tmp_path / "p.yaml"
        file.write_text(yaml.safe_dump({**FINDS, "measure": [], "write": [], **steps}))
        return file

    return made


@pytest.fixture
def settled() -> Iterator[None]:
    """No memory that earlier tests freed counts as this one's."""
    release_freed_memory()
    yield
    release_freed_memory()


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    ("steps", "place"),
    [
        ({"preprocess": [{"resample": {"spacing": 0.7}}]}, "preprocess[0]: resample"),
        ({"postprocess": [{"fill-holes": {"max_ml": 1.0}}]}, "postprocess[0]: fill-holes"),
        ({"measure": ["volumes"]}, "measure[0]: volumes"),
        ({"write": ["csv", "preview"]}, "write[0]: csv"),
        (  # the second needs more than the first
            {"preprocess": [{"resample": {"spacing": 0.9}}], "postprocess": [{"close": {"radius_mm": 30}}]},
            "preprocess[0]: resample",
        ),
    ],
)
def test_a_step_that_would_pass_the_limit_is_refused_before_any_and_its_number_is_enough(
    volume: Volume, pipeline: Callable[..., Path], tmp_path: Path, steps: dict[str, Any], place: str
) -> None:
    file, heard = pipeline(**steps), list[str]()
    reset_peak()
    limit = resident_bytes() + 32 * MIB  # enough for the segmenter
    with pytest.raises(ResourceError, match="give --max-memory") as refusal:
        medseg.segment(
            volume,
            model=file,
            out=tmp_path / "out",
            resources=Resources(max_memory_bytes=limit),
            listener=lambda step, name, seconds: heard.append(step),
        )
    assert heard == []
    assert peak_bytes() <= limit
    assert place in "".join(refusal.value.__notes__)
    enough = memory_runs.needed(str(refusal.value))
    reset_peak()
    result = medseg.segment(
        volume, model=file, out=tmp_path / "out", resources=Resources(max_memory_bytes=enough)
    )
    assert peak_bytes() <= enough
    assert result.provenance["notes"] == []


@pytest.mark.usefixtures("settled")
def test_an_image_that_would_pass_the_limit_is_not_read(
    pipeline: Callable[..., Path], tmp_path: Path
) -> None:
    image, heard = memory_runs.image(tmp_path / "a.nii", (300, 300, 300), (1.0, 1.0, 1.0)), list[str]()
    file = pipeline()
    reset_peak()
    limit = resident_bytes() + 48 * MIB  # it has 51
    with pytest.raises(ResourceError, match="give --max-memory") as refusal:
        medseg.segment(
            image,
            model=file,
            resources=Resources(max_memory_bytes=limit),
            listener=lambda step, name, seconds: heard.append(step),
        )
    assert (heard, refusal.value.__notes__) == ([], ["read"])
    assert peak_bytes() <= limit
    enough = memory_runs.needed(str(refusal.value))
    reset_peak()
    medseg.segment(image, model=file, resources=Resources(max_memory_bytes=enough))
    assert peak_bytes() <= enough


@pytest.mark.usefixtures("settled")
def test_what_was_not_foretold_and_passed_the_limit_is_said(
    install: Callable[..., None], volume: Volume, pipeline: Callable[..., Path], tmp_path: Path
) -> None:
    install("counting")
    file = pipeline(measure=["hungry"])
    limit = resident_bytes() + 150 * MIB  # it takes 200, and says that it takes nothing
    medseg.segment(volume, model=file, out=tmp_path / "out", resources=Resources(max_memory_bytes=limit))
    (note,) = json.loads((tmp_path / "out" / "run.json").read_text())["notes"]
    assert note.startswith("peak ")
    assert note.endswith(f"passed the limit of {limit / 1e9:.2f} GB in measure[0]: hungry")


def test_with_a_limit_there_is_one_case_at_a_time_whatever_the_jobs(
    pipeline: Callable[..., Path], tmp_path: Path
) -> None:
    source, heard = tmp_path / "in", list[tuple[str, bool]]()
    source.mkdir()
    for name in "abc":
        memory_runs.image(source / f"{name}.nii", (30, 30, 30), (1.0, 1.0, 1.0))
    for limit in (ROOMY, None):
        heard.clear()
        done = segment_cohort(
            source,
            model=pipeline(),
            out=tmp_path / str(limit),
            jobs=3,
            resources=Resources(max_memory_bytes=limit),
            watcher=lambda case, outcome, done, total: heard.append((case, outcome is None)),
        )
        assert done.counts["ok"] == 3
        one_by_one = [(name, starts) for name in "abc" for starts in (True, False)]
        assert (heard == one_by_one) is (limit is not None)
        assert [note for note in done.notes if "one case at a time" in note] == (
            [] if limit is None else ["one case at a time, not 3: memory has a limit"]
        )


@pytest.mark.parametrize("other", [(200, 200, 200), (160, 200, 240)], ids=["same grid", "another grid"])
def test_what_several_inputs_take_is_told_from_headers(other: tuple[int, int, int], tmp_path: Path) -> None:
    from SimpleITK import Image  # loaded before anything is measured

    assert Image is not None
    named = {}
    for name, shape in (("a", (200, 200, 200)), ("b", other)):
        affine = np.diag([*(200 / n for n in shape), 1.0])
        named[name] = memory_runs.image(
            tmp_path / f"{name}.nii", shape, (affine[0, 0], affine[1, 1], affine[2, 2])
        )
    inputs = (Input("a"), Input("b"))
    told = outlined(inputs, named, force_modality=False, pixel_size=None, policy=STRICT)
    release_freed_memory()
    reset_peak()
    before = resident_bytes()
    joined = join(read_inputs(inputs, named, force_modality=False, pixel_size=None))
    taken = peak_bytes() - before
    assert joined.array.shape == told.volume.array.shape == (2, 200, 200, 200)
    assert taken <= told.reading_bytes + 16 * MIB
    assert taken >= told.reading_bytes * 0.6
