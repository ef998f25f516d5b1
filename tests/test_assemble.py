# ruff: noqa: E501 - messages are quoted whole
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medseg.assemble import assemble, component_class
from medseg.config import PipelineFile, read_pipeline
from medseg.errors import PipelineError, PluginError
from medseg.pipeline import Pipeline
from medseg.plugin.catalog import Catalog, discover
from medseg.run.provenance import describe_pipeline

Install = Callable[..., None]


def built(catalog: Catalog, **content: Any) -> Pipeline:
    """The pipeline of a file with this content; `segment` is `bright` where it is left out."""
    return assemble(PipelineFile.model_validate({"segment": "bright", **content}), catalog)


def refused(catalog: Catalog, **content: Any) -> str:
    """What is said of a file with this content, in one line."""
    with pytest.raises(PipelineError) as caught:
        built(catalog, **content)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_every_stage_knows_its_place_and_its_plugin(install: Install) -> None:
    install("good")
    pipeline = built(
        discover(), preprocess=["scale", "z-score"], postprocess=["fake-good/smooth"], measure=["voxels"]
    )
    assert [str(stage) for stage in pipeline.stages[:5]] == [
        "preprocess[0]: scale (fake-good 1.2)",
        f"preprocess[1]: z-score (medseg {pipeline.preprocess[1].version})",
        "segment: bright (fake-good 1.2)",
        "postprocess[0]: smooth (fake-good 1.2)",
        "measure[0]: voxels (fake-good 1.2)",
    ]
    assert pipeline.preprocess[0].written == {"fake-good/scale": {"by": 0.5}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"preprocess": ["scale", "scal"]},
            "preprocess[1]: no preprocessor is called 'scal'; did you mean 'scale'?",
        ),
        (
            {"preprocess": [{"scale": {"bye": 2}}]},
            "preprocess[0].scale.bye: there is no 'bye' here; did you mean 'by'?",
        ),
        ({"preprocess": [{"scale": {"by": "x"}}]}, "preprocess[0].scale.by: input should be a valid number"),
        (
            {"preprocess": [{"scale": {"by": float("nan")}}]},
            "preprocess[0].scale.by: input should be a finite number",
        ),
        (
            {"preprocess": ["smooth"]},
            "preprocess[0]: no preprocessor is called 'smooth'; it is a postprocessor and belongs under `postprocess:`",
        ),
        (
            {"postprocess": ["scale"]},
            "postprocess[0]: no postprocessor is called 'scale'; it is a preprocessor and belongs under `preprocess:`",
        ),
        (
            {"postprocess": ["fake-model"]},
            "postprocess[0]: no postprocessor is called 'fake-model'; it is a model",
        ),
        ({"write": ["note", "fake-good/note"]}, "write[1]: 'note' is named twice"),
        ({"segment": "nameless"}, "labels: is missing, and segmenter 'nameless' does not name its labels"),
        (
            {"labels": {2: {"name": "x"}}},
            "labels: segmenter 'bright' gives 1 (bright) in layer 0; name it too",
        ),
        (
            {"labels": {1: {"name": "x"}, 2: {"name": "y", "layer": 3}}},
            "labels[2].layer: segmenter 'bright' gives no layer 3, its last is 0",
        ),
        (
            {"postprocess": [{"smooth": {"labels": ["brigt"]}}]},
            "postprocess[0].smooth.labels: there is no label 'brigt'; did you mean 'bright'?",
        ),
        ({"segment": {"ensemble": {}}}, "segment.ensemble.first: is missing"),
        (
            {"segment": {"ensemble": {"first": "smoth"}}},
            "segment.ensemble.first: no postprocessor is called 'smoth'; did you mean 'smooth'?",
        ),
        (
            {"segment": {"ensemble": {"first": "scale"}}},
            "segment.ensemble.first: no postprocessor is called 'scale'; it is a preprocessor",
        ),
        ({"segment": {"ensemble": {"first": 3}}}, "segment.ensemble.first: a step is a name"),
        ({"segment": {"ensemble": {"first": None}}}, "segment.ensemble.first: a step is a name"),
        (
            {"segment": {"ensemble": {"first": {"smooth": {"radus": 1}}}}},
            "segment.ensemble.first.smooth.radus: there is no 'radus' here; did you mean 'radius'?",
        ),
        (
            {"segment": {"ensemble": {"first": "smooth", "backup": "x"}}},
            "segment.ensemble.backup: no postprocessor is called 'x'",
        ),
        (
            {"segment": {"ensemble": {"first": "smooth", "members": ["smooth", "keep-largst"]}}},
            "segment.ensemble.members[1]: no postprocessor is called 'keep-largst'; did you mean 'keep-largest'?",
        ),
        ({"segment": {"ensemble": {"first": "smooth", "members": "smooth"}}}, "segment.ensemble.members: "),
        (
            {"segment": {"ensemble": {"first": "smooth", "members": {"smooth": {}}}}},
            "segment.ensemble.members: ",
        ),
        (
            {
                "segment": {
                    "ensemble": {
                        "first": "smooth",
                        "named": {"a": {"repeat": {"step": {"keep-largest": {"count": 0}}}}},
                    }
                }
            },
            "segment.ensemble.named.a.repeat.step.keep-largest.count: input should be greater than or equal to 1, not 0",
        ),
        ({"segment": {"ensemble": {"first": "smooth", "named": ["smooth"]}}}, "segment.ensemble.named: "),
        (
            {"segment": {"ensemble": {"first": "smooth", "couple": ["smooth", "scale"]}}},
            "segment.ensemble.couple[0]: no preprocessor is called 'smooth'",
        ),
        (
            {"segment": {"ensemble": {"first": "smooth", "level": {"lowst": 1}}}},
            "segment.ensemble.level.lowst: there is no 'lowst' here; did you mean 'lowest'?",
        ),
        (
            {"segment": {"ensemble": {"first": "smooth", "membrs": []}}},
            "segment.ensemble.membrs: there is no 'membrs' here; did you mean 'members'?",
        ),
    ],
)
def test_a_fault_is_told_with_its_place(install: Install, content: dict[str, Any], said: str) -> None:
    install("good")
    assert refused(discover(), **content).startswith(said)


