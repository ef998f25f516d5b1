import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from datasets import AFFINE, SHAPE, decathlon, image, labels, nifti, nnunet, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import InputError
from medseg.io.nifti import write_volume
from medseg.training.dataset import open_dataset, read_case
from medseg.volume import Grid, Volume


def test_a_decathlon_folder(tmp_path: Path) -> None:
    dataset = open_dataset(decathlon(tmp_path, [labels(1, 2), labels(2, 1)]))
    assert dataset.name == "Brain"
    assert [(spec.name, spec.modality) for spec in dataset.inputs] == [("mri", "MR")]
    assert {label.name: label.value for label in dataset.labels} == {"Anterior": 1, "Posterior": 2}
    assert [case.id for case in dataset.trainable] == ["brain_000", "brain_001"]
    assert [(case.id, case.split) for case in dataset.cases if not case.labelled] == [("brain_002", "test")]
    assert (dataset.statement.licence, dataset.statement.reference) == (
        "CC-BY-SA 4.0",
        "https://example.org/boxes",
    )
    assert not dataset.subjects_stated
    assert open_dataset(tmp_path / "dataset.json") == dataset


def test_volumes_of_a_4d_file_are_inputs_in_order(tmp_path: Path) -> None:
    folder = decathlon(tmp_path, [labels(1)], modalities=("FLAIR", "T1w", "CT"))
    dataset = open_dataset(folder)
    assert [(spec.name, spec.modality) for spec in dataset.inputs] == [
        ("flair", "MR"),
        ("t1w", "MR"),
        ("ct", "CT"),
    ]
    volume, segmentation, ignore = read_case(dataset.cases[0], dataset)
    assert volume.channels == ("flair", "t1w", "ct")
    assert np.array_equal(volume.array, [image(0, 100), image(0, 200), image(0, 300)])
    assert ignore is None
    assert segmentation is not None
    assert np.array_equal(segmentation.array, labels(1)[None])
    assert volume.source is not None
    assert volume.source.decided == ()


def test_channels_of_an_image_are_inputs_too(tmp_path: Path) -> None:
    folder = decathlon(tmp_path, [labels(1)], modalities=("T1", "T2"))
    array = np.stack([image(0), image(1)])
    write_volume(Volume(array, Grid(SHAPE, AFFINE), ("x", "y")), folder / "imagesTr" / "brain_000.nii.gz")
    dataset = open_dataset(folder)
    volume = read_case(dataset.cases[0], dataset).volume
    assert volume.channels == ("t1", "t2")
    assert np.array_equal(volume.array, array)


def test_a_4d_file_of_another_number_of_volumes_is_refused(tmp_path: Path) -> None:
    folder = decathlon(tmp_path, [labels(1)], modalities=("T1", "T2"))
    nifti(folder / "imagesTr" / "brain_000.nii.gz", np.stack([image()] * 3, axis=-1))
    dataset = open_dataset(folder)
    with pytest.raises(InputError, match="holds 3 volumes, the dataset names 2 inputs"):
        read_case(dataset.cases[0], dataset)


def test_what_a_file_claims_of_its_cases_is_compared(tmp_path: Path) -> None:
    folder = nnunet(tmp_path, [labels(1)], channels=["CT"], names={"a": 1}, numTraining=3)
    assert open_dataset(folder).notes == ('"numTraining" is 3, and there are 1 cases to train on',)


def test_the_first_nnunets_names_of_files(tmp_path: Path) -> None:
    folder = decathlon(tmp_path, [labels(1)], modalities=("T1", "T2"))
    for channel in range(2):
        nifti(folder / "imagesTr" / f"brain_000_{channel:04d}.nii.gz", image(channel))
    (folder / "imagesTr" / "brain_000.nii.gz").unlink()
    dataset = open_dataset(folder)
    assert dataset.cases[0].id == "brain_000"
    assert np.array_equal(read_case(dataset.cases[0], dataset).volume.array, [image(0), image(1)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 40) | st.text(max_size=6) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("name", "modality", "channel_names", "labels", "training", "test", "dataset", "file_ending")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.booleans())
def test_any_json_is_opened_or_refused_in_one_line(content: dict[str, object], sound: bool) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "imagesTr").mkdir()
        told = {**content, "channel_names": {"0": "CT"}, "labels": {"a": 1}} if sound else content
        (Path(folder) / "dataset.json").write_text(json.dumps(told))
        (Path(folder) / "imagesTr" / "a_0000.nii.gz").touch()
        try:
            open_dataset(folder)
        except InputError as problem:
            assert "\n" not in str(problem)  # noqa: PT017 - it may be opened, too


