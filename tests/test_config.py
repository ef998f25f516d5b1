import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from medseg.config import MAX_BYTES, PipelineFile, describe, load_yaml, read_pipeline
from medseg.errors import PipelineError
from medseg.segmentation import Label

Faulty = Callable[[str | bytes], str]


@pytest.fixture
def faulty(tmp_path: Path) -> Faulty:
    """What is said of a pipeline file with this content, after its path; one printable line."""

    def message(content: str | bytes) -> str:
        path = tmp_path / "p.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(PipelineError) as caught:
            read_pipeline(path)
        said = str(caught.value)
        assert said.startswith(f"{path}: ")
        assert said.isprintable()
        assert len(said) < 500 + len(str(path))
        return said.removeprefix(f"{path}: ")

    return message


def test_reads_what_a_pipeline_file_may_say(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        """
inputs: [{name: t1, modality: MR}, {name: flair}]
labels:
  2: {name: right kidney, code: "SCT:9846003", colour: "#ff0000", pair: left kidney}
  1: {name: left kidney, pair: right kidney}
preprocess: [z-score, resample: {spacing: [1, 1, 1]}, {pad: }]
segment: threshold
postprocess: []
"""
    )
    file = read_pipeline(path)
    assert [(i.name, i.modality) for i in file.inputs] == [("t1", "MR"), ("flair", None)]
    assert [(c.name, c.parameters) for c in file.preprocess] == [
        ("z-score", {}),
        ("resample", {"spacing": [1, 1, 1]}),
        ("pad", {}),
    ]
    table = file.label_table()
    assert table is not None
    assert list(table) == [
        Label(1, "left kidney", pair="right kidney"),
        Label(2, "right kidney", code="SCT:9846003", colour="#ff0000", pair="left kidney"),
    ]


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("\ufeffsegment: threshold\r\n", encoding="utf-8")  # as some editors write it
    file = read_pipeline(path)
    assert [i.name for i in file.inputs] == ["image"]
    assert file.label_table() is None
    assert [call.name.removeprefix("medseg/") for call in file.measure] == ["volumes"]
    assert [call.name.removeprefix("medseg/") for call in file.write] == ["nifti", "csv", "json", "preview"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("segmnt: t", "segmnt: there is no 'segmnt' here; did you mean 'segment'? (and 1 more)"),
        ("segment: t\nmodel: x", "model: there is no 'model' here; "),
        (
            "segment: t\ninputs: [{name: a}, {nme: b}]",
            "inputs[1].nme: there is no 'nme' here; did you mean 'name'?",
        ),
        (
            "segment: t\nlabels: {1: {name: a, color: '#000000'}}",
            "there is no 'color' here; did you mean 'colour'?",
        ),
        ('segment: t\n"a\\nb": 1', "there is no 'a\\nb' here"),
        ("segment: t\n? " + "x" * 900 + "\n: 1", "there is no 'xxx"),
        ("measure: []", "segment: is missing"),
        ("segment:", "segment: a step is a name, or one name with its parameters"),
        ("segment: ''", "segment.name: "),
        ("segment: " + "x" * 5000, "segment.name: "),
        ("segment: [t]", "segment: a step is a name"),
        ("segment: {a: {}, b: {}}", "segment: a step is a name, or one name with its parameters"),
        ("segment: {}", "segment: a step is a name"),
        ("segment: {1: {}}", "segment: a step is a name"),
        ("segment: {t: 3}", "segment: the parameters of 't' are 3, not `key: value` pairs"),
        ("segment: {t: " + "x" * 5000 + "}", "segment: the parameters of 't' are 'xxx"),
        ("segment: {t: {1: 2}}", "segment: 't' has no parameter 1"),
        ("segment: 3", "segment: a step is a name"),
        ("segment: 2001-01-01", "segment: a step is a name"),
        ("segment: t\npreprocess: clip", "preprocess: is not a list"),
        ("segment: t\npreprocess: {clip: {low: 1}}", "preprocess: is not a list"),
        ("segment: t\npreprocess: [clip, 3]", "preprocess[1]: a step is a name"),
        ("segment: t\npreprocess: null", "preprocess: is not a list"),
        ("segment: t\ninputs: []", "inputs: "),
        ("segment: t\ninputs: [ct]", "inputs[0]: "),
        ("segment: t\ninputs: [{name: a}, {name: a}]", "two inputs are called 'a'"),
        ("segment: t\ninputs: [{name: ../a}]", "inputs[0].name: "),
        ("segment: t\ninputs: [{modality: 3}]", "inputs[0].modality: input should be a valid string, not 3"),
        ("segment: t\nlabels: [liver]", "labels: is not `key: value` pairs"),
        ("segment: t\nlabels: {1: liver}", "labels[1]: "),
        ("segment: t\nlabels: {0: {name: a}}", "labels: label 'a': values start at 1 (0 is background)"),
        ("segment: t\nlabels: {-1: {name: a}}", "labels: label 'a': values start at 1"),
        ("segment: t\nlabels: {liver: {name: a}}", "labels.liver: input should be a valid integer"),
        ("segment: t\nlabels: {1.5: {name: a}}", "labels"),
        (
            "segment: t\nlabels: {yes: {name: a}}",
            "a label's value is a whole number from 1 to 65535, not True",
        ),
        (
            "segment: t\nlabels: {65536: {name: a}}",
            "labels[65536]: input should be less than or equal to 65535",
        ),
        ("segment: t\nlabels: {" + "9" * 900 + ": {name: a}}", "labels"),
        ("segment: t\nlabels: {1: {}}", "labels[1].name: is missing"),
        ("segment: t\nlabels: {1: {name: no}}", "labels[1].name: input should be a valid string, not False"),
        ("segment: t\nlabels: {1: {name: ''}}", "labels[1].name: "),
        ('segment: t\nlabels: {1: {name: "a\\nb"}}', "labels[1].name: "),
        ("segment: t\nlabels: {1: {name: a, colour: red}}", "labels[1].colour: "),
        ("segment: t\nlabels: {1: {name: a, colour: '#12345'}}", "labels[1].colour: "),
        ("segment: t\nlabels: {1: {name: a, code: liver}}", "labels[1].code: "),
        ("segment: t\nlabels: {1: {name: a, layer: -1}}", "labels[1].layer: "),
        ("segment: t\nlabels: {1: {name: a, layer: 1000000}}", "labels[1].layer: "),
        ("segment: t\nlabels: {1: {name: a}, 2: {name: a}}", "labels: two labels share the name 'a'"),
        ("segment: t\nlabels: {1: {name: a, pair: b}}", "labels: no label 'b'"),
        ("segment: t\nlabels: {1: {name: a, pair: a}}", "labels: labels 'a' and 'a' are not paired"),
        (
            "segment: t\nlabels: {1: {name: a, pair: b}, 2: {name: b}}",
            "labels: labels 'a' and 'b' are not paired",
        ),
        ("segment: t\nwrite: [csv, nifti, {csv: {}}]", "write names 'csv' twice"),
        ("segment: t\nwrite: [csv\n", "line 3: not valid YAML: "),
        ("segment: t\nsegment: u", "line 1: 'segment' is written twice"),
        ("segment: t\nlabels:\n  1: {name: a}\n  1: {name: b}", "line 3: '1' is written twice"),
        ("segment: t\nlabels: {1: {name: a}, 0x1: {name: b}}", "line 2: '1' is written twice"),
        ("segment: t\nlabels: {1: {name: a}, '1': {name: b}}", "line 2: '1' is written twice"),
        ("segment: {t: {a: 1, b: 2, a: 3}}", "line 1: 'a' is written twice"),
        ("segment: &a t\npreprocess: [*a]", "line 2: anchors and aliases"),
        ("segment: t\nx: &x {<<: *x}", "line 2: anchors and aliases"),
        ("[" * 40 + "]" * 40, "nested deeper than 32 levels"),
        ("[" * 100_000, ""),
        ("- " * 50_000, ""),
        (
            "segment: !!python/object/apply:os.system [echo]",
            "line 1: not valid YAML: could not determine a constructor",
        ),
        ("segment: !!python/name:os.system", "line 1: not valid YAML: could not determine a constructor"),
        ("segment: !custom t", "line 1: not valid YAML: could not determine a constructor"),
        ("segment: !!timestamp x", "not valid YAML: "),
        ("segment: !!int ''", "not valid YAML: "),
        ("segment: !!bool x", "not valid YAML: "),
        ("segment: 2001-13-45", "not valid YAML: "),
        ("segment: {t: {a: " + "1" * 5000 + "}}", "not valid YAML: "),
        ("segment: t\n---\nsegment: u", "line 2: not valid YAML: "),
        ("segment:\n\t- t", "line 2: not valid YAML: "),
        ("? [a]\n: b", "line 1: not valid YAML: found unhashable key"),
        ("segment: 'a\x07b'", "not valid YAML: "),
        ("", "is not a pipeline file; it must hold at least `segment:`"),
        ("# nothing\n", "is not a pipeline file"),
        ("- segment: t", "is not a pipeline file"),
        ("threshold", "is not a pipeline file"),
        (b"\xff\xfes\x00", "is not a text file in UTF-8"),
        (b"segment: caf\xe9", "is not a text file in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not a text file in UTF-8"),
        (b"segment: \x00", "not valid YAML: "),
        (
            b"#" * (MAX_BYTES + 1),
            f"{MAX_BYTES + 1} bytes are more than a pipeline file may have ({MAX_BYTES})",
        ),
    ],
)
def test_a_fault_is_one_line_with_its_place(faulty: Faulty, content: str | bytes, said: str) -> None:
    assert faulty(content).startswith(said) or said in faulty(content)


