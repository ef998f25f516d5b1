from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.assemble import assemble
from medseg.config import PipelineFile
from medseg.errors import InputError, MedsegError, PluginError
from medseg.pipeline import Pipeline, Stage, blamed, walk, write
from medseg.plugin.catalog import discover
from medseg.prediction import Measured, Plan, Prediction, Resources, Result, Wanted
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.steps import Measurement, Postprocessor, Predictor, Preprocessor, Segmenter, Step, Writer
from medseg.volume import Grid, Volume

GRID = Grid((6, 5, 4), np.diag([1.0, 2.0, 5.0, 1.0]))
Made = Callable[..., Pipeline]


@pytest.fixture
def image() -> Volume:
    """24 of 120 voxels are 100, the others 0; a voxel is 0.01 mL."""
    array = np.zeros((1, *GRID.shape), np.float32)
    array[0, 1:3, 1:4, :] = 100
    return Volume(array, GRID)


@pytest.fixture
def made(install: Callable[..., None]) -> Made:
    """`made(postprocess=["moves-grid"])`: a pipeline of good and misbehaving fakes."""
    install("good", "misbehaving")
    catalog = discover()

    def pipeline(**content: Any) -> Pipeline:
        whole = {"segment": {"bright": {"level": 50}}, "measure": ["voxels"], "write": ["note"], **content}
        return assemble(PipelineFile.model_validate(whole), catalog)

    return pipeline


def walked(pipeline: Pipeline, image: Volume) -> tuple[Prediction, Segmentation, tuple[Measured, ...]]:
    with pipeline.segment.step.open(Resources()) as predictor:
        return walk(pipeline, image, predictor)


def result_of(image: Volume, pipeline: Pipeline) -> Result:
    prediction, segmentation, rows = walked(pipeline, image)
    return Result(
        case_id="a",
        volume=image,
        prediction=prediction,
        segmentation=segmentation,
        measurements=rows,
        provenance={},
    )


def test_a_walk_from_image_to_file(made: Made, image: Volume, tmp_path: Path) -> None:
    pipeline = made(preprocess=[{"scale": {"by": 2}}], postprocess=["smooth"])
    result = result_of(image, pipeline)
    assert result.measurements == (Measured(label="bright", quantity="voxels", value=24),)
    assert result.prediction.soft_ml == {"bright": pytest.approx(0.24)}
    assert write(pipeline.write, result, tmp_path) == (tmp_path / "note.txt",)
    assert (tmp_path / "note.txt").read_text() == "1 measurements\n"


LOG: list[tuple[str, float]] = []


class Add(Preprocessor):
    """Adds, and notes what it was given."""

    amount: float

    def __call__(self, volume: Volume) -> Volume:
        LOG.append((f"add {self.amount:g}", float(volume.array.max())))
        return volume.replace(array=volume.array + self.amount)


class Sees(Predictor):
    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        return Plan(device="cpu", peak_bytes=0)

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        LOG.append((f"segment, entropy {'entropy' in wanted.reductions}", float(volume.array.max())))
        table = LabelTable((Label(1, "one"),))
        return Prediction(segmentation=Segmentation.from_masks({"one": volume.array[0] > 0}, onto, table))


class Sight(Segmenter):
    """Notes what it was given."""

    def labels(self) -> LabelTable:
        return LabelTable((Label(1, "one"),))

    @contextmanager
    def open(self, resources: Resources) -> Iterator[Predictor]:
        yield Sees()


