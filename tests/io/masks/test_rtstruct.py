"""RTSTRUCT: circles and rings with known areas, and what a structure set may get wrong."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import write_dicom_series
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.segmentation import Segmentation
from medseg.volume import Volume

SIZE = (64, 64, 9)
STEP = 2.5  # mm between slices
CENTRE = (31.5, 31.5)  # mm: an LPS corner in the middle of four pixels


def one_millimetre(_: int, dataset: Any) -> None:
    dataset.PixelSpacing = [1, 1]
    position = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [0, 0, position[2]]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series") / "ct"
    return write_dicom_series(folder, np.zeros(SIZE, np.int16), edit=one_millimetre)


@pytest.fixture(scope="module")
def image(series: Path) -> Volume:
    return read(series)


def height(k: float) -> float:
    return 40.0 + STEP * k


def circle(radius: float, k: float, *, points: int = 200, centre: Sequence[float] = CENTRE) -> NDArray[Any]:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
    return np.column_stack([x, y, np.full(points, height(k))])


def write(
    path: Path,
    regions: dict[str, list[NDArray[Any]]],
    *,
    kind: str = "CLOSED_PLANAR",
    frame: str = "1.2.3.9",
    series: str | None = "1.2.3.1",
    edit: Callable[[Any], None] | None = None,
) -> Path:
    """A structure set as planning systems write it, contours in LPS mm."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.Modality = meta.MediaStorageSOPClassUID, "RTSTRUCT"
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    place = Dataset()
    place.FrameOfReferenceUID = frame
    if series is not None:
        study, one = Dataset(), Dataset()
        one.SeriesInstanceUID = series
        study.RTReferencedSeriesSequence = [one]
        place.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [place]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        region, drawn = Dataset(), Dataset()
        region.ROINumber, region.ROIName, region.ReferencedFrameOfReferenceUID = number, name, frame
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, [200, 10 * number, 0]
        drawn.ContourSequence = []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = kind, len(points)
            contour.ContourData = [f"{number:.6f}" for number in np.ravel(points)]
            drawn.ContourSequence.append(contour)
        dataset.StructureSetROISequence.append(region)
        dataset.ROIContourSequence.append(drawn)
    if edit is not None:
        edit(dataset)
    dataset.save_as(path)
    return path


def told(path: Path, onto: Volume) -> tuple[Segmentation, list[str]]:
    notes: list[str] = []
    return read_segmentation(path, onto=onto, tell=notes.append), notes


