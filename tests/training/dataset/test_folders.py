from pathlib import Path

import numpy as np
import pytest
from datasets import image, labels, nibabel, nifti, pairs, table

from medseg.errors import InputError
from medseg.training.dataset import open_dataset, read_case
from medseg.training.folds import subjects_folds


def test_images_and_labels_are_matched_by_name(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "boxes", [labels(1, 2), labels(2)])
    nifti(folder / "images" / "late.nii", image(9))
    nifti(folder / "labels" / "orphan.nii.gz", labels(1))
    nifti(folder / "unlabelled" / "x.nii.gz", image(8))
    dataset = open_dataset(folder)
    assert dataset.name == "boxes"
    assert [(case.id, case.labelled) for case in dataset.cases] == [
        ("case0", True),
        ("case1", True),
        ("late", False),
    ]
    assert [case.subject for case in dataset.cases] == ["case0", "case1", "late"]
    assert [label.name for label in dataset.labels] == ["label 1", "label 2"]
    assert dataset.notes[:2] == (
        "1 file in labels/ without an image left aside",
        "1 image in 1 other folder left aside",
    )


def test_other_folders_are_counted_and_not_named(tmp_path: Path) -> None:
    folder = pairs(tmp_path, [labels(1)])
    for name, count in (("Doe_John_1950", 2), ("other", 1), ("empty", 0)):
        (folder / name).mkdir()
        for number in range(count):
            nifti(folder / name / f"{number}.nii.gz", image(8))
    notes = open_dataset(folder).notes
    assert notes[0] == "3 images in 2 other folders left aside"
    assert "Doe" not in " ".join(notes)


def test_a_description_beside_the_data(tmp_path: Path) -> None:
    folder = pairs(tmp_path, [labels(1, 2), labels(3)], names=["p01_left", "p01_right"])
    table(
        folder / "dataset.yaml",
        "name: boxes",
        "inputs: [{name: mri, modality: MR}]",
        "labels: {1: {name: liver, colour: '#dd8265', code: 'SCT:10200004'}, 2: tumour}",
        "ignore: 3",
        r"subjects: {pattern: '^(p\d+)_'}",
        "licence: CC0-1.0",
    )
    dataset = open_dataset(folder)
    assert (dataset.name, dataset.inputs[0].name, dataset.ignore) == ("boxes", "mri", 3)
    assert dataset.labels["liver"].code == "SCT:10200004"
    assert {case.subject for case in dataset.cases} == {"p01"}
    assert dataset.subjects_stated
    assert dataset.statement.licence == "CC0-1.0"
    volume, segmentation, ignore = read_case(dataset.cases[1], dataset)
    assert volume.channels == ("mri",)
    assert volume.source is not None
    assert volume.source.modality == "MR"
    assert segmentation is not None
    assert not segmentation.array.any()
    assert ignore is not None
    assert ignore.sum() == 8


def test_a_description_elsewhere_names_data_and_a_table_of_subjects(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "data", [labels(1)] * 4)
    table(tmp_path / "recipe" / "who.csv", "case,subject", "case0,A", "case1,A", "case2,B", "case3,B")
    file = table(tmp_path / "recipe" / "boxes.yaml", "data: ../data", "labels: [box]", "subjects: who.csv")
    dataset = open_dataset(file)
    assert [case.subject for case in dataset.cases] == ["A", "A", "B", "B"]
    by_hand = table(tmp_path / "other.csv", "case;subject", "case0;A", "case1;B", "case2;A", "case3;B")
    assert [case.subject for case in open_dataset(folder, subjects=by_hand).cases] == ["A", "B", "A", "B"]
    rows = ("case0,A,sharp", "case1,B,soft", "case2,C,", "case3,C,soft")
    kinds = table(tmp_path / "kinds.csv", "case,subject,stratum", *rows)
    strata = [case.stratum for case in open_dataset(folder, subjects=kinds).cases]
    assert strata == ["sharp", "soft", "", "soft"]


def test_names_of_labels_in_a_json(tmp_path: Path) -> None:
    folder = pairs(tmp_path, [labels(1, 2)])
    (folder / "labels.json").write_text('{"labels": {"liver": 1, "tumour": 2}}')
    assert [label.name for label in open_dataset(folder).labels] == ["liver", "tumour"]
    (folder / "labels.json").write_text('{"1": "spleen", "2": "cyst"}')
    assert [label.name for label in open_dataset(folder).labels] == ["spleen", "cyst"]


