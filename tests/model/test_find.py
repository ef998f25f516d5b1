import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.errors import ModelError, PipelineError, PluginError
from medseg.model import Model, find_model, installed_models
from medseg.plugin.catalog import discover

Install = Callable[..., None]
PIPELINE = "segment: {bright: {level: 50}}\n"
CARD = "name: mine\nversion: '1'\nsummary: One line.\nlicence: MIT\nintended_use: Tests.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A complete model."""
    path = tmp_path / "mine"
    path.mkdir()
    (path / "pipeline.yaml").write_text(PIPELINE)
    (path / "card.yaml").write_text(CARD)
    return path


def refused(name: str | Path) -> str:
    with pytest.raises(ModelError) as caught:
        find_model(name, discover())
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("name", ["fake-model", "fake-good/fake-model", "Fake_Good/fake-model"])
def test_an_installed_model_is_found_by_name(install: Install, name: str) -> None:
    install("good")
    model = find_model(name, discover())
    assert model.name == "fake-model"
    assert model.entry is not None
    assert (model.entry.distribution, model.entry.version) == ("fake-good", "1.2")
    assert model.card is not None
    assert (model.card.version, model.card.licence) == ("3", "Apache-2.0")
    assert model.file.segment.parameters == {"level": 50}


def test_an_installed_name_wins_over_a_file_of_that_name(
    install: Install, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("good")
    shutil.copytree(folder, folder.parent / "fake-model")
    monkeypatch.chdir(folder.parent)
    assert find_model("fake-model", discover()).entry is not None
    assert find_model("./fake-model", discover()).entry is None


def test_a_folder_is_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = find_model(folder, discover())
    assert (model.name, model.folder, model.path, model.entry) == (
        "mine",
        folder,
        folder / "pipeline.yaml",
        None,
    )
    assert model.sha256 == hashlib.sha256(PIPELINE.encode()).hexdigest()
    monkeypatch.chdir(folder)
    assert find_model(".", discover()).name == "mine"


def test_a_lone_pipeline_file_is_a_model_without_a_card(folder: Path) -> None:
    model = find_model(str(folder / "pipeline.yaml"), discover())
    assert (model.name, model.card, model.folder) == ("pipeline", None, folder)
    assert model.size_bytes == len(PIPELINE)


def test_the_size_is_that_of_all_files_of_a_folder(folder: Path) -> None:
    (folder / "weights").mkdir()
    (folder / "weights" / "a.safetensors").write_bytes(bytes(1000))
    (folder / "weights" / "gone").symlink_to(folder / "nowhere")
    assert find_model(folder, discover()).size_bytes == len(PIPELINE) + len(CARD) + 1000


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fake-modl", "no model is called 'fake-modl'; did you mean 'fake-model'?"),
        (
            "fake-good/fake-modl",
            "no model is called 'fake-good/fake-modl'; did you mean 'fake-good/fake-model'?",
        ),
        ("bright", "no model is called 'bright'; it is a segmenter and belongs under `segment:`"),
        ("absent.yaml", "absent.yaml: no such file or folder"),
        ("absent/folder", "absent/folder: no such file or folder"),
        ("x" * 5000, ""),
        ("\0", ""),
    ],
)
def test_an_unknown_model_is_told(install: Install, name: str, said: str) -> None:
    install("good")
    message = refused(name)
    assert message.startswith(said)
    assert len(message) < 6000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"card.yaml": None}, "is not a model: it has no card.yaml; there are pipeline.yaml"),
        ({"pipeline.yaml": None}, "is not a model: it has no pipeline.yaml"),
        (
            {"pipeline.yaml": None, "pipline.yaml": PIPELINE},
            "it has no pipeline.yaml; did you mean 'pipline.yaml'?",
        ),
        ({"card.yaml": ""}, "card.yaml: is not a model card"),
        ({"card.yaml": "- name"}, "card.yaml: is not a model card"),
        ({"card.yaml": CARD + "license: MIT\n"}, "there is no 'license' here; did you mean 'licence'?"),
        ({"card.yaml": CARD.replace("licence: MIT\n", "")}, "card.yaml: licence: is missing"),
        ({"card.yaml": CARD.replace("'1'", "1.0")}, "version: input should be a valid string, not 1.0"),
        ({"card.yaml": CARD + "references: a paper\n"}, "card.yaml: references: is not a list"),
        ({"card.yaml": CARD + "name: other\n"}, "card.yaml: line 1: 'name' is written twice"),
        ({"pipeline.yaml": "segmnt: x"}, "pipeline.yaml: segmnt: there is no 'segmnt' here"),
    ],
)
def test_an_incomplete_folder_is_refused(folder: Path, change: dict[str, str | None], said: str) -> None:
    for name, text in change.items():
        (folder / name).unlink(missing_ok=True)
        if text is not None:
            (folder / name).write_text(text)
    with pytest.raises(PipelineError) as caught:
        find_model(folder, discover())
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_fifo_does_not_hold_anyone_up(folder: Path) -> None:
    (folder / "card.yaml").unlink()
    os.mkfifo(folder / "card.yaml")
    assert "has no card.yaml" in refused(folder)
    assert "no such file" in refused(folder / "card.yaml")


def test_the_card_of_an_installed_model_has_its_name(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(Path(__file__).parents[1] / "plugin" / "fake" / "good", tmp_path / "copy")
    install(tmp_path / "copy")
    card = tmp_path / "copy" / "fake_good" / "models" / "fake-model" / "card.yaml"
    card.write_text(card.read_text().replace("fake-model", "other"))
    assert "card.yaml: name: 'other' is not 'fake-model'" in refused("fake-model")
    broken = [model for model in installed_models(discover()) if not isinstance(model, Model)]
    ((entry, problem),) = broken
    assert entry.qualified == "fake-good/fake-model"
    assert "is not 'fake-model'" in problem


def test_a_broken_model_does_not_hide_the_others(install: Install) -> None:
    install("good", "classes")
    found = installed_models(discover())
    assert "fake-model" in {model.name for model in found if isinstance(model, Model)}
    broken = {m[0].component.name: m[1] for m in found if not isinstance(m, Model)}
    assert set(broken) >= {"no-folder", "no-package"}
    assert all("fake-classes 1.2" in broken[name] for name in ("no-folder", "no-package"))
    with pytest.raises(PluginError, match=r"fake-classes 1\.2"):
        find_model("no-folder", discover())
