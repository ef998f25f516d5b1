"""DICOM SEG: every file is read equal to the mask by highdicom, dcmqi and our own reader."""

import shutil
import warnings
from pathlib import Path
from typing import Any

import highdicom as hd  # noqa: TID253 - a test module
import numpy as np
import pydicom  # noqa: TID253
import pytest
import SimpleITK as sitk  # noqa: TID253
from dicom_edits import every
from dicom_frames import write_enhanced
from dicom_series import AXIAL, write_dicom_series
from dicom_validators import dcentvfy, dciodvfy, dciodvfy_beyond, segimage2itkimage
from numpy.typing import NDArray
from seg_results import ORGANS, PROVENANCE, blobs, finished, headers_of, on_images

from medseg.builtin.write.dicom_seg import DicomSeg
from medseg.errors import InputError
from medseg.io import Policy, read
from medseg.io.masks import read_segmentation
from medseg.prediction import Result
from medseg.run.inputs import join
from medseg.segmentation import Label, Object
from medseg.volume import Grid, Volume

STORED = np.full((20, 16, 10), 1024, np.uint16)
OBLIQUE = (0.9396926208, 0.3420201433, 0.0, -0.2962, 0.8138, 0.5)
UNIT = np.array(OBLIQUE[3:]) - np.dot(OBLIQUE[3:], OBLIQUE[:3]) * np.array(OBLIQUE[:3])
OBLIQUE = (*OBLIQUE[:3], *(UNIT / np.linalg.norm(UNIT)))
FORMS: dict[str, dict[str, Any]] = {
    "binary": {"type": "binary"},
    "labelmap": {"type": "labelmap", "compression": "none"},
    "rle": {"type": "labelmap", "compression": "rle"},
    "jpeg-ls": {"type": "labelmap", "compression": "jpeg-ls"},
}
EVERY_FORM = pytest.mark.parametrize("form", FORMS)


def gap(k: int, dataset: Any) -> None:
    """A missing slice and an uneven distance."""
    z = 40 + 2.5 * k + (2.5 if k > 3 else 0) + (0.8 if k > 7 else 0)
    dataset.ImagePositionPatient = [-30, -20, z]


SERIES: dict[str, tuple[dict[str, Any], Policy]] = {
    "axial": ({}, Policy()),
    "oblique": ({"orientation": OBLIQUE}, Policy()),
    "flipped": ({"step": (0, 0, -2.5)}, Policy()),
    "left to right": ({"orientation": (-1, 0, 0, 0, 1, 0)}, Policy()),
    "tilted": ({"step": (0, 0.7, 2.5)}, Policy(tilt="resample")),
    "uneven": ({"edit": gap}, Policy(gaps="resample")),
    "taken as even": ({"edit": gap}, Policy(gaps="allow")),
}


def written(result: Result, folder: Path, **parameters: Any) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return list(DicomSeg.check(DicomSeg(**parameters)(result, folder), folder=folder))


def by_highdicom(path: Path, headers: list[pydicom.Dataset]) -> NDArray[Any]:
    """Segment numbers `[image, row, column]` on the images, as highdicom finds them by their references."""
    return np.asarray(
        hd.seg.segread(path).get_pixels_by_source_instance(
            [header.SOPInstanceUID for header in headers],
            combine_segments=True,
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )
    )


def numbered(values: NDArray[Any], labels: tuple[Label, ...] = ORGANS) -> NDArray[np.int64]:
    """Label values as segment numbers: 1, 2, 3 … in the order of the table."""
    result = np.zeros(values.shape, np.int64)
    for number, label in enumerate(labels, start=1):
        result[values == label.value] = number
    return result


@EVERY_FORM
@pytest.mark.parametrize("name", SERIES)
def test_masks_lie_on_the_slices_of_the_series(tmp_path: Path, name: str, form: str) -> None:
    keywords, policy = SERIES[name]
    folder = write_dicom_series(tmp_path / "ct", STORED, **keywords)
    volume = read(folder, policy=policy)
    result = finished(volume, blobs(volume.grid.shape))
    (path,) = written(result, tmp_path / "out", **FORMS[form])
    headers = headers_of(folder)
    if name == "taken as even":  # the volume's slices are the series', wherever they really lie
        meant = result.segmentation.array[0].transpose(2, 1, 0)
    else:
        meant = on_images(result, headers)
    assert len(np.unique(meant)) == 4
    np.testing.assert_array_equal(by_highdicom(path, headers), numbered(meant))


