import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_archives import good, write_folder, write_zip

Medseg = Callable[..., Any]
Install = Callable[..., None]


def test_list_has_licence_size_and_origin(medseg: Medseg) -> None:
    done = medseg("models", "list")
    line = next(line for line in done.out.splitlines() if line.startswith("ct-tissue"))
    for word in ("Apache-2.0", "kB", "medseg-ct"):
        assert word in line
    (listed,) = [m for m in json.loads(medseg("models", "list", "--json").out) if m["name"] == "ct-tissue"]
    assert listed["card"]["licence"] == "Apache-2.0"
    assert listed["size_bytes"] > 500


def test_show_has_intended_use_labels_and_the_pipeline_in_full(medseg: Medseg) -> None:
    done = medseg("models", "show", "ct-tissue")
    assert done.code == 0
    for word in (
        "intended use",
        "limitations",
        "left lung",
        "muscle",
        "medseg-ct/tissue-rules",
        "research use only",
    ):
        assert word in done.out


def test_show_takes_a_pipeline_file_too(medseg: Medseg, pipeline: Path) -> None:
    shown = json.loads(medseg("models", "show", pipeline, "--json").out)
    assert shown["card"] is None
    assert shown["pipeline"]["segment"] == {"medseg/threshold": {"above": 50.0, "below": None, "channel": 0}}
    assert shown["pipeline"]["labels"]["1"]["name"] == "ball"


