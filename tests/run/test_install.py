"""Models checked and installed: good ones are taken whole, hostile ones refused with nothing left behind."""

import hashlib
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_archives import CARD, WEIGHTS, good, pipeline, write_folder, write_zip
from safetensors_files import safetensors, tensor

from medseg.errors import ModelError, PipelineError, PluginError, ResourceError, UsageError
from medseg.model import find_model, installed_models
from medseg.plugin.catalog import discover
from medseg.run.install import check_model, install_model

Install = Callable[..., None]
Pack = Callable[[dict[str, bytes]], Path]


class Bomb:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.getcwd, ()


# ---- what runs while a model is looked at: an audit hook cannot be taken off again, so it is switched

_watched: list[str] = []
_seen: list[str] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event in {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork"} or (
        event.startswith(("subprocess.", "ctypes.", "socket."))
    ):
        _seen.append(event)
    named = ""
    if event == "exec":
        named = arguments[0].co_filename if hasattr(arguments[0], "co_filename") else ""
    elif event in {"compile", "import"}:
        named = str(arguments[1])
    if any(named.startswith(place) for place in _watched):
        _seen.append(f"{event} {named}")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two fake plugins, a model folder and a scratch folder of their own; no code of a model's is run."""
    install("good", "weighted")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("MEDSEG_MODELS", str(tmp_path / "models" / "of" / "mine"))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    _watched.append(str(tmp_path))
    try:
        yield
    finally:
        _watched.clear()
    seen, _seen[:] = _seen[:], []
    assert seen == []
    assert list(scratch.iterdir()) == []


def test_the_watch_sees_what_it_is_there_for(tmp_path: Path) -> None:
    """A negative control: each kind of event, set off on purpose, is noticed."""
    pickle.loads(pickle.dumps(Bomb()))  # noqa: S301
    exec(compile("1", str(tmp_path / "x.py"), "exec"))  # noqa: S102
    seen, _seen[:] = _seen[:], []
    assert {event.split()[0] for event in seen} == {"pickle.find_class", "compile", "exec"}


@pytest.fixture(params=["folder", "zip", "zip with a folder"])
def pack(request: pytest.FixtureRequest, tmp_path: Path) -> Pack:
    """The files as each of the things one can install."""

    def packed(files: dict[str, bytes]) -> Path:
        if request.param == "folder":
            return write_folder(tmp_path / "source", files)
        inside = "mine/" if request.param == "zip with a folder" else ""
        return write_zip(tmp_path / "source.zip", {inside + name: data for name, data in files.items()})

    return packed


# ---- good ones


def test_a_good_model_is_installed_and_found(pack: Pack, tmp_path: Path) -> None:
    files = good()
    checked = install_model(pack(files))
    folder = tmp_path / "models" / "of" / "mine" / "mine"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files
    assert [p.name for p in folder.parent.iterdir()] == ["mine"]
    assert (checked.files, checked.weights) == (4, 1)
    assert checked.size_bytes == sum(map(len, files.values()))
    for name in ("mine", "user/mine"):
        found = find_model(name, discover())
        assert (found.name, found.folder) == ("mine", folder)
        assert found.entry is not None
        assert found.entry.distribution == "user"
    assert check_model("mine").model.folder == folder


def test_checking_leaves_everything_as_it_was(pack: Pack, tmp_path: Path) -> None:
    source = pack(good())
    before = sorted(tmp_path.rglob("*"))
    assert check_model(source).weights == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_without_weights_passes(pack: Pack) -> None:
    files = {"pipeline.yaml": b"segment: {bright: {level: 50}}\n", "card.yaml": CARD.encode()}
    assert check_model(pack(files)).weights == 0


def test_an_installed_plugins_model_can_be_checked() -> None:
    assert check_model("fake-model").files == 2


