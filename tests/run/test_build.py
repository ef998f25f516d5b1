"""Models built into distributions: installed, they are listed and run; what is wrong is refused whole."""

import ast
import hashlib
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import cache
from pathlib import Path

import hatchling.build
import pytest
import torch  # noqa: TID253
import yaml
from model_archives import CARD, good, write_folder, write_zip
from safetensors.torch import load_file, save_file

import medseg
from medseg.errors import MedsegError, ModelError, UsageError
from medseg.model import find_model, installed_models, read_card
from medseg.model.distribution import HowTrained
from medseg.plugin.catalog import discover
from medseg.run.build import ROUNDED, Packing, build_model
from medseg.segmentation import Segmentation
from medseg.testing.abdomen import Phantom, abdomen, scan_grid
from medseg.testing.contracts import check_plugin

PHANTOM = find_model("phantom-abdomen", discover()).folder
Install = Callable[..., None]


@pytest.fixture
def mine(tmp_path: Path, install: Install) -> Path:
    """A small model, whose segmenter is of the fake distribution `fake-weighted`."""
    install("weighted")
    return write_folder(tmp_path / "source", good())


@pytest.fixture
def wheel_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], list[str]]]:
    """Build the wheel of a source tree and put what is in it on the path; gives the names of its files."""
    before = set(sys.modules)

    def installed(tree: Path) -> list[str]:
        with chdir(tree):
            wheel = tmp_path / hatchling.build.build_wheel(str(tmp_path))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tmp_path / "site")
            names = archive.namelist()
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        return names

    yield installed
    for name in set(sys.modules) - before:
        if name.startswith("medseg_built"):
            del sys.modules[name]


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def segmented(model: str | Path) -> Segmentation:
    """Labels of a part of a trunk that is one window of the network."""
    torch_alone = medseg.Resources(engine="torch", threads=1)  # a graph takes longer to make than this to run
    return medseg.segment(phantom().volume, model=model, resources=torch_alone).segmentation


@cache
def phantom() -> Phantom:
    grid = scan_grid(spacing=(3.0, 3.0, 3.0), extent_mm=(240.0, 240.0, 192.0), codes="LAS")
    return abdomen(31_000_003, grid=grid, phase="portal", tumours=1)


# ---- what is written


