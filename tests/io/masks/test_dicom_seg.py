"""DICOM SEG: against dcmqi's own NRRD truth, and highdicom's files read back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import write_dicom_series
from numpy.typing import NDArray
from segmentations import EXPLICIT_LITTLE, JPEG_LS, RGB, RLE, source_images, write_seg

from medseg.errors import GeometryError, InputError
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.segmentation import Segmentation
from medseg.volume import Volume

SHAPE = (12, 10, 8)  # columns, rows, slices


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "ct"
    return write_dicom_series(folder, np.zeros(SHAPE, np.int16))


@pytest.fixture(scope="module")
def image(series: Path) -> Volume:
    return read(series)


def label_map(seed: int = 0, highest: int = 3) -> NDArray[np.uint8]:
    """Random labels `[column, row, slice]`, with an empty border slice and row."""
    array = np.random.default_rng(seed).integers(0, highest + 1, SHAPE).astype(np.uint8)
    array[:, :, -1] = 0
    array[:, 0] = 0
    return array


def frames(array: NDArray[Any]) -> NDArray[Any]:
    """`[slice, row, column]`, as highdicom takes it."""
    return np.ascontiguousarray(array.T)


def one_hot(array: NDArray[Any], highest: int = 3) -> NDArray[np.uint8]:
    return np.stack([frames(array) == value for value in range(1, highest + 1)], axis=-1).astype(np.uint8)


def told(path: Path, onto: Volume) -> tuple[Segmentation, list[str]]:
    notes: list[str] = []
    return read_segmentation(path, onto=onto, tell=notes.append), notes


def refusal(path: Path, onto: Volume, kind: type[InputError] = InputError) -> str:
    with pytest.raises(kind) as caught:
        read_segmentation(path, onto=onto, tell=lambda _: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edited(path: Path, edit: Callable[[Any], None]) -> Path:
    import pydicom

    dataset = pydicom.dcmread(path)
    edit(dataset)
    dataset.save_as(path)
    return path


# ------------------------------------------------------------------ dcmqi's truth
def truth(path: Path) -> NDArray[Any]:
    """`[i, j, k]` in the order of an axial image whose slices go up, by SimpleITK alone."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    return np.asarray(sitk.GetArrayFromImage(image)).transpose(2, 1, 0)


@pytest.mark.parametrize(
    ("seg", "onto", "nrrd", "count"),
    [
        ("liver.dcm", "ct-3slice", "liver_seg.nrrd", 107098),
        ("23x38x3/seg/label.seg", "23x38x3/image", "23x38x3/nrrd/label.nrrd", 322),
        ("24x38x3/seg/label.seg", "24x38x3/image", "24x38x3/nrrd/label.nrrd", 315),
        ("sparse-labelmap-noppv.dcm", "24x38x3/image", "sparse_labelmap_noppv_seg.nrrd", 630),
        ("sparse-labelmap-ppv5.dcm", "24x38x3/image", "sparse_labelmap_ppv5_seg.nrrd", 630),
    ],
)
def test_every_voxel_is_that_of_dcmqi(real_data: Path, seg: str, onto: str, nrrd: str, count: int) -> None:
    data = real_data / "dicom_seg_dcmqi"
    image = read(data / onto)
    found, notes = told(data / seg, image)
    assert found.grid == image.grid
    assert found.array.shape[0] == 1
    wanted = truth(data / nrrd) == 1  # the padding value 5 is background
    assert np.array_equal(found.mask("Liver"), wanted)
    assert wanted.sum() == count
    assert notes == []
    (label,) = found.labels
    assert (label.value, label.colour) == (1, "#dd8265")  # the colour that 3D Slicer gives the liver
    assert label.code in {"SRT:T-62000", "SCT:10200004"}


def test_overlapping_segments_of_dcmqi_need_as_few_layers_as_its_own_files(real_data: Path) -> None:
    data = real_data / "dicom_seg_dcmqi"
    found, _ = told(data / "partial_overlaps.dcm", read(data / "ct-3slice"))
    wanted = [truth(data / f"partial_overlaps-{n}.nrrd") for n in (1, 2, 3)]
    assert found.array.shape[0] == 3
    for label in found.labels:
        mask = np.logical_or.reduce([one == label.value for one in wanted])
        assert np.array_equal(found.mask(label.name), mask)
    assert [label.name for label in found.labels] == ["GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE"]