def test_what_is_there_is_replaced_only_when_told(pack: Pack, tmp_path: Path) -> None:
    install_model(write_folder(tmp_path / "first", good() | {"old.md": b"old"}))
    second = pack(good() | {"card.yaml": CARD.replace("1.5", "2.0").encode()})
    with pytest.raises(UsageError, match=r"model 'mine' 1\.5 is installed already"):
        install_model(second)
    assert find_model("mine", discover()).card is not None
    checked = install_model(second, overwrite=True)
    assert checked.model.card is not None
    assert checked.model.card.version == "2.0"
    assert not (checked.model.folder / "old.md").exists()


def test_a_hostile_one_does_not_cost_the_one_it_was_to_replace(pack: Pack, tmp_path: Path) -> None:
    folder = install_model(write_folder(tmp_path / "first", good())).model.folder
    with pytest.raises(ModelError):
        install_model(pack(good() | {"run.py": b""}), overwrite=True)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == good()


def test_a_folder_that_is_no_model_is_not_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "models" / "of" / "mine" / "mine"
    source = write_folder(tmp_path / "source", good())
    for name in ("thesis.docx", "thesis.md"):
        write_folder(mine, {name: b"years of work"})
        with pytest.raises(UsageError, match="holds what is no model's"):
            install_model(source, overwrite=True)
        assert (mine / name).read_bytes() == b"years of work"
        (mine / name).unlink()


