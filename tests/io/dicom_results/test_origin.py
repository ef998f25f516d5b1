"""The series that a result refers to: what is taken of its headers, what is not, when it is refused."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom  # noqa: TID253 - a test module
import pytest
from dicom_edits import every, only
from dicom_frames import write_enhanced
from dicom_series import CANARIES, write_dicom_series

from medseg.errors import InputError
from medseg.io import read
from medseg.io.dicom_results.origin import Origin, one_line, series_description
from medseg.prediction import Prediction, Result
from medseg.run.inputs import join
from medseg.segmentation import LabelTable, Segmentation
from medseg.volume import Grid, Volume

STORED = np.full((12, 10, 6), 1024, np.uint16)
STRUCTURES = "1.2.840.10008.5.1.4.1.1.481.3"


def series(folder: Path, edit: Any = None) -> Path:
    return write_dicom_series(folder, STORED, edit=edit)


def result(volume: Volume) -> Result:
    nothing = Segmentation(np.zeros((1, *volume.grid.shape), np.uint8), volume.grid, LabelTable(()))
    return Result(
        case_id="case",
        volume=volume,
        prediction=Prediction(segmentation=nothing),
        segmentation=nothing,
        measurements=(),
        provenance={"model": {"name": "ct-tissue", "version": "1.0", "pipeline_sha256": "ab" * 32}},
    )


def test_slices_are_the_images_in_the_order_of_the_volume(tmp_path: Path) -> None:
    volume = read(series(tmp_path / "ct", lambda k, d: setattr(d, "InstanceNumber", 6 - k)))
    origin = Origin.of(volume)
    assert volume.source is not None
    assert list(origin.uids) == [header["SOPInstanceUID"] for header in volume.source.headers]
    assert origin.slices == tuple((k, None) for k in range(6))
    assert origin.reference(2).ReferencedSOPInstanceUID == "1.2.3.1.3"
    assert "ReferencedFrameNumber" not in origin.reference(2)
    assert Origin.of(volume) is origin


def test_a_new_object_names_patient_and_study_and_nothing_that_was_not_meant(tmp_path: Path) -> None:
    def edit(k: int, dataset: Any) -> None:
        dataset.AccessionNumber, dataset.PatientComments = "A-17", "secret"
        dataset.InstitutionName = dataset.StationName = "secret"
        dataset.private_block(0x0011, "secret", create=True).add_new(1, "LO", "secret")

    volume = read(series(tmp_path / "ct", edit))
    made = Origin.of(volume).new(STRUCTURES, modality="RTSTRUCT", kind="rtstruct", result=result(volume))
    made.save_as(tmp_path / "made.dcm", enforce_file_format=True)
    content = (tmp_path / "made.dcm").read_bytes()
    assert b"secret" not in content
    assert content[:128] == b"\0" * 128
    back = pydicom.dcmread(tmp_path / "made.dcm")
    assert (back.PatientName, back.PatientID, back.PatientBirthDate) == CANARIES
    assert (back.AccessionNumber, back.PatientSex, back.StudyInstanceUID) == ("A-17", "", "1.2.3")
    assert (back.SeriesNumber, back.InstanceNumber, back.FrameOfReferenceUID) == (902, 1, "1.2.3.9")
    assert back.SeriesDescription == "medseg ct-tissue - RESEARCH ONLY"
    assert (back.Manufacturer, back.ContentQualification) == ("medseg", "RESEARCH")
    assert back.SeriesInstanceUID != back.SOPInstanceUID


def test_names_in_any_character_set_are_kept(tmp_path: Path) -> None:
    edit = every(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")
    volume = read(series(tmp_path / "ct", edit))
    made = Origin.of(volume).new(STRUCTURES, modality="RTSTRUCT", kind="rtstruct", result=result(volume))
    made.save_as(tmp_path / "made.dcm", enforce_file_format=True)
    assert pydicom.dcmread(tmp_path / "made.dcm").PatientName == "Yamada^Tarou=山田^太郎"


def test_frames_of_one_file_are_told_apart(tmp_path: Path) -> None:
    volume = read(write_enhanced(tmp_path / "ct.dcm", STORED, order=[3, 1, 5, 0, 2, 4]))
    origin = Origin.of(volume)
    assert origin.uids == ("1.2.3.4",)
    assert origin.slices == tuple((0, frame) for frame in (4, 2, 5, 1, 6, 3))
    assert origin.reference(0).ReferencedFrameNumber == 4


@pytest.mark.parametrize("form", ["zip", "gztar"])
def test_headers_come_from_an_archive_too(tmp_path: Path, form: str) -> None:
    made = shutil.make_archive(str(tmp_path / "study"), form, series(tmp_path / "ct"))
    volume = read(made)
    assert Origin.refusal(volume) is None
    assert Origin.of(volume).uids == Origin.of(read(tmp_path / "ct")).uids


@pytest.mark.parametrize("archived", [False, True], ids=["folder", "zip"])
def test_images_that_were_replaced_since_they_were_read_are_refused(tmp_path: Path, archived: bool) -> None:
    folder = series(tmp_path / "ct")

    def packed() -> Path:
        return Path(shutil.make_archive(str(tmp_path / "ct"), "zip", folder)) if archived else folder

    volume = read(packed())
    write_dicom_series(folder, STORED, series="1.2.3.2")
    packed()
    with pytest.raises(InputError, match=r"has changed since|is no longer where it was read"):
        Origin.of(volume)


def test_what_no_result_can_refer_to_is_told_before_the_run(tmp_path: Path) -> None:
    plain = Volume(np.zeros((1, 4, 4, 4)), Grid((4, 4, 4), np.eye(4)))
    assert Origin.refusal(plain) == "a DICOM series as its image"
    with pytest.raises(InputError, match="a DICOM series as its image"):
        Origin.of(plain)
    empty = read(series(tmp_path / "a", every(SOPInstanceUID="", StudyInstanceUID="")))
    assert "UIDs" in str(Origin.refusal(empty))
    nowhere = read(series(tmp_path / "b", every(FrameOfReferenceUID=None)))
    assert "frame of reference" in str(Origin.refusal(nowhere))
    assert Origin.refusal(nowhere, placed=False) is None
    shared = read(series(tmp_path / "c", only(3, SOPInstanceUID="1.2.3.1.1")))
    assert "share a SOPInstanceUID" in str(Origin.refusal(shared))


def test_long_names_are_cut_and_the_mark_of_research_never() -> None:
    text = series_description("x" * 200, "contours")
    assert len(text) == 64
    assert text.endswith("x contours - RESEARCH ONLY")
    assert one_line("a\\b\n\tc", 4) == "a b"


def test_images_of_further_inputs_are_known_by_their_uids_alone(tmp_path: Path) -> None:
    first = read(series(tmp_path / "a"))
    second = read(write_dicom_series(tmp_path / "b", STORED, series="1.2.3.2"))
    unnamed = read(series(tmp_path / "c", every(SeriesInstanceUID="")))
    array = Volume(first.array, first.grid)
    origin = Origin.of(join({"t1": first, "flair": second, "again": first, "odd": unnamed, "map": array}))
    assert origin.uids == Origin.of(first).uids
    assert [image.SOPInstanceUID for image in origin.others] == [f"1.2.3.2.{k}" for k in range(1, 7)]
    assert sorted(element.keyword for element in origin.others[0]) == [
        *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"),
    ]
