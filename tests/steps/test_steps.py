from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from strategies import organs

from medseg.errors import PluginError
from medseg.prediction import Measured, Prediction, Wanted
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.steps import Measurement, Postprocessor, Predictor, Preprocessor, Step, Writer
from medseg.volume import Grid, Volume

GRID = Grid((3, 4, 5), np.diag([1.0, 1.0, 2.0, 1.0]))
SHIFTED = Grid((3, 4, 5), GRID.affine + np.array([[0, 0, 0, 0.002]] + 3 * [[0, 0, 0, 0]]))
NOISY = Grid((3, 4, 5), GRID.affine + np.array([[0, 0, 0, 0.0009]] + 3 * [[0, 0, 0, 0]]))


def refused(check: Any, returned: object, wrong: str, **context: Any) -> None:
    with pytest.raises(PluginError, match=wrong) as caught:
        check(returned, **context)
    assert len(str(caught.value).splitlines()) == 1


def image(value: float = 0.0, dtype: Any = np.float32) -> Volume:
    array = np.zeros((1, *GRID.shape), dtype)
    array[0, 1, 1, 1] = value
    return Volume(array, GRID)


# --- Step ------------------------------------------------------------------------------------------------


class Threshold(Step):
    above: float
    """Values above this belong."""

    labels: tuple[str, ...] = ()


def test_a_step_refuses_unknown_missing_and_non_finite_parameters() -> None:
    wrong_ones: list[dict[str, Any]] = [
        {},
        {"above": 1, "abov": 2},
        {"above": "high"},
        {"above": float("nan")},
    ]
    for wrong in wrong_ones:
        with pytest.raises(pydantic.ValidationError):
            Threshold(**wrong)


def test_a_step_is_a_value_with_described_parameters() -> None:
    step = Threshold(above=1)
    assert step == Threshold(above=1.0)
    with pytest.raises(pydantic.ValidationError):
        step.above = 2  # type: ignore[misc]  # the point
    assert Threshold.model_json_schema()["properties"]["above"]["description"] == "Values above this belong."


# --- Preprocessor ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint8])
def test_an_image_of_numbers_passes(dtype: Any) -> None:
    volume = image(1, dtype)
    assert Preprocessor.check(volume) is volume


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_is_refused(value: float) -> None:
    refused(Preprocessor.check, image(value), "NaN or infinite")


def test_what_is_no_image_is_refused() -> None:
    refused(Preprocessor.check, None, "NoneType, not a Volume")
    refused(Preprocessor.check, image().array, "ndarray, not a Volume")
    refused(Preprocessor.check, image(1, bool), "of bool")
    refused(Preprocessor.check, image(1, np.complex64), "of complex64")


# --- labels: Predictor, Postprocessor --------------------------------------------------------------------


def test_labels_on_the_grid_that_was_asked_for_pass() -> None:
    for grid in (GRID, NOISY):
        segmentation = organs(grid)
        assert Postprocessor.check(segmentation, onto=GRID) is segmentation
        prediction = Prediction(segmentation=segmentation)
        assert Predictor.check(prediction, onto=GRID) is prediction


def test_labels_of_the_wrong_type_or_place_are_refused() -> None:
    refused(Postprocessor.check, organs(GRID).array, "ndarray, not a Segmentation", onto=GRID)
    refused(Postprocessor.check, organs(SHIFTED), "not on Grid", onto=GRID)
    refused(Postprocessor.check, organs(GRID.reoriented("LPS")), "not on Grid", onto=GRID)
    refused(Postprocessor.check, organs(GRID.cropped((0, 0, 0), (2, 4, 5))), "not on Grid", onto=GRID)
    refused(Predictor.check, organs(GRID), "Segmentation, not a Prediction", onto=GRID)
    refused(Predictor.check, Prediction(segmentation=organs(SHIFTED)), "not on Grid", onto=GRID)
    refused(Predictor.check, Prediction(segmentation=None), "not a Segmentation", onto=GRID)  # type: ignore[arg-type]  # the point


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_values_without_a_label_are_refused(dtype: Any) -> None:
    table = LabelTable((Label(1, "liver"), Label(2, "lesion", layer=1)))
    array = np.zeros((2, *GRID.shape), dtype)
    array[0, 1, 2, 3] = 1
    array[1, 0, 0, 0] = 2
    segmentation = Segmentation(array, GRID, table)
    Postprocessor.check(segmentation, onto=GRID)
    for layer, value in ((0, 9), (0, 2), (1, 1)):  # unknown, and known but in the other layer
        wrong = array.copy()
        wrong[layer, 2, 3, 4] = value
        refused(
            Postprocessor.check,
            segmentation.replace(array=wrong),
            rf"\[{value}\] in layer {layer}",
            onto=GRID,
        )