@pytest.mark.parametrize("name", ["one-label", "many-labels"])
def test_a_parameter_called_labels_may_be_something_else(install: Install, name: str) -> None:
    install("good")
    assert built(discover(), postprocess=[name]).postprocess[0].name == name


def test_the_file_renames_the_segmenters_labels(install: Install) -> None:
    install("good")
    pipeline = built(discover(), labels={1: {"name": "bone"}, 2: {"name": "hole"}})
    assert [(label.value, label.name) for label in pipeline.labels] == [(1, "bone"), (2, "hole")]
    assert [label.name for label in built(discover()).labels] == ["bright"]


def test_nested_steps_are_built_and_written_in_full(install: Install) -> None:
    install("good")
    ensemble = {
        "first": {"repeat": {"step": {"repeat": {"step": "smooth"}}, "times": 3}},
        "backup": {"fake-good/smooth": {"radius": 2}},
        "members": ["smooth", {"keep-largest": {"count": 2}}],
        "named": {"a": {"smooth": None}},
        "couple": ["scale", "smooth"],
    }
    segment = built(discover(), segment={"ensemble": ensemble}).segment
    smooth = {"fake-good/smooth": {"radius": 1.0, "labels": None}}
    largest = {"medseg/keep-largest": {"labels": None, "connectivity": 26, "count": 2}}
    inner = {"fake-good/repeat": {"step": smooth, "times": 2}}
    assert segment.written == {
        "fake-good/ensemble": {
            "first": {"fake-good/repeat": {"step": inner, "times": 3}},
            "backup": {"fake-good/smooth": {"radius": 2.0, "labels": None}},
            "members": [smooth, largest],
            "named": {"a": smooth},
            "couple": [{"fake-good/scale": {"by": 0.5}}, smooth],
            "level": {"lowest": 0.0},
        }
    }


LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.just("smooth"),
    st.just("both"),
    st.floats(0, 9).map(lambda r: {"fake-good/smooth": {"radius": r}}),
    st.integers(1, 5).map(lambda n: {"keep-largest": {"count": n, "labels": ["bright"]}}),
)


