from pathlib import Path

import numpy as np
import pytest
from datasets import SHAPE, image, labels, nifti, picture, table

from medseg.errors import InputError
from medseg.training.dataset import open_dataset, read_case


def test_every_other_column_is_an_input(tmp_path: Path) -> None:
    for number in range(2):
        nifti(tmp_path / f"x{number}.nii.gz", image(number))
        nifti(tmp_path / f"y{number}.nii.gz", image(number, 50))
        nifti(tmp_path / f"m{number}.nii.gz", labels(1))
    file = table(
        tmp_path / "cases.csv",
        "case,subject,T1w,flair,label,split",
        "a,P1,x0.nii.gz,y0.nii.gz,m0.nii.gz,train",
        "b,P2,x1.nii.gz,y1.nii.gz,m1.nii.gz,val",
    )
    (tmp_path / "cases.json").write_text('{"labels": {"box": 1}}')
    dataset = open_dataset(file)
    assert [(spec.name, spec.modality) for spec in dataset.inputs] == [("t1w", "MR"), ("flair", "MR")]
    assert [(case.id, case.subject, case.split) for case in dataset.cases] == [
        ("a", "P1", "train"),
        ("b", "P2", "validation"),
    ]
    assert dataset.subjects_stated
    assert dataset.notes == ()
    volume, segmentation, _ = read_case(dataset.cases[1], dataset)
    assert volume.channels == ("t1w", "flair")
    assert np.array_equal(volume.array, [image(1), image(1, 50)])
    assert segmentation is not None
    assert segmentation.mask("box").sum() == 8


def test_inputs_named_in_a_description_leave_other_columns(tmp_path: Path) -> None:
    nifti(tmp_path / "x.nii.gz", image())
    nifti(tmp_path / "m.nii.gz", labels(1))
    file = table(tmp_path / "cases.csv", "ct,label,age", "x.nii.gz,m.nii.gz,63")
    table(tmp_path / "cases.yaml", "inputs: [{name: ct, modality: CT}]", "labels: [box]")
    dataset = open_dataset(file)
    assert dataset.notes == ("columns not used: age",)
    assert [case.id for case in dataset.cases] == ["x"]


def test_a_mask_for_each_structure(tmp_path: Path) -> None:
    axon, myelin = labels(1) * 255, labels(0, 7)
    nifti(tmp_path / "x.nii.gz", image())
    nifti(tmp_path / "a.nii.gz", axon)
    nifti(tmp_path / "m.nii.gz", myelin)
    dataset = open_dataset(
        table(tmp_path / "c.csv", "image,label:axon,label:myelin", "x.nii.gz,a.nii.gz,m.nii.gz")
    )
    assert [(label.value, label.name) for label in dataset.labels] == [(1, "axon"), (2, "myelin")]
    segmentation = read_case(dataset.cases[0], dataset).segmentation
    assert segmentation is not None
    assert np.array_equal(segmentation.mask("axon"), axon > 0)
    assert np.array_equal(segmentation.mask("myelin"), myelin > 0)
    assert dataset.cases[0].files.keys() == {"image", "label:axon", "label:myelin"}