@EVERY_FORM
@pytest.mark.parametrize("name", ["axial", "oblique", "flipped", "left to right", "tilted"])
def test_our_own_reader_gives_the_same_labels(tmp_path: Path, name: str, form: str) -> None:
    keywords, policy = SERIES[name]
    volume = read(write_dicom_series(tmp_path / "ct", STORED, **keywords), policy=policy)
    result = finished(volume, blobs(volume.grid.shape))
    (path,) = written(result, tmp_path / "out", **FORMS[form])
    assert volume.source is not None
    native = volume.source.native
    assert isinstance(native, Grid)
    onto = Volume(np.zeros((1, *native.shape), np.uint8), native, source=volume.source)
    notes: list[str] = []
    back = read_segmentation(path, onto=onto, tell=notes.append)
    assert notes == []
    for label in ORGANS:
        meant = result.segmentation.onto(native).mask(label.name)
        np.testing.assert_array_equal(back.mask(label.name), meant)
    assert [label.code for label in back.labels][:2] == ["SCT:10200004", "SCT:64033007"]
    assert back.labels["liver"].colour == "#c88c50"


def points(image: sitk.Image) -> dict[int, set[tuple[float, ...]]]:
    """Where labelled voxels lie, LPS mm to a hundredth, by value."""
    array = sitk.GetArrayFromImage(image)
    places: dict[int, set[tuple[float, ...]]] = {}
    for k, j, i in np.argwhere(array).tolist():
        place = np.round(image.TransformIndexToPhysicalPoint((i, j, k)), 2) + 0.0
        places.setdefault(int(array[k, j, i]), set()).add(tuple(place.tolist()))
    return places


# dcmqi 1.5.7 takes every JPEG-LS for one with loss, and refuses it
@pytest.mark.parametrize("form", ["binary", "labelmap", "rle"])
@pytest.mark.parametrize("name", ["axial", "oblique", "flipped", "left to right"])
def test_dcmqi_reads_the_same_masks(tmp_path: Path, name: str, form: str) -> None:
    keywords, policy = SERIES[name]
    volume = read(write_dicom_series(tmp_path / "ct", STORED, **keywords), policy=policy)
    result = finished(volume, blobs(volume.grid.shape))
    (path,) = written(result, tmp_path / "out", **FORMS[form])
    described, images = segimage2itkimage(path, tmp_path / "dcmqi", merge=True)
    assert len(images) == 1
    found = points(sitk.ReadImage(images[0]))
    for number, label in enumerate(ORGANS, start=1):
        index = np.argwhere(result.segmentation.mask(label.name))
        meant = np.round(volume.grid.to_world(index) * (-1, -1, 1), 2) + 0.0
        assert found[number] == set(map(tuple, meant.tolist()))
    told = {
        part["labelID"]: part
        for group in described["segmentAttributes"]
        for part in group
        if part["labelID"] != 0
    }
    assert told[1]["SegmentLabel"] == "liver"
    assert told[1]["recommendedDisplayRGBValue"] == [200, 140, 80]
    assert told[1]["SegmentedPropertyTypeCodeSequence"]["CodeValue"] == "10200004"
    assert told[2]["SegmentedPropertyTypeModifierCodeSequence"]["CodeMeaning"] == "Left"


