import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import cohorts
import pytest

Medseg = Callable[..., Any]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return cohorts.pipeline(tmp_path / "p.yaml", writers="[csv]")


def test_a_line_for_each_case_and_where_the_tables_are(medseg: Medseg, model: Path, tmp_path: Path) -> None:
    done = medseg("cohort", cohorts.balls(tmp_path / "in", 2), "-o", tmp_path / "out", "-m", model)
    assert done.code == 0
    assert [line.rsplit(" ", 2)[0] for line in done.err.splitlines()] == ["1/2 case_00 ok", "2/2 case_01 ok"]
    assert done.out.startswith("2 of 2 cases are done, 0 failed. The tables are ")
    assert "Research use only" in done.out


def test_a_failed_case_is_told_and_the_exit_code_is_3(medseg: Medseg, model: Path, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "out"
    (source / "a_text.nii").write_text("text")
    done = medseg("cohort", source, "-o", out, "-m", model)
    assert done.code == 3
    assert done.err.splitlines()[0].startswith(f"1/3 a_text failed: {source / 'a_text.nii'}: ")
    assert "2 of 3 cases are done, 1 failed" in done.out
    again = medseg("cohort", source, "-o", out, "-m", model, "--resume", "-q")
    assert (again.code, again.out, again.err) == (3, "", "")
    assert cohorts.summary(out)["a_text"]["status"] == "failed"
    (source / "a_text.nii").unlink()
    last = medseg("cohort", source, "-o", out, "-m", model, "--resume")
    assert last.code == 0
    assert "2 of 2 cases are done (2 kept from an earlier run), 0 failed" in last.out


def test_all_failed_is_3_too(medseg: Medseg, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii").write_text("text")
    assert medseg("cohort", tmp_path / "in", "-o", tmp_path / "out", "-m", model, "-q").code == 3


def test_a_table_of_two_inputs(medseg: Medseg, tmp_path: Path) -> None:
    source = cohorts.balls(tmp_path / "in", 2)
    (source / "cases.csv").write_text(
        "case,t1,flair,site\nanna-1,case_00.nii.gz,case_01.nii.gz,x\nanna-2,case_01.nii.gz,absent.nii.gz,y\n"
    )
    model = tmp_path / "p.yaml"
    model.write_text("inputs: [{name: t1}, {name: flair}]\nsegment: {threshold: {above: 50}}\nwrite: [csv]\n")
    done = medseg("cohort", source / "cases.csv", "-o", tmp_path / "out", "-m", model)
    assert done.code == 3
    assert "columns not used: site" in done.err
    record = json.loads((tmp_path / "out" / "anna-1" / "run.json").read_text())
    assert (record["case"], [each["name"] for each in record["inputs"]]) == ("anna-1", ["t1", "flair"])
    row = cohorts.summary(tmp_path / "out")["anna-2"]
    assert (row["status"], row["reason"].partition(":")[0]) == ("failed", "<flair>")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["absent", "-o", "out", "-m", "{model}"], 2, "absent: no such file or folder"),
        (["{source}", "-o", "out", "-m", "no-such-model"], 4, "no-such-model"),
        (["{source}", "-o", "out", "-m", "{model}", "--resume", "--overwrite"], 64, "contradict"),
        (["{source}", "-o", "{model}", "-m", "{model}"], 64, "exists and is not a folder"),
        (["{source}", "-o", "/proc/out", "-m", "{model}"], 5, "/proc/out: cannot be made"),
        (["{source}", "-o", "out", "-m", "{model}", "--jobs", "0"], 64, "--jobs"),
    ],
)
def test_what_concerns_all_ends_with_its_own_code_and_writes_nothing(
    medseg: Medseg,
    model: Path,
    tmp_path: Path,
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    source = cohorts.balls(tmp_path / "in", 1)
    with chdir(tmp_path):
        done = medseg("cohort", *(each.format(model=model, source=source) for each in arguments))
    assert done.code == code
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "p.yaml"]


def test_the_seed_is_in_every_record(medseg: Medseg, model: Path, tmp_path: Path) -> None:
    source = cohorts.balls(tmp_path / "in", 1)
    medseg("cohort", source, "-o", tmp_path / "out", "-m", model, "-q", "--seed", "7")
    for path in (tmp_path / "out" / "cohort.json", tmp_path / "out" / "case_00" / "run.json"):
        assert json.loads(path.read_text())["seed"] == 7


def test_a_bar_on_a_terminal(model: Path, tmp_path: Path) -> None:
    """On a terminal of its own: the bar counts, and a failure stays on the screen."""
    source = cohorts.balls(tmp_path / "in", 2)
    (source / "a_text.nii").write_text("text")
    ours, theirs = pty.openpty()
    arguments = ["cohort", source, "-o", tmp_path / "out", "-m", model]
    with subprocess.Popen(
        [sys.executable, "-c", cohorts.START, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.returncode == 3
    assert b"a_text failed: " in shown
    assert b"1 failed" in shown
    assert b"3/3" in shown


def test_the_help_says_where_ids_come_from(medseg: Medseg) -> None:
    said = " ".join(medseg("cohort", "--help").out.split())
    assert "stems of the files' names" in said
    assert "give ids in a CSV file" in said
