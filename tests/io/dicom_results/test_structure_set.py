"""Contours of masks, and where their points lie in the patient: numbers worked out by hand."""

from pathlib import Path

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_series import write_dicom_series
from results import result_of

from medseg.io import read
from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.structure_set import Region, contours_of, structure_set
from medseg.io.dicom_results.terms import term_of
from medseg.segmentation import Label, LabelTable, Segmentation

TERM = term_of(Label(1, "liver"))


def test_contours_know_their_slice_and_where_the_mask_began() -> None:
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 2, [0, 3]] = True
    contours = list(contours_of(mask, (10, 20, 30)))
    assert [contour.slice for contour in contours] == [30, 33]
    for contour in contours:
        assert contour.points.min(axis=0) == pytest.approx((10.5, 21.5))
        assert contour.points.max(axis=0) == pytest.approx((11.5, 22.5))


def test_points_lie_on_the_edges_of_a_voxel_in_the_patient(tmp_path: Path) -> None:
    volume = read(write_dicom_series(tmp_path / "ct", np.zeros((4, 3, 2), np.int16)))
    mask = np.zeros((4, 3, 2), bool)
    mask[2, 1, 1] = True
    source = volume.source
    assert source is not None
    empty = Segmentation(np.zeros((1, 4, 3, 2), np.uint8), volume.grid, LabelTable(()))
    result = result_of(empty, volume=volume)
    region = Region(7, "a\\b\n" + "x" * 80, TERM, "#0a0b0c", list(contours_of(mask)), 1 / 3)
    made = structure_set(Origin.of(volume), source.headers, [region], result=result)
    made.save_as(tmp_path / "made.dcm", enforce_file_format=True)
    stored = pydicom.dcmread(tmp_path / "made.dcm")
    (contour,) = stored.ROIContourSequence[0].ContourSequence
    points = np.array(contour.ContourData, float).reshape(-1, 3)
    # the series begins at (-30, -20, 40); columns are 0.7 mm apart, rows 0.9, slices 2.5
    assert points.min(axis=0) == pytest.approx((-30 + 1.5 * 0.7, -20 + 0.5 * 0.9, 42.5))
    assert points.max(axis=0) == pytest.approx((-30 + 2.5 * 0.7, -20 + 1.5 * 0.9, 42.5))
    assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == source.headers[1]["SOPInstanceUID"]
    name = stored.StructureSetROISequence[0].ROIName
    assert name.startswith("a b x")
    assert len(name) == 64
    assert stored.StructureSetROISequence[0].ROIVolume == pytest.approx(1 / 3)
    assert stored.file_meta.TransferSyntaxUID.is_implicit_VR  # with explicit VR a contour ends at 64 kB


def test_a_contour_of_many_points_is_stored_whole(tmp_path: Path) -> None:
    comb = np.zeros((2600, 3, 2), bool)
    comb[:, 0, 0] = comb[::2, 1, 0] = True  # a turn at every column
    volume = read(write_dicom_series(tmp_path / "ct", np.zeros(comb.shape, np.int16)))
    source = volume.source
    assert source is not None
    array = comb[None].astype(np.uint8)
    found = Segmentation(array, volume.grid, LabelTable((Label(1, "comb"),)))
    result = result_of(found, volume=volume)
    region = Region(1, "comb", TERM, "#0a0b0c", list(contours_of(comb)))
    made = structure_set(Origin.of(volume), source.headers, [region], result=result)
    made.save_as(tmp_path / "made.dcm", enforce_file_format=True)
    (contour,) = pydicom.dcmread(tmp_path / "made.dcm").ROIContourSequence[0].ContourSequence
    assert contour.NumberOfContourPoints == 5202
    assert len(contour.get_item("ContourData").value) > 1 << 16