def wrapped(steps: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """These steps, or one of them within another."""
    return steps | st.tuples(st.sampled_from(["repeat", "both"]), steps).map(
        lambda pair: {pair[0]: {"step": pair[1]}}
    )


STEPS = wrapped(wrapped(wrapped(LEAVES)))  # what is written in full must stay within 32 levels
ENSEMBLES = st.fixed_dictionaries(
    {"first": STEPS},
    optional={
        "backup": st.none() | STEPS,
        "members": st.lists(STEPS, max_size=3),
        "named": st.dictionaries(st.sampled_from("abc"), STEPS, max_size=2),
        "couple": st.tuples(st.just("scale"), STEPS).map(list),
        "level": st.fixed_dictionaries({"lowest": st.floats(-9, 9)}),
    },
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ensemble=ENSEMBLES, after=st.lists(STEPS, max_size=3), named=st.booleans())
def test_what_a_run_notes_down_assembles_to_the_same(
    install: Install, tmp_path: Path, ensemble: dict[str, Any], after: list[Any], named: bool
) -> None:
    install("good")
    catalog = discover()
    labels: dict[str, Any] = {"labels": {1: {"name": "bright", "colour": "#ff0000"}, 7: {"name": "other"}}}
    first = built(catalog, segment={"ensemble": ensemble}, postprocess=after, **(labels if named else {}))
    noted = describe_pipeline(first)
    path = tmp_path / "noted.yaml"
    for text in (yaml.safe_dump(noted), json.dumps(noted)):  # JSON, as in run.json, is YAML too
        path.write_text(text)
        again = assemble(read_pipeline(path), catalog)
        assert again == first
        assert describe_pipeline(again) == noted


def test_a_default_that_is_a_step_is_kept(install: Install) -> None:
    install("good")
    catalog = discover()
    (stage,) = built(catalog, postprocess=["both"]).postprocess
    assert stage.written == {"fake-good/both": {}}
    assert built(catalog, postprocess=[dict(stage.written)]).postprocess[0].step == stage.step


def test_a_clash_harms_only_the_pipeline_that_uses_the_name(install: Install) -> None:
    install("good", "clashing")
    catalog = discover()
    assert built(catalog, postprocess=["repeat", "fill-holes"][1:]).write[1].distribution == "medseg"
    message = refused(catalog, postprocess=["smooth"])
    assert message.startswith("postprocess[0]: postprocessor 'smooth' is provided by ")
    assert "Fake_Clashing 1.2" in message
    assert "fake-good 1.2" in message
    stage = built(catalog, postprocess=["fake-clashing/keep-largest"]).postprocess[0]
    assert stage.distribution == "Fake_Clashing"
    both = built(catalog, write=["medseg/csv", "Fake_Clashing/csv"]).write
    assert [stage.distribution for stage in both] == ["medseg", "Fake_Clashing"]


def test_a_disabled_plugin_is_mentioned_by_the_pipeline_that_needs_it(install: Install) -> None:
    install("good", "loud")
    catalog = discover({"MEDSEG_DISABLE_PLUGINS": "fake-loud"})
    message = refused(catalog, write=["shout"])
    assert message.startswith("write[0]: no writer is called 'shout'")
    assert "disabled by MEDSEG_DISABLE_PLUGINS: fake-loud" in message
    assert built(catalog).segment.name == "bright"


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
        ("fussy", "KeyError: 'absent'"),
    ],
)
def test_a_class_that_breaks_its_contract_is_blamed_on_its_plugin(
    install: Install, name: str, said: str
) -> None:
    install("good", "classes")
    catalog = discover()
    message = refused(catalog, postprocess=[name])
    assert said in message
    assert f"{name} (fake-classes 1.2)" in message
    assert built(catalog, postprocess=["smooth"]).postprocess[0].name == "smooth"
    for place in ({"postprocess": [{"repeat": {"step": name}}]}, {"segment": {"ensemble": {"first": name}}}):
        assert f"{name} (fake-classes 1.2)" in refused(catalog, **place)


def test_a_class_is_held_against_its_kind(install: Install) -> None:
    install("classes")
    with pytest.raises(PluginError, match=r"fake-classes 1\.2"):
        component_class(discover().find("postprocessor", "wrong-kind"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("labels-dict", "labels() returned dict, not a LabelTable"),
        ("labels-fail", "two labels share the name 'thing'"),
    ],
)
def test_a_segmenter_that_cannot_say_its_labels_is_blamed(install: Install, name: str, said: str) -> None:
    install("misbehaving")
    with pytest.raises(PluginError) as caught:
        built(discover(), segment=name)
    assert said in str(caught.value)
    assert f"segment: {name} (fake-misbehaving 1.2)" in str(caught.value)