def test_objects_without_an_entry_are_refused() -> None:
    table = LabelTable((Label(1, "lesion"), Label(2, "cyst", layer=1)))
    array = np.zeros((2, *GRID.shape), np.uint32)
    array[0, 0, 0, 0], array[1, 1, 1, 1] = 70_000, 4
    objects = (Object(70_000, "lesion"), Object(4, "cyst"))
    segmentation = Segmentation(array, GRID, table, ("objects", "objects"), objects)
    assert Postprocessor.check(segmentation, onto=GRID) is segmentation
    refused(Postprocessor.check, segmentation.replace(objects=objects[1:]), "70000", onto=GRID)
    elsewhere = segmentation.replace(objects=(Object(70_000, "cyst"), Object(4, "cyst")))
    refused(Postprocessor.check, elsewhere, "70000.* in layer 0", onto=GRID)
    nameless = segmentation.replace(objects=(*objects, Object(5, "wart")))
    refused(Postprocessor.check, nameless, "'wart'", onto=GRID)


def test_what_comes_with_a_prediction_is_checked_too() -> None:
    good = organs(GRID)
    unknown = good.replace(array=np.full((2, *GRID.shape), 77, np.uint16))
    refused(Predictor.check, Prediction(segmentation=good, members=(good, unknown)), "77", onto=GRID)
    refused(
        Predictor.check, Prediction(segmentation=good, maps={"entropy": image(np.nan)}), "entropy", onto=GRID
    )
    array: Any = image().array
    refused(Predictor.check, Prediction(segmentation=good, maps={"entropy": array}), "entropy", onto=GRID)
    for volumes in ({"wart": 1.0}, {"liver": float("nan")}, {"liver": -1.0}):
        refused(Predictor.check, Prediction(segmentation=good, soft_ml=volumes), "soft volume", onto=GRID)
    whole = Prediction(segmentation=good, members=(good,), maps={"entropy": image()}, soft_ml={"liver": 1.5})
    assert Predictor.check(whole, onto=GRID) is whole


def test_checking_labels_holds_no_second_volume() -> None:
    import tracemalloc

    grid = Grid((200, 100, 100), np.eye(4))
    table = LabelTable((Label(1, "liver"),))
    segmentation = Segmentation(np.ones((1, *grid.shape), np.uint8), grid, table)
    tracemalloc.start()
    Postprocessor.check(segmentation, onto=grid)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.2 * segmentation.array.nbytes


# --- Measurement -----------------------------------------------------------------------------------------


def measured(value: Any, **more: Any) -> Measured:
    return Measured(label=more.pop("label", "liver"), quantity="volume", value=value, unit="mL", **more)


def test_measurements_pass_and_numpy_numbers_become_plain() -> None:
    def rows() -> Iterator[Measured]:
        yield measured(1.5, interval=(1, 2))
        yield measured(np.float32(2.5))
        yield measured(np.int64(3))
        yield measured(None, flag="empty")
        yield measured("superior")

    checked = Measurement.check(rows(), segmentation=organs(GRID))
    assert [row.value for row in checked] == [1.5, 2.5, 3, None, "superior"]
    assert [type(row.value) for row in checked] == [float, float, int, type(None), str]
    assert Measurement.check((), segmentation=organs(GRID)) == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32("nan"), np.float64("-inf")])
