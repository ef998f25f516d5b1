import csv
import gzip
import importlib
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cohorts
import numpy as np
import pytest

from medseg import InputError, PipelineError, PluginError, ResourceError, UsageError
from medseg.io.atomic import held_folder
from medseg.prediction import Resources
from medseg.run.cohort import segment_cohort
from medseg.run.summary import Outcome

COUNT = 20


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return cohorts.pipeline(tmp_path / "balls.yaml")


@pytest.fixture
def counting(install: Callable[..., None]) -> ModuleType:
    install("counting")
    return importlib.import_module("fake_counting.segmenter")


def names(count: int) -> list[str]:
    return [f"case_{number:02d}" for number in range(count)]


def test_twenty_cases_open_the_model_once(counting: ModuleType, tmp_path: Path) -> None:
    model = cohorts.pipeline(tmp_path / "p.yaml", segment="counting", writers="[csv]")
    done = segment_cohort(cohorts.balls(tmp_path / "in", COUNT), model=model, out=tmp_path / "out")
    assert (len(counting.opened), len(counting.closed)) == (1, 1)
    assert done.counts == {"cases": 20, "ok": 20, "failed": 0, "not_run": 0, "kept": 0}
    cohorts.audit(tmp_path / "out", names(COUNT))


def test_the_tables_hold_the_volumes_of_the_balls(pipeline: Path, tmp_path: Path) -> None:
    segment_cohort(cohorts.balls(tmp_path / "in", 5), model=pipeline, out=tmp_path / "out")
    for number, row in enumerate(cohorts.summary(tmp_path / "out").values()):
        expected = 4 / 3 * np.pi * (8 + 0.5 * number) ** 3 / 1000
        assert float(row["foreground mL"]) == pytest.approx(expected, rel=0.08)
        assert (row["status"], row["reason"], row["flags"]) == ("ok", "", "")
    with (tmp_path / "out" / "cohort.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for case in names(5):
        with (tmp_path / "out" / case / "measurements.csv").open(newline="") as file:
            assert [row for row in rows if row["case"] == case] == list(csv.DictReader(file))
    assert len(rows) % 5 == 0


def test_pictures_have_areas_with_their_unit_in_the_summary(pipeline: Path, tmp_path: Path) -> None:
    """50 of 20 x 30 pixels: as they are, of 0.5 mm (12.5 mm²), and beside a ball with its volume."""
    from PIL import Image

    picture = np.zeros((20, 30), np.uint8)
    picture[5:10, 10:20] = 200
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "flat.png")
    segment_cohort(tmp_path / "in", model=pipeline, out=tmp_path / "px")
    assert cohorts.summary(tmp_path / "px")["flat"]["foreground px²"] == "50.0"
    segment_cohort(tmp_path / "in", model=pipeline, out=tmp_path / "mm", pixel_size=0.5)
    assert cohorts.summary(tmp_path / "mm")["flat"]["foreground mm²"] == "12.5"
    cohorts.ball(tmp_path / "in" / "ball.nii.gz", radius_mm=10)
    (tmp_path / "in" / "text.nii").write_text("text")
    segment_cohort(tmp_path / "in", model=pipeline, out=tmp_path / "both")
    rows = cohorts.summary(tmp_path / "both")
    assert list(rows["ball"]) == [
        "case", "status", "reason", "seconds", "foreground mL", "foreground px²", "flags", "notes"
    ]  # fmt: skip
    assert float(rows["ball"]["foreground mL"]) == pytest.approx(4 / 3 * np.pi, rel=0.08)
    sizes = {case: (bool(row["foreground mL"]), row["foreground px²"]) for case, row in rows.items()}
    assert sizes == {"ball": (True, ""), "flat": (False, "50.0"), "text": (False, "")}