def refusal(path: Path, onto: Volume, kind: type[InputError] = InputError) -> str:
    with pytest.raises(kind) as caught:
        read_segmentation(path, onto=onto, tell=lambda _: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------ known answers
def test_area_of_a_circle(tmp_path: Path, image: Volume) -> None:
    path = write(tmp_path / "rt.dcm", {"ball": [circle(20, k) for k in (3, 4, 5)]})
    found, notes = told(path, image)
    mask = found.mask("ball")
    assert notes == []
    assert mask.sum(axis=(0, 1)).tolist()[:3] == [0, 0, 0]
    for k in (3, 4, 5):
        assert mask[:, :, k].sum() == pytest.approx(np.pi * 20**2, rel=0.01)
    assert not mask[:, :, 6:].any()
    (label,) = found.labels
    assert (label.value, label.colour, label.layer) == (1, "#c80a00", 0)


def test_pixels_are_those_whose_centre_is_inside(tmp_path: Path, image: Volume) -> None:
    path = write(tmp_path / "rt.dcm", {"ball": [circle(17.3, 4, points=2000)]})
    mask = told(path, image)[0].mask("ball")[:, :, 4]
    x, y = np.meshgrid(np.arange(64), np.arange(64), indexing="ij")
    distance = np.hypot(x - CENTRE[0], y - CENTRE[1])
    clear = np.abs(distance - 17.3) > 1e-3
    assert np.array_equal(mask[clear], (distance < 17.3)[clear])


def test_contour_within_a_contour_is_a_hole(tmp_path: Path, image: Volume) -> None:
    path = write(tmp_path / "rt.dcm", {"ring": [circle(20, 4), circle(10, 4)]})
    mask = told(path, image)[0].mask("ring")[:, :, 4]
    assert not mask[28:36, 28:36].any()
    assert mask.sum() == pytest.approx(np.pi * (20**2 - 10**2), rel=0.01)


def test_hole_is_cut_in_its_own_plane_only(tmp_path: Path, image: Volume) -> None:
    path = write(tmp_path / "rt.dcm", {"ring": [circle(20, 4), circle(10, 5)]})
    mask = told(path, image)[0].mask("ring")
    assert mask[32, 32, 4]
    assert mask[32, 32, 5]


def test_regions_that_overlap_lie_in_two_layers(tmp_path: Path, image: Volume) -> None:
    regions = {
        "body": [circle(25, 4)],
        "organ": [circle(10, 4)],
        "apart": [circle(3, 4, centre=(3.5, 3.5))],
    }
    found, _ = told(write(tmp_path / "rt.dcm", regions), image)
    assert [label.layer for label in found.labels] == [0, 1, 0]
    assert (found.mask("body") & found.mask("organ")).sum() == found.mask("organ").sum() > 0


def test_contours_land_on_any_axis_order(tmp_path: Path, image: Volume) -> None:
    path = write(tmp_path / "rt.dcm", {"ball": [circle(20, k, centre=(25.2, 31.1)) for k in (3, 4)]})
    straight, _ = told(path, image)
    turned, _ = told(path, image.reorient("SAR"))
    assert np.array_equal(turned.onto(image.grid).array, straight.array)
    assert straight.array.any()


def test_oblique_slices(tmp_path: Path) -> None:
    tilt = np.deg2rad(20)
    along, down = np.array([1.0, 0, 0]), np.array([0, np.cos(tilt), np.sin(tilt)])
    folder = write_dicom_series(
        tmp_path / "ct", np.zeros(SIZE, np.int16), orientation=(*along, *down), edit=lambda _, d: None
    )
    oblique = read(folder)
    first = oblique.grid.to_world([0, 0, 4]) * (-1, -1, 1)
    angle = np.linspace(0, 2 * np.pi, 300, endpoint=False)[:, None]
    points = first + (22 + 15 * np.cos(angle)) * along + (28 + 15 * np.sin(angle)) * down
    found, _ = told(write(tmp_path / "rt.dcm", {"ball": [points]}), oblique)
    area = found.mask("ball").sum(axis=(0, 1))[4] * 0.7 * 0.9
    assert area == pytest.approx(np.pi * 15**2, rel=0.01)


# ------------------------------------------------------------------ told
def test_contours_on_every_second_slice_are_told(tmp_path: Path, image: Volume) -> None:
    found, notes = told(write(tmp_path / "rt.dcm", {"ball": [circle(9, k) for k in (1, 3, 5)]}), image)
    assert found.mask("ball").any(axis=(0, 1)).tolist() == [k in (1, 3, 5) for k in range(9)]
    assert notes == ["slices without a contour between slices with one stay empty: ball (3 of 5)"]


def test_points_and_open_contours_are_left_out_and_told(tmp_path: Path, image: Volume) -> None:
    def open_it(dataset: Any) -> None:
        dataset.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"
        dataset.ROIContourSequence[2].ContourSequence[0].ContourGeometricType = "POINT"

    regions = {"ball": [circle(9, 4)], "line": [circle(5, 4)], "isocentre": [circle(1, 4, points=1)]}
    found, notes = told(write(tmp_path / "rt.dcm", regions, edit=open_it), image)
    assert notes == [
        "contours that enclose nothing are left out: 1 OPEN_PLANAR, 1 POINT",
        "no closed contour: line, isocentre",
    ]
    assert found.mask("ball").any()
    assert not found.mask("line").any()


def test_contours_between_slices_fill_the_nearest_and_are_told(tmp_path: Path, image: Volume) -> None:
    regions = {"ball": [circle(9, 3.8), circle(5, 4.1)]}
    found, notes = told(write(tmp_path / "rt.dcm", regions), image)
    assert found.mask("ball")[:, :, 4].sum() == pytest.approx(np.pi * 25, rel=0.05)  # the nearer of the two
    assert notes == [
        "contours lie up to 0.20 slices beside the image's slices, each fills the nearest: ball",
        "contours are left out where a plane nearer to their slice has some: ball (1 plane)",
    ]


def test_planes_left_out_are_counted_for_each_region(tmp_path: Path, image: Volume) -> None:
    regions = {"ball": [circle(9, k) for k in (3.75, 4, 4.25)], "rod": [circle(5, 4)]}
    _, notes = told(write(tmp_path / "rt.dcm", regions), image)
    assert notes[-1].endswith("has some: ball (2 planes)")


@pytest.mark.parametrize("aside", [0.001, 0.0199, -0.0051])
def test_a_hole_is_in_its_plane_whatever_the_decimals(tmp_path: Path, image: Volume, aside: float) -> None:
    for k in (4, 4.005, 4.045, 4.075):
        path = write(tmp_path / "rt.dcm", {"ring": [circle(20, k), circle(10, k + aside)]})
        found, notes = told(path, image)
        assert notes == []
        assert found.mask("ring").sum() == pytest.approx(np.pi * (20**2 - 10**2), rel=0.01)


def test_a_contour_stored_twice_counts_once(tmp_path: Path, image: Volume) -> None:
    again = np.roll(circle(20, 4)[::-1], 7, axis=0) + 0.004  # another start and direction, other decimals
    once, _ = told(write(tmp_path / "once.dcm", {"ball": [circle(20, 4)]}), image)
    for kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
        path = write(tmp_path / "rt.dcm", {"ball": [circle(20, 4), again], "rod": [circle(20, 4)]}, kind=kind)
        found, notes = told(path, image)
        assert notes == ["contours stored twice count once: ball (1 contour)"]
        assert np.array_equal(found.mask("ball"), once.mask("ball"))


def test_contours_that_cross_are_united_unless_they_are_exclusive(tmp_path: Path, image: Volume) -> None:
    pair = [circle(12, 4, centre=(25.5, 31.5)), circle(12, 4, centre=(37.5, 31.5))]
    lens = 12**2 * (2 * np.pi / 3 - np.sqrt(3) / 2)  # two circles through each other's centre
    found, notes = told(write(tmp_path / "rt.dcm", {"pair": pair}), image)
    assert notes == ["contours of one region that cross are united: pair"]
    assert found.mask("pair").sum() == pytest.approx(2 * np.pi * 12**2 - lens, rel=0.01)
    found, notes = told(write(tmp_path / "xor.dcm", {"pair": pair}, kind="CLOSEDPLANAR_XOR"), image)
    assert notes == []
    assert found.mask("pair").sum() == pytest.approx(2 * np.pi * 12**2 - 2 * lens, rel=0.02)


def test_a_region_whose_contours_hold_no_pixel_is_told(tmp_path: Path, image: Volume) -> None:
    regions = {"seed": [circle(0.2, 4)], "ball": [circle(9, 4)]}
    found, notes = told(write(tmp_path / "rt.dcm", regions), image)
    assert notes == ["contours that hold no pixel: seed"]
    assert not found.mask("seed").any()


def test_a_plane_just_beyond_the_outermost_slice_is_counted_there(tmp_path: Path, image: Volume) -> None:
    _, notes = told(write(tmp_path / "rt.dcm", {"ball": [circle(9, -0.55), circle(9, 0)]}), image)
    assert notes[-1].endswith("has some: ball (1 plane)")


# ------------------------------------------------------------------ refused
def test_contours_beyond_the_image_are_refused(tmp_path: Path, image: Volume) -> None:
    above = write(tmp_path / "above.dcm", {"ball": [circle(9, 4), circle(9, 10)]})
    assert "'ball': a contour lies 5.00 mm beyond the image's outermost slice" in refusal(
        above, image, GeometryError
    )
    beside = write(tmp_path / "beside.dcm", {"ball": [circle(20, 4, centre=(50, 30))]})
    assert "6.5 pixels beyond the image" in refusal(beside, image, GeometryError)
    rim = write(tmp_path / "rim.dcm", {"ball": [circle(20, 4, centre=(44, 30))]})
    assert told(rim, image)[1] == ["ball: what lies up to 0.50 pixels beyond the image is cut off"]


def test_contours_across_slices_are_refused(tmp_path: Path, image: Volume) -> None:
    slanted = circle(9, 4)
    slanted[:, 2] += slanted[:, 1] / 5
    assert "do not lie in slices" in refusal(write(tmp_path / "rt.dcm", {"ball": [slanted]}), image)


@pytest.mark.parametrize(("voxels", "accepted"), [(0.19, True), (0.21, False)])
def test_points_may_leave_their_slice_by_a_fifth_of_a_voxel(
    tmp_path: Path, image: Volume, voxels: float, accepted: bool
) -> None:
    wavy = circle(9, 4)
    wavy[::2, 2] += voxels * STEP
    path = write(tmp_path / "rt.dcm", {"ball": [wavy]})
    if accepted:
        assert told(path, image)[0].mask("ball").sum() == pytest.approx(np.pi * 9**2, rel=0.03)
    else:
        assert "they leave them by 0.21 voxels" in refusal(path, image, GeometryError)


def test_other_references_are_refused(tmp_path: Path, image: Volume) -> None:
    regions = {"ball": [circle(9, 4)]}
    frame = write(tmp_path / "frame.dcm", regions, frame="1.2.3.4")
    assert "frame of reference …1.2.3.4" in refusal(frame, image, GeometryError)
    series = write(tmp_path / "series.dcm", regions, series="1.2.3.5")
    assert "made for series …1.2.3.5" in refusal(series, image)
    silent = write(tmp_path / "silent.dcm", regions, series=None)
    assert told(silent, image)[1] == ["it names no series: placed by frame of reference and coordinates"]


def test_damage_is_refused(tmp_path: Path, image: Volume) -> None:
    def one(edit: Callable[[Any], None]) -> str:
        return refusal(write(tmp_path / "rt.dcm", {"ball": [circle(9, 4)]}, edit=edit), image)

    def contour(dataset: Any) -> Any:
        return dataset.ROIContourSequence[0].ContourSequence[0]

    def two_numbers(dataset: Any) -> None:
        contour(dataset).ContourData = contour(dataset).ContourData[:-1]

    def miscounted(dataset: Any) -> None:
        contour(dataset).NumberOfContourPoints = 7

    def unnamed(dataset: Any) -> None:
        dataset.ROIContourSequence[0].ReferencedROINumber = 4

    assert "not points in space" in one(two_numbers)
    assert "claims 7 points and has 200" in one(miscounted)
    assert "region 4, which is not named" in one(unnamed)
    assert "names no region" in one(lambda dataset: setattr(dataset, "StructureSetROISequence", []))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("invalid_reference_rt.dcm", "drawn on image …23471.995.90 that this series lacks"),
        ("non_existent_reference_rt.dcm", "drawn on image …23471.995.90 that this series lacks"),
        ("rt.dcm", "frame of reference …335498661397, the image lies in …3.912.6060.1"),
    ],
)
def test_real_structure_sets_with_wrong_references_say_which(real_data: Path, name: str, said: str) -> None:
    folder = real_data / "dicom_odd" / "rt-utils" / "mock_data"
    assert said in refusal(folder / name, read(folder), GeometryError)