def test_highdicom_reads_the_same_voxels(real_data: Path) -> None:
    import highdicom as hd

    data = real_data / "dicom_seg_dcmqi"
    found, _ = told(data / "24x38x3/seg/label.seg", read(data / "24x38x3/image"))
    peer = hd.seg.segread(data / "24x38x3/seg/label.seg").get_volume(combine_segments=True)
    # slices, rows, columns; slices that go up or down are both right
    theirs = peer.array.transpose(2, 1, 0)
    if peer.affine[2, 0] < 0:
        theirs = theirs[:, :, ::-1]
    assert np.array_equal(found.array[0], theirs)


# ------------------------------------------------------------------ read back
@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        ("BINARY", EXPLICIT_LITTLE),
        ("LABELMAP", EXPLICIT_LITTLE),
        ("LABELMAP", RLE),
        ("LABELMAP", JPEG_LS),
        ("FRACTIONAL", RLE),
        ("FRACTIONAL", JPEG_LS),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_what_highdicom_writes_comes_back(
    tmp_path: Path, image: Volume, kind: str, syntax: str, backwards: bool
) -> None:
    array = label_map()
    assert image.source is not None
    images = source_images(image.source.files[0].parent)
    pixels = one_hot(array).astype(np.float32) if kind == "FRACTIONAL" else frames(array)
    if backwards:
        images, pixels = images[::-1], pixels[::-1]
    path = write_seg(tmp_path / "seg.dcm", images, pixels, kind=kind, syntax=syntax)
    found, notes = told(path, image)
    assert np.array_equal(found.array[0], array)
    assert found.array.shape[0] == 1
    assert found.array.dtype == np.uint8
    assert [label.name for label in found.labels] == ["Liver", "Spleen", "Kidney"]
    assert [label.code for label in found.labels] == ["SCT:10200004"] * 3
    assert [label.colour for label in found.labels] == ["#" + bytes(rgb).hex() for rgb in RGB[:3]]
    assert notes == (
        ["holds probabilities: at least 127.5 of 255 counts as in"] if kind == "FRACTIONAL" else []
    )


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_slices_without_a_frame_are_background(
    tmp_path: Path, series: Path, image: Volume, kind: str
) -> None:
    array = label_map()
    array[:, :, [0, 2, 3, 5]] = 0
    path = write_seg(tmp_path / "seg.dcm", source_images(series), frames(array), kind=kind)
    found, _ = told(path, image)
    assert np.array_equal(found.array[0], array)


def test_labels_land_on_any_axis_order_of_the_image(tmp_path: Path, series: Path, image: Volume) -> None:
    array = label_map()
    path = write_seg(tmp_path / "seg.dcm", source_images(series), frames(array))
    for codes in ("RAS", "SPL", "IAR"):
        turned = image.reorient(codes)
        found, notes = told(path, turned)
        assert notes == []
        assert np.array_equal(found.onto(image.grid).array[0], array)


def test_overlap_needs_a_second_layer_only_for_what_overlaps(
    tmp_path: Path, series: Path, image: Volume
) -> None:
    masks = np.zeros((*SHAPE, 3), np.uint8)
    masks[2:6, 2:6, 2:6, 0] = 1
    masks[4:8, 4:8, 2:6, 1] = 1
    masks[9:11, 7:9, 1:3, 2] = 1
    path = write_seg(
        tmp_path / "seg.dcm", source_images(series), np.ascontiguousarray(masks.transpose(2, 1, 0, 3))
    )
    found, _ = told(path, image)
    assert [label.layer for label in found.labels] == [0, 1, 0]
    for number, label in enumerate(found.labels):
        assert np.array_equal(found.mask(label.name), masks[..., number] == 1)


def test_half_of_the_largest_fraction_is_in(tmp_path: Path, series: Path, image: Volume) -> None:
    fractions = np.linspace(0, 1, int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)
    path = write_seg(
        tmp_path / "seg.dcm",
        source_images(series),
        frames(fractions)[..., None],
        kind="FRACTIONAL",
        fractional_type="OCCUPANCY",
        max_fractional_value=200,
        names=("Liver",),
    )
    found, notes = told(path, image)
    assert np.array_equal(found.mask("Liver"), np.rint(fractions * 200) >= 100)
    assert notes == ["holds parts of a voxel: at least 100 of 200 counts as in"]


def test_finer_image_of_the_same_place_takes_the_nearest_and_says_so(
    tmp_path: Path, series: Path, image: Volume
) -> None:
    array = label_map()
    path = write_seg(tmp_path / "seg.dcm", source_images(series), frames(array))
    finer = image.onto(image.grid.respaced([spacing / 2 for spacing in image.grid.spacing]))
    found, notes = told(path, finer)
    assert np.array_equal(found.array[0], np.kron(array, np.ones((2, 2, 2), np.uint8)))
    assert len(notes) == 1
    assert "nearest labels are taken" in notes[0]