def test_a_number_that_is_none_is_refused(value: Any) -> None:
    refused(Measurement.check, [measured(value)], "use None and a flag", segmentation=organs(GRID))


@pytest.mark.parametrize(
    ("returned", "wrong"),
    [
        (None, "NoneType, not measurements"),
        (measured(1.0), "Measured, not measurements"),
        ([1.0], "float, not Measured"),
        ("text", "str, not Measured"),
        ([measured(1.0, label="livr")], "'livr'"),
        ([measured([1.0])], "list"),
        ([measured(np.ones(2))], "ndarray"),
        ([measured(1.0, interval=(2, 1))], "no interval"),
        ([measured(1.0, interval=(np.nan, 1))], "no interval"),
        ([measured(1.0, interval=(0, np.inf))], "no interval"),
    ],
)
def test_what_is_no_measurement_is_refused(returned: object, wrong: str) -> None:
    refused(Measurement.check, returned, wrong, segmentation=organs(GRID))


# --- Writer ----------------------------------------------------------------------------------------------


def test_paths_in_the_folder_pass(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    paths = [tmp_path / "a.csv", tmp_path / "deep" / "b.nii.gz", tmp_path / "deep" / ".." / "a.csv"]
    for path in paths:
        path.write_text("x")
    assert Writer.check(iter(paths), folder=tmp_path) == tuple(paths)
    assert Writer.check((), folder=tmp_path) == ()


def test_a_folder_reached_through_a_link_is_that_folder(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    (real / "a.csv").write_text("x")
    assert Writer.check([link / "a.csv"], folder=real) == (link / "a.csv",)


def test_paths_outside_the_folder_are_refused(tmp_path: Path) -> None:
    folder, outside = tmp_path / "case", tmp_path / "outside.csv"
    folder.mkdir()
    (tmp_path / "case-2").mkdir()
    (tmp_path / "case-2" / "a.csv").write_text("x")
    outside.write_text("x")
    (folder / "link.csv").symlink_to(outside)
    (folder / "deep").symlink_to(tmp_path / "case-2")
    for path in (
        outside,
        folder / ".." / "outside.csv",
        folder / "link.csv",
        folder / "deep" / "a.csv",
        tmp_path / "case-2" / "a.csv",
        Path(__file__),
    ):
        refused(Writer.check, [path], "not in the folder", folder=folder)


def test_files_that_were_not_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in (
        *(tmp_path / name for name in ("missing.csv", "deep", ".", "dangling", "a\nb")),
        Path("a.csv"),
    ):
        refused(Writer.check, [path], "did not write", folder=tmp_path)


def test_a_link_that_leads_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    refused(Writer.check, [tmp_path / "one"], "did not write", folder=tmp_path)


def test_what_are_no_paths_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    refused(Writer.check, None, "NoneType, not paths", folder=tmp_path)
    refused(Writer.check, str(tmp_path / "a"), "not a Path", folder=tmp_path)
    refused(Writer.check, [str(tmp_path / "a")], "not a Path", folder=tmp_path)


# --- what a plugin author gets for nothing ---------------------------------------------------------------


def test_a_step_without_its_verb_cannot_be_made() -> None:
    class Nothing(Preprocessor):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Nothing()  # type: ignore[abstract]  # the point


def test_wishes_default_to_the_labels_alone() -> None:
    class Count(Measurement):
        def __call__(
            self, volume: Volume, segmentation: Segmentation, prediction: Prediction
        ) -> list[Measured]:
            return [measured(int(segmentation.mask("liver").sum()))]

    class Names(Writer):
        def __call__(self, result: Any, folder: Path) -> list[Path]:
            return []

    assert Count().wants == Names().wants == Wanted()
    assert Names().needs(image()) is None
    segmentation = organs(GRID)
    rows = Count()(image(), segmentation, Prediction(segmentation=segmentation))
    assert Measurement.check(rows, segmentation=segmentation)[0].value == (segmentation.array[0] == 1).sum()
