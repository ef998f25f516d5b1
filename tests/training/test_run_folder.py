from pathlib import Path

import pytest
import yaml

from medseg.config import PipelineFile
from medseg.errors import InputError, PipelineError, ResourceError, UsageError
from medseg.io.atomic import held_folder
from medseg.training.run_folder import Begun, RunFolder, begin, write_json, write_plan

FILE = PipelineFile.model_validate(
    {
        "labels": {2: {"name": "Leber/Größe"}, 10: {"name": "tumour", "colour": "#ff0000"}},
        "segment": {"network": {"window": {"patch": [8, 8, 8]}, "head": "softmax"}},
        "training": {"batch": 4, "augment": ["flip", {"rotate": {"degrees": 10}}]},
    }
)
BEGUN = Begun("boxes", "k" * 64, (("a", "b"), (), ("c",)), None, 12.5, 7)


def begun(path: Path) -> RunFolder:
    """A training as it lies there when it is done."""
    run = begin(path, resume=False, overwrite=False)
    run.record(BEGUN, FILE, {"version": 1})
    for folder in ("cases/a", "fold0/checkpoints", "fold11", "model"):
        (path / folder).mkdir(parents=True)
        (path / folder / "x").write_text("x")
    (path / "report.html").write_text("x")
    return run


def names(path: Path) -> set[str]:
    return {each.name for each in path.iterdir()}


def test_what_was_decided_comes_back(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    again = RunFolder(tmp_path / "run")
    assert again.begun() == BEGUN
    assert again.file() == FILE
    assert again.json("fingerprint.json") == {"version": 1}
    assert run.weights(3) == tmp_path / "run" / "fold3" / "weights.safetensors"


def test_a_new_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    run = begin(tmp_path / "a" / "b", resume=False, overwrite=False)
    assert run.path.is_dir()
    assert run.begun() is None
    assert begin(run.path, resume=False, overwrite=False) == run  # still empty


def test_a_folder_with_something_in_it_is_refused_unless_told(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    before = names(run.path)
    with pytest.raises(UsageError, match=r"is not empty; give --resume .*--overwrite .*or another folder$"):
        begin(run.path, resume=False, overwrite=False)
    assert begin(run.path, resume=True, overwrite=False).begun() == BEGUN
    assert names(run.path) == before


def test_overwrite_clears_a_training_and_what_killed_processes_left(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    (run.path / ".plan.yaml.123.part").write_text("x")
    (run.path / ".model.partial-0123abcd").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    (run.path / "fold2").symlink_to(outside)
    assert begin(run.path, resume=False, overwrite=True).begun() is None
    assert names(run.path) == set()
    assert names(outside) == {"precious"}


@pytest.mark.parametrize("name", ["notes.txt", ".git", "fold", "foldx", "model2", ".part", "Cases"])
def test_overwrite_leaves_a_folder_alone_that_holds_something_else(tmp_path: Path, name: str) -> None:
    run = begun(tmp_path / "run")
    (run.path / name).write_text("mine")
    before = names(run.path)
    with pytest.raises(UsageError, match=f"{name} is not of a training; move it away"):
        begin(run.path, resume=False, overwrite=True)
    assert names(run.path) == before


def test_overwrite_refuses_what_is_no_training(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds no training; choose another folder"):
        begin(tmp_path, resume=False, overwrite=True)
    assert (tmp_path / "cases" / "notes.txt").read_text() == "mine"


def test_overwrite_clears_what_was_stopped_while_it_prepared(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", resume=False, overwrite=False)
    run.mark()
    for folder in ("cases/a", "cases/.b.17.part", "fold0"):
        (run.path / folder).mkdir()
    (run.cases / "a" / "image.npy").write_text("x")
    with pytest.raises(UsageError, match="is not empty; give --resume"):
        begin(run.path, resume=False, overwrite=False)
    begin(run.path, resume=False, overwrite=True)
    assert names(run.path) == set()


def test_what_was_killed_before_it_prepared_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "fold0").mkdir()
    begin(tmp_path, resume=False, overwrite=False)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="is not empty"):
        begin(tmp_path, resume=False, overwrite=False)


def test_overwrite_leaves_a_training_alone_that_is_at_work(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    before = sorted(run.path.rglob("*"))
    with (
        held_folder(run.fold(11)),
        pytest.raises(ResourceError, match="fold11: another run is writing into it; wait for its end"),
    ):
        begin(run.path, resume=False, overwrite=True)
    assert sorted(run.path.rglob("*")) == before


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    for resume in (False, True):
        with pytest.raises(ResourceError, match="cannot be written: File exists; choose another folder"):
            begin(tmp_path / "run", resume=resume, overwrite=False)


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    run = begun(tmp_path / "run")
    (run.path / "training.json").write_text('{"dataset": ')
    with pytest.raises(InputError, match=r"training.json: cannot be read; begin anew with --overwrite"):
        run.begun()
    run.plan.write_text("segment: [")
    with pytest.raises(PipelineError, match=r"plan.yaml: line 1: not valid YAML"):
        run.file()


def test_a_plan_is_a_pipeline_file_that_people_read(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    write_plan(path, FILE)
    text = path.read_text(encoding="utf-8")
    assert "2: {name: Leber/Größe}" in text
    assert list(yaml.safe_load(text)["labels"]) == [2, 10]
    assert "write" not in text  # what is as always is not said
    assert names(tmp_path) == {"plan.yaml"}


def test_what_cannot_be_written_as_json_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, [1])
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert path.read_text() == "[\n 1\n]"