@pytest.mark.parametrize("form", ["binary", "labelmap", "rle"])
@pytest.mark.parametrize("name", ["tilted", "uneven"])
def test_dcmqi_reads_every_slice_of_a_series_without_an_upright_even_grid(
    tmp_path: Path, name: str, form: str
) -> None:
    """It puts all frames onto such a grid, each at the nearest slice: pixels are right, places are not."""
    keywords, policy = SERIES[name]
    folder = write_dicom_series(tmp_path / "ct", STORED, **keywords)
    volume = read(folder, policy=policy)
    result = finished(volume, blobs(volume.grid.shape))
    (path,) = written(result, tmp_path / "out", **FORMS[form])
    _, (read_by_dcmqi,) = segimage2itkimage(path, tmp_path / "dcmqi", merge=True)
    image = sitk.ReadImage(read_by_dcmqi)
    found, headers = sitk.GetArrayFromImage(image), headers_of(folder)
    meant = numbered(on_images(result, headers))
    heights = np.array([float(header.ImagePositionPatient[2]) for header in headers])
    slices = np.rint((heights - image.GetOrigin()[2]) / image.GetSpacing()[2]).astype(int).tolist()
    for k, values in zip(slices, meant, strict=True):
        np.testing.assert_array_equal(found[k] if 0 <= k < len(found) else 0 * values, values)
    assert np.count_nonzero(found) == np.count_nonzero(meant)