def test_structures_that_overlap_are_refused_unless_layers_are_asked_for(tmp_path: Path) -> None:
    nifti(tmp_path / "x.nii.gz", image())
    nifti(tmp_path / "a.nii.gz", labels(1, 1))
    nifti(tmp_path / "m.nii.gz", labels(1))
    file = table(tmp_path / "c.csv", "image,label:organ,label:tumour", "x.nii.gz,a.nii.gz,m.nii.gz")
    dataset = open_dataset(file)
    with pytest.raises(InputError, match="case x: masks 'organ' and 'tumour' overlap in 8 voxels, 100% of"):
        read_case(dataset.cases[0], dataset)
    table(tmp_path / "c.yaml", "overlap: layers")
    dataset = open_dataset(file)
    segmentation = read_case(dataset.cases[0], dataset).segmentation
    assert segmentation is not None
    assert segmentation.array.shape == (2, *SHAPE)
    assert (segmentation.mask("organ").sum(), segmentation.mask("tumour").sum()) == (16, 8)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["image"], "has no column 'label'"),
        (["label", "m.nii.gz"], "no column with images"),
        (["image,label,label:a", "x,y,z"], "keep one kind"),
        (["image,image,label", "x,y,z"], "is there twice"),
        (["image,label", "x"], "line 2: has 1 cells"),
        (["image,label", ",m.nii.gz"], "line 2: 'image' is empty"),
        (["image,label,split", "x,y,maybe"], "line 2: split 'maybe'"),
        (["image,label,case", "x,y,../z"], "cannot be a case id"),
        (["image,label,case", "x,y,a", "x,y,A"], "two cases are called"),
        (["image,label:a,label:b", "x.png,y.png,"], "'label:b' is empty"),
        (["image,label"], "holds no cases"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, rows: list[str], said: str) -> None:
    file = table(tmp_path / "c.csv", *rows)
    with pytest.raises(InputError, match=said) as problem:
        open_dataset(file)
    assert "\n" not in str(problem.value)


def test_real_masks_with_smoothed_edges(tmp_path: Path, real_data: Path) -> None:
    stem = real_data / "em_axon_sem" / "sub-rat2_sample-data5_SEM"
    file = table(
        tmp_path / "em.csv",
        "image,label:axon,label:myelin",
        f"{stem}.png,{stem}_seg-axon-manual.png,{stem}_seg-myelin-manual.png",
    )
    dataset = open_dataset(file)
    told: list[str] = []
    segmentation = read_case(dataset.cases[0], dataset, tell=told.append).segmentation
    assert segmentation is not None
    assert len(told) == 3
    assert "masks 'axon' and 'myelin' overlap in 3 voxels, which become 'myelin'" in told
    # counted from the files: 255 and the two values above half of it, less what became myelin
    assert (segmentation.mask("axon").sum(), segmentation.mask("myelin").sum()) == (145148 - 3, 211682)
    table(tmp_path / "em.yaml", "threshold: 200")
    strict = read_case(dataset.cases[0], open_dataset(file)).segmentation
    assert strict is not None
    assert strict.mask("myelin").sum() == 211680


def test_real_spinal_cords_of_three_resolutions(tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "mr_spinalcord_sct"
    rows = [f"{name},{folder / name}.nii.gz,{folder / name}_seg.nii.gz" for name in ("t1", "t2", "t2s_gm")]
    dataset = open_dataset(table(tmp_path / "cord.csv", "case,image,label", *rows))
    assert [label.name for label in dataset.labels] == ["label 1"]
    assert [read_case(case, dataset).volume.grid.axis_codes for case in dataset.cases] == [
        "RAS",
        "PSR",
        "LAS",
    ]


def test_pictures_black_and_white(tmp_path: Path) -> None:
    mask = np.zeros((6, 5), np.uint8)
    mask[1:3] = 255
    picture(tmp_path / "x.png", np.arange(30, dtype=np.uint8).reshape(6, 5))
    picture(tmp_path / "m.png", mask)
    file = table(tmp_path / "c.csv", "image,label", "x.png,m.png")
    dataset = open_dataset(file)
    assert [(label.value, label.name) for label in dataset.labels] == [(1, "label 1")]
    assert dataset.values == {"label 1": (255,)}
    unnamed = read_case(dataset.cases[0], dataset).segmentation
    assert unnamed is not None
    assert np.array_equal(unnamed.array[0, ..., 0], mask // 255)
    table(tmp_path / "c.yaml", "labels: [cell]", "pixel_size: 0.5")
    dataset = open_dataset(file)
    volume, segmentation, _ = read_case(dataset.cases[0], dataset)
    assert segmentation is not None
    assert volume.grid.unit == "mm"
    assert np.array_equal(segmentation.array[0, ..., 0], mask // 255)
