"""DICOM SR: every measurement is there with its unit and its segment, as others read it."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd  # noqa: TID253 - a test module
import numpy as np
import pydicom  # noqa: TID253
import pytest
from dicom_edits import every
from dicom_series import CANARIES, write_dicom_series
from dicom_validators import dcentvfy, dciodvfy_beyond, tid1500reader
from seg_results import ORGANS, PROVENANCE, blobs, finished

import medseg
from medseg.builtin.measure.lesions import Lesions
from medseg.builtin.measure.quality import Quality
from medseg.builtin.measure.volumes import Volumes
from medseg.builtin.write.dicom_seg import DicomSeg
from medseg.builtin.write.dicom_sr import DicomSr
from medseg.errors import MedsegError
from medseg.io import read
from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.references import Reference
from medseg.io.dicom_results.report_groups import groups_of
from medseg.io.dicom_results.report_read_back import found_in, require_same
from medseg.io.dicom_results.segments import files_of_segments
from medseg.prediction import Measured, Result
from medseg.run.inputs import join
from medseg.segmentation import Label, Object
from medseg.volume import Volume

STORED = (np.arange(20 * 16 * 10).reshape(20, 16, 10) % 700 + 824).astype(np.uint16)
VOLUME = ("118565006", "SCT")


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT series of a patient with a name."""
    return write_dicom_series(tmp_path_factory.mktemp("study") / "ct", STORED)


@pytest.fixture(scope="module")
def volume(ct: Path) -> Volume:
    return read(ct)


@pytest.fixture(scope="module")
def measured(volume: Volume) -> Result:
    """Three organs, one of them in two parts, with all that is usually measured of them."""
    array = blobs(volume.grid.shape)
    array[-3:, -3:, -2:] = 5  # a second lesion, away from the first
    result = finished(volume, array)
    rows = [
        row
        for measure in (Volumes(), Lesions(labels=("tumour",)), Quality())
        for row in measure(volume, result.segmentation, result.prediction)
    ]
    return replace(result, measurements=tuple(rows))


def written(result: Result, folder: Path) -> Path:
    """The report beside its segmentation."""
    folder.mkdir(exist_ok=True)
    segmentation = DicomSeg.check(DicomSeg()(result, folder), folder=folder)
    (path,) = DicomSr.check(DicomSr()(result, folder), folder=folder, taken=segmentation)
    return path


