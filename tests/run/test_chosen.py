"""Writers that the user names: where they come, and what is refused of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medseg.errors import PipelineError, PluginError, UsageError
from medseg.run.chosen import prepare

Install = Callable[..., None]


@pytest.fixture
def made(tmp_path: Path, install: Install) -> Callable[[str], Path]:
    """A pipeline file with these writers."""
    install("ordered")

    def write(writers: str) -> Path:
        path = tmp_path / "bright.yaml"
        path.write_text(f"segment: {{threshold: {{above: 50}}}}\nwrite: {writers}\n")
        return path

    return write


def names(model: Path, write: str | None = None) -> list[str]:
    _, pipeline = prepare(model, write=write)
    assert [stage.place for stage in pipeline.write] == [f"write[{n}]" for n in range(len(pipeline.write))]
    return [stage.name + "!" * stage.demanded for stage in pipeline.write]


def test_what_is_named_comes_after_the_pipelines_own(made: Callable[[str], Path]) -> None:
    assert names(made("[csv]"), "letter") == ["csv", "letter!"]
    assert names(made("[csv]"), "fake-ordered/letter, json") == ["csv", "letter!", "json!"]


def test_each_stands_behind_what_it_refers_to(made: Callable[[str], Path]) -> None:
    assert names(made("[csv]"), "echo, answer, picky, letter") == [
        "csv",
        "picky!",
        "echo!",
        "letter!",
        "answer!",
    ]
    assert names(made("[letter]"), "answer") == ["letter", "answer!"]


def test_each_stands_behind_what_it_refers_to_where_that_is_there(made: Callable[[str], Path]) -> None:
    assert names(made("[csv]"), "rtstruct, dicom-seg") == ["csv", "dicom-seg!", "rtstruct!"]
    assert names(made("[rtstruct]"), "dicom-seg") == ["dicom-seg!", "rtstruct"]
    assert names(made("[csv]"), "rtstruct") == ["csv", "rtstruct!"]
    # what is added beside them moves nothing
    assert names(made("[rtstruct, dicom-seg]"), "csv") == ["rtstruct", "dicom-seg", "csv!"]


def test_what_is_there_already_is_not_doubled_but_counts_as_named(made: Callable[[str], Path]) -> None:
    assert names(made("[csv, {letter: {text: hello}}]"), "letter,csv,letter") == ["csv!", "letter!"]


def test_parameters_may_be_given_but_not_changed(made: Callable[[str], Path]) -> None:
    _, pipeline = prepare(made("[csv]"), write="letter: {text: hello}")
    assert pipeline.write[1].written == {"fake-ordered/letter": {"text": "hello"}}
    with pytest.raises(UsageError, match="--write letter: the pipeline has it with other parameters"):
        prepare(made("[letter]"), write="letter: {text: hello}")


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("leter", PipelineError, "--write[0]: no writer is called 'leter'; did you mean 'letter'?"),
        ("letter: {txt: a}", PipelineError, "--write[0].letter.txt: there is no 'txt' here"),
        ("", UsageError, "--write: none is given"),
        (
            "answer",
            UsageError,
            "--write answer: write[1].answer: refers to what 'letter' writes; add that before it",
        ),
        ("vague", PluginError, "after is 'letter', not a tuple of names"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    made: Callable[[str], Path], text: str, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as caught:
        prepare(made("[csv]"), write=text)
    assert str(caught.value).startswith(said)


def test_the_order_of_a_pipeline_file_is_checked(made: Callable[[str], Path]) -> None:
    assert names(made("[letter, csv, answer]")) == ["letter", "csv", "answer"]
    with pytest.raises(PipelineError) as wrong:
        prepare(made("[answer, letter]"))
    assert str(wrong.value).endswith("write[0].answer: refers to what 'letter' writes; put that before it")
    with pytest.raises(PipelineError) as lacking:
        prepare(made("[csv, echo]"))
    assert str(lacking.value).endswith("refers to what 'fake-ordered/picky' writes; add that before it")
