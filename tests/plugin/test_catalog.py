import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.errors import PipelineError, PluginError
from medseg.plugin.catalog import Catalog, Entry, discover, user_model_folder

Install = Callable[..., None]

BAD = (
    "import_error",
    "exiting",
    "misspelt",
    "argument",
    "raising",
    "no_metadata",
    "not_a_module",
    "two_points",
    "classes",
    "clashing",
)


def fakes(catalog: Catalog) -> dict[str, str]:
    """Qualified names of the fakes' components, with their kinds."""
    return {e.qualified: e.kind for e in catalog.entries if e.distribution.lower().startswith("fake")}


def told(catalog: Catalog) -> list[str]:
    """What is wrong, a line each, every one of them naming distribution and version."""
    lines = [str(fault) for fault in catalog.faults]
    assert all(line.isprintable() for line in lines), lines
    assert all(
        f.distribution and f.version and f"{f.distribution} {f.version}:" in str(f) for f in catalog.faults
    )
    return lines


def written(folder: Path, records: str) -> Path:
    """A distribution `fake-written` 1.2 whose one hook, of writers, has this body."""
    info = folder / "fake_written-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-written\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[medseg]\nwritten = fake_written\n")
    body = "".join(f"    {line}\n" for line in records.splitlines())
    head = "from medseg.plugin import Component, hookimpl\n\n@hookimpl\ndef medseg_writers():\n"
    (folder / "fake_written.py").write_text(head + body)
    return folder


def test_finds_the_components_of_an_installed_distribution(install: Install) -> None:
    before = discover()
    install("good")
    catalog = discover()
    assert fakes(before) == {}
    assert not catalog.faults
    assert fakes(catalog) == {
        "fake-good/scale": "preprocessor",
        "fake-good/boxed": "segmenter",
        "fake-good/bright": "segmenter",
        "fake-good/ensemble": "segmenter",
        "fake-good/nameless": "segmenter",
        "fake-good/both": "postprocessor",
        "fake-good/many-labels": "postprocessor",
        "fake-good/one-label": "postprocessor",
        "fake-good/repeat": "postprocessor",
        "fake-good/smooth": "postprocessor",
        "fake-good/voxels": "measurement",
        "fake-good/note": "writer",
        "fake-good/fake-model": "model",
    }
    (scale,) = catalog.named("fake-good/scale")
    assert (scale.version, scale.origin) == ("1.2", "scale (fake-good 1.2)")


def test_listing_imports_no_implementation(install: Install) -> None:
    install("good", "misbehaving", "classes", "loud")
    discover()
    assert "fake_good.plugin" in sys.modules
    assert not {name for name in sys.modules if name.startswith("fake_") and name.endswith("steps")}


def test_built_in_components_come_first_then_by_name(install: Install) -> None:
    install("good")
    names = [(e.distribution, e.component.name) for e in discover().of_kind("postprocessor")]
    own = [name for distribution, name in names if distribution == "medseg"]
    assert names[: len(own)] == [("medseg", name) for name in sorted(own)]
    assert names[len(own) :] == sorted(names[len(own) :], key=lambda pair: pair[::-1])


def test_a_good_plugin_is_unharmed_by_all_bad_ones(install: Install) -> None:
    alone = discover()
    install("good")
    good = fakes(discover())
    install(*BAD)
    together = discover()
    assert good.items() <= fakes(together).items()
    assert {e for e in alone.entries if e.distribution == "medseg"} <= set(together.entries)


def test_a_plugin_that_cannot_be_imported_is_named_in_one_line(install: Install) -> None:
    install("import_error")
    catalog = discover()
    assert told(catalog) == [
        "plugin 'import_error' of fake-import-error 1.2: cannot be imported: "
        "ImportError: libfoo.so.3: cannot open shared object file"
    ]
    assert isinstance(catalog.faults[0].exception, ImportError)


def test_a_plugin_that_ends_the_program_on_import_does_not_end_it(install: Install) -> None:
    install("exiting")
    (line,) = told(discover())
    assert line.startswith("plugin 'exiting' of fake-exiting 1.2: cannot be imported: SystemExit")


