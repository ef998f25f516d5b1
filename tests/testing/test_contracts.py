from collections.abc import Callable

import pytest

from medseg.errors import PipelineError
from medseg.plugin.catalog import discover
from medseg.testing.contracts import check_plugin, check_plugins

Install = Callable[..., None]


def problems(distribution: str) -> dict[str, str]:
    """What is wrong with each component of a distribution, by name."""
    found = check_plugins(discover(), distribution)
    assert all(str(finding).isprintable() for finding in found)
    return {finding.what.split(" ")[0].rpartition("/")[2]: finding.problem for finding in found}


@pytest.mark.parametrize("name", ["fake-good", "Fake_Good"])
def test_a_good_plugin_passes(install: Install, name: str) -> None:
    install("good", "misbehaving")
    check_plugin(name)
    found = {str(finding) for finding in check_plugins(discover(), name)}
    assert "fake-good/bright (segmenter): ok" in found
    assert "fake-good/ensemble (segmenter): ok (not run: first must be given)" in found
    assert len(found) == 13


def test_what_is_not_installed_cannot_be_checked() -> None:
    with pytest.raises(PipelineError, match="no installed distribution called 'fake-absent'"):
        check_plugin("fake-absent")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gives-none", "returned NoneType, not a Volume"),
        ("gives-array", "returned ndarray, not a Volume"),
        ("gives-nan", "NaN or infinite"),
        ("gives-bool", "an image of bool"),
        ("writes-image", "raised ValueError: assignment destination is read-only"),
        ("forces-image", "wrote into the array it was given"),
        ("random", "gave two different images for one input"),
        ("raises-value", "raised ValueError: first line second line"),
        ("raises-key", "raised KeyError: 'x'"),
        ("raises-nothing", "raised RuntimeError"),
        ("exits", "raised SystemExit: 0"),
        ("refuses", "too small"),
        ("moved", "returned labels on Grid("),
        ("none", "returned NoneType, not a Prediction"),
        ("unknown-label", "its table does not know"),
        ("open-fails", "raised KeyError: 'weights'"),
        ("no-predictor", "context manager protocol"),
        ("labels-dict", "labels() returned dict, not a LabelTable"),
        ("labels-fail", "two labels share the name 'thing'"),
        ("more-labels", "not announced"),
        ("nan-map", "a map 'entropy'"),
        ("sure-of-a-label", "background_logits() are decoded as a label"),
        ("short-background", "gave 1 numbers for"),
        (
            "nothing-apart",
            "gave 0 objects of its own target in layers of labels, not 2 in one layer of objects",
        ),
        ("joins", "gave 1 objects of its own target in layers of objects, not 2"),
        ("moves-grid", "returned labels on Grid("),
        ("loses-labels", "returned ndarray, not a Segmentation"),
        ("invents-label", "its table does not know"),
        ("writes-labels", "read-only"),
        ("nan-row", "as nan"),
        ("unknown-row", "'spleeen', which is no label"),
        ("no-rows", "returned NoneType, not measurements"),
        ("wrong-row", "yielded float, not Measured"),
        ("wants-fails", "raised LookupError: not configured"),
        ("wants-nothing", "wants NoneType, not a Wanted"),
        ("late", "raised ZeroDivisionError: in row 2"),
        ("absent", "which it did not write"),
        ("outside", "not in the folder"),
        ("link", "not in the folder"),
        ("no-paths", "is not a Path"),
        ("needs-fails", "raised LookupError: not configured"),
        ("borrows", "wrote nothing"),
        ("writes-nothing", "wrote nothing"),
    ],
)
def test_each_fault_of_a_step_is_found(install: Install, name: str, said: str) -> None:
    install("misbehaving")
    assert said in problems("fake-misbehaving")[name]


def test_no_misbehaving_step_passes(install: Install) -> None:
    install("misbehaving")
    found = problems("fake-misbehaving")
    assert len(found) == 43
    assert all(found.values()), [name for name, problem in found.items() if not problem]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-module", "No module named 'fake_classes.absent'"),
        ("no-class", "has no attribute 'Absent'"),
        ("no-import", "libfoo.so.3"),
        ("ends", "SystemExit"),
        ("not-a-class", "is not a medseg.Postprocessor"),
        ("not-a-step", "is not a medseg.Postprocessor"),
        ("wrong-kind", "is not a medseg.Postprocessor"),
        ("abstract", "does not define __call__"),
        ("lenient", "takes unknown ones"),
        ("changeable", "lets parameters change"),
        ("undocumented", "has no docstring"),
        ("unwritable", "a parameter cannot be written to a file"),
        ("fussy", "raised KeyError: 'absent'"),
        ("no-folder", "there is no folder models/absent in package fake_classes"),
        ("no-package", "package fake_absent cannot be imported"),
    ],
)
def test_each_fault_of_a_class_is_found(install: Install, name: str, said: str) -> None:
    install("classes")
    assert said in problems("fake-classes")[name]


def test_a_default_that_its_own_type_refuses_is_found(install: Install) -> None:
    install("classes")
    found = check_plugins(discover(), "fake-classes")
    (note,) = [f.problem + f.note for f in found if "bad-default" in f.what]
    assert "radius" in note


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("import_error", "libfoo.so.3"),
        ("exiting", "SystemExit: 0"),
        ("misspelt", "medseg has no hook 'medseg_postprocesors'"),
        ("argument", "config"),
        ("raising", "medseg_writers raised RuntimeError: no licence file"),
        ("not_a_module", "not a module"),
    ],
)
def test_a_fault_of_the_plugin_itself_fails_its_authors_test(
    install: Install, folder: str, said: str
) -> None:
    install(folder)
    name = f"fake-{folder.replace('_', '-')}"
    with pytest.raises(AssertionError) as caught:
        check_plugin(name)
    assert said in str(caught.value)
    assert f"{name} 1.2" in str(caught.value)


def test_the_traceback_of_a_failed_import_is_kept(install: Install) -> None:
    install("import_error")
    (finding,) = check_plugins(discover(), "fake-import-error")
    assert "fake_import_error/plugin.py" in finding.traceback
    assert finding.as_json()["problem"] == finding.problem


def test_one_plugins_faults_are_not_anothers(install: Install) -> None:
    install("good", "import_error", "classes")
    check_plugin("fake-good")


def test_writers_that_refer_to_others_are_checked_and_not_run(install: Install) -> None:
    install("ordered")
    found = {finding.what.split()[0]: finding for finding in check_plugins(discover(), "fake-ordered")}
    assert found["fake-ordered/answer"].note == "not run: refers to files of letter"
    assert found["fake-ordered/vague"].problem == "after is 'letter', not a tuple of names"
    assert not found["fake-ordered/letter"].problem