@pytest.fixture(scope="module")
def report(measured: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(measured, tmp_path_factory.mktemp("results") / "out")


@pytest.fixture(scope="module")
def few(measured: Result) -> Result:
    """The same with a few numbers only."""
    kept = ("volume", "intensity_mean", "voxels", "truncated")
    return replace(measured, measurements=tuple(row for row in measured.measurements if row.quantity in kept))


@pytest.fixture(scope="module")
def short(few: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(few, tmp_path_factory.mktemp("few") / "out")


def texts(dataset: pydicom.Dataset) -> list[str]:
    return [str(element.value) for element in dataset.iterall() if element.keyword == "TextValue"]


def test_every_number_is_there_with_its_unit_and_its_segment(measured: Result, report: Path) -> None:
    groups = found_in(pydicom.dcmread(report))
    assert [group.name for group in groups] == ["liver", "left kidney", "tumour", "tumour 1", "tumour 2"]
    assert [group.segment[2] if group.segment else None for group in groups] == [1, 2, 3, 3, 3]
    for group, (label, number) in zip(
        groups,
        [("liver", None), ("left kidney", None), ("tumour", None), ("tumour", 1), ("tumour", 2)],
        strict=True,
    ):
        rows = [row for row in measured.measurements if (row.label, row.object) == (label, number)]
        numbers = [row.value for row in rows if isinstance(row.value, float | int)]
        assert len(rows) > 10
        assert [found.value for found in group.numbers] == numbers
        assert len(group.findings) == len(rows) - len(numbers)
        (ml,) = [found for found in group.numbers if found.name == VOLUME]
        assert ml.unit == ("mL", "UCUM")
    (mean,) = [
        found
        for found in groups[0].numbers
        if (found.name, found.derivation) == (("112031", "DCM"), ("373098007", "SCT"))
    ]
    assert mean.unit == ("[hnsf'U]", "UCUM")
    (row,) = [r for r in measured.measurements if (r.label, r.quantity) == ("liver", "intensity_mean")]
    assert mean.value == row.value


def test_it_breaks_no_rule_and_contradicts_no_image(ct: Path, report: Path) -> None:
    images = sorted(ct.iterdir())
    assert dciodvfy_beyond(report, images[0]) == []
    assert dcentvfy([*images, report.with_name("segmentation.dcm"), report]) == []


def test_dcmqi_reads_the_same_volumes(measured: Result, report: Path, tmp_path: Path) -> None:
    described = tid1500reader(report, tmp_path / "dcmqi")
    assert (described["CompletionFlag"], described["VerificationFlag"]) == ("COMPLETE", "UNVERIFIED")
    groups = described["Measurements"]
    assert [group["ReferencedSegment"] for group in groups] == [1, 2, 3, 3, 3]
    meant = [float(row.value or 0) for row in measured.measurements if row.quantity == "volume"]
    there = [
        float(item["value"])
        for group in groups
        for item in group["measurementItems"]
        if item["quantity"]["CodeValue"] == VOLUME[0]
    ]
    assert sorted(there) == pytest.approx(sorted(meant), rel=1e-12)
    assert (groups[1]["Finding"]["CodeMeaning"], groups[1]["Laterality"]["CodeMeaning"]) == ("Kidney", "Left")
    segmentation = pydicom.dcmread(report.with_name("segmentation.dcm"), stop_before_pixels=True)
    for group, segment in zip(groups, segmentation.SegmentSequence, strict=False):
        assert group["TrackingUniqueIdentifier"] == segment.TrackingUID
        assert group["TrackingIdentifier"] == segment.TrackingID
        assert group["segmentationSOPInstanceUID"] == segmentation.SOPInstanceUID


def test_highdicom_reads_it(report: Path) -> None:
    content: Any = hd.sr.srread(report).content
    groups = content.get_volumetric_roi_measurement_groups()
    assert len(groups) == 5
    (volume,) = groups[0].get_measurements(name=hd.sr.CodedConcept(*VOLUME, "Volume"))
    assert volume.unit.value == "mL"


def test_it_says_that_it_is_research_and_that_nobody_looked(report: Path) -> None:
    data = report.read_bytes()
    assert data[:132] == b"\0" * 128 + b"DICM"
    dataset = pydicom.dcmread(report)
    assert (dataset.PreliminaryFlag, dataset.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")
    assert (dataset.SeriesNumber, dataset.Modality) == (901, "SR")
    assert dataset.SeriesDescription == "medseg phantom measurements - RESEARCH ONLY"
    assert any(text.startswith("Research use only") for text in texts(dataset))
    assert not [element for element in dataset.iterall() if element.tag.is_private]
    assert str(dataset.PatientName) == CANARIES[0]
    assert [item.CodingSchemeDesignator for item in dataset.CodingSchemeIdentificationSequence] == [
        "99MEDSEG"
    ]
    algorithms = [item.TextValue for item in dataset.ContentSequence[-2].ContentSequence[0].ContentSequence
                  if item.ConceptNameCodeSequence[0].CodeValue in ("111001", "111003")]  # fmt: skip
    assert algorithms == ["phantom", "1.0"]


def test_a_retry_replaces_itself(few: Result, short: Path, tmp_path: Path) -> None:
    again = pydicom.dcmread(written(few, tmp_path / "again"))
    first = pydicom.dcmread(short)
    for dataset in (first, again):
        for keyword in ("InstanceCreationTime", "SeriesTime", "ContentTime"):
            delattr(dataset, keyword)
        for keyword in ("InstanceCreationDate", "SeriesDate", "ContentDate"):
            delattr(dataset, keyword)
    assert again == first
    other = replace(few, provenance={**PROVENANCE, "seed": 1})
    changed = pydicom.dcmread(written(other, tmp_path / "other"))
    assert changed.SOPInstanceUID != first.SOPInstanceUID
    assert changed.SeriesInstanceUID != first.SeriesInstanceUID


def test_what_cannot_be_said_has_no_value_and_its_reason(volume: Volume, tmp_path: Path) -> None:
    result = finished(volume, np.zeros(volume.grid.shape, np.uint8), ORGANS[:1])
    rows = (
        Measured(label="liver", quantity="volume", value=0.0, unit="mL", flag="empty"),
        Measured(label="liver", quantity="centroid_x", value=None, unit="mm", flag="empty"),
        Measured(label="liver", quantity="spread", value=float("inf"), unit="furlong"),
        Measured(label="liver", quantity="threshold_volume", value=2.5, unit="mL", interval=(2.0, 3.5)),
        Measured(label="liver", quantity="truncated", value="false"),
        Measured(label="liver", quantity="host", value="liver", flag="65 %"),
        Measured(label="liver", quantity="voxels", value=np.int64(7)),  # type: ignore[arg-type]  # a plugin's
    )
    path = written(replace(result, measurements=rows), tmp_path / "out")
    (group,) = found_in(pydicom.dcmread(path))
    assert [number.value for number in group.numbers] == [0.0, 2.5, 2.0, 3.5, 7]
    assert [number.comment for number in group.numbers] == ["empty", "", "", "", ""]
    least, most = ("255605001", "SCT"), ("56851009", "SCT")
    assert [number.derivation for number in group.numbers[1:4]] == [None, least, most]
    assert len({number.name for number in group.numbers[1:4]}) == 1
    unknown, no, liver = ("114010", "DCM"), ("373067005", "SCT"), ("10200004", "SCT")
    said = [(value, comment) for _, value, comment in group.findings]
    assert said == [(unknown, "empty"), (unknown, ""), (no, ""), (liver, "65 %")]


def test_a_word_that_is_a_label_keeps_its_side(volume: Volume, tmp_path: Path) -> None:
    result = finished(volume, blobs(volume.grid.shape))
    rows = [Measured(label="tumour", object=n, quantity="host", value=ORGANS[n - 1].name) for n in (1, 2)]
    dataset = pydicom.dcmread(written(replace(result, measurements=tuple(rows)), tmp_path / "out"))
    hosts = [
        item.ConceptCodeSequence[0].CodeMeaning
        for group in dataset.ContentSequence[-2].ContentSequence
        for item in group.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "host"
    ]
    assert hosts == ["Liver", "left kidney"]


def test_an_end_of_an_interval_that_cannot_be_said_is_unknown(volume: Volume, tmp_path: Path) -> None:
    result = finished(volume, np.zeros(volume.grid.shape, np.uint8), ORGANS[:1])
    row = Measured(label="liver", quantity="volume", value=2.5, unit="mL", interval=(2.0, float("inf")))
    (group,) = found_in(pydicom.dcmread(written(replace(result, measurements=(row,)), tmp_path / "out")))
    assert [number.value for number in group.numbers] == [2.5, 2.0]
    assert [value for _, value, _ in group.findings] == [("114010", "DCM")]


def test_objects_have_a_group_each_and_their_label_one_without_a_segment(
    volume: Volume, tmp_path: Path
) -> None:
    array = np.zeros(volume.grid.shape, np.uint16)
    array[:3], array[8:10] = 300, 7
    labels = (Label(1, "nodule"),)
    objects = (Object(7, "nodule"), Object(300, "nodule"))
    result = finished(volume, array, labels, kinds=("objects",), objects=objects)
    rows = (
        Measured(label="nodule", quantity="objects", value=2),
        Measured(label="nodule", object=7, quantity="volume", value=1.5, unit="mL"),
        Measured(label="nodule", object=300, quantity="volume", value=2.5, unit="mL"),
    )
    path = written(replace(result, measurements=rows), tmp_path / "out")
    dataset = pydicom.dcmread(path)
    groups = found_in(dataset)
    assert [(group.name, group.segment and group.segment[2]) for group in groups] == [
        ("nodule", None),
        ("nodule 7", 1),
        ("nodule 300", 2),
    ]
    assert [number.value for group in groups for number in group.numbers] == [2, 1.5, 2.5]
    assert "All objects of the label, each of which is a segment of its own" in texts(dataset)


def test_layers_that_overlap_are_found_in_their_own_files(volume: Volume, tmp_path: Path) -> None:
    array = np.zeros((2, *volume.grid.shape), np.uint8)
    array[0, :9], array[1, 4:12] = 1, 2
    labels = (Label(1, "liver"), Label(2, "tumour", layer=1))
    result = finished(volume, array, labels)
    folder = tmp_path / "out"
    folder.mkdir()
    files = list(DicomSeg(type="labelmap")(result, folder))
    assert len(files) == 2
    (path,) = DicomSr()(result, folder)
    uids = [str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in sorted(files)]
    assert [group.segment[1] for group in found_in(pydicom.dcmread(path)) if group.segment] == uids


def test_every_series_that_went_into_it_is_evidence(ct: Path, tmp_path: Path) -> None:
    flair = write_dicom_series(tmp_path / "flair", STORED, series="1.2.3.2")
    earlier = write_dicom_series(
        tmp_path / "earlier", STORED, series="1.2.2.1", edit=every(StudyInstanceUID="1.2.2")
    )
    volume = join({"t1": read(ct), "flair": read(flair), "earlier": read(earlier)})
    result = finished(volume, blobs(volume.grid.shape))
    row = Measured(label="liver", quantity="volume", value=1.5, unit="mL")
    path = written(replace(result, measurements=(row,)), tmp_path / "out")
    dataset = pydicom.dcmread(path)
    segmentation = pydicom.dcmread(path.with_name("segmentation.dcm"), stop_before_pixels=True)

    def series(keyword: str) -> dict[str, dict[str, int]]:
        return {
            study.StudyInstanceUID: {
                item.SeriesInstanceUID: len(item.ReferencedSOPSequence)
                for item in study.ReferencedSeriesSequence
            }
            for study in dataset[keyword].value
        }

    own = {"1.2.3.1": 10, "1.2.3.2": 10, segmentation.SeriesInstanceUID: 1}
    assert series("CurrentRequestedProcedureEvidenceSequence") == {"1.2.3": own}
    assert series("PertinentOtherEvidenceSequence") == {"1.2.2": {"1.2.2.1": 10}}
    assert dciodvfy_beyond(path, ct / "IM0000.dcm") == []
    del dataset.PertinentOtherEvidenceSequence
    dataset.save_as(tmp_path / "less.dcm")
    origin = Origin.of(volume)
    files = files_of_segments(path.parent)
    with pytest.raises(MedsegError, match="does not list"):
        require_same(
            tmp_path / "less.dcm", groups_of(replace(result, measurements=(row,)), origin), files, origin
        )


def test_without_a_segmentation_there_is_nothing_to_refer_to(measured: Result, tmp_path: Path) -> None:
    with pytest.raises(MedsegError, match="no DICOM segmentation of 'liver' lies beside the report"):
        list(DicomSr()(measured, tmp_path))


def _numbers(dataset: pydicom.Dataset) -> list[pydicom.Dataset]:
    group = dataset.ContentSequence[-2].ContentSequence[0]
    return [item for item in group.ContentSequence if item.ValueType == "NUM"]


def other_number(dataset: pydicom.Dataset) -> None:
    _numbers(dataset)[0].MeasuredValueSequence[0].FloatingPointValue += 1e-6


def other_text(dataset: pydicom.Dataset) -> None:
    _numbers(dataset)[0].MeasuredValueSequence[0].NumericValue = "3"


def other_unit(dataset: pydicom.Dataset) -> None:
    _numbers(dataset)[0].MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "L"


def other_quantity(dataset: pydicom.Dataset) -> None:
    _numbers(dataset)[0].ConceptNameCodeSequence[0].CodeValue = "42798000"


def other_segment(dataset: pydicom.Dataset) -> None:
    for item in dataset.ContentSequence[-2].ContentSequence[0].ContentSequence:
        if item.ValueType == "IMAGE":
            item.ReferencedSOPSequence[0].ReferencedSegmentNumber = 2


def other_side(dataset: pydicom.Dataset) -> None:
    kidney = dataset.ContentSequence[-2].ContentSequence[1]
    (site,) = [
        item for item in kidney.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "363698007"
    ]
    site.ContentSequence[0].ConceptCodeSequence[0].CodeValue = "24028007"


def one_number_less(dataset: pydicom.Dataset) -> None:
    group = dataset.ContentSequence[-2].ContentSequence[0]
    group.ContentSequence.remove(_numbers(dataset)[1])


def one_group_less(dataset: pydicom.Dataset) -> None:
    del dataset.ContentSequence[-2].ContentSequence[1]


def verified(dataset: pydicom.Dataset) -> None:
    dataset.VerificationFlag = "VERIFIED"


def no_evidence(dataset: pydicom.Dataset) -> None:
    del dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]


@pytest.mark.parametrize(
    "change",
    [
        *(other_number, other_text, other_unit, other_quantity, other_segment, other_side),
        *(one_number_less, one_group_less, verified, no_evidence),
    ],
)
def test_a_report_that_says_something_else_is_not_released(
    few: Result, short: Path, tmp_path: Path, change: Callable[[pydicom.Dataset], None]
) -> None:
    origin = Origin.of(few.volume)
    groups = groups_of(few, origin)
    header = pydicom.dcmread(short.with_name("segmentation.dcm"), stop_before_pixels=True)
    file = Reference(header.SOPClassUID, header.SOPInstanceUID, header.SeriesInstanceUID)
    files = dict.fromkeys((1, 2, 3), file)
    require_same(short, groups, files, origin)
    dataset = pydicom.dcmread(short)
    change(dataset)
    dataset.save_as(tmp_path / "changed.dcm")
    with pytest.raises(MedsegError, match=r"changed\.dcm: read back, .*nothing is released"):
        require_same(tmp_path / "changed.dcm", groups, files, origin)


def test_a_whole_run_says_the_same_as_its_table(ct: Path, tmp_path: Path) -> None:
    model = tmp_path / "bright.yaml"
    model.write_text(
        "labels: {1: {name: liver tumour}}\nsegment: {threshold: {above: 100}}\n"
        "measure: [volumes, lesions]\nwrite: [json]\n"
    )
    out = tmp_path / "out"
    medseg.segment(ct, model=model, out=out, write="dicom-sr,dicom-seg,csv")
    with (out / "measurements.csv").open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    meant = [float(row["value"]) for row in rows if row["quantity"] == "volume"]
    groups = found_in(pydicom.dcmread(out / "measurements.dcm"))
    there = [number.value for group in groups for number in group.numbers if number.name == VOLUME]
    assert there == meant
    for name in ("run.json", "measurements.csv", "measurements.json"):
        text = (out / name).read_text(encoding="utf-8")
        assert not [canary for canary in CANARIES if canary in text]


def test_real_images_as_a_scanner_wrote_them(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "dicom_seg_dcmqi" / "ct-3slice"
    model = tmp_path / "bone.yaml"
    model.write_text("labels: {1: {name: bone}}\nsegment: {threshold: {above: 200}}\nmeasure: [volumes]\n")
    out = tmp_path / "out"
    result = medseg.segment(source, model=model, out=out, write="dicom-seg,dicom-sr")
    (volume,) = [row.value for row in result.measurements if row.quantity == "volume"]
    (group,) = found_in(pydicom.dcmread(out / "measurements.dcm"))
    assert [number.value for number in group.numbers if number.name == VOLUME] == [volume]
    images = sorted(source.glob("*.dcm"))
    assert dciodvfy_beyond(out / "measurements.dcm", images[0]) == []
    assert dcentvfy([*images, out / "segmentation.dcm", out / "measurements.dcm"]) == []
