"""`medseg train`: from a dataset to a model that segments, and what is said of it."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel  # noqa: TID253 - a test module
import numpy as np
import pytest
import real_trainings
import trainings
import yaml
from datasets import nifti

from medseg.cli import run
from medseg.config import PipelineFile

Medseg = Callable[..., Any]
nibabel: Any = untyped_nibabel
CANARY = "zwaardvis"  # a patient's name, say, in the names of folders
FLOOR = 0.75
MOST_UNTRAINED = 0.3
ONE = ("--threads", 1)  # more only wait for each other, at this size


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a training that is done: RUN is run/, its data lie where the canary is in the path."""
    folder = tmp_path_factory.mktemp("train") / CANARY
    data = trainings.dataset(folder / "data", cases=5)
    tiny = trainings.overlay(folder / "tiny.yaml", steps_per_epoch=20, rate="5e-3", augment="[]")
    command = ["train", data, "-o", folder / "run", "--pipeline", tiny, "--epochs", 10, "-q", *ONE]
    assert run([str(each) for each in command]) == 0
    return folder


def dice(medseg: Medseg, model: Path, folder: Path) -> dict[str, float]:
    """Dice of a new case by `medseg segment`."""
    image, truth = trainings.spheres(100)
    path = nifti(folder / "new.nii.gz", image, np.eye(4))
    done = medseg("segment", path, "--model", model, "-o", folder / "out", "--overwrite")
    assert done.code == 0, done.err
    found = np.asarray(nibabel.load(folder / "out" / "segmentation.nii.gz").dataobj)
    return {
        name: real_trainings.dice(found == value, truth == value)
        for value, name in enumerate(trainings.LABELS, start=1)
    }


def test_the_model_segments_a_new_case(
    medseg: Medseg, work: Path, tmp_path: Path, figures: list[str]
) -> None:
    found = dice(medseg, work / "run" / "model", tmp_path)
    figures.append(f"spheres in noise, 200 steps: Dice of a new case {found}")
    assert min(found.values()) > FLOOR


def test_an_untrained_network_does_not(medseg: Medseg, work: Path, tmp_path: Path) -> None:
    idle = trainings.overlay(tmp_path / "idle.yaml", steps_per_epoch=1, rate="1e-9", augment="[]")
    done = medseg(
        "train",
        work / "data",
        "-o",
        tmp_path / "run",
        "--pipeline",
        idle,
        "--epochs",
        1,
        "--validation",
        0,
        *ONE,
    )
    assert done.code == 0, done.err
    assert min(dice(medseg, tmp_path / "run" / "model", tmp_path).values()) < MOST_UNTRAINED


def test_the_model_is_complete(medseg: Medseg, work: Path) -> None:
    checked = medseg("models", "check", work / "run" / "model")
    assert checked.code == 0, checked.out + checked.err
    card = yaml.safe_load((work / "run" / "model" / "card.yaml").read_text())
    assert card["name"] == "spheres-run"
    assert card["training_data"] == ["spheres: 4 cases (subjects are not stated)."]
    assert any(line.startswith("dice large: mean 0.") for line in card["evaluation"])
    assert card["research_use_only"] is True
    page = (work / "run" / "report.html").read_text()
    assert "spheres" in page
    assert "://" not in page.replace("http://www.w3.org", "")


def test_the_plan_runs_again(medseg: Medseg, work: Path) -> None:
    plan = work / "run" / "plan.yaml"
    printed = medseg("train", work / "data", "--plan-only", "--pipeline", plan)
    assert printed.code == 0, printed.err
    assert yaml.safe_load(printed.out) == yaml.safe_load(plan.read_text())


def test_a_plan_is_a_pipeline_file_with_a_reason_for_all_it_decides(medseg: Medseg, work: Path) -> None:
    printed = medseg("train", work / "data", "--plan-only", "-q")
    assert printed.code == 0
    file = PipelineFile.model_validate(yaml.safe_load(printed.out))
    assert file.training is not None
    reasons = dict(
        line.removeprefix("#   ").split(": ", 1)
        for line in printed.out.splitlines()
        if line.startswith("#   ")
    )
    assert {
        "segment.network.architecture",
        "segment.network.head",
        "segment.network.window.patch",
        "training.batch",
        "training.loss",
        "training.augment",
        *(f"preprocess.{call.name.rpartition('/')[2]}" for call in file.preprocess),
    } <= set(reasons)
    assert all(len(reason) > 10 for reason in reasons.values())


def test_what_is_said_otherwise_is_said_to_be(medseg: Medseg, work: Path) -> None:
    printed = medseg("train", work / "data", "--plan-only", "--pipeline", work / "tiny.yaml")
    assert "#   training.augment: given by --pipeline" in printed.out
    assert yaml.safe_load(printed.out)["training"]["steps_per_epoch"] == 20


def test_no_path_is_in_what_it_writes(work: Path) -> None:
    written = [path for path in (work / "run").rglob("*") if path.is_file()]
    assert len(written) > 20
    found = [path.name for path in written if CANARY.encode() in path.read_bytes()]
    assert found == []


