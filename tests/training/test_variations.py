from pathlib import Path

import pytest
import tuning_cases

from medseg.errors import PipelineError, UsageError
from medseg.model import find_model
from medseg.plugin.catalog import discover
from medseg.training.variations import Variations, Varied, in_words, parse, variations


def of(path: Path, *texts: str) -> Variations:
    catalog = discover()
    return variations(find_model(path, catalog), [parse(text) for text in texts], catalog)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tuning_cases.pipeline(tmp_path / "lesions.yaml")


# ---- what is written


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("postprocess[1].below_ml=0.1,0.5", Varied("postprocess", 1, "below_ml", (0.1, 0.5))),
        (" refine[0].by = 3", Varied("refine", 0, "by", (3,))),
        (
            "postprocess[0].labels=[liver],[liver, tumour],null",
            Varied("postprocess", 0, "labels", (["liver"], ["liver", "tumour"], None)),
        ),
    ],
)
def test_a_place_a_parameter_and_values(text: str, meant: Varied) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("below_ml=1", "write PLACE.PARAMETER=VALUE,VALUE, as in 'postprocess[0].below_ml=0.1,0.5'"),
        ("postprocess[0].below_ml", "write PLACE.PARAMETER=VALUE,VALUE"),
        ("postprocess[0].below_ml=", "give at least one value"),
        ("postprocess[0].labels=[liver", "'[liver' is no list of YAML values"),
        ("preprocess[0].low=1", "only steps after the network, refine[…] and postprocess[…], vary"),
    ],
)
def test_what_means_nothing_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert str(caught.value).startswith(f"--vary {text!r}: {said}")


def test_values_in_words() -> None:
    assert [in_words(each) for each in (0.5, None, "liver", ["a", "b"], True)] == [
        *("0.5", "null", "liver", '["a", "b"]', "true")
    ]


# ---- held against the pipeline


def test_the_files_own_value_comes_first_and_none_twice(path: Path) -> None:
    found = of(path, "postprocess[1].below_ml=0.1,0.001,1,1.0", "postprocess[1].connectivity=6,26")
    assert [each.values for each in found.varied] == [(0.001, 0.1, 1), (26, 6)]  # 26 is the default
    assert found.count == 6
    assert next(found.all()) == (0, 0)
    assert found.values((1, 1)) == (0.1, 6)
    assert found.changes((1, 0)) == {"postprocess[1].below_ml": (0.001, 0.1)}


def test_a_pipeline_with_other_values(path: Path) -> None:
    found = of(path, "postprocess[1].below_ml=0.1", "postprocess[1].connectivity=6")
    own, other = found.pipeline((0, 0)).postprocess[1], found.pipeline((1, 1)).postprocess[1]
    assert own.written["medseg/remove-small"] == {"below_ml": 0.001, "labels": None, "connectivity": 26}
    assert other.written["medseg/remove-small"] == {"below_ml": 0.1, "labels": None, "connectivity": 6}
    assert found.file((1, 0)).postprocess[1].parameters == {"below_ml": 0.1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "postprocess[1].belw_ml=1",
            "--vary: postprocess[1].remove-small.belw_ml: there is no 'belw_ml' here; "
            "did you mean 'below_ml'?",
        ),
        (
            "postprocess[1].below_ml=1,0",
            "--vary: postprocess[1].remove-small.below_ml: input should be greater than 0",
        ),
        (
            "postprocess[0].labels=[lesoin]",
            "--vary: postprocess[0].fill-holes.labels: there is no label 'lesoin'; did you mean 'lesion'?",
        ),
    ],
)
def test_a_wrong_parameter_or_value_is_told_with_its_place(path: Path, text: str, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        of(path, text)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            ("postprocess[2].below_ml=1",),
            "--vary postprocess[2].below_ml: there is no postprocess[2] in the pipeline; "
            "its last is postprocess[1]",
        ),
        (
            ("refine[0].by=1",),
            "--vary refine[0].by: there is no refine[0] in the pipeline; it has no `refine:`",
        ),
        (
            ("postprocess[1].below_ml=1", "postprocess[1].below_ml=2"),
            "--vary postprocess[1].below_ml: is given twice; give all its values at once",
        ),
    ],
)
def test_a_place_that_is_not_there_or_twice(path: Path, texts: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        of(path, *texts)
    assert str(caught.value) == said


def test_values_that_do_not_go_together_are_found_at_once(tmp_path: Path) -> None:
    path = tuning_cases.pipeline(tmp_path / "p.yaml", "dilate: {radius_mm: 1}")
    assert of(path, "postprocess[0].labels=[lesion]").count == 2
    with pytest.raises(PipelineError) as caught:
        of(path, "postprocess[0].labels=[lesion]", "postprocess[0].over=[lesion]")
    assert "--vary: postprocess[0].dilate: lesion can either grow or be overwritten" in str(caught.value)