def test_a_link_in_the_model_folder_is_not_replaced(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", good())
    place = tmp_path / "models" / "of" / "mine"
    place.mkdir(parents=True)
    (place / "mine").symlink_to(source)
    with pytest.raises(UsageError, match="is a link to a folder elsewhere"):
        install_model(source, overwrite=True)
    assert {p.name: p.read_bytes() for p in source.iterdir()} == good()


def test_a_name_that_a_plugin_has_too_is_asked_back(tmp_path: Path) -> None:
    install_model(
        write_folder(tmp_path / "source", good() | {"card.yaml": CARD.replace("mine", "fake-model").encode()})
    )
    with pytest.raises(PipelineError) as caught:
        find_model("fake-model", discover())
    said = str(caught.value)
    assert "is provided by fake-good 1.2 and user " in said
    assert "write 'fake-good/fake-model' or 'user/fake-model'" in said
    plugins, users = (find_model(f"{who}/fake-model", discover()) for who in ("fake-good", "user"))
    assert (plugins.entry, users.entry) != (None, None)
    assert plugins.folder != users.folder
    assert users.folder == tmp_path / "models" / "of" / "mine" / "fake-model"


def test_a_broken_model_of_the_users_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = install_model(write_folder(tmp_path / "source", good())).model.folder
    (folder.parent / "broken").mkdir()
    (folder.parent / ".hidden").mkdir()
    (folder.parent / "file").write_text("")
    found = installed_models(discover())
    users = {m.name for m in found if not isinstance(m, tuple) and m.entry and m.entry.place}
    broken = {m[0].qualified: m[1] for m in found if isinstance(m, tuple)}
    assert users == {"mine"}
    assert "it has no pipeline.yaml" in broken["user/broken"]
    assert len(broken) == 1


def test_a_renamed_folder_is_told(tmp_path: Path) -> None:
    folder = install_model(write_folder(tmp_path / "source", good())).model.folder
    folder.rename(folder.parent / "other")
    with pytest.raises(ModelError, match="'mine' is not 'other'"):
        find_model("other", discover())


def test_an_altered_weight_is_found_after_installing(tmp_path: Path) -> None:
    folder = install_model(write_folder(tmp_path / "source", good())).model.folder
    (folder / "w.safetensors").write_bytes(WEIGHTS[:-1] + b"\xff")
    with pytest.raises(ModelError, match=r"w\.safetensors: the file was altered"):
        check_model("mine")


def test_a_model_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDSEG_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(ResourceError, match="cannot be made"):
        install_model(write_folder(tmp_path / "source", good()))


# ---- hostile ones, in every packing


def weighted(data: bytes) -> dict[str, bytes]:
    """A model of these weights, with their true checksum: only what they are speaks against them."""
    return good(data)


def piped(text: str) -> dict[str, bytes]:
    return good() | {"pipeline.yaml": text.encode()}


def carded(text: str) -> dict[str, bytes]:
    return good() | {"card.yaml": text.encode()}


def named(path: str) -> dict[str, bytes]:
    return good() | {"pipeline.yaml": pipeline({path: WEIGHTS})}


SHA = hashlib.sha256(WEIGHTS).hexdigest()
HOSTILE: dict[str, tuple[dict[str, bytes], str]] = {
    "bad hash": (good() | {"w.safetensors": WEIGHTS[:-1] + b"\0"}, "w.safetensors: the file was altered"),
    "no weights": (
        {name: data for name, data in good().items() if name != "w.safetensors"},
        "'w.safetensors' is named in its pipeline.yaml and is not there",
    ),
    "weights nobody named": (good() | {"v.safetensors": WEIGHTS}, "'v.safetensors' is named nowhere"),
    "pickle renamed": (weighted(pickle.dumps(Bomb())), "is a pickle under another name"),
    "old pickle renamed": (weighted(pickle.dumps(Bomb(), 0)), "is not a sound safetensors file"),
    "pickle": (good() | {"w.pth": pickle.dumps(Bomb())}, "'w.pth' is no file of a model"),
    "pickle as text": (good() | {"notes.md": pickle.dumps(Bomb(), 4)}, "'notes.md' is not a text"),
    "pickle as card": (good() | {"card.yaml": pickle.dumps(Bomb())}, "card.yaml: is not a text file"),
    "code": (good() | {"run.py": b"raise SystemExit"}, "'run.py' is no file of a model"),
    "code of a package": (good() | {"sub/__init__.py": b""}, "is not plainly named"),
    "library": (good() | {"lib.so": b"\x7fELF"}, "'lib.so' is no file of a model"),
    "hidden": (good() | {".env.md": b""}, "is not plainly named"),
    "zip in zip": (good() | {"inner.zip": b"PK\x03\x04"}, "'inner.zip' is no file of a model"),
    "truncated weights": (weighted(WEIGHTS[:-1]), "the file is cut short"),
    "header of 10 GB": (weighted(safetensors({}, length=10 * 10**9)), "claims a header of 10000000000"),
    "100k tensors": (
        weighted(safetensors({f"t{i}": tensor(0, 0) for i in range(100_000)})),
        "claims a header of",
    ),
    "overlap": (
        weighted(safetensors({"x": tensor(0, 4), "y": tensor(2, 6)}, bytes(6))),
        "'y' overlaps the one before it",
    ),
    "unknown key in the card": (carded(CARD + "run: me\n"), "card.yaml: run: there is no 'run' here"),
    "unknown key in the pipeline": (
        piped("segment: {bright: {level: 1}}\nrun: me\n"),
        "pipeline.yaml: run: there is no 'run' here",
    ),
    "unknown parameter": (piped("segment: {bright: {lvel: 1}}\n"), "there is no 'lvel' here"),
    "unknown component": (piped("segment: {os.system: {command: id}}\n"), "no segmenter is called"),
    "python in the pipeline": (
        piped("segment: !!python/object/apply:os.system [id]\n"),
        "pipeline.yaml: line 1: not valid YAML",
    ),
    "alias bomb": (
        piped("a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nsegment: {bright: {level: *c}}\n"),
        "anchors and aliases",
    ),
    "deep nesting": (piped("segment: " + "[" * 5000), "nested deeper than 32 levels"),
    "deep folders": (good() | {"a/b/c/d/e/f.md": b""}, "lies deeper than 4 levels"),
    "huge pipeline": (piped("".join(f"# {i}\n" for i in range(200_000))), "more than a"),
    "no card": ({name: data for name, data in good().items() if name != "card.yaml"}, "has no card.yaml"),
    "no pipeline": ({"card.yaml": CARD.encode(), "w.safetensors": WEIGHTS}, "has no pipeline.yaml"),
    "nothing": ({"README.md": b""}, "has no "),
    "traversal by the pipeline": (named("../w.safetensors"), "is no path inside the model's folder"),
    "absolute path in the pipeline": (named("/etc/w.safetensors"), "is no path inside the model's folder"),
    "path in roundabout ways": (named("./w.safetensors"), "is no path inside the model's folder"),
    "other file in the pipeline": (named("card.yaml"), "is not named *.safetensors"),
    "checksum of another form": (
        piped(f"segment: {{weighted: {{weights: {{w.safetensors: {SHA.upper()}}}}}}}"),
        "is not 64 digits",
    ),
    "plugin that breaks its contract": (piped("segment: untold\n"), "files() returned dict"),
    **{
        f"name {name[:20]!r}": (carded(CARD.replace("mine", f'"{name}"')), "is not a name")
        for name in ("../evil", "/etc/evil", "a/b", "..", "a\\nb", "a\\e[31mb", "a" * 300, "A", "")
    },
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_model_is_refused(pack: Pack, tmp_path: Path, case: str) -> None:
    files, said = HOSTILE[case]
    source = pack(files)
    before = sorted(tmp_path.rglob("*"))
    for refuse in (check_model, install_model):
        with pytest.raises(PipelineError) as caught:
            refuse(source)
        message = str(caught.value)
        assert said in message
        assert message.isprintable()
        assert len(message) < 1200
        assert str(source) in message or isinstance(caught.value, PluginError)
        assert "scratch" not in message
        assert ".partial-" not in message
        assert caught.value.exit_code == 4
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("target", ["../outside.safetensors", "/etc/hostname", "other.safetensors", "absent"])
@pytest.mark.parametrize("name", ["w.safetensors", "card.yaml", "pipeline.yaml"])
def test_a_link_in_a_folder_is_refused(tmp_path: Path, name: str, target: str) -> None:
    source = write_folder(tmp_path / "source", good())
    (tmp_path / "outside.safetensors").write_bytes((source / name).read_bytes())
    (source / name).rename(source / "other.safetensors")
    (source / name).symlink_to(target)
    before = sorted(tmp_path.rglob("*"))
    for refuse in (check_model, install_model):
        with pytest.raises(ModelError, match=r"link|has no"):
            refuse(source)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_fifo_in_a_folder_holds_nobody_up(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source", good())
    os.mkfifo(source / "notes.md")
    for refuse in (check_model, install_model):
        with pytest.raises(ModelError, match=r"'notes\.md' is a device, socket or FIFO"):
            refuse(source)


@pytest.mark.parametrize("name", ["absent", "absent.zip", "\0", "x" * 5000, "file.zip", "fifo.zip"])
def test_what_is_no_model_at_all_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.zip").write_text("hello")
    os.mkfifo(tmp_path / "fifo.zip")
    for verb in ("check", "install"):
        with pytest.raises(PipelineError) as caught:
            check_model(name) if verb == "check" else install_model(Path(name))
        assert str(caught.value).isprintable()


def test_damage_anywhere_in_an_archive_is_refused_or_harmless(tmp_path: Path) -> None:
    """Bytes changed at random: what is installed all the same has the very files that were packed."""
    files = good()
    content = write_zip(tmp_path / "x.zip", files).read_bytes()
    random = np.random.default_rng(1)
    installed = 0
    for _ in range(60):
        changed = bytearray(content)
        changed[random.integers(len(content))] ^= int(random.integers(1, 256))
        (tmp_path / "x.zip").write_bytes(changed)
        try:
            folder = install_model(tmp_path / "x.zip", overwrite=True).model.folder
        except PipelineError:
            continue
        installed += 1
        found = {p.name: p.read_bytes() for p in folder.iterdir()}
        assert found.items() <= files.items()
        assert set(files) - set(found) <= {"LICENSE"}  # a directory that was made to end before it
    assert 0 < installed < 50