class Keep(Postprocessor):
    """Notes what it was given."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        LOG.append(("keep", float(volume.array.max())))
        return segmentation


class Count(Measurement):
    """Notes what it was given; its rows come late."""

    @property
    def wants(self) -> Wanted:
        return Wanted(reductions=frozenset({"entropy"}))

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterator[Measured]:
        LOG.append(("count", float(volume.array.max())))
        yield Measured(label="one", quantity="voxels", value=np.int64(3))  # type: ignore[arg-type]  # as authors will


class Save(Writer):
    """Notes what it was given."""

    picky: bool = False

    def needs(self, volume: Volume) -> str | None:
        return "colour" if self.picky else None

    def __call__(self, result: Result, folder: Path) -> list[Path]:
        LOG.append(("save", float(len(result.measurements))))
        return []


def stage(place: str, step: Step, distribution: str = "other") -> Stage[Any]:
    return Stage(place, type(step).__name__.lower(), distribution, "2", step, {})


def test_the_order_is_that_of_the_file_and_later_steps_see_the_image_as_read(
    image: Volume, tmp_path: Path
) -> None:
    LOG.clear()
    watched: list[str] = []

    @contextmanager
    def watch(seen: Stage[Step]) -> Iterator[None]:
        watched.append(f"+{seen.place}")
        yield
        watched.append(f"-{seen.place}")

    sight = stage("segment", Sight())
    pipeline = Pipeline(
        inputs=(),
        labels=LabelTable((Label(1, "one"),)),
        preprocess=(stage("preprocess[0]", Add(amount=5)), stage("preprocess[1]", Add(amount=1))),
        segment=sight,
        postprocess=(stage("postprocess[0]", Keep()),),
        measure=(stage("measure[0]", Count()),),
        write=(stage("write[0]", Save()), stage("write[1]", Save(picky=True))),
    )
    prediction, segmentation, rows = walk(pipeline, image, Sees(), watch=watch)
    result = Result(
        case_id="a",
        volume=image,
        prediction=prediction,
        segmentation=segmentation,
        measurements=rows,
        provenance={},
    )
    assert write(pipeline.write, result, tmp_path, watch=watch) == ()
    assert LOG == [
        ("add 5", 100.0),
        ("add 1", 105.0),
        ("segment, entropy True", 106.0),
        ("keep", 100.0),
        ("count", 100.0),
        ("save", 1.0),
    ]
    places = ["preprocess[0]", "preprocess[1]", "segment", "postprocess[0]", "measure[0]", "write[0]"]
    assert watched == [sign + place for place in places for sign in "+-"]
    assert type(rows[0].value) is int
    assert [s.place for s in pipeline.stages] == [*places, "write[1]"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"preprocess": ["gives-none"]}, "returned NoneType, not a Volume"),
        ({"preprocess": ["gives-array"]}, "returned ndarray, not a Volume"),
        ({"preprocess": ["gives-nan"]}, "returned an image with NaN or infinite values"),
        ({"preprocess": ["gives-bool"]}, "returned an image of bool"),
        ({"preprocess": ["writes-image"]}, "failed: ValueError: assignment destination is read-only"),
        ({"preprocess": ["raises-value"]}, "failed: ValueError: first line second line"),
        ({"preprocess": ["raises-key"]}, "failed: KeyError: 'x'"),
        ({"preprocess": ["raises-nothing"]}, "failed: RuntimeError"),
        ({"preprocess": ["exits"]}, "failed: SystemExit"),
        ({"segment": "none"}, "returned NoneType, not a Prediction"),
        ({"segment": "moved"}, "returned labels on Grid("),
        ({"segment": "unknown-label"}, "returned labels [7] in layer 0 that its table does not know"),
        ({"segment": "more-labels"}, "returned labels that were not announced: "),
        ({"segment": "nan-map"}, "returned a map 'entropy' that is not"),
        ({"postprocess": ["moves-grid"]}, "returned labels on Grid("),
        ({"postprocess": ["loses-labels"]}, "returned ndarray, not a Segmentation"),
        ({"postprocess": ["invents-label"]}, "returned labels [9] in layer 0 that its table does not know"),
        ({"postprocess": ["writes-labels"]}, "failed: ValueError: assignment destination is read-only"),
        ({"postprocess": [{"repeat": {"step": "writes-labels"}}]}, "failed: ValueError"),
        ({"measure": ["nan-row"]}, "measured mean of 'bright' as nan"),
        ({"measure": ["unknown-row"]}, "measured 'spleeen', which is no label"),
        ({"measure": ["no-rows"]}, "returned NoneType, not measurements"),
        ({"measure": ["wrong-row"]}, "yielded float, not Measured"),
        ({"measure": ["late"]}, "failed: ZeroDivisionError: in row 2"),
        ({"measure": ["wants-fails"]}, "failed: LookupError: not configured"),
        ({"measure": ["wants-nothing"]}, "wants NoneType, not a Wanted"),
        ({"write": ["absent"]}, "reported 'never.txt', which it did not write"),
        ({"write": ["outside"]}, "which is not in the folder it was given"),
        ({"write": ["link"]}, "which is not in the folder it was given"),
        ({"write": ["no-paths"]}, "reported 'name.txt', which is not a Path"),
        ({"write": ["needs-fails"]}, "failed: LookupError: not configured"),
        ({"write": ["note", "borrows"]}, "reported 'note.txt', which another writer wrote before it"),
    ],
    ids=str,
)
def test_whatever_a_step_does_wrong_is_blamed_on_it(
    made: Made, image: Volume, tmp_path: Path, content: dict[str, Any], said: str
) -> None:
    pipeline = made(**content)
    ((key, value),) = content.items()
    name = value if isinstance(value, str) else value[-1] if isinstance(value[-1], str) else "repeat"
    place = key if key == "segment" else f"{key}[{len(value) - 1}]"
    before = image.array.copy()
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(PluginError) as caught:
        write(pipeline.write, result_of(image, pipeline), folder)
    whole = "; ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert said in whole
    assert f"{place}: {name} (fake-" in whole
    assert " 1.2)" in whole
    assert whole.count(f"{place}: ") == 1
    assert whole.isprintable()
    if "failed: " in said:
        assert caught.value.__cause__ is not None
    np.testing.assert_array_equal(image.array, before)


def test_what_a_step_refuses_on_purpose_stays_what_it_is(made: Made, image: Volume) -> None:
    with pytest.raises(InputError, match=r"^too small") as caught:
        walked(made(preprocess=["scale", "refuses"]), image)
    assert caught.value.__notes__ == ["preprocess[1]: refuses (fake-misbehaving 1.2)"]


@pytest.mark.parametrize("problem", [ValueError("x"), KeyError("x"), ZeroDivisionError(), SystemExit(2)])
def test_a_failure_of_our_own_step_stays_what_it_is_with_a_note(problem: BaseException) -> None:
    with pytest.raises(type(problem)) as caught, blamed(stage("preprocess[0]", Keep(), "medseg")):
        raise problem
    assert caught.value is problem
    assert problem.__notes__ == ["preprocess[0]: keep (medseg 2)"]


@pytest.mark.parametrize("problem", [MemoryError(), MedsegError("x"), PluginError("x")])
def test_memory_and_medsegs_own_errors_keep_their_type(problem: BaseException) -> None:
    with pytest.raises(type(problem)) as caught, blamed(stage("write[0]", Keep())):
        raise problem
    assert caught.value is problem
    assert problem.__notes__ == ["write[0]: keep (other 2)"]


def test_an_interruption_passes_untouched() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, blamed(stage("write[0]", Keep())):
        raise KeyboardInterrupt
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("segmenter", ["bright", "boxed", "nameless"])
def test_the_names_of_the_file_hold_everywhere(made: Made, image: Volume, segmenter: str) -> None:
    labels = {1: {"name": "bone", "colour": "#ffffff"}, 2: {"name": "hole"}}
    pipeline = made(segment={segmenter: {"level": 50}}, labels=labels, postprocess=["smooth"])
    prediction, segmentation, rows = walked(pipeline, image)
    assert [label.name for label in segmentation.labels] == ["bone", "hole"]
    assert [(row.label, row.value) for row in rows] == [("bone", 24), ("hole", 0)]
    assert prediction.soft_ml == {"bone": pytest.approx(0.24)}
    assert [m.mask("bone").sum() for m in (prediction.segmentation, *prediction.members)] == [24, 24]
    objects = [Object(1, "bone", 0.5)] if segmenter == "boxed" else []
    assert list(segmentation.objects) == objects


def test_layers_stay_apart_under_new_names() -> None:
    old = LabelTable((Label(1, "a"), Label(2, "b", layer=1)))
    both = np.ones(GRID.shape, bool)
    found = Segmentation.from_masks({"a": both, "b": both}, GRID, old)
    new = found.renamed(LabelTable((Label(1, "b"), Label(2, "a", layer=1), Label(3, "c"))))
    assert new.array.shape[0] == 2
    assert [int(new.mask(name).sum()) for name in "abc"] == [120, 120, 0]
    with pytest.raises(MedsegError, match=r"no label is named for 2 \('b'\) in layer 1"):
        found.renamed(LabelTable((Label(1, "a"), Label(2, "b"))))