def test_a_raw_folder_of_nnunet(tmp_path: Path) -> None:
    folder = nnunet(
        tmp_path, [labels(1, 2)] * 2, channels=["CT", "PET"], names={"background": 0, "a": 1, "b": 2}
    )
    nifti(folder / "imagesTs" / "case_9_0000.nii.gz", image(9))
    nifti(folder / "imagesTs" / "case_9_0001.nii.gz", image(9))
    dataset = open_dataset(folder)
    assert [(case.id, case.split, case.labelled) for case in dataset.cases] == [
        ("case_0", None, True),
        ("case_1", None, True),
        ("case_9", "test", False),
    ]
    assert [path.name for path in dataset.cases[0].images.values()] == [
        "case_0_0000.nii.gz",
        "case_0_0001.nii.gz",
    ]
    volume, segmentation, _ = read_case(dataset.cases[0], dataset)
    assert volume.channels == ("ct", "pet")
    assert segmentation is not None
    assert segmentation.array.dtype == np.uint8


def test_regions_get_layers_and_the_ignored_value_a_mask(tmp_path: Path) -> None:
    names = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
    mask = labels(1, 2, 3)
    mask[6:, 5:] = 4
    folder = nnunet(tmp_path, [mask], channels=["T1"], names=names, regions_class_order=[1, 2, 3])
    dataset = open_dataset(folder)
    assert [(label.value, label.name, label.layer) for label in dataset.labels] == [
        (1, "whole", 0),
        (2, "core", 1),
        (3, "enhancing", 2),
    ]
    assert dataset.overlapping
    assert dataset.ignore == 4
    _, segmentation, ignore = read_case(dataset.cases[0], dataset)
    assert segmentation is not None
    assert np.array_equal(segmentation.mask("whole"), np.isin(mask, (1, 2, 3)))
    assert np.array_equal(segmentation.mask("core"), np.isin(mask, (2, 3)))
    assert np.array_equal(segmentation.mask("enhancing"), mask == 3)
    assert ignore is not None
    assert np.array_equal(ignore, mask == 4)


def test_cases_by_a_dataset_of_paths(tmp_path: Path) -> None:
    nifti(tmp_path / "elsewhere" / "x.nii.gz", image())
    nifti(tmp_path / "elsewhere" / "y.nii.gz", labels(1))
    paths = {"images": ["../elsewhere/x.nii.gz"], "label": "../elsewhere/y.nii.gz"}
    folder = nnunet(tmp_path / "raw", [], channels=["MR"], names={"a": 1}, dataset={"first": paths})
    dataset = open_dataset(folder)
    assert [case.id for case in dataset.cases] == ["first"]
    assert read_case(dataset.cases[0], dataset).segmentation is not None


def test_colour_pictures_are_one_input_of_three_channels(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (6, 5, 3), np.uint8)
    mask = np.zeros((6, 5), np.uint8)
    mask[1:3] = 1
    folder = nnunet(
        tmp_path / "raw", [], channels=["R", "G", "B"], names={"background": 0, "road": 1}, file_ending=".png"
    )
    picture(folder / "imagesTr" / "a_0000.png", colours)
    picture(folder / "labelsTr" / "a.png", mask)
    dataset = open_dataset(folder)
    assert [spec.name for spec in dataset.inputs] == ["image"]
    volume, segmentation, _ = read_case(dataset.cases[0], dataset)
    assert volume.channels == ("red", "green", "blue")
    assert np.array_equal(volume.array[..., 0], colours.transpose(2, 0, 1))
    assert segmentation is not None
    assert np.array_equal(segmentation.array[0, ..., 0], mask)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "must hold an object"),
        ("{", "not valid JSON"),
        ('{"labels": {"a": 1}}', 'neither "modality" nor "channel_names"'),
        ('{"modality": {"0": "CT"}, "training": [3]}', r"training\[0\]"),
        ('{"channel_names": {"0": "CT"}, "labels": {"a": 1}}', "no folder imagesTr"),
        ('{"channel_names": {"0": "CT"}, "labels": {"a": "b"}, "dataset": {"x": 1}}', "images"),
    ],
)
def test_what_is_no_dataset_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=said) as problem:
        open_dataset(tmp_path)
    assert "\n" not in str(problem.value)