def test_an_interruption_while_importing_is_no_fault_of_the_plugin(
    install: Install, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(written(tmp_path, "raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        discover()


def test_a_misspelt_hook_is_told_with_the_right_name(install: Install) -> None:
    install("misspelt")
    catalog = discover()
    lines = told(catalog)
    assert len(lines) == 2
    assert "medseg has no hook 'medseg_postprocesors'; did you mean 'medseg_postprocessors'?" in lines[0]
    assert "'medseg_writers'" in lines[1]
    assert "@hookimpl" in lines[1]
    assert fakes(catalog) == {"fake-misspelt/right": "preprocessor", "fake-misspelt/renamed": "measurement"}


def test_a_hook_with_an_argument_is_refused(install: Install) -> None:
    install("argument")
    catalog = discover()
    (line,) = told(catalog)
    assert "fake-argument 1.2" in line
    assert "medseg_writers" in line
    assert "config" in line
    assert fakes(catalog) == {}


def test_a_hook_that_raises_costs_its_own_records_only(install: Install) -> None:
    install("raising")
    catalog = discover()
    lines = told(catalog)
    assert len(lines) == 3
    assert any("medseg_writers raised RuntimeError: no licence file" in line for line in lines)
    assert any("medseg_segmenters raised SystemExit" in line for line in lines)
    assert any("medseg_measurements" in line and "None" in line for line in lines)
    assert fakes(catalog) == {"fake-raising/right": "preprocessor"}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("'smooth'", "str is not a Component|'smooth' is not a Component|yielded str"),
        ("None", "None"),
        ("('smooth', 'a.b:C', 'Summary.')", "tuple"),
        ("Component('Smooth', 'a.b:C', 'Summary.')", "'Smooth' is not a name"),
        ("Component('smooth', 'a.b.C', 'Summary.')", "target of 'smooth' is 'a.b.C'"),
        ("Component('smooth', 'a.b:C', 'Two\\nlines.')", "summary of 'smooth' is not one line"),
        ("Component(None, None, None)", "name of None is NoneType, not text"),
        ("type('Odd', (), {'__repr__': lambda self: 'two\\nlines'})()", "Odd"),
        ("type('Worse', (), {'__repr__': lambda self: 1 / 0})()", "Worse"),
    ],
)
def test_a_wrong_record_is_told_and_the_others_are_kept(
    install: Install, tmp_path: Path, record: str, said: str
) -> None:
    install(written(tmp_path, f"yield {record}\nyield Component('fine', 'a.b:C', 'Summary.')"))
    catalog = discover()
    (line,) = told(catalog)
    assert line.startswith("plugin 'written' of fake-written 1.2: medseg_writers")
    assert any(part in line for part in said.split("|"))
    assert fakes(catalog) == {"fake-written/fine": "writer"}


@pytest.mark.parametrize("value", ["Component('lone', 'a.b:C', 'Not in a list.')", "None", "3"])
def test_a_hook_that_returns_something_else_than_records_is_told(
    install: Install, tmp_path: Path, value: str
) -> None:
    install(written(tmp_path, f"return {value}"))
    (line,) = told(discover())
    assert "fake-written 1.2: medseg_writers raised TypeError" in line


def test_one_name_twice_in_a_plugin_is_told_and_the_first_kept(install: Install, tmp_path: Path) -> None:
    install(written(tmp_path, "yield Component('a', 'b.c:D', 'One.')\nyield Component('a', 'b.c:E', 'Two.')"))
    catalog = discover()
    (line,) = told(catalog)
    assert "'a' is offered twice" in line
    assert catalog.find("writer", "a").component.summary == "One."


def test_one_name_from_two_entry_points_of_a_distribution_is_offered_once(install: Install) -> None:
    install("two_points")
    catalog = discover()
    (line,) = told(catalog)
    assert "'twin' is offered twice" in line
    assert catalog.find("writer", "twin").component.target == "fake_two_points.steps:First"
    assert catalog.find("writer", "fake-two-points/twin").component.target == "fake_two_points.steps:First"


def test_a_distribution_without_metadata_harms_nobody(install: Install) -> None:
    install("no_metadata", "good")
    catalog = discover()
    assert "fake-good/scale" in fakes(catalog)
    assert [e.distribution for e in catalog.named("orphan")] == ["unknown"]


def test_entry_points_that_name_no_module_are_told(install: Install) -> None:
    install("not_a_module", "good")
    catalog = discover()
    told(catalog)
    assert {f.entry_point for f in catalog.faults} >= {"missing", "spaces", "text", "nothing"}
    assert {f.distribution for f in catalog.faults} == {"fake-not-a-module"}
    assert "fake-good/scale" in fakes(catalog)


def test_a_distribution_found_twice_on_the_path_counts_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(written(tmp_path, "yield Component('a', 'b.c:D', 'One.')"))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert len(discover().named("a")) == 1


def test_what_a_plugin_prints_does_not_mix_with_results(
    install: Install, capfd: pytest.CaptureFixture[str]
) -> None:
    install("loud")
    catalog = discover()
    catalog.find("writer", "shout").load()
    out, err = capfd.readouterr()
    assert out == ""
    assert err.split("\n") == [
        "thank you for choosing fake-loud",
        "have you heard of our other plugins?",
        "loading fake-loud",
        "",
    ]


@pytest.mark.parametrize(
    "value", ["fake-loud", "FAKE-LOUD", "fake_loud", "loud", " loud , other", "*", "other,fake-loud,", "Loud"]
)
def test_a_disabled_plugin_is_not_imported(install: Install, value: str) -> None:
    install("loud")
    catalog = discover({"MEDSEG_DISABLE_PLUGINS": value})
    assert "fake_loud" not in sys.modules
    assert "fake-loud" in catalog.disabled
    assert fakes(catalog) == {}
    assert {e.distribution for e in catalog.of_kind("postprocessor")} >= {"medseg"}


@pytest.mark.parametrize("value", ["", ",", "fake", "loud2", "medseg", "builtin"])
def test_other_names_disable_nothing(install: Install, value: str) -> None:
    install("loud")
    catalog = discover({"MEDSEG_DISABLE_PLUGINS": value})
    assert "fake-loud/shout" in fakes(catalog)
    assert catalog.disabled == ()
    assert catalog.find("postprocessor", "keep-largest").distribution == "medseg"


def test_the_environment_is_read_at_each_call(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("loud")
    monkeypatch.setenv("MEDSEG_DISABLE_PLUGINS", "loud")
    assert discover().disabled == ("fake-loud",)


def test_a_missing_name_mentions_what_is_disabled_and_what_is_broken(install: Install) -> None:
    install("good", "import_error", "loud")
    catalog = discover({"MEDSEG_DISABLE_PLUGINS": "loud"})
    with pytest.raises(PipelineError) as caught:
        catalog.find("writer", "shout")
    message = str(caught.value)
    assert message.startswith("no writer is called 'shout'")
    assert "fake-import-error 1.2" in message
    assert "disabled by MEDSEG_DISABLE_PLUGINS: fake-loud" in message
    assert message.isprintable()


def test_a_typo_is_told_with_the_closest_name(install: Install) -> None:
    install("good")
    with pytest.raises(PipelineError, match=r"^no postprocessor is called 'smoth'; did you mean 'smooth'\?$"):
        discover().find("postprocessor", "smoth")


def test_a_name_of_another_kind_says_where_it_belongs(install: Install) -> None:
    install("good")
    expected = r"^no preprocessor is called 'smooth'; it is a postprocessor and belongs under `postprocess:`$"
    with pytest.raises(PipelineError, match=expected):
        discover().find("preprocessor", "smooth")


def test_a_name_of_two_distributions_is_refused_and_both_named(install: Install) -> None:
    install("good", "clashing")
    catalog = discover()
    with pytest.raises(PipelineError) as caught:
        catalog.find("postprocessor", "smooth")
    for part in ("Fake_Clashing 1.2", "fake-good 1.2", "'Fake_Clashing/smooth'", "'fake-good/smooth'"):
        assert part in str(caught.value)
    assert not catalog.faults  # neither is wrong by itself
    assert catalog.find("postprocessor", "fake-good/smooth").distribution == "fake-good"
    assert catalog.find("postprocessor", "Fake_Clashing/smooth").distribution == "Fake_Clashing"


@pytest.mark.parametrize("name", ["fake-clashing/smooth", "fake_clashing/smooth", "FAKE.Clashing/smooth"])
def test_a_distribution_has_one_name_however_it_is_spelt(install: Install, name: str) -> None:
    install("clashing")
    assert discover().find("postprocessor", name).distribution == "Fake_Clashing"


def test_a_components_name_has_one_spelling(install: Install) -> None:
    install("good")
    with pytest.raises(PipelineError, match="did you mean"):
        discover().find("postprocessor", "fake-good/Smooth")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-module", "ModuleNotFoundError: No module named 'fake_classes.absent'"),
        ("no-class", "has no attribute 'Absent'"),
        ("no-import", "ImportError: libfoo.so.3: cannot open shared object file"),
        ("ends", "SystemExit"),
    ],
)
def test_a_class_that_cannot_be_loaded_blames_its_distribution(
    install: Install, name: str, said: str
) -> None:
    install("classes")
    with pytest.raises(PluginError) as caught:
        discover().find("postprocessor", name).load()
    message = str(caught.value)
    assert message.startswith(f"postprocessor {name} (fake-classes 1.2) cannot be loaded from fake_classes.")
    assert said in message
    assert message.isprintable()
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["no-folder", "no-package"])
def test_a_model_without_a_folder_blames_its_distribution(install: Install, name: str) -> None:
    install("classes")
    with pytest.raises(
        PluginError, match=rf"^model {name} \(fake-classes 1.2\): .*(models/absent|fake_absent)"
    ):
        discover().find("model", name).folder()


def test_a_models_folder_is_found_in_its_package(install: Install) -> None:
    install("good")
    folder = discover().find("model", "fake-model").folder()
    assert sorted(path.name for path in folder.iterdir()) == ["card.yaml", "pipeline.yaml"]


def test_entries_are_values(install: Install) -> None:
    install("good")
    first, second = discover(), discover()
    assert first.entries == second.entries
    assert len(set(first.entries) | set(second.entries)) == len(first.entries)
    assert all(isinstance(entry, Entry) for entry in first.entries)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({}, "~/.local/share/medseg/models"),
        ({"XDG_DATA_HOME": "/data"}, "/data/medseg/models"),
        ({"XDG_DATA_HOME": "data"}, "~/.local/share/medseg/models"),  # relative: to be ignored, says XDG
        ({"XDG_DATA_HOME": "/data", "MEDSEG_MODELS": "/mine"}, "/mine"),
        ({"MEDSEG_MODELS": "~/mine"}, "~/mine"),
        ({"MEDSEG_MODELS": ""}, "~/.local/share/medseg/models"),
    ],
)
def test_the_users_model_folder(
    environment: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    expected = Path(folder.replace("~", "/home/somebody"))
    assert user_model_folder(environment) == expected
    assert discover(environment).user_models == expected