def test_billion_laughs_are_refused_at_once(faulty: Faulty) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    assert faulty("\n".join(lines)).startswith("line 2: anchors and aliases")


def test_many_keys_take_no_long_time(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("segment: {t: {" + ", ".join(f"k{n}: 1" for n in range(20_000)) + "}}")
    start = time.perf_counter()
    assert len(read_pipeline(path).segment.parameters) == 20_000
    assert time.perf_counter() - start < 20  # comparing each key with each takes minutes on a busy machine


def test_files_that_are_none_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    for path, said in (
        (tmp_path / "fifo.yaml", "is not a file"),
        (tmp_path, "is not a file"),
        (tmp_path / "absent.yaml", "no such file"),
        (Path("/dev/zero"), "is not a file"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
        (tmp_path / "a\0b", "is no possible file name"),
    ):
        with pytest.raises(PipelineError, match=said):
            read_pipeline(path)


WORDS = st.sampled_from(
    [
        *":-[]{},?!&*|>'\"#%@`~\n\t\ufeff",
        "segment",
        "labels",
        "inputs",
        "preprocess",
        "name",
        "<<",
        "1",
        "0x1",
    ]
    + [".inf", ".nan", "yes", "2001-01-01", "---", "..."]
    + [f"!!{tag} " for tag in ("int", "set", "omap", "pairs", "binary", "timestamp", "float", "bool", "null")]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("".join)))
@example("!!int")
@example("{? !!float '' : 1}")
@example("!!timestamp 1")
@example("<<: 3")
@example("=: 1")
@example("{1: a, true: b}")
def test_no_text_raises_anything_but_a_pipeline_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    for read in (load_yaml, read_pipeline):
        try:
            read(path)
        except PipelineError as problem:
            assert str(problem).isprintable()  # noqa: PT017


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["segment", "labels", "inputs", "preprocess", "write", "measure", "name", "layer"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, PLAIN | st.dictionaries(st.integers(-2, 3), st.dictionaries(KEYS, PLAIN))))
def test_no_data_raises_anything_but_a_pipeline_error(tmp_path: Path, content: dict[str, Any]) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        read_pipeline(path)
    except PipelineError as problem:
        assert str(problem).isprintable()  # noqa: PT017