def test_objects_are_counted_in_the_summary(tmp_path: Path) -> None:
    """Behind the size, where they were measured; a failed case has none."""
    source = cohorts.balls(tmp_path / "in", 2)
    (source / "text.nii").write_text("text")
    model = tmp_path / "apart.yaml"
    model.write_text(
        "labels: {1: {name: ball}}\n"
        "segment: {threshold: {above: 50}}\n"
        "postprocess: [{split: {label: ball}}]\n"
        "measure: [objects, volumes]\n"
        "write: [csv]\n"
    )
    segment_cohort(source, model=model, out=tmp_path / "out")
    rows = cohorts.summary(tmp_path / "out")
    assert list(rows["case_00"])[4:6] == ["ball mL", "ball objects"]
    assert [row["ball objects"] for row in rows.values()] == ["1", "1", ""]
    assert float(rows["case_00"]["ball mL"]) == pytest.approx(2.14, rel=0.05)


def test_a_truncated_ball_is_flagged_in_the_summary(pipeline: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    cohorts.ball(tmp_path / "in" / "large.nii.gz", radius_mm=25)
    segment_cohort(tmp_path / "in", model=pipeline, out=tmp_path / "out")
    assert cohorts.summary(tmp_path / "out")["large"]["flags"].startswith("foreground: truncated: ")


def test_broken_cases_are_rows_with_a_reason_and_stop_nobody(counting: ModuleType, tmp_path: Path) -> None:
    """Truncated, text, missing slices, wrong modality, a plugin that stumbles: exactly those fail."""
    source = cohorts.balls(tmp_path / "in", 4)
    whole = gzip.decompress((source / "case_00.nii.gz").read_bytes())
    (source / "broken_cut.nii.gz").write_bytes(gzip.compress(whole[:-500]))
    (source / "broken_text.nii.gz").write_text("hello")
    study = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"
    shutil.copytree(study, source / "Doe_Jane")
    cohorts.ball(source / "broken_step.nii.gz", radius_mm=9, value=666)
    model = tmp_path / "p.yaml"
    model.write_text("inputs: [{name: mr, modality: MR}]\nsegment: counting\nwrite: [csv]\n")
    done = segment_cohort(source, model=model, out=tmp_path / "out")
    assert done.counts == {"cases": 8, "ok": 4, "failed": 4, "not_run": 0, "kept": 0}
    rows = cohorts.summary(tmp_path / "out")
    reasons = {case: row["reason"] for case, row in rows.items() if row["status"] == "failed"}
    (dicom,) = [case for case in reasons if case.startswith("dicom-")]
    assert set(reasons) == {"broken_cut", "broken_text", "broken_step", dicom}
    assert "truncated" in reasons["broken_cut"] or "bytes" in reasons["broken_cut"]
    assert "holds text" in reasons["broken_text"]
    assert "is CT, and input 'mr' must be MR" in reasons[dicom]
    assert (
        "counting (fake-counting 1.2) failed: ZeroDivisionError: the number of the beast"
        in reasons["broken_step"]
    )
    cohorts.audit(tmp_path / "out", names(4))
    told = {each.case: each.told for each in done.outcomes if each.status == "failed"}
    assert str(source / "Doe_Jane") in told[dicom]
    assert len(counting.opened) == 1


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("case", ["case,", ""])
def test_a_path_that_cannot_be_looked_up_fails_its_row_only(
    case: str, jobs: int, pipeline: Path, tmp_path: Path
) -> None:
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "out"
    (source / "ring").symlink_to("ring")
    paths = ["case_00.nii.gz", "x" * 300 + ".nii", "ring", "a\0b.nii", "case_01.nii.gz"]
    rows = [f"c{number},{path}" if case else path for number, path in enumerate(paths)]
    (source / "cases.csv").write_text(f"{case}image\n" + "\n".join(rows) + "\n")
    done = segment_cohort(source / "cases.csv", model=pipeline, out=out, jobs=jobs)
    assert [each.status for each in done.outcomes] == ["ok", "failed", "failed", "failed", "ok"]
    said = [each.reason for each in done.outcomes[1:4]]
    assert said[0] == "<image>: the name is too long for this file system"
    assert said[1].startswith("<image>: is a loop of symbolic links")
    assert said[2].startswith("<image>: not a possible file name")
    again = segment_cohort(source / "cases.csv", model=pipeline, out=out, jobs=jobs, resume=True)
    assert (again.counts["kept"], again.counts["failed"]) == (2, 3)


def test_a_loop_of_links_in_a_folder_of_images_fails_alone(pipeline: Path, tmp_path: Path) -> None:
    source = cohorts.balls(tmp_path / "in", 1)
    (source / "loop.nii.gz").symlink_to("loop.nii.gz")
    done = segment_cohort(source, model=pipeline, out=tmp_path / "out")
    assert [each.status for each in done.outcomes] == ["ok", "failed"]


def test_no_name_of_a_file_or_folder_is_in_any_file(counting: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "Zzyzx_Ward"
    source.mkdir()
    cohorts.ball(source / "Zzyzx Anna.nii.gz", radius_mm=9)
    cohorts.ball(source / "Zzyzx Bert.nii.gz", radius_mm=9, value=666)
    (source / "Zzyzx Carl.nii.gz").write_text("text")
    study = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"
    for number, path in enumerate(sorted(study.glob("*.dcm"))):
        if number != 20:  # a slice is missing: the message names its neighbours
            (source / "Zzyzx_Dora").mkdir(exist_ok=True)
            (source / "Zzyzx_Dora" / f"Zzyzx{number}.dcm").write_bytes(path.read_bytes())
    model = cohorts.pipeline(tmp_path / "p.yaml", segment="counting", writers="[csv, json]")
    done = segment_cohort(source, model=model, out=tmp_path / "out")
    assert done.counts["failed"] == 3
    assert any("Zzyzx19.dcm" in each.told for each in done.outcomes)
    for path in (tmp_path / "out").rglob("*"):
        assert "zzyzx" not in path.name.casefold()
        assert not path.is_file() or b"zzyzx" not in path.read_bytes().lower()


def test_two_series_are_not_described_in_a_file(pipeline: Path, tmp_path: Path) -> None:
    """The terminal lists them in the operator's words, which may hold anything."""
    import pydicom

    study = Path(__file__).parents[2] / "sample_data" / "abdomen_dicom"
    (tmp_path / "in" / "a").mkdir(parents=True)
    for path in sorted(study.glob("*.dcm"))[:8]:
        dataset = pydicom.dcmread(path)
        dataset.SeriesDescription = "ZZYZX ANNA"
        dataset.save_as(tmp_path / "in" / "a" / path.name)
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.SOPInstanceUID = f"1.2.3.{dataset.InstanceNumber}"
        dataset.save_as(tmp_path / "in" / "a" / f"b{path.name}")
    (outcome,) = segment_cohort(tmp_path / "in", model=pipeline, out=tmp_path / "out").outcomes
    assert "ZZYZX ANNA" in outcome.told
    assert outcome.reason == "<image>: more than one series (2)"


def test_several_at_a_time_give_the_same_and_use_the_model_in_turn(
    counting: ModuleType, tmp_path: Path
) -> None:
    source = cohorts.balls(tmp_path / "in", 6)
    model = cohorts.pipeline(
        tmp_path / "p.yaml", segment="{counting: {slow_s: 0.01}}", writers="[nifti, csv, preview]"
    )
    for jobs in (1, 4):
        segment_cohort(source, model=model, out=tmp_path / f"out{jobs}", jobs=jobs)
    assert cohorts.content(tmp_path / "out1") == cohorts.content(tmp_path / "out4")
    assert set(counting.most_at_work) == {1}
    assert len(counting.opened) == 2


def test_what_concerns_all_cases_is_raised_before_anything_is_written(
    install: Callable[..., None], pipeline: Path, tmp_path: Path
) -> None:
    install("misbehaving")
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "deep" / "out"
    (tmp_path / "wrong.yaml").write_text("segment: {threshold: {above: high}}\n")
    (tmp_path / "fails.yaml").write_text("segment: open-fails\n")
    with pytest.raises(PipelineError):
        segment_cohort(source, model=tmp_path / "wrong.yaml", out=out)
    with pytest.raises(PluginError, match="KeyError: 'weights'"):
        segment_cohort(source, model=tmp_path / "fails.yaml", out=out)
    with pytest.raises(InputError):
        segment_cohort(tmp_path / "absent.csv", model=pipeline, out=out)
    with pytest.raises(UsageError, match="choose one"):
        segment_cohort(source, model=pipeline, out=out, resume=True, overwrite=True)
    assert not out.parent.exists()


def test_a_folder_with_something_in_it_is_refused_unless_told(pipeline: Path, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "out"
    out.mkdir()
    (out / "summary.csv").write_text("mine")
    with pytest.raises(UsageError, match="--resume"):
        segment_cohort(source, model=pipeline, out=out)
    for how in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(UsageError, match=r"summary\.csv was not written by medseg"):
            segment_cohort(source, model=pipeline, out=out, **how)  # type: ignore[arg-type]
    assert (out / "summary.csv").read_text() == "mine"
    (out / "summary.csv").unlink()
    segment_cohort(source, model=pipeline, out=out)
    first = cohorts.content(out)
    (out / "case_00" / "run.json").touch()
    before = (out / "case_00" / "run.json").stat().st_ino
    segment_cohort(source, model=pipeline, out=out, overwrite=True)
    assert (out / "case_00" / "run.json").stat().st_ino != before
    assert cohorts.content(out) == first


def test_one_folder_is_held_by_one_run(pipeline: Path, tmp_path: Path) -> None:
    source = cohorts.balls(tmp_path / "in", 1)
    with (
        held_folder(tmp_path / "out"),
        pytest.raises(ResourceError, match="another run is writing into it"),
    ):
        segment_cohort(source, model=pipeline, out=tmp_path / "out", resume=True)
    assert not (tmp_path / "out").exists()
    segment_cohort(source, model=pipeline, out=tmp_path / "out")


# ---- resume


def test_a_folder_without_its_record_says_how_to_go_on(pipeline: Path, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "Zzyzx_out"
    segment_cohort(source, model=pipeline, out=out)
    (out / "case_00" / "run.json").unlink()
    (outcome, _) = segment_cohort(source, model=pipeline, out=out, resume=True).outcomes
    assert outcome.reason == (
        "<out>/case_00 was not written by medseg or lost its run.json; move it away, then --resume"
    )
    assert str(out / "case_00") in outcome.told
    assert b"Zzyzx" not in (out / "summary.csv").read_bytes()
    (out / "case_00").rename(tmp_path / "aside")
    assert segment_cohort(source, model=pipeline, out=out, resume=True).counts["ok"] == 2


def test_folders_of_no_case_are_counted(pipeline: Path, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 3), tmp_path / "out"

    def noted() -> int:
        found: int = json.loads((out / "cohort.json").read_text())["folders_of_no_case"]
        return found

    assert (segment_cohort(source, model=pipeline, out=out).notes, noted()) == ((), 0)
    (source / "case_00.nii.gz").unlink()
    done = segment_cohort(source, model=pipeline, out=out, resume=True)
    assert (done.notes, noted()) == ((f"1 folder in {out} belongs to no case of this run",), 1)
    (source / "case_01.nii.gz").unlink()
    done = segment_cohort(source, model=pipeline, out=out, resume=True)
    assert (done.notes, noted()) == ((f"2 folders in {out} belong to no case of this run",), 2)


def stamps(out: Path, cases: list[str]) -> dict[str, tuple[int, int]]:
    """Inode and time of change of each case's files."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for case in cases
        for path in sorted((out / case).iterdir())
    }


def altered_input(source: Path, out: Path) -> None:
    cohorts.ball(source / "case_01.nii.gz", radius_mm=12)


def altered_output(source: Path, out: Path) -> None:
    with (out / "case_01" / "segmentation.nii.gz").open("r+b") as file:
        file.seek(100)
        file.write(b"x")


def missing_output(source: Path, out: Path) -> None:
    (out / "case_01" / "measurements.json").unlink()


def damaged_record(source: Path, out: Path) -> None:
    (out / "case_01" / "run.json").write_text("{")


def missing_folder(source: Path, out: Path) -> None:
    shutil.rmtree(out / "case_01")


@pytest.mark.parametrize(
    "change", [altered_input, altered_output, missing_output, damaged_record, missing_folder]
)
def test_resume_does_only_the_changed_case_again(
    change: Callable[[Path, Path], None], pipeline: Path, tmp_path: Path
) -> None:
    source, out = cohorts.balls(tmp_path / "in", 3), tmp_path / "out"
    segment_cohort(source, model=pipeline, out=out)
    change(source, out)
    before = stamps(out, ["case_00", "case_02"])
    done = segment_cohort(source, model=pipeline, out=out, resume=True)
    if change is damaged_record:  # without a record nothing says that the folder is medseg's
        assert [each.status for each in done.outcomes] == ["ok", "failed", "ok"]
        assert "was not written by medseg" in done.outcomes[1].reason
    else:
        assert [each.kept for each in done.outcomes] == [True, False, True]
        cohorts.audit(out, names(3))
        segment_cohort(source, model=pipeline, out=tmp_path / "fresh")
        assert cohorts.content(out) == cohorts.content(tmp_path / "fresh")
    assert stamps(out, ["case_00", "case_02"]) == before


@pytest.mark.parametrize("change", ["pipeline", "seed", "version", "nothing"])
def test_resume_does_everything_again_when_what_decides_changes(
    change: str, install: Callable[..., None], tmp_path: Path
) -> None:
    shutil.copytree(cohorts.FAKES / "counting", tmp_path / "plugin")
    install(tmp_path / "plugin")
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "out"
    model = cohorts.pipeline(tmp_path / "p.yaml", segment="counting")
    segment_cohort(source, model=model, out=out)
    if change == "pipeline":
        cohorts.pipeline(model, segment="{counting: {slow_s: 0.001}}")
    if change == "version":
        metadata = tmp_path / "plugin" / "fake_counting-1.2.dist-info" / "METADATA"
        metadata.write_text(metadata.read_text().replace("1.2", "1.3"))
    resources = Resources(seed=int(change == "seed"))
    done = segment_cohort(source, model=model, out=out, resume=True, resources=resources)
    assert (done.counts["ok"], done.counts["kept"]) == (2, 2 if change == "nothing" else 0)


def test_resume_with_nothing_to_do_opens_no_model(counting: ModuleType, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 3), tmp_path / "out"
    model = cohorts.pipeline(tmp_path / "p.yaml", segment="counting", writers="[nifti]")
    segment_cohort(source, model=model, out=out)
    before = cohorts.content(out)
    done = segment_cohort(source, model=model, out=out, resume=True)
    assert (len(counting.opened), done.counts["kept"]) == (1, 3)
    assert cohorts.content(out) == before


def test_a_case_that_fails_now_and_was_done_before_says_so(pipeline: Path, tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", 2), tmp_path / "out"
    segment_cohort(source, model=pipeline, out=out)
    (source / "case_00.nii.gz").write_text("text")
    done = segment_cohort(source, model=pipeline, out=out, resume=True)
    assert done.counts["failed"] == 1
    assert "its folder holds the results of an earlier run" in done.outcomes[0].reason
    assert "case_00" not in (out / "cohort.csv").read_text()


def test_killed_at_ten_random_moments_nothing_is_lost_doubled_or_partial(tmp_path: Path) -> None:
    source, out = cohorts.balls(tmp_path / "in", COUNT), tmp_path / "out"
    model = cohorts.pipeline(tmp_path / "p.yaml", writers="[nifti, csv, json, preview]")
    early = cohorts.killed_again_and_again((source, "-m", model, "-o", out), kills=10, seed=20)
    assert early >= 8
    done = segment_cohort(source, model=model, out=out, resume=True)
    assert done.counts["ok"] == COUNT
    assert done.counts["kept"] >= 8
    cohorts.audit(out, names(COUNT))
    segment_cohort(source, model=model, out=tmp_path / "undisturbed")
    assert cohorts.content(out) == cohorts.content(tmp_path / "undisturbed")


# ---- interrupts


@pytest.mark.parametrize(
    ("number", "code", "jobs"), [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 2)]
)
def test_an_interrupt_ends_cleanly_with_its_tables(
    number: signal.Signals, code: int, jobs: int, tmp_path: Path
) -> None:
    source, out = cohorts.balls(tmp_path / "in", 8), tmp_path / "out"
    model = cohorts.pipeline(tmp_path / "p.yaml", segment="{counting: {slow_s: 0.4}}", writers="[nifti, csv]")
    with cohorts.start(source, "-m", model, "-o", out, "--jobs", jobs, plugins=["counting"]) as process:
        assert process.stderr is not None
        process.stderr.readline()
        time.sleep(0.1)
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == code
    assert "interrupted; " in said
    assert "--resume" in said
    assert "Traceback" not in said
    rows = cohorts.summary(out)
    done = [case for case, row in rows.items() if row["status"] == "ok"]
    assert 1 <= len(done) < 8
    assert {row["status"] for row in rows.values()} == {"ok", "not run"}
    cohorts.audit(out, done)
    record: dict[str, Any] = json.loads((out / "cohort.json").read_text())
    assert (record["complete"], record["counts"]["ok"]) == (False, len(done))


def test_the_watcher_hears_every_case_start_and_end(pipeline: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, str | None, int, int]] = []

    def watcher(case: str, outcome: Outcome | None, done: int, total: int) -> None:
        heard.append((case, outcome.status if outcome else None, done, total))

    segment_cohort(
        cohorts.balls(tmp_path / "in", 2),
        model=pipeline,
        out=tmp_path / "out",
        watcher=watcher,
        resources=Resources(max_memory_bytes=64 << 30),  # one at a time
    )
    assert heard == [
        ("case_00", None, 0, 2),
        ("case_00", "ok", 1, 2),
        ("case_01", None, 1, 2),
        ("case_01", "ok", 2, 2),
    ]


def test_a_case_is_read_and_another_written_while_one_is_segmented(pipeline: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, bool, str]] = []

    def watcher(case: str, outcome: Outcome | None, done: int, total: int) -> None:
        heard.append((case, outcome is None, threading.current_thread().name))

    source = cohorts.balls(tmp_path / "in", 4)
    cases = [f"case_{n:02d}" for n in range(4)]
    outs = {None: tmp_path / "over", 64 << 30: tmp_path / "one"}
    for limit, out in outs.items():
        heard.clear()
        segment_cohort(
            source, model=pipeline, out=out, watcher=watcher, resources=Resources(max_memory_bytes=limit)
        )
        assert [case for case, starts, _ in heard if starts] == cases
        assert [case for case, starts, _ in heard if not starts] == cases  # written in their order
        beside = {name.rpartition("_")[0] for _, starts, name in heard if not starts}
        assert beside == ({"medseg-writer"} if limit is None else {""})
        assert not [each for each in threading.enumerate() if each.name.startswith("medseg-")]
    both = [cohorts.content(out) for out in outs.values()]
    for found in both:
        for case in cases:
            del found[f"{case}/run.json"]["resources"]
    assert both[0] == both[1]