def test_what_is_done_is_not_done_again(medseg: Medseg, work: Path) -> None:
    before = (work / "run" / "fold0" / "weights.safetensors").stat().st_mtime_ns
    done = medseg("train", work / "data", "-o", work / "run", "--resume")
    assert done.code == 0, done.err
    assert "epoch" not in done.err
    assert (work / "run" / "fold0" / "weights.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{data}"], 64, "--out"),
        (["absent", "-o", "{out}"], 2, "absent: no such file or folder"),
        (["{data}", "-o", "{out}", "--resume", "--overwrite"], 64, "contradict"),
        (["{data}", "-o", "{out}", "--time-budget", "soon"], 64, "give a time as 90s, 45m, 2h or 1h30m"),
        (["{data}", "-o", "{out}", "--time-budget", "0s"], 64, "is no time"),
        (["{data}", "-o", "{out}", "--epochs", "0"], 64, "--epochs"),
        (["{data}", "-o", "{run}"], 64, "is not empty; give --resume"),
        (["{data}", "-o", "{run}", "--resume", "--seed", "9"], 64, "was begun with --seed 0"),
        (["{data}", "-o", "{out}", "--device", "tpu"], 64, "tpu"),
        (["{data}", "-o", "/proc/out"], 5, "/proc/out: cannot be"),
    ],
)
def test_what_cannot_be_is_a_line_and_a_code(
    medseg: Medseg, work: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    out = tmp_path / "out"
    done = medseg(
        "train", *(each.format(data=work / "data", out=out, run=work / "run") for each in arguments), "-q"
    )
    assert done.code == code, done.err
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not out.exists()


def test_a_loss_that_is_no_number_is_the_pipelines_fault(medseg: Medseg, work: Path, tmp_path: Path) -> None:
    wild = trainings.overlay(
        tmp_path / "wild.yaml", rate=10, weight_decay=10, steps_per_epoch=24, batch=1, augment="[]"
    )
    done = medseg(
        "train", work / "data", "-o", tmp_path / "run", "--pipeline", wild, "--epochs", 3, "-q", *ONE
    )
    assert done.code == 4
    assert "lower training.rate (10)" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "run" / "fold0" / "weights.safetensors").exists()


def test_a_broken_image_is_the_inputs_fault(medseg: Medseg, tmp_path: Path) -> None:
    data = trainings.dataset(tmp_path / "data", cases=3)
    path = data / "images" / "case1.nii.gz"
    path.write_bytes(path.read_bytes()[:300])
    done = medseg("train", data, "-o", tmp_path / "run", "--epochs", 1, "-q")
    assert done.code == 2
    assert "case1" in done.err
    assert len(done.err.splitlines()) == 1
    assert list((tmp_path / "run").rglob("*")) == []


def _interrupted(process: "subprocess.Popen[str]", folder: Path, number: int) -> tuple[int, str]:
    """The exit code and what was said when a signal came after the second epoch."""
    limit = time.monotonic() + 900
    while len(trainings.rows(folder)) < 2 and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=900)
    return process.returncode, said


# a signal that comes while Python collects garbage: what its handler raises there goes no further
LOST = """\
import gc, os, signal, threading
def collected(phase, _):
    if threading.current_thread() is threading.main_thread() and os.path.exists({log!r}):
        gc.callbacks.clear()
        signal.raise_signal(signal.SIGTERM)
gc.callbacks.append(collected)
"""


def test_a_signal_that_is_lost_on_its_way_ends_it_too(tmp_path: Path) -> None:
    data = trainings.dataset(tmp_path / "data", cases=3)
    tiny = trainings.overlay(tmp_path / "tiny.yaml", steps_per_epoch=2)
    run = tmp_path / "run"
    arguments = (data, "-o", run, "--pipeline", tiny, "--epochs", 1000, "--validation", 0)
    process = trainings.start(*arguments, before=LOST.format(log=str(run / "fold0" / "log.csv")))
    said = process.communicate(timeout=900)[1]
    assert process.returncode == 143, said
    assert "Traceback" not in said
    assert said.splitlines()[-1] == f"medseg: interrupted; go on with --resume -o {run}"
    assert trainings.checkpoints(run)


def test_signals_end_it_and_it_can_be_gone_on_with(medseg: Medseg, tmp_path: Path) -> None:
    data = trainings.dataset(tmp_path / "data", cases=3)
    tiny = trainings.overlay(tmp_path / "tiny.yaml", steps_per_epoch=2)
    signals = {signal.SIGINT: 130, signal.SIGTERM: 143}
    started = {
        number: trainings.start(
            data, "-o", tmp_path / number.name, "--pipeline", tiny, "--epochs", 100_000, "--validation", 0
        )
        for number in signals
    }
    try:
        found = {n: _interrupted(process, tmp_path / n.name, n) for n, process in started.items()}
    finally:
        for process in started.values():
            process.kill()
    for number, code in signals.items():
        ended, said = found[number]
        assert ended == code, said
        assert "Traceback" not in said
        assert "bug" not in said
        assert trainings.checkpoints(tmp_path / number.name)
        assert said.splitlines()[-1] == (
            f"medseg: interrupted; go on with --resume -o {tmp_path / number.name}"
        )
