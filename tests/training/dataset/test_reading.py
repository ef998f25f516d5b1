import json
from pathlib import Path

import numpy as np
import pytest
from datasets import AFFINE, SHAPE, image, labels, nibabel, nifti, pairs, picture, table
from results import result_of

from medseg.builtin.write.seg_nrrd import SegNrrd
from medseg.errors import GeometryError, InputError
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.training.dataset import Dataset, open_dataset, read_case
from medseg.volume import Grid


def one_case(tmp_path: Path, mask: np.ndarray, affine: np.ndarray = AFFINE) -> Dataset:
    """A case of one label, 1, whose mask may lie elsewhere."""
    nifti(tmp_path / "images" / "a.nii.gz", image())
    nifti(tmp_path / "labels" / "a.nii.gz", mask, affine)
    table(tmp_path / "dataset.yaml", "labels: [box]")
    return open_dataset(tmp_path)


@pytest.mark.parametrize("codes", ["LPS", "SRA", "PIR", "ASL"])
def test_a_mask_in_another_axis_order_is_the_same_mask(tmp_path: Path, codes: str) -> None:
    mask = labels(1, size=3)
    turned = nibabel.Nifti1Image(mask, AFFINE).as_reoriented(
        nibabel.orientations.ornt_transform(
            nibabel.io_orientation(AFFINE), nibabel.orientations.axcodes2ornt(tuple(codes))
        )
    )
    dataset = one_case(tmp_path, np.asarray(turned.dataobj), turned.affine)
    told: list[str] = []
    volume, segmentation, _ = read_case(dataset.cases[0], dataset, tell=told.append)
    assert segmentation is not None
    assert segmentation.grid == volume.grid
    assert np.array_equal(segmentation.array[0], mask)
    assert told == []