def test_names_used_twice_are_numbered(tmp_path: Path, series: Path, image: Volume) -> None:
    path = write_seg(tmp_path / "seg.dcm", source_images(series), frames(label_map()), names=("Lesion",))
    found, _ = told(path, image)
    assert [label.name for label in found.labels] == ["Lesion", "Lesion 2", "Lesion 3"]


# ------------------------------------------------------------------ refusals
def test_another_frame_of_reference_is_refused(tmp_path: Path, series: Path, image: Volume) -> None:
    path = write_seg(tmp_path / "seg.dcm", source_images(series), frames(label_map()))
    edited(path, lambda dataset: setattr(dataset, "FrameOfReferenceUID", "1.2.3.10"))
    assert "frame of reference …1.2.3.10, the image lies in …1.2.3.9" in refusal(path, image, GeometryError)


def test_another_series_is_refused(tmp_path: Path, series: Path, image: Volume) -> None:
    path = write_seg(tmp_path / "seg.dcm", source_images(series), frames(label_map()))
    edited(
        path, lambda dataset: setattr(dataset.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.3.77")
    )
    assert "made for series …1.2.3.77" in refusal(path, image)


def test_voxels_that_would_be_lost_are_refused_and_a_rim_is_told(
    tmp_path: Path, series: Path, image: Volume
) -> None:
    path = write_seg(tmp_path / "seg.dcm", source_images(series), frames(label_map()))
    lacking_one = image.crop((0, 0, 1), SHAPE)
    found, notes = told(path, lacking_one)
    lost = int((label_map()[:, :, 0] > 0).sum())
    assert notes == [f"{lost} labelled voxels, up to one voxel outside the image, are cut off"]
    assert np.array_equal(found.array[0], label_map()[:, :, 1:])
    lacking_two = image.crop((0, 0, 2), SHAPE)
    assert "would be lost" in refusal(path, lacking_two, GeometryError)
    elsewhere = image.replace(grid=image.grid.cropped((40, 0, 0), (40 + SHAPE[0], *SHAPE[1:])))
    assert "none of its" in refusal(path, elsewhere, GeometryError)


def test_contradictions_are_refused(tmp_path: Path, series: Path, image: Volume) -> None:
    images = source_images(series)

    def one(edit: Callable[[Any], None]) -> str:
        return refusal(edited(write_seg(tmp_path / "seg.dcm", images, frames(label_map())), edit), image)

    def second_place(dataset: Any) -> None:
        frames_ = dataset.PerFrameFunctionalGroupsSequence
        frames_[1].PlanePositionSequence = frames_[0].PlanePositionSequence
        frames_[1].SegmentIdentificationSequence = frames_[0].SegmentIdentificationSequence

    def unknown(dataset: Any) -> None:
        frame = dataset.PerFrameFunctionalGroupsSequence[0]
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9

    def unplaced(dataset: Any) -> None:
        del dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence

    def cut(dataset: Any) -> None:
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]

    assert "two frames of one segment lie on the same slice" in one(second_place)
    assert "segment 9, which is not described" in one(unknown)
    assert "no position" in one(unplaced)
    assert "its pixel data is cut off" in one(cut)
    assert "claims 5 frames" in one(lambda dataset: setattr(dataset, "NumberOfFrames", 5))
    assert "describes no segment" in one(lambda dataset: setattr(dataset, "SegmentSequence", []))
    assert "SegmentationType 'BITS'" in one(lambda dataset: setattr(dataset, "SegmentationType", "BITS"))


def test_an_image_is_not_a_segmentation(series: Path, image: Volume) -> None:
    said = refusal(next(series.iterdir()), image)
    assert "modality CT, neither a segmentation" in said


def test_memory_is_the_layers_and_four_bytes_a_labelled_voxel(tmp_path: Path) -> None:
    import tracemalloc

    size, segments = (256, 256, 60), 50
    series = write_dicom_series(tmp_path / "ct", np.zeros(size, np.int16))
    array = np.zeros(size, np.uint8)
    for number in range(segments):
        x, y = 30 * (number % 8), 30 * (number // 8)
        array[x : x + 25, y : y + 25, 5:55] = number + 1
    path = write_seg(tmp_path / "seg.dcm", source_images(series), frames(array))
    image = read(series)
    tracemalloc.start()
    found, _ = told(path, image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found.array[0], array)
    labelled = int((array > 0).sum())
    # a few arrays of the layer's size come and go; one of each segment would be 50 of them
    assert peak < 4 * labelled + 6 * array.nbytes + (4 << 20)
