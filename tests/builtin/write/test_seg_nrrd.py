import gzip
from pathlib import Path

import numpy as np
import pytest
from results import result_of

from medseg.builtin.write.seg_nrrd import SegNrrd
from medseg.io import read
from medseg.io.itk import nrrd_texts
from medseg.io.masks import read_segmentation
from medseg.prediction import Result
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid, Planes, Source, Volume


def oblique(shape: tuple[int, int, int] = (9, 8, 7)) -> Grid:
    a, b = np.radians([20, 35])
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.7, 0.9, 2.5])
    affine[:3, 3] = (7.5, -20.25, 1 / 3)
    return Grid(shape, affine)


def result(segmentation: Segmentation, native: Grid | Planes | None = None) -> Result:
    source = None if native is None else Source(native, "DICOM")
    return result_of(segmentation, source=source)


def written(folder: Path, segmentation: Segmentation, native: Grid | Planes | None = None) -> Path:
    (path,) = SegNrrd.check(SegNrrd()(result(segmentation, native), folder), folder=folder)
    assert path.name == "segmentation.seg.nrrd"
    return path


def painted(grid: Grid, *labels: Label, kind: type[np.unsignedinteger] = np.uint8) -> Segmentation:
    """A block for each label, one voxel further along i for each."""
    array = np.zeros((1 + max(label.layer for label in labels), *grid.shape), kind)
    for number, label in enumerate(labels):
        array[label.layer, number : number + 3, 1:5, 2:6] = label.value
    return Segmentation(array, grid, LabelTable(labels))


LIVER = Label(1, "liver", code="SCT:10200004", colour="#dd8265")


@pytest.mark.parametrize(
    "labels",
    [
        (LIVER, Label(2, "Drüse links", colour="#00ff80", pair=None)),
        (LIVER, Label(7, "liver tumour", code="SCT:108369006", layer=1), Label(9, "vessel", layer=2)),
        (LIVER, Label(700, "rib", layer=1)),
    ],
)
def test_comes_back_equal_by_medseg(tmp_path: Path, labels: tuple[Label, ...]) -> None:
    before = painted(oblique(), *labels, kind=np.uint16)
    path = written(tmp_path, before)
    notes: list[str] = []
    image = Volume(np.zeros((1, *before.grid.shape), np.int16), before.grid)
    after = read_segmentation(path, onto=image, tell=notes.append)
    assert notes == []
    assert [label.name for label in after.labels] == [label.name for label in before.labels]
    for label in before.labels:
        found = after.labels[label.name]
        assert (found.value, found.code) == (label.value, label.code)
        assert label.colour is None or found.colour == label.colour
        assert np.array_equal(after.mask(label.name), before.mask(label.name))


def test_comes_back_equal_by_simpleitk(tmp_path: Path) -> None:
    import SimpleITK as sitk

    for labels in ((LIVER, Label(2, "spleen")), (LIVER, Label(2, "tumour", layer=1))):
        before = painted(oblique(), *labels)
        image = sitk.ReadImage(str(written(tmp_path, before)))
        voxels = sitk.GetArrayFromImage(image)  # k, j, i, and layers last
        layers = np.moveaxis(voxels, -1, 0) if voxels.ndim == 4 else voxels[None]
        assert np.array_equal(layers.transpose(0, 3, 2, 1), before.array)
        for index in ((0, 0, 0), (8, 7, 6), (3, 1, 5)):
            lps = np.array(image.TransformIndexToPhysicalPoint(index))
            assert lps * (-1, -1, 1) == pytest.approx(before.grid.to_world(index), abs=1e-9)
        assert image.GetMetaData("Segment0_Name") == "liver"


def test_the_affine_keeps_every_digit_also_of_a_sheared_grid(tmp_path: Path) -> None:
    affine = oblique().affine.copy()
    affine[1, 2] += 0.37
    before = painted(Grid((9, 8, 7), affine), LIVER)
    image = Volume(np.zeros((1, 9, 8, 7), np.int16), before.grid)
    path = written(tmp_path, before)
    after = read_segmentation(path, onto=image, tell=pytest.fail)
    assert np.array_equal(after.array, before.array)
    header = path.read_bytes().partition(b"\n\n")[0].decode()
    directions = next(line for line in header.splitlines() if line.startswith("space directions"))
    numbers = [[float(n) for n in part.strip("()").split(",")] for part in directions.split()[2:]]
    assert np.array_equal(np.array(numbers).T * [[-1], [-1], [1]], affine[:3, :3])