def test_a_mask_beside_the_image_is_refused_with_the_distance(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += (3.0, 4.0, 0.0)
    dataset = one_case(tmp_path, labels(1), moved)
    with pytest.raises(GeometryError, match="case a: its mask: lies up to 5 mm beside the image") as problem:
        read_case(dataset.cases[0], dataset)
    assert "1.5 x 2 x 3 mm" in str(problem.value)


def test_a_mask_of_another_shape_or_spacing_is_refused_with_both(tmp_path: Path) -> None:
    dataset = one_case(tmp_path / "a", labels(1)[:-1])
    with pytest.raises(GeometryError, match=r"7 x 7 x 6 voxels of .* the image has 8 x 7 x 6 voxels of"):
        read_case(dataset.cases[0], dataset)
    dataset = one_case(tmp_path / "b", labels(1), np.diag([1.5, 2.0, 3.3, 1]))
    with pytest.raises(GeometryError, match="lies up to"):
        read_case(dataset.cases[0], dataset)


def test_rounding_of_a_header_is_told_and_taken(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 0.06  # 0.04 voxels
    dataset = one_case(tmp_path, labels(1), moved)
    told: list[str] = []
    segmentation = read_case(dataset.cases[0], dataset, tell=told.append).segmentation
    assert segmentation is not None
    assert np.array_equal(segmentation.array[0], labels(1))
    assert told == [
        "its mask: lies up to 0.06 mm beside the image, less than a tenth of a voxel: taken as equal"
    ]


def test_a_value_that_no_label_has_is_refused(tmp_path: Path) -> None:
    dataset = one_case(tmp_path, labels(1, 7, 9))
    with pytest.raises(InputError, match="case a: its mask holds 7, 9, which no label has"):
        read_case(dataset.cases[0], dataset)


def test_fractions_and_negative_values_are_no_labels(tmp_path: Path) -> None:
    for name, mask in (("a", labels(1) * 0.5), ("b", -labels(1).astype(np.int16))):
        dataset = one_case(tmp_path / name, mask)
        with pytest.raises(InputError, match="case a: "):
            read_case(dataset.cases[0], dataset)


def test_a_case_without_a_mask_gives_its_image(tmp_path: Path) -> None:
    folder = pairs(tmp_path, [labels(1)])
    nifti(folder / "images" / "more.nii.gz", image(5))
    dataset = open_dataset(folder)
    volume, segmentation, ignore = read_case(dataset.case("more"), dataset)
    assert (segmentation, ignore) == (None, None)
    assert np.array_equal(volume.array[0], image(5))


def test_values_above_255_are_uint16(tmp_path: Path) -> None:
    mask = labels(1, 2).astype(np.uint16) * 300
    nifti(tmp_path / "images" / "a.nii.gz", image())
    nifti(tmp_path / "labels" / "a.nii.gz", mask)
    dataset = open_dataset(tmp_path)
    segmentation = read_case(dataset.cases[0], dataset).segmentation
    assert segmentation is not None
    assert segmentation.array.dtype == np.uint16
    assert np.array_equal(segmentation.array[0], mask)


def test_inputs_of_other_resolutions_are_joined_on_the_first(tmp_path: Path) -> None:
    nifti(tmp_path / "x.nii.gz", image())
    coarse = AFFINE @ np.diag([2, 1, 1, 1.0])
    coarse[0, 3] = 0.75
    nifti(tmp_path / "y.nii.gz", image()[::2], coarse)
    nifti(tmp_path / "m.nii.gz", labels(1))
    dataset = open_dataset(table(tmp_path / "c.csv", "x,y,label", "x.nii.gz,y.nii.gz,m.nii.gz"))
    volume = read_case(dataset.cases[0], dataset).volume
    assert volume.array.shape == (2, *SHAPE)
    assert volume.channels == ("x", "y")


@pytest.mark.parametrize(("scale", "said"), [(1, "holds 3"), (255, "edges: inside above 127.5")])
def test_smoothed_edges_and_labels_are_told_apart(tmp_path: Path, scale: int, said: str) -> None:
    mask = np.zeros((6, 5), np.uint8)
    mask[1:4, 1:4] = (3, 130, 255) if scale == 255 else (1, 2, 3)
    picture(tmp_path / "images" / "a.png", np.full((6, 5), 9, np.uint8))
    picture(tmp_path / "labels" / "a.png", mask)
    table(tmp_path / "dataset.yaml", "labels: [cell]" if scale == 255 else "labels: {a: 1, b: 2}")
    dataset = open_dataset(tmp_path)
    told: list[str] = []
    if scale == 1:
        with pytest.raises(InputError, match=said):
            read_case(dataset.cases[0], dataset)
        return
    segmentation = read_case(dataset.cases[0], dataset, tell=told.append).segmentation
    assert segmentation is not None
    assert said in told[0]
    assert segmentation.mask("cell").sum() == 6


def test_unnamed_masks_of_white_and_grey_are_refused(tmp_path: Path) -> None:
    mask = np.zeros((6, 5), np.uint8)
    mask[1:4, 1:4] = (3, 130, 255)
    picture(tmp_path / "images" / "a.png", np.full((6, 5), 9, np.uint8))
    picture(tmp_path / "labels" / "a.png", mask)
    with pytest.raises(InputError, match="smoothed edges or labels"):
        open_dataset(tmp_path)


def test_ids_of_objects_are_one_label(tmp_path: Path) -> None:
    nifti(tmp_path / "images" / "a.nii.gz", image())
    nifti(tmp_path / "labels" / "a.nii.gz", labels(7, 100).astype(np.uint16) * 3 + labels(0, 0, 5))
    table(tmp_path / "dataset.yaml", "labels: {nucleus: any}", "ignore: 5")
    dataset = open_dataset(tmp_path)
    _, segmentation, ignore = read_case(dataset.cases[0], dataset)
    assert segmentation is not None
    assert np.array_equal(segmentation.mask("nucleus"), labels(1, 1) > 0)
    assert ignore is not None
    assert np.array_equal(ignore, labels(0, 0, 5) > 0)
    assert segmentation.kinds == ("objects",)
    assert [(thing.id, thing.label) for thing in segmentation.objects] == [(21, "nucleus"), (300, "nucleus")]
    assert np.array_equal(segmentation.array[0] == 300, labels(0, 1) > 0)


def stack(path: Path, array: np.ndarray) -> Path:
    """Write `[x, y, z]` as a TIFF of z pages."""
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.ascontiguousarray(array.T), photometric="minisblack")
    return path


def test_ids_in_stacks_of_pages_are_objects_in_space(tmp_path: Path) -> None:
    ids = labels(7, 100).astype(np.uint16) * 3
    stack(tmp_path / "images" / "a.tif", image().astype(np.uint16))
    stack(tmp_path / "labels" / "a.tif", ids)
    table(tmp_path / "dataset.yaml", "labels: {nucleus: any}")
    dataset = open_dataset(tmp_path)
    volume, segmentation, _ = read_case(dataset.cases[0], dataset)
    assert segmentation is not None
    assert (volume.grid.shape, volume.grid.unit) == (SHAPE, "px")
    assert segmentation.kinds == ("objects",)
    assert np.array_equal(segmentation.array[0], ids)


def test_a_stack_of_pages_is_no_mask_of_an_image_that_knows_its_sides(tmp_path: Path) -> None:
    nifti(tmp_path / "images" / "a.nii.gz", image())
    stack(tmp_path / "labels" / "a.tif", labels(1).astype(np.uint16))
    table(tmp_path / "dataset.yaml", "labels: {nucleus: any}")
    dataset = open_dataset(tmp_path)
    with pytest.raises(InputError, match="its mask is a stack of pages, and the image is none"):
        read_case(dataset.cases[0], dataset)


def test_masks_of_objects_lie_apart_for_each_label(tmp_path: Path) -> None:
    """Ids count from 1 in every mask; together they are counted on."""
    nifti(tmp_path / "x.nii.gz", image())
    nifti(tmp_path / "round.nii.gz", labels(1, 4))
    nifti(tmp_path / "long.nii.gz", labels(0, 0, 1))
    file = table(tmp_path / "c.csv", "image,label:round,label:long", "x.nii.gz,round.nii.gz,long.nii.gz")
    table(tmp_path / "c.yaml", "labels: {round: any, long: any}")
    dataset = open_dataset(file)
    segmentation = read_case(dataset.cases[0], dataset).segmentation
    assert segmentation is not None
    assert segmentation.kinds == ("objects",)
    assert [(thing.id, thing.label) for thing in segmentation.objects] == [
        (1, "round"),
        (2, "round"),
        (3, "long"),
    ]
    assert np.array_equal(segmentation.array[0], labels(1, 2, 3))
    assert np.array_equal(segmentation.by_label().array[0], labels(1, 1, 2))


def test_what_is_ignored_is_no_object_in_masks_apart(tmp_path: Path) -> None:
    nifti(tmp_path / "x.nii.gz", image())
    nifti(tmp_path / "round.nii.gz", labels(1, 255))
    nifti(tmp_path / "long.nii.gz", labels(0, 0, 1))
    file = table(tmp_path / "c.csv", "image,label:round,label:long", "x.nii.gz,round.nii.gz,long.nii.gz")
    table(tmp_path / "c.yaml", "labels: {round: any, long: any}", "ignore: 255")
    dataset = open_dataset(file)
    _, segmentation, ignore = read_case(dataset.cases[0], dataset)
    assert segmentation is not None
    assert [(thing.id, thing.label) for thing in segmentation.objects] == [(1, "round"), (2, "long")]
    assert ignore is not None
    assert np.array_equal(ignore, labels(0, 1) > 0)
    assert not segmentation.array[0][ignore].any()


def test_what_is_not_told_apart_is_one_object(tmp_path: Path) -> None:
    """Tissue beside nuclei: its mask is white, in several pieces."""
    nifti(tmp_path / "x.nii.gz", image())
    nifti(tmp_path / "nuclei.nii.gz", labels(3, 8))
    nifti(tmp_path / "tissue.nii.gz", labels(0, 0, 7) + 7 * (np.indices(SHAPE)[0] == 7).astype(np.uint8))
    file = table(
        tmp_path / "c.csv", "image,label:nucleus,label:tissue", "x.nii.gz,nuclei.nii.gz,tissue.nii.gz"
    )
    table(tmp_path / "c.yaml", "labels: {nucleus: any, tissue: 1}")
    dataset = open_dataset(file)
    segmentation = read_case(dataset.cases[0], dataset).segmentation
    assert segmentation is not None
    assert [thing.label for thing in segmentation.objects] == ["nucleus", "nucleus", "tissue"]
    assert np.array_equal(segmentation.array[0] == 3, (labels(0, 0, 7) > 0) | (np.indices(SHAPE)[0] == 7))


def test_objects_of_coco_stay_objects(tmp_path: Path) -> None:
    def square(number: int, category: int, left: int) -> dict[str, object]:
        corners = [left, 2, left + 3, 2, left + 3, 6, left, 6]
        return {
            "id": number,
            "image_id": 1,
            "category_id": category,
            "iscrowd": 0,
            "area": 12,
            "bbox": [left, 2, 3, 4],
            "segmentation": [corners],
        }

    picture(tmp_path / "x.png", np.zeros((20, 9), np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "x.png", "width": 20, "height": 9}],
        "categories": [{"id": 5, "name": "Nucleus"}, {"id": 6, "name": "debris"}],
        "annotations": [square(1, 5, 2), square(2, 5, 5), square(3, 6, 12)],
    }
    (tmp_path / "m.json").write_text(json.dumps(content))
    file = table(tmp_path / "c.csv", "image,label", "x.png,m.json")
    table(tmp_path / "c.yaml", "labels: {nucleus: any}")
    dataset = open_dataset(file)
    segmentation = read_case(dataset.cases[0], dataset).segmentation
    assert segmentation is not None
    assert segmentation.kinds == ("objects",)
    assert [thing.label for thing in segmentation.objects] == ["nucleus", "nucleus"]
    assert [np.count_nonzero(segmentation.array == thing.id) for thing in segmentation.objects] == [12, 12]


