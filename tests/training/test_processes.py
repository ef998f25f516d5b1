"""Several processes that train together: torchrun's and SLURM's, on this machine, over its loopback only."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch  # noqa: TID253 - a test module
import trainings
from safetensors.torch import load_file

from medseg.errors import UsageError
from medseg.training.processes import joined

EPOCHS = 2
PATIENCE_S = 900  # on a machine with much else to do
TOLERANCE = 2e-4  # of a weight: gradients are summed in another order; steps are 0.01 of a gradient
WORDS = """\
import sys
from medseg.errors import InputError
from medseg.training.processes import joined
done = []
def work():
    raise InputError("case7: is broken")
with joined(gpu=False) as processes:
    processes.after_first(lambda: done.append(1))
    assert len(done) == processes.first
    processes.wait()
    print(processes.rank, processes.count, processes.on_machine, processes.machines, processes.first)
    try:
        processes.after_first(work)
    except InputError as problem:
        print(problem)
        sys.exit(problem.exit_code)
"""


def free_port() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return str(held.getsockname()[1])


def torchrun(*arguments: object, count: int = 2) -> subprocess.Popen[str]:
    """`medseg train` in so many processes, each on one thread."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count)]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", free_port(), "--no-python"]
    command = [sys.executable, "-c", trainings.START, "train", *map(str, arguments)]
    return subprocess.Popen(
        [*launcher, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def on_slurm(count: int = 2) -> list[subprocess.Popen[str]]:
    """The processes that `srun` would start on one machine."""
    port = free_port()
    variables = {
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": str(count),
        "SLURM_NTASKS_PER_NODE": str(count),
        "SLURM_NNODES": "1",
        "SLURM_NODELIST": "localhost",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    return [
        subprocess.Popen(
            [sys.executable, "-c", WORDS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                **variables,
                "SLURM_PROCID": str(rank),
                "SLURM_LOCALID": str(rank),
                "SLURM_NODEID": "0",
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank in range(count)
    ]


def test_one_by_itself_is_alone() -> None:
    done: list[int] = []
    with joined(gpu=False) as processes:
        assert (processes.rank, processes.count, processes.machines, processes.first) == (0, 1, 1, True)
        processes.wait()
        processes.after_first(lambda: done.append(1))
    assert done == [1]
    assert not torch.distributed.is_initialized()


def test_machines_must_have_as_many_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "3",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "0",
        "LOCAL_RANK": "0",
        "TORCHELASTIC_RUN_ID": "none",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="3 processes are not spread evenly"), joined(gpu=False):
        pass


def test_slurm_must_say_how_many_a_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with pytest.raises(UsageError, match="say --ntasks-per-node"), joined(gpu=False):
        pass


def test_slurm_says_who_they_are_and_a_failure_of_the_first_is_said_once() -> None:
    started = on_slurm()
    found = [process.communicate(timeout=PATIENCE_S) for process in started]
    assert [out.splitlines() for out, _ in found] == [
        ["0 2 2 1 True", "case7: is broken"],
        ["1 2 2 1 False"],
    ], found
    assert [process.returncode for process in started] == [2, 2]


def test_two_processes_learn_what_one_learns(tmp_path: Path, figures: list[str]) -> None:
    """The same samples in each step, one for each process: weights and log but for the order of sums.

    By SGD, whose steps are as long as gradients are: Adam's first ones go by their signs alone, which a
    last bit may turn, and are the same of gradients that are twice as long.
    """
    data = trainings.dataset(tmp_path / "data", cases=4)
    tiny = trainings.overlay(tmp_path / "tiny.yaml", averaging=0, optimiser="sgd")
    arguments = (data, "--pipeline", tiny, "--epochs", EPOCHS)
    started = [
        torchrun(*arguments, "-o", tmp_path / "two"),
        trainings.start(*arguments, "-o", tmp_path / "one"),
    ]
    said = [process.communicate(timeout=PATIENCE_S) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert said[0][0].count("The model is ") == 1
    assert said[0][1].count("epoch 1 ") == 1
    assert said[0][1].count("Preparing case 4 of 4") == 1
    runs = [tmp_path / name for name in ("two", "one")]
    two, one = (load_file(run / "fold0" / "weights.safetensors") for run in runs)
    far = max(float((two[name] - one[name]).abs().max()) for name in one)
    figures.append(f"two processes and one, {EPOCHS} epochs: weights differ by up to {far:.1e}")
    assert far < TOLERANCE
    logs = [trainings.steady(trainings.rows(run)) for run in runs]
    assert [row["step"] for row in logs[0]] == ["4", "8"]
    for mine, its in zip(*logs, strict=True):
        assert mine["rate"] == its["rate"]
        assert float(mine["loss"]) == pytest.approx(float(its["loss"]), rel=1e-3)
        assert float(mine["dice_mean"]) == pytest.approx(float(its["dice_mean"]), abs=0.01)
    names = [sorted(path.name.partition(".tfevents")[0] for path in run.rglob("*")) for run in runs]
    assert [name.partition("-")[0] for name in names[0]] == [name.partition("-")[0] for name in names[1]]


def test_a_batch_that_cannot_be_shared_is_refused_in_a_line(tmp_path: Path) -> None:
    data = trainings.dataset(tmp_path / "data", cases=3)
    odd = trainings.overlay(tmp_path / "odd.yaml", batch=3)
    process = torchrun(data, "--pipeline", odd, "--epochs", 1, "-o", tmp_path / "run")
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode != 0
    lines = [line for line in said.splitlines() if line.startswith("medseg: ")]
    assert lines == ["medseg: training.batch: 3 samples cannot be shared by 2 processes; give a multiple"], (
        said
    )
    assert "exitcode  : 64" in said
    assert not (tmp_path / "run" / "cases").exists()