def test_a_file_survives_being_written_and_read(tmp_path: Path) -> None:
    file = PipelineFile.model_validate(
        {
            "segment": {"threshold": {"above": 3.5}},
            "labels": {3: {"name": "a", "layer": 1}},
            "preprocess": ["clip", {"pad": {"margin": 2}}],
        }
    )
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(file.model_dump(mode="json")))
    assert read_pipeline(path) == file


class Window(BaseModel):
    model_config = ConfigDict(extra="forbid")
    patch: int = 1
    overlap: float = 0.5


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    window: Window = Window()
    windows: tuple[Window, ...] | None = None
    by_name: dict[str, list[Window]] = {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"windw": {}}, "windw: there is no 'windw' here; did you mean 'window'?"),
        ({"window": {"pach": 1}}, "window.pach: there is no 'pach' here; did you mean 'patch'?"),
        ({"windows": [{}, {"pach": 1}]}, "windows[1].pach: there is no 'pach' here; did you mean 'patch'?"),
        (
            {"by_name": {"a": [{"ovelap": 1}]}},
            "by_name.a[0].ovelap: there is no 'ovelap' here; did you mean 'overlap'?",
        ),
        ({"window": {"patch": "x"}}, "window.patch: input should be a valid integer"),
    ],
)
def test_a_typo_in_a_model_within_a_model_is_told_with_its_own_names(
    content: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    assert describe(caught.value, Outer).startswith(said)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (
            "{max_thickness: 3}",
            "inputs[0].select.max_thickness: there is no 'max_thickness' here; "
            "did you mean 'max_thickness_mm'?",
        ),
        ("{description: '('}", "inputs[0].select.description: '(' is no regular expression"),
        ("{min_thickness_mm: 3, max_thickness_mm: 1}", "inputs[0].select: no thickness is at least 3 mm"),
        ("{uid: abc}", "inputs[0].select.uid: string should match pattern"),
        ("{min_slices: 0}", "inputs[0].select.min_slices: input should be greater than or equal to 1"),
    ],
)
def test_a_wrong_rule_for_a_series_is_told_by_its_place(tmp_path: Path, select: str, said: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"inputs: [{{name: ct, select: {select}}}]\nsegment: threshold\n")
    with pytest.raises(PipelineError) as caught:
        read_pipeline(path)
    assert said in str(caught.value)