@pytest.mark.parametrize("label", ["[Nucleus]", "{Nucleus: any}"])
def test_segments_that_are_objects_of_a_label_are_read_as_those(tmp_path: Path, label: str) -> None:
    """Each is a segment of its own in 3D Slicer, with a tag that says whose object it is."""
    nifti(tmp_path / "a.nii.gz", image())
    array = np.zeros((1, *SHAPE), np.uint16)
    array[0, 1:3, 1:3, 1:3], array[0, 3:6, 1:3, 1:3] = 12, 7
    objects = (Object(12, "nucleus"), Object(7, "nucleus"))
    names = LabelTable((Label(1, "nucleus"),))
    found = Segmentation(array, Grid(SHAPE, AFFINE), names, ("objects",), objects)
    result = result_of(found)
    list(SegNrrd()(result, tmp_path))
    file = table(tmp_path / "c.csv", "mr,label", "a.nii.gz,segmentation.seg.nrrd")
    table(tmp_path / "c.yaml", f"labels: {label}")
    dataset = open_dataset(file)
    segmentation = read_case(dataset.cases[0], dataset).segmentation
    assert segmentation is not None
    assert segmentation.kinds == ("objects",)
    assert {(thing.id, thing.label) for thing in segmentation.objects} == {(7, "Nucleus"), (12, "Nucleus")}
    assert np.array_equal(segmentation.array[0], array[0])