def test_what_slicer_reads_of_a_segment(tmp_path: Path) -> None:
    labels = (LIVER, Label(2, "two\nlines", code="SCT:4147007", layer=1), Label(3, "nowhere"))
    before = painted(oblique(), *labels[:2])
    before = before.replace(labels=LabelTable(labels))
    texts = nrrd_texts(written(tmp_path, before))
    assert texts["Segment0_ID"] == "Segment_1"
    assert texts["Segment0_Color"] == "0.866667 0.509804 0.396078"
    assert texts["Segment0_Extent"] == "0 2 1 4 2 5"
    assert (texts["Segment0_LabelValue"], texts["Segment0_Layer"]) == ("1", "0")
    category = "SCT^123037004^Anatomical Structure~SCT^10200004^liver~^^~"
    assert category in texts["Segment0_Tags"]
    assert texts["Segment1_Name"] == "nowhere"
    assert texts["Segment1_Extent"] == "0 -1 0 -1 0 -1"
    assert (texts["Segment2_Name"], texts["Segment2_Layer"]) == ("two lines", "1")
    assert "SCT^49755003^Morphologically Abnormal Structure~SCT^4147007^two lines~" in texts["Segment2_Tags"]
    assert texts["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"


def test_each_object_is_a_segment(tmp_path: Path) -> None:
    array = np.zeros((2, 9, 8, 7), np.uint32)
    array[0, 0] = 1
    array[1, 1, 1, 1], array[1, 2, 2, 2] = 1, 70_000
    labels = LabelTable((Label(1, "tissue"), Label(2, "cell", layer=1)))
    things = (Object(1, "cell"), Object(70_000, "cell"))
    before = Segmentation(array, oblique(), labels, ("labels", "objects"), things)
    texts = nrrd_texts(written(tmp_path, before))
    assert (texts["Segment1_Name"], texts["Segment2_Name"]) == ("cell 1", "cell 70000")
    assert texts["Segment2_LabelValue"] == "70000"
    assert texts["Segment0_Tags"] == "|"
    assert texts["Segment1_Tags"] == texts["Segment2_Tags"] == "Medseg.ObjectOf:cell|"
    assert texts["Segment2_Extent"] == "2 2 2 2 2 2"


def test_an_object_says_its_code_and_whose_it_is_whatever_its_name(tmp_path: Path) -> None:
    array = np.zeros((1, 9, 8, 7), np.uint8)
    array[0, 1, 1, 1] = 3
    labels = LabelTable((Label(1, "odd | name\nof two lines", code="SCT:4147007"),))
    before = Segmentation(array, oblique(), labels, ("objects",), (Object(3, labels.labels[0].name),))
    tags = nrrd_texts(written(tmp_path, before))["Segment0_Tags"]
    assert tags.startswith("TerminologyEntry:")
    assert tags.endswith("^^|Medseg.ObjectOf:odd   name of two lines|")


def test_labels_go_back_onto_the_original_voxels(tmp_path: Path) -> None:
    before = painted(oblique(), LIVER)
    native = before.grid.reoriented("LPI").padded((1, 0, 2), (0, 3, 0))
    path = written(tmp_path, before, native)
    after = read_segmentation(path, onto=Volume(np.zeros((1, *native.shape)), native), tell=pytest.fail)
    assert np.array_equal(after.array, before.onto(native).array)
    planes = Planes((9, 8), np.stack([before.grid.affine] * 2))
    assert b"sizes: 9 8 7\n" in written(tmp_path, before, planes).read_bytes()


def test_real_labels_come_back_equal_and_where_they_were(tmp_path: Path, real_data: Path) -> None:
    import SimpleITK as sitk

    folder = real_data / "ct_totalseg_A"
    image = read(folder / "ct_sm.nii.gz")
    labels = folder / "ct_sm_seg_total.nii.gz"
    before = read_segmentation(labels, onto=image)
    path = written(tmp_path, before, image.grid)
    after = read_segmentation(path, onto=image, tell=pytest.fail)
    assert np.array_equal(after.array, before.array)
    assert [label.name for label in after.labels] == [label.name for label in before.labels]
    ours, original = sitk.ReadImage(str(path)), sitk.ReadImage(str(labels))
    assert np.array_equal(sitk.GetArrayViewFromImage(ours), sitk.GetArrayViewFromImage(original))
    corner = [size - 1 for size in original.GetSize()]
    for index in ([0, 0, 0], corner):
        assert ours.TransformIndexToPhysicalPoint(index) == pytest.approx(
            original.TransformIndexToPhysicalPoint(index), abs=1e-3
        )


def test_equal_masks_make_equal_files(tmp_path: Path) -> None:
    before = painted(oblique(), LIVER)
    first = written(tmp_path, before).read_bytes()
    assert written(tmp_path, before).read_bytes() == first
    voxels = gzip.decompress(first.partition(b"\n\n")[2])
    assert voxels == before.array[0].tobytes(order="F")


def test_a_picture_without_a_scale_is_refused() -> None:
    flat = Volume(np.zeros((1, 4, 4, 1), np.uint8), Grid((4, 4, 1), np.eye(4), "px"))
    assert "scale" in str(SegNrrd().needs(flat))
    assert SegNrrd().needs(Volume(flat.array, Grid((4, 4, 1), np.eye(4)))) is None
