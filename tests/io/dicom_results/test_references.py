"""What a result refers to: every series that went into it, by study, its own first."""

from pydicom import Dataset  # noqa: TID253 - a test module

from medseg.io.dicom_results.origin import Origin
from medseg.io.dicom_results.references import Reference, refer_to, studies

CT, SEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"


def image(study: str, series: str, uid: str) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = CT, uid
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    return made


T1 = (image("1", "1.1", "1.1.1"), image("1", "1.1", "1.1.2"))
FLAIR, EARLIER = image("1", "1.2", "1.2.1"), image("0", "0.1", "0.1.1")
FILE = Reference(SEG, "1.9.1", "1.9")


def told(studies: list[Dataset], items: str) -> dict[str, dict[str, list[str]]]:
    return {
        study.StudyInstanceUID: {
            series.SeriesInstanceUID: [item.ReferencedSOPInstanceUID for item in series[items].value]
            for series in study.ReferencedSeriesSequence
        }
        for study in studies
    }


def test_every_series_of_every_study_is_there_the_own_first() -> None:
    origin = Origin(T1, ((0, None), (1, None)), (EARLIER, FLAIR))
    found = studies(origin, [FILE, FILE], items="ReferencedSOPSequence")
    assert [study.StudyInstanceUID for study in found] == ["1", "0"]
    assert told(found, "ReferencedSOPSequence") == {
        "1": {"1.1": ["1.1.1", "1.1.2"], "1.2": ["1.2.1"], "1.9": ["1.9.1"]},
        "0": {"0.1": ["0.1.1"]},
    }
    assert found[0].ReferencedSeriesSequence[2].ReferencedSOPSequence[0].ReferencedSOPClassUID == SEG


def test_an_object_refers_to_other_studies_only_where_there_are_any() -> None:
    one, several = Dataset(), Dataset()
    assert len(refer_to(one, Origin(T1, ((0, None), (1, None))))) == 2
    assert "StudiesContainingOtherReferencedInstancesSequence" not in one
    items = refer_to(several, Origin(T1, ((0, None), (1, None)), (EARLIER,)), [FILE])
    assert [item.ReferencedSOPInstanceUID for item in items] == ["1.1.1", "1.1.2", "1.9.1", "0.1.1"]
    (other,) = several.StudiesContainingOtherReferencedInstancesSequence
    assert told([other], "ReferencedInstanceSequence") == {"0": {"0.1": ["0.1.1"]}}