def test_the_tree_has_the_shape_of_a_model_plugin(tmp_path: Path) -> None:
    built = build_model(PHANTOM, tmp_path / "dist")
    assert files_of(built.folder) == [
        "README.md",
        *(f"medseg_phantom_abdomen/{name}" for name in ("__init__.py",)),
        *(
            f"medseg_phantom_abdomen/models/phantom-abdomen/{name}"
            for name in ("card.yaml", "pipeline.yaml", "weights.safetensors")
        ),
        "medseg_phantom_abdomen/plugin.py",
        "pyproject.toml",
        "tests/test_plugin.py",
    ]
    folder = built.folder / built.distribution.folder
    for name in files_of(PHANTOM):
        assert (folder / name).read_bytes() == (PHANTOM / name).read_bytes()
    project = tomllib.loads((built.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["name"], project["version"]) == ("medseg-phantom-abdomen", "0.1.0")
    assert project["license"] == "Apache-2.0"
    assert project["dependencies"] == ["medseg>=0.1,<1"]
    assert project["entry-points"]["medseg"] == {"phantom-abdomen": "medseg_phantom_abdomen.plugin"}


def test_an_installed_wheel_is_listed_keeps_the_contract_and_runs(
    tmp_path: Path, wheel_on_path: Callable[[Path], list[str]]
) -> None:
    (tmp_path / ".gitignore").write_text("*.safetensors\n", encoding="utf-8")
    (tmp_path / ".git").mkdir()
    training = HowTrained("training: {}\n", "medseg train DATASET -o RUN")
    packing = Packing(name="built-here", version="2.0", half=True, training=training)
    built = build_model(PHANTOM, tmp_path / "dist", packing)
    names = wheel_on_path(built.folder)
    assert [name for name in names if "dist-info" not in name] == [
        f"medseg_built_here/{name}"
        for name in (
            "__init__.py",
            "plugin.py",
            *(f"models/built-here/{name}" for name in ("card.yaml", "pipeline.yaml", "weights.safetensors")),
        )
    ]
    check_plugin("medseg-built-here")
    (model,) = [
        model
        for model in installed_models(discover())
        if not isinstance(model, tuple) and model.name == "built-here"
    ]
    assert model.card is not None
    assert model.entry is not None
    assert (model.card.version, model.entry.distribution, model.entry.version) == (
        "2.0",
        "medseg-built-here",
        "2.0",
    )
    # the weights of phantom-abdomen are in half precision already: not a bit of them changes
    for name in ("weights.safetensors", "pipeline.yaml"):
        assert (model.folder / name).read_bytes() == (PHANTOM / name).read_bytes()
    assert ROUNDED not in model.card.limitations
    assert dice(segmented("built-here"), phantom().truth, "liver") > 0.95


def dice(a: Segmentation, b: Segmentation, label: str) -> float:
    x, y = a.mask(label), b.mask(label)
    return float(2 * (x & y).sum() / (x.sum() + y.sum()))


def test_half_precision_halves_the_file_and_leaves_the_labels(tmp_path: Path) -> None:
    single = write_folder(tmp_path / "single", {p.name: p.read_bytes() for p in PHANTOM.iterdir()})
    generator = torch.Generator().manual_seed(0)
    tensors = {
        name: tensor.float() * (1 + 2**-11 * torch.rand(tensor.shape, generator=generator))
        for name, tensor in load_file(single / "weights.safetensors").items()
        if tensor.is_floating_point()
    }
    weights = single / "weights.safetensors"
    rest = {k: v for k, v in load_file(weights).items() if not v.is_floating_point()}
    before = hashlib.sha256(weights.read_bytes()).hexdigest()
    save_file(tensors | rest, weights)
    pipeline = single / "pipeline.yaml"
    after = hashlib.sha256(weights.read_bytes()).hexdigest()
    pipeline.write_text(pipeline.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")

    training = HowTrained("training: {}\n", "medseg train DATASET -o RUN")
    built = build_model(single, tmp_path / "dist", Packing(half=True, training=training))
    folder = built.folder / built.distribution.folder
    (rounded,) = built.rounded
    assert rounded.tensors == len(tensors)
    assert 2**-13 < rounded.error < 2**-11
    assert read_card(folder / "card.yaml").limitations[-1] == ROUNDED
    told = (built.folder / "recipe" / "README.md").read_text(encoding="utf-8")
    assert "in this package they are rounded to half (`--half`)." in told
    assert (folder / "weights.safetensors").stat().st_size == pytest.approx(
        weights.stat().st_size / 2, rel=0.01
    )
    a, b = segmented(single), segmented(folder)
    for label in a.labels:
        if a.mask(label.name).any():
            assert dice(a, b, label.name) > 0.999, label.name


def test_evidence_on_a_precision_does_not_outlive_the_weights(tmp_path: Path, mine: Path) -> None:
    evidence = (
        "precision:\n- {precision: bf16, engine: torch, cases: 1, dice_mean: 1, dice_lowest: 1,"
        f" labels: {{x: 1}}, weights_sha256: [{'a' * 64}]}}\n"
    )
    (mine / "card.yaml").write_text(CARD + evidence, encoding="utf-8")
    kept, gone = (build_model(mine, tmp_path / str(half), Packing(half=half)) for half in (False, True))
    assert kept.distribution.card.precision != ()
    assert gone.distribution.card.precision == ()
    card = gone.folder / gone.distribution.folder / "card.yaml"
    assert "precision" not in yaml.safe_load(card.read_text(encoding="utf-8"))


def test_the_recipe_has_the_plan_and_the_command(tmp_path: Path, mine: Path) -> None:
    plan = "labels: {1: {name: liver}}\ntraining: {batch: 8}\n"
    training = HowTrained(plan, "medseg train DATASET -o RUN --epochs 20", "It took a minute.")
    built = build_model(mine, tmp_path / "dist", Packing(training=training))
    assert (built.folder / "recipe" / "plan.yaml").read_text(encoding="utf-8") == plan
    told = (built.folder / "recipe" / "README.md").read_text(encoding="utf-8")
    assert "\nmedseg train DATASET -o RUN --epochs 20\n" in told
    assert told.endswith("It took a minute.\n")
    assert "`recipe/`" in (built.folder / "README.md").read_text(encoding="utf-8")


def test_distributions_whose_components_it_names_are_required(tmp_path: Path, mine: Path) -> None:
    fake = build_model(mine, tmp_path / "a").distribution
    ct = build_model(find_model("ct-tissue", discover()).folder, tmp_path / "b").distribution
    assert set(ct.dependencies) == {"medseg>=0.1,<1", "medseg-ct>=0.1,<1"}
    assert [each.partition(">")[0] for each in fake.dependencies] == ["medseg", "fake-weighted"]


def test_licence_texts_are_named_and_a_zip_is_taken_too(tmp_path: Path, mine: Path) -> None:
    packed = write_zip(tmp_path / "mine.zip", good())
    built = build_model(packed, tmp_path / "dist")
    assert built.distribution.licence_files == ("medseg_mine/models/mine/LICENSE",)
    assert files_of(built.folder / built.distribution.folder) == files_of(mine)


def test_whatever_a_card_says_stays_text(tmp_path: Path, mine: Path) -> None:
    summary = r"""Say "hello", {{ it.name }} \n 'there' \\ {% raw %} é 肝 # x"""
    card = yaml.safe_load(CARD) | {"summary": summary}
    (mine / "card.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")
    built = build_model(mine, tmp_path / "dist")
    project = tomllib.loads((built.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["description"] == f"{summary} Research use only."
    tree = ast.parse((built.folder / "medseg_mine" / "plugin.py").read_text(encoding="utf-8"))
    assert summary in [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]


# ---- what is refused


@pytest.mark.parametrize(
    ("packing", "error", "told"),
    [
        (Packing(name="../mine"), UsageError, "--name: .* is not a name"),
        (Packing(name="Mine"), UsageError, "--name: 'Mine' is not a name"),
        (Packing(name="a b"), UsageError, "is not a name"),
        (Packing(name="a_b"), UsageError, "is not a name"),
        (Packing(name=""), UsageError, "--name: "),
        (Packing(name='x"\n[tool]'), UsageError, "is not a name"),
        (Packing(name="a" * 65), UsageError, "at most 64"),
        (Packing(version="newest"), ModelError, "version 'newest' is none that pip takes; give --version"),
        (Packing(version="1.0\x1b"), UsageError, "--version: .*control characters"),
    ],
    ids=lambda value: repr(value) if isinstance(value, Packing) else "",
)
def test_hostile_names_and_odd_versions(
    tmp_path: Path, mine: Path, packing: Packing, error: type[MedsegError], told: str
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=told) as refused:
        build_model(mine, tmp_path / "dist", packing)
    assert str(refused.value).isprintable()
    assert sorted(tmp_path.iterdir()) == before


def test_a_licence_that_is_no_identifier(tmp_path: Path, mine: Path) -> None:
    (mine / "card.yaml").write_text(CARD.replace("MIT", "ask whoever trained it"), encoding="utf-8")
    with pytest.raises(ModelError, match="licence 'ask whoever trained it' is no SPDX identifier"):
        build_model(mine, tmp_path / "dist")
    (mine / "card.yaml").write_text(CARD.replace("MIT", "LicenseRef-Ours"), encoding="utf-8")
    assert build_model(mine, tmp_path / "dist").distribution.licence == "LicenseRef-Ours"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("w.safetensors", b"\x80\x04pickle", "a pickle"),
        ("evil.py", b"print()", "is no file of a model"),
        ("pipeline.yaml", b"segment: {weightd: {}}\n", "did you mean 'weighted'"),
        ("card.yaml", b"name: mine\n", "card.yaml"),
    ],
)
def test_a_model_that_does_not_pass_its_check(
    tmp_path: Path, mine: Path, name: str, content: bytes, told: str
) -> None:
    (mine / name).write_bytes(content)
    with pytest.raises(MedsegError, match=told):
        build_model(mine, tmp_path / "dist")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_weights_that_half_precision_cannot_hold_leave_nothing_behind(tmp_path: Path, mine: Path) -> None:
    weights = mine / "w.safetensors"
    before = hashlib.sha256(weights.read_bytes()).hexdigest()
    save_file({"x": torch.tensor([1e6])}, weights)
    pipeline = mine / "pipeline.yaml"
    after = hashlib.sha256(weights.read_bytes()).hexdigest()
    pipeline.write_text(pipeline.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    with pytest.raises(ModelError, match="leave out --half"):
        build_model(mine, tmp_path / "dist", Packing(half=True))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_that_is_there_is_replaced_only_when_told(tmp_path: Path, mine: Path) -> None:
    target = tmp_path / "dist"
    build_model(mine, target)
    with pytest.raises(UsageError, match="give --overwrite"):
        build_model(mine, target)
    (target / "tests" / "__pycache__").mkdir()
    (target / "tests" / "__pycache__" / "x.pyc").write_bytes(b"")
    build_model(mine, target, Packing(name="other"), overwrite=True)
    assert (target / "medseg_other").is_dir()
    assert not (target / "medseg_mine").exists()


def test_what_others_put_into_a_distribution_is_not_replaced(tmp_path: Path, mine: Path) -> None:
    target = tmp_path / "dist"
    build_model(mine, target)
    (target / "recipe").mkdir()
    (target / "recipe" / "subjects.csv").write_text("case,subject\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"recipe/subjects.csv was not written by `medseg models build`"):
        build_model(mine, target, overwrite=True)
    assert (target / "medseg_mine").is_dir()


def test_not_into_the_models_own_folder(tmp_path: Path, mine: Path) -> None:
    with pytest.raises(UsageError, match="lies in the model's own folder"):
        build_model(mine, mine / "dist")