def test_channels_by_number(tmp_path: Path) -> None:
    for channel in range(2):
        nifti(tmp_path / "imagesTr" / f"a_{channel:04d}.nii.gz", image(channel))
    nifti(tmp_path / "labelsTr" / "a.nii.gz", labels(1))
    dataset = open_dataset(tmp_path)
    assert [spec.name for spec in dataset.inputs] == ["channel-0000", "channel-0001"]
    assert [case.id for case in dataset.cases] == ["a"]
    volume = read_case(dataset.cases[0], dataset).volume
    assert np.array_equal(volume.array, [image(0), image(1)])


def test_faults_are_one_line(tmp_path: Path) -> None:
    folder = pairs(tmp_path / "a", [labels(1)])
    (folder / "labels" / "case0.nii.gz").rename(folder / "labels" / "case0_seg.nii.gz")
    with pytest.raises(InputError, match="names must be equal up to the suffix"):
        open_dataset(folder)
    folder = pairs(tmp_path / "b", [labels(1)])
    nifti(folder / "images" / "case0.nii", image())
    with pytest.raises(InputError, match="'case0' is there twice"):
        open_dataset(folder)
    folder = pairs(tmp_path / "c", [labels(0)])
    with pytest.raises(InputError, match="anything but background"):
        open_dataset(folder)
    (tmp_path / "d").mkdir()
    with pytest.raises(InputError, match="is not a dataset; give a folder with"):
        open_dataset(tmp_path / "d")
    with pytest.raises(InputError, match="does not exist"):
        open_dataset(tmp_path / "e")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lables: [a]", "did you mean 'labels'"),
        ("labels: {1: a, 2: a}", "share the name"),
        ("labels: {a: x}", "not a value of the mask"),
        ("labels: {a: 0}", "none but the background"),
        ("labels: {a: [1, 1]}", "different values"),
        ("labels: {a: 70000}", "cannot have the value 70000"),
        ("labels: {a: 1, ignore: 1}", "cannot have the value 1"),
        ("labels: {1: {name: a, color: red}}", "colour"),
        ("labels: liver", "must be names and values"),
        ("subjects: {pattern: '('}", "no regular expression"),
        ("subjects: {pattern: 'case'}", "must have one group"),
        ("subjects: {pattern: 'box(.)'}", "finds no subject"),
        ("subjects: absent.csv", "does not exist"),
        ("inputs: [{name: a}, {name: b}]", "names 2 inputs"),
    ],
)
def test_a_wrong_description_is_one_line(tmp_path: Path, line: str, said: str) -> None:
    folder = pairs(tmp_path, [labels(1)])
    table(folder / "dataset.yaml", line)
    with pytest.raises(InputError, match=said) as problem:
        open_dataset(folder)
    assert "\n" not in str(problem.value)


def test_a_table_of_subjects_must_have_every_case_once(tmp_path: Path) -> None:
    folder = pairs(tmp_path, [labels(1)] * 2)
    with pytest.raises(InputError, match="no subject for 1 of 2 cases, the first is 'case1'"):
        open_dataset(folder, subjects=table(tmp_path / "a.csv", "case,subject", "case0,A"))
    with pytest.raises(InputError, match="has another subject above"):
        open_dataset(folder, subjects=table(tmp_path / "b.csv", "case,subject", "case0,A", "case0,B"))
    two = table(tmp_path / "d.csv", "case,subject,stratum", "case0,A,x", "case0,A,y")
    with pytest.raises(InputError, match="line 3: case 'case0' has another stratum above"):
        open_dataset(folder, subjects=two)
    with pytest.raises(InputError, match="no column 'subject'"):
        open_dataset(folder, subjects=table(tmp_path / "c.csv", "case,person", "case0,A"))


def test_hippocampi_are_split_by_subject(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "mr_hippocampus_msd"
    ids = sorted(path.name[:-7] for path in (folder / "images").glob("*.nii.gz"))
    rows = [f"{each},{(int(each[-3:]) + 1) // 2}" for each in ids]
    subjects = table(tmp_path / "subjects.csv", "case,subject", *rows)
    file = table(
        tmp_path / "hippocampus.yaml",
        f"data: {folder}",
        "inputs: [{name: mri, modality: MR}]",
        "labels: {1: anterior, 2: posterior}",
        f"subjects: {subjects}",
    )
    dataset = open_dataset(file)
    assert len(dataset.cases) == 194
    assert dataset.notes == ("1 image in 1 other folder left aside",)
    assert dataset.case("hippocampus_003").subject == dataset.case("hippocampus_004").subject == "2"
    folds = subjects_folds(dataset.cases, 5)
    assert sorted(map(len, folds)) == [38, 39, 39, 39, 39]
    volume, segmentation, _ = read_case(dataset.case("hippocampus_003"), dataset)
    assert segmentation is not None
    assert volume.grid == segmentation.grid
    stored = np.asarray(nibabel.load(folder / "labels/hippocampus_003.nii.gz").dataobj)
    assert np.array_equal(segmentation.array[0], stored)