@pytest.fixture
def mine(tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model to install; the folder it will be installed into is `models` beside it."""
    install("weighted")
    monkeypatch.setenv("MEDSEG_MODELS", str(tmp_path / "models"))
    return write_zip(tmp_path / "mine.zip", good())


def test_install_says_what_it_installed_and_where(medseg: Medseg, mine: Path) -> None:
    done = medseg("models", "install", mine)
    assert (done.code, done.err) == (0, "")
    assert f"mine 1.5 is installed in {mine.parent / 'models' / 'mine'}" in done.out
    for line in ("licence       MIT", "intended use  Tests.", "4 files, 1 of weights", "research use only"):
        assert line in done.out


def test_list_and_show_have_ones_own_models_with_their_place(medseg: Medseg, mine: Path) -> None:
    medseg("models", "install", mine)
    folder = mine.parent / "models" / "mine"
    (line,) = [line for line in medseg("models", "list").out.splitlines() if line.startswith("mine")]
    assert f"user, {folder}" in line
    (listed,) = [m for m in json.loads(medseg("models", "list", "--json").out) if m["name"] == "mine"]
    assert (listed["distribution"], listed["folder"]) == ("user", str(folder))
    shown = medseg("models", "show", "user/mine").out
    assert f"from          user, {folder}" in shown
    assert f"folder        {folder}\n" in shown


def test_install_replaces_only_when_told(medseg: Medseg, mine: Path) -> None:
    assert medseg("models", "install", mine).code == 0
    again = medseg("models", "install", mine)
    assert (again.code, again.out) == (64, "")
    assert "is installed already" in again.err
    assert "give --overwrite" in again.err
    assert medseg("models", "install", mine, "--overwrite").code == 0


def test_a_name_that_a_plugin_has_is_told_when_installing(
    medseg: Medseg, mine: Path, install: Install
) -> None:
    install("good")
    files = good()
    files["card.yaml"] = files["card.yaml"].replace(b"mine", b"fake-model")
    done = medseg("models", "install", write_folder(mine.parent / "other", files))
    assert done.code == 0
    assert "'fake-good/fake-model' has this name too: write --model user/fake-model" in done.err


def test_check_passes_a_plugins_model_a_folder_and_an_archive(medseg: Medseg, mine: Path) -> None:
    assert medseg("models", "check", "ct-tissue").out.startswith("ct-tissue ")
    assert medseg("models", "check", mine).out.startswith("mine 1.5: ok (4 files, 1 of weights, ")
    folder = write_folder(mine.parent / "folder", good())
    assert medseg("models", "check", folder).out.startswith("mine 1.5: ok")
    assert not (mine.parent / "models").exists()


@pytest.mark.parametrize("verb", ["check", "install"])
def test_a_hostile_model_is_one_line_and_code_4(medseg: Medseg, mine: Path, verb: str) -> None:
    for name in ("evil\x1b[31m.md", "w.pth", "../w.md"):
        source = write_zip(mine, good() | {name: b""})
        done = medseg("models", verb, source)
        assert (done.code, done.out) == (4, "")
        assert done.err.count("\n") == 1
        assert done.err.startswith(f"medseg: {source}: ")
        assert "\x1b" not in done.err
    assert not (mine.parent / "models").exists()


def test_an_archive_is_no_model_to_run(medseg: Medseg, mine: Path, ball: Path) -> None:
    done = medseg("segment", ball, "-o", mine.parent / "out", "--model", mine)
    assert done.code == 4
    assert f"install it first: medseg models install {mine}" in done.err


def test_build_says_what_it_built_and_where(medseg: Medseg, mine: Path) -> None:
    out = mine.parent / "a dist"
    done = medseg("models", "build", mine, "-o", out, "--version", "1.6")
    assert (done.code, done.err) == (0, "")
    assert f"medseg-mine 1.6 is in {out} (4 files, 1 of weights, " in done.out
    for line in ("licence       MIT", f"pip install '{out}'", "research use only"):
        assert line in done.out
    assert medseg("models", "check", out / "medseg_mine/models/mine").out.startswith("mine 1.6: ok")
    again = medseg("models", "build", mine, "-o", out)
    assert (again.code, again.out) == (64, "")
    assert "give --overwrite" in again.err
    assert medseg("models", "build", mine, "-o", out, "--overwrite").code == 0


def test_build_says_what_was_rounded(medseg: Medseg, mine: Path) -> None:
    out = mine.parent / "dist"
    done = medseg("models", "build", mine, "-o", out, "--half")
    assert done.code == 0, done.err
    assert "  rounded       tensors to half precision: 1, by up to 0 of their size;\n" in done.out
    assert "Weights are rounded to half precision" in (out / "medseg_mine/models/mine/card.yaml").read_text()
    assert "rounded" not in medseg("models", "build", mine, "-o", out, "--overwrite").out


def test_build_takes_an_installed_name_too(medseg: Medseg, mine: Path) -> None:
    out = mine.parent / "dist"
    assert medseg("models", "build", "ct-tissue", "-o", out, "--name", "tissue").code == 0
    assert medseg("models", "check", out / "medseg_tissue/models/tissue").out.startswith("tissue ")
    done = medseg("models", "build", "ct-tisue", "-o", mine.parent / "other")
    assert done.code == 4
    assert "did you mean 'ct-tissue'" in done.err


def test_build_of_a_training_has_its_plan_and_command(medseg: Medseg, mine: Path) -> None:
    run = mine.parent / "run"
    write_folder(run / "model", good())
    (run / "plan.yaml").write_text("training: {batch: 3}\n", encoding="utf-8")
    begun = {"dataset": "d", "key": "k", "folds": [[]], "epochs": 7, "seconds": None, "seed": 0}
    (run / "training.json").write_text(json.dumps(begun), encoding="utf-8")
    out = mine.parent / "dist"
    assert medseg("models", "build", run, "-o", out).code == 0
    told = (out / "recipe" / "README.md").read_text(encoding="utf-8")
    assert "\nmedseg train DATASET -o RUN --pipeline recipe/plan.yaml --validation 0 --epochs 7\n" in told
    assert (out / "recipe" / "plan.yaml").read_text(encoding="utf-8") == "training: {batch: 3}\n"


@pytest.mark.parametrize("options", [("--name", "../x"), ("--name", "A\x1b[31m"), ("--version", "latest")])
def test_build_refuses_hostile_names_in_one_line(
    medseg: Medseg, mine: Path, options: tuple[str, str]
) -> None:
    done = medseg("models", "build", mine, "-o", mine.parent / "dist", *options)
    assert (done.code, done.out) == (64 if "--name" in options else 4, "")
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err
    assert not (mine.parent / "dist").exists()


def test_check_of_a_lone_pipeline_file_points_elsewhere(medseg: Medseg, pipeline: Path) -> None:
    done = medseg("models", "check", pipeline)
    assert done.code == 4
    assert "see `medseg pipelines check`" in done.err


def test_show_has_what_a_model_was_trained_on(medseg: Medseg, mine: Path) -> None:
    files = good()
    files["card.yaml"] += b"training_data: ['Boxes: 3 cases of 2 subjects.', 'Licence of the data: CC0.']\n"
    medseg("models", "install", write_folder(mine.parent / "trained", files))
    shown = medseg("models", "show", "user/mine").out
    assert (
        "  trained on    Boxes: 3 cases of 2 subjects.\n                Licence of the data: CC0.\n" in shown
    )
    told = json.loads(medseg("models", "show", "user/mine", "--json").out)
    assert told["card"]["training_data"] == ["Boxes: 3 cases of 2 subjects.", "Licence of the data: CC0."]