def test_a_segmentation_with_names_is_matched_by_name(tmp_path: Path) -> None:
    from dicom_series import write_dicom_series
    from segmentations import source_images, write_seg

    folder = write_dicom_series(tmp_path / "ct", np.zeros((12, 10, 6), np.int16))
    masks = np.zeros((12, 10, 6, 3), np.uint8)
    masks[1:7, 1:7, 1:4, 0] = 1
    masks[8:9, 8:9, 2:5, 1] = 1
    masks[10:, 8:, 5:, 2] = 1
    write_seg(tmp_path / "seg.dcm", source_images(folder), np.ascontiguousarray(masks.transpose(2, 1, 0, 3)))
    file = table(tmp_path / "c.csv", "ct,label", "ct,seg.dcm")
    with pytest.raises(InputError, match="names its structures itself"):
        open_dataset(file)
    table(tmp_path / "c.yaml", "labels: [liver, kidney]")
    dataset = open_dataset(file)
    assert dataset.cases[0].id.startswith("dicom-")
    told: list[str] = []
    segmentation = read_case(dataset.cases[0], dataset, tell=told.append).segmentation
    assert segmentation is not None
    assert np.array_equal(segmentation.mask("liver"), masks[..., 0] > 0)
    assert np.array_equal(segmentation.mask("kidney"), masks[..., 2] > 0)
    assert "'Spleen' in its mask is no label of the dataset: left out" in told