def test_the_validators_find_nothing_and_it_belongs_to_its_study(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    result = finished(read(folder), blobs(STORED.shape))
    (path,) = written(result, tmp_path / "out")
    images = sorted(folder.glob("*.dcm"))
    assert dciodvfy_beyond(path, images[0]) == []
    assert dciodvfy(path) == []
    assert dcentvfy([*images, path]) == []


# ------------------------------------------------------------------ layers and objects
TWO_LAYERS = (Label(1, "liver"), Label(2, "spleen"), Label(3, "body", layer=1))


def layered(volume: Volume, *, overlap: bool) -> Result:
    array = np.zeros((2, *volume.grid.shape), np.uint8)
    array[0, 3:9, 4:9, 2:7], array[0, 11:, 2:12, 4:] = 1, 2
    array[1, (1 if overlap else 16) :, :, 3:9] = 3
    if not overlap:
        array[0, 16:] = 0
    return finished(volume, array, TWO_LAYERS)


def test_layers_that_overlap_are_masks_of_one_bit_in_one_file(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    volume = read(folder)
    result = layered(volume, overlap=True)
    (path,) = written(result, tmp_path / "out")
    dataset = pydicom.dcmread(path)
    assert (dataset.SegmentationType, dataset.SegmentsOverlap) == ("BINARY", "YES")
    back = read_segmentation(path, onto=volume, tell=lambda _: None)
    for label in TWO_LAYERS:
        np.testing.assert_array_equal(back.mask(label.name), result.segmentation.mask(label.name))
    assert dciodvfy(path) == []
    indices = [
        (tuple(frame.FrameContentSequence[0].DimensionIndexValues), frame.PlanePositionSequence[0])
        for frame in dataset.PerFrameFunctionalGroupsSequence
    ]
    assert len({index for index, _ in indices}) == len(indices)
    places = {(index[1], tuple(place.ImagePositionPatient)) for index, place in indices}
    assert len(places) == len({place for _, place in places}) == len({rank for rank, _ in places})
    _, images = segimage2itkimage(path, tmp_path / "dcmqi")
    for image, label in zip(images, TWO_LAYERS, strict=True):
        index = np.argwhere(result.segmentation.mask(label.name))
        meant = np.round(volume.grid.to_world(index) * (-1, -1, 1), 2) + 0.0
        (found,) = points(sitk.ReadImage(image)).values()
        assert found == set(map(tuple, meant.tolist()))


def test_layers_that_overlap_are_label_maps_in_a_file_each(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    volume = read(folder)
    result = layered(volume, overlap=True)
    paths = written(result, tmp_path / "out", type="labelmap")
    assert [path.name for path in paths] == ["segmentation-1.dcm", "segmentation-2.dcm"]
    files = [pydicom.dcmread(path) for path in paths]
    assert len({file.SOPInstanceUID for file in files}) == 2
    assert len({file.SeriesInstanceUID for file in files}) == 1
    assert [file.InstanceNumber for file in files] == [1, 2]
    for path, names in zip(paths, (("liver", "spleen"), ("body",)), strict=True):
        back = read_segmentation(path, onto=volume, tell=lambda _: None)
        assert tuple(label.name for label in back.labels) == names
        for name in names:
            np.testing.assert_array_equal(back.mask(name), result.segmentation.mask(name))


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_layers_that_do_not_overlap_are_one_file(tmp_path: Path, kind: str) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    volume = read(folder)
    result = layered(volume, overlap=False)
    (path,) = written(result, tmp_path / "out", type=kind)
    assert pydicom.dcmread(path).SegmentsOverlap == "NO"
    back = read_segmentation(path, onto=volume, tell=lambda _: None)
    for label in TWO_LAYERS:
        np.testing.assert_array_equal(back.mask(label.name), result.segmentation.mask(label.name))


@pytest.mark.parametrize(("ids", "kind"), [((3, 7, 4_000_000_000), "BINARY"), (range(1, 301), "LABELMAP")])
def test_every_object_is_a_segment(tmp_path: Path, ids: Any, kind: str) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    volume = read(folder)
    array = np.zeros((1, *STORED.shape), np.uint32)
    for place, number in enumerate(ids):
        array[0, place % 20, (place // 20) % 16, 2 + place // 320 : 4 + place // 320] = number
    things = [Object(int(number), "nucleus") for number in ids]
    result = finished(volume, array, (Label(1, "nucleus"),), kinds=("objects",), objects=things)
    (path,) = written(result, tmp_path / "out")
    dataset = pydicom.dcmread(path)
    assert dataset.SegmentationType == kind
    segments = [item for item in dataset.SegmentSequence if item.SegmentNumber]
    assert [item.SegmentLabel for item in segments] == [f"nucleus {number}" for number in ids]
    assert len({item.TrackingUID for item in segments}) == len(segments)
    back = read_segmentation(path, onto=volume, tell=lambda _: None)
    for number in ids:
        np.testing.assert_array_equal(back.mask(f"nucleus {number}"), array[0] == number)


def test_more_objects_than_a_file_can_hold_are_refused(tmp_path: Path) -> None:
    volume = read(write_dicom_series(tmp_path / "ct", STORED))
    array = np.zeros((1, *STORED.shape), np.uint32)
    things = [Object(number, "nucleus") for number in range(1, 65_537)]
    result = finished(volume, array, (Label(1, "nucleus"),), kinds=("objects",), objects=things)
    with pytest.raises(InputError, match="65536 labels and objects; a DICOM segmentation holds 65535"):
        written(result, tmp_path / "out")


# ------------------------------------------------------------------ little and much
@EVERY_FORM
def test_nothing_found_is_a_file_that_says_so(tmp_path: Path, form: str) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    volume = read(folder)
    (path,) = written(finished(volume, np.zeros(STORED.shape, np.uint8)), tmp_path / "out", **FORMS[form])
    back = read_segmentation(path, onto=volume, tell=lambda _: None)
    assert not back.array.any()
    assert [label.name for label in back.labels] == ["liver", "left kidney", "tumour"]
    assert len(pydicom.dcmread(path).ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 10


@EVERY_FORM
def test_one_slice_and_only_slices_with_content(tmp_path: Path, form: str) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    volume = read(folder)
    array = np.zeros(STORED.shape, np.uint8)
    array[5:7, 2:9, 4] = 2
    (path,) = written(finished(volume, array), tmp_path / "out", **FORMS[form])
    assert pydicom.dcmread(path).NumberOfFrames == (1 if form == "binary" else 10)
    back = read_segmentation(path, onto=volume, tell=lambda _: None)
    np.testing.assert_array_equal(back.mask("left kidney"), array == 2)


def test_how_many_segments_decide_the_type(tmp_path: Path) -> None:
    volume = read(write_dicom_series(tmp_path / "ct", STORED))
    for count, kind in ((10, "BINARY"), (11, "LABELMAP")):
        labels = [Label(value, f"part {value}") for value in range(1, count + 1)]
        array = blobs(STORED.shape, values=range(1, count + 1))
        (path,) = written(finished(volume, array, labels), tmp_path / str(count))
        assert pydicom.dcmread(path).SegmentationType == kind


# ------------------------------------------------------------------ what it says
def test_it_says_who_made_it_and_from_what(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    (path,) = written(finished(read(folder), blobs(STORED.shape)), tmp_path / "out")
    dataset = pydicom.dcmread(path)
    assert (dataset.SeriesNumber, dataset.ContentQualification) == (900, "RESEARCH")
    assert dataset.SeriesDescription == "medseg phantom - RESEARCH ONLY"
    assert dataset.FrameOfReferenceUID == "1.2.3.9"
    assert dataset.SegmentsOverlap == "NO"
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "1.2.3.1"
    uids = [header.SOPInstanceUID for header in headers_of(folder)]
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence] == uids
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        position = next(h for h in headers_of(folder) if h.SOPInstanceUID == source.ReferencedSOPInstanceUID)
        assert frame.PlanePositionSequence[0].ImagePositionPatient == position.ImagePositionPatient
    (algorithm,) = dataset.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("phantom", "1.0")
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeMeaning == "Artificial Intelligence"
    (kidney,) = dataset.SegmentSequence[1].SegmentedPropertyTypeCodeSequence
    assert kidney.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"


def uids(dataset: pydicom.Dataset) -> set[str]:
    """Every UID in a file that is its own, not the image's."""
    found = set()

    def take(_: pydicom.Dataset, element: pydicom.DataElement) -> None:
        if element.VR == "UI" and isinstance(element.value, str) and not element.value.startswith("1.2."):
            found.add(str(element.value))

    dataset.walk(take)
    return found


def test_a_rerun_replaces_itself_and_any_change_does_not(tmp_path: Path) -> None:
    volume = read(write_dicom_series(tmp_path / "ct", STORED))
    array = blobs(STORED.shape)
    changed = PROVENANCE | {"pipeline": {"segment": "another"}}
    made = [
        pydicom.dcmread(written(finished(volume, array, provenance=done), tmp_path / name)[0])
        for name, done in (("first", PROVENANCE), ("again", PROVENANCE), ("other", changed))
    ]
    first, again, other = map(uids, made)
    assert first == again
    assert len(first) >= 6
    assert not first & other
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert made[0][keyword].value != made[2][keyword].value


def test_names_in_any_script_and_of_any_length(tmp_path: Path) -> None:
    volume = read(write_dicom_series(tmp_path / "ct", STORED))
    labels = (Label(1, "肝臓"), Label(2, "a\\b" + "x" * 90))
    (path,) = written(finished(volume, blobs(STORED.shape, values=(1, 2)), labels), tmp_path / "out")
    names = [item.SegmentLabel for item in pydicom.dcmread(path).SegmentSequence]
    assert names[0] == "肝臓"
    assert len(names[1]) == 64


def test_what_has_no_series_is_told_before_the_run() -> None:
    flat = Volume(np.zeros((1, 8, 8, 1)), Grid((8, 8, 1), np.eye(4), "px"))
    assert DicomSeg().needs(flat) == "a DICOM series as its image"


@pytest.mark.parametrize("form", ["binary", "rle"])
@pytest.mark.parametrize("what", ["layers", "nothing"])
def test_no_word_of_a_library_reaches_the_user(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str, form: str
) -> None:
    volume = read(write_dicom_series(tmp_path / "ct", STORED))
    nothing = finished(volume, np.zeros(STORED.shape, np.uint8))
    result = nothing if what == "nothing" else layered(volume, overlap=True)
    assert written(result, tmp_path / "out", **FORMS[form])
    assert [record.message for record in caplog.records if record.name.startswith("highdicom")] == []


def test_no_warning_of_a_library_reaches_the_user(tmp_path: Path) -> None:
    def odd(k: int, dataset: Any) -> None:
        with warnings.catch_warnings(action="ignore"):
            dataset.PatientBirthDate, dataset.StudyTime = "not a date", "99"
            dataset.PatientID = "x" * 80

    folder = write_dicom_series(tmp_path / "ct", STORED, orientation=AXIAL, edit=odd)
    assert written(finished(read(folder), blobs(STORED.shape)), tmp_path / "out")


# ------------------------------------------------------------------ other series
@EVERY_FORM
def test_frames_of_an_enhanced_file_are_referred_to_by_number(tmp_path: Path, form: str) -> None:
    order = [3, 1, 5, 0, 2, 4, 9, 8, 7, 6]
    volume = read(write_enhanced(tmp_path / "ct.dcm", STORED, order=order))
    result = finished(volume, blobs(volume.grid.shape))
    (path,) = written(result, tmp_path / "out", **FORMS[form])
    dataset = pydicom.dcmread(path)
    (image,) = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert image.ReferencedSOPInstanceUID == "1.2.3.4"
    found = hd.seg.segread(path).get_pixels_by_source_frame(
        "1.2.3.4",
        range(1, 11),
        combine_segments=True,
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )
    meant = result.segmentation.array[0].transpose(2, 1, 0)[order]
    np.testing.assert_array_equal(found, numbered(meant))
    back = read_segmentation(path, onto=volume, tell=lambda _: None)
    for label in ORGANS:
        np.testing.assert_array_equal(back.mask(label.name), result.segmentation.mask(label.name))


@pytest.mark.parametrize("form", ["binary", "rle"])
def test_every_series_that_went_into_it_is_named_the_one_it_lies_on_first(tmp_path: Path, form: str) -> None:
    t1 = write_dicom_series(tmp_path / "t1", STORED)
    flair = write_dicom_series(tmp_path / "flair", STORED, series="1.2.3.2")
    earlier = write_dicom_series(
        tmp_path / "earlier", STORED, series="1.2.2.1", edit=every(StudyInstanceUID="1.2.2")
    )
    volume = join({"t1": read(t1), "flair": read(flair), "earlier": read(earlier)})
    result = finished(volume, blobs(STORED.shape))
    (path,) = written(result, tmp_path / "out", **FORMS[form])
    dataset = pydicom.dcmread(path)
    assert [series.SeriesInstanceUID for series in dataset.ReferencedSeriesSequence] == ["1.2.3.1", "1.2.3.2"]
    (study,) = dataset.StudiesContainingOtherReferencedInstancesSequence
    assert study.StudyInstanceUID == "1.2.2"
    images = [headers_of(folder) for folder in (t1, flair, earlier)]
    assert [item.ReferencedSOPInstanceUID for item in dataset.SourceImageSequence] == [
        image.SOPInstanceUID for headers in images for image in headers
    ]
    meant = on_images(result, images[0])
    np.testing.assert_array_equal(by_highdicom(path, images[0]), numbered(meant))
    _, (read_by_dcmqi,) = segimage2itkimage(path, tmp_path / "dcmqi", merge=True)
    assert np.array_equal(np.unique(sitk.GetArrayViewFromImage(sitk.ReadImage(read_by_dcmqi))), [0, 1, 2, 3])
    if form == "binary":
        assert dciodvfy_beyond(path, t1 / "IM0000.dcm") == []
        assert dcentvfy([*t1.iterdir(), *flair.iterdir(), path]) == []
    notes: list[str] = []
    back = read_segmentation(path, onto=read(t1), tell=notes.append)
    assert notes == []
    np.testing.assert_array_equal(back.mask("liver"), result.segmentation.mask("liver"))


def test_a_series_in_an_archive_gives_the_same_file(tmp_path: Path) -> None:
    folder = write_dicom_series(tmp_path / "ct", STORED)
    archive = shutil.make_archive(str(tmp_path / "study"), "zip", folder)
    made = []
    for place, image in (("a", read(folder)), ("b", read(archive))):
        (path,) = written(finished(image, blobs(STORED.shape)), tmp_path / place)
        made.append(pydicom.dcmread(path))
    assert made[0].PixelData == made[1].PixelData
    assert uids(made[0]) == uids(made[1])


@pytest.mark.parametrize("name", ["ct-3slice", "24x38x3/image", "24x38x3/multiframe"])
def test_on_real_images(tmp_path: Path, real_data: Path, name: str) -> None:
    folder = real_data / "dicom_seg_dcmqi" / name
    volume = read(folder)
    result = finished(volume, blobs(volume.grid.shape))
    (path,) = written(result, tmp_path / "out")
    back = read_segmentation(path, onto=volume, tell=lambda _: None)
    for label in ORGANS:
        np.testing.assert_array_equal(back.mask(label.name), result.segmentation.mask(label.name))
    images = sorted(folder.glob("*.dcm"))
    assert dciodvfy_beyond(path, images[0]) == []
    assert dcentvfy([*images, path]) == []