def test_a_rule_for_a_series_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "inputs: [{name: ct, select: {modality: CT, description: 'portal|venous', max_thickness_mm: 3, "
        "image_type: [ORIGINAL], orientation: axial, min_slices: 20}}]\nsegment: threshold\n"
    )
    rule = read_pipeline(path).inputs[0].select
    assert rule is not None
    assert (rule.max_thickness_mm, rule.image_type, rule.orientation) == (3, ("ORIGINAL",), "axial")


# ---- training


def test_what_is_left_out_of_a_training_is_a_good_beginning(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(
        "segment: network\ntraining: {augment: [flip, {rotate: {degrees: 10}}], precision: bf16}\n"
    )
    spec = read_pipeline(path).training
    assert spec is not None
    assert [(call.name, call.parameters) for call in spec.augment] == [
        ("flip", {}),
        ("rotate", {"degrees": 10}),
    ]
    assert (spec.loss, spec.batch, spec.precision) == (None, 2, "bf16")
    assert (spec.epochs, spec.patience, spec.seed) == (None, None, 0)
    path.write_text("segment: network\n")
    assert read_pipeline(path).training is None


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ("{bach: 2}", "training.bach: there is no 'bach' here; did you mean 'batch'?"),
        ("{steps: 2}", "training.steps: there is no 'steps' here"),
        ("{optimizer: sgd}", "training.optimizer: there is no 'optimizer' here; did you mean 'optimiser'?"),
        ("{batch: 0}", "training.batch: input should be greater than or equal to 1, not 0"),
        ("{batch: 2.5}", "training.batch: input should be a valid integer"),
        ("{foreground: 1.01}", "training.foreground: input should be less than or equal to 1, not 1.01"),
        ("{foreground: -0.1}", "training.foreground: input should be greater than or equal to 0"),
        ("{rate: 0}", "training.rate: input should be greater than 0"),
        ("{rate: .nan}", "training.rate: "),
        ("{rate: high}", "training.rate: input should be a valid number"),
        ("{clip: 0}", "training.clip: input should be greater than 0"),
        ("{clip: .nan}", "training.clip: "),
        ("{clip: .inf}", "training.clip: input should be less than or equal to 1000000"),
        ("{averaging: 1}", "training.averaging: input should be less than 1"),
        ("{warm_up: -1}", "training.warm_up: input should be greater than or equal to 0"),
        ("{optimiser: adam}", "training.optimiser: input should be 'adamw' or 'sgd', not 'adam'"),
        ("{schedule: step}", "training.schedule: input should be 'poly' or 'cosine', not 'step'"),
        ("{precision: int8}", "training.precision: input should be 'auto', 'fp32', 'bf16' or 'fp16'"),
        ("{epochs: 0}", "training.epochs: input should be greater than or equal to 1"),
        ("{patience: 0}", "training.patience: input should be greater than or equal to 1"),
        ("{validate_every: 0}", "training.validate_every: input should be greater than or equal to 1"),
        ("{steps_per_epoch: 0}", "training.steps_per_epoch: input should be greater than or equal to 1"),
        ("{seed: 4294967296}", "training.seed: input should be less than 4294967296"),
        ("{loss: [dice, focal]}", "training.loss: a step is a name, or one name with its parameters"),
        ("{augment: flip}", "training.augment: is not a list"),
        ("{augment: [flip, 3]}", "training.augment[1]: a step is a name"),
        ("3", "training: "),
    ],
)
def test_a_wrong_training_is_told_by_its_place(faulty: Faulty, training: str, said: str) -> None:
    assert faulty(f"segment: network\ntraining: {training}\n").startswith(said)
