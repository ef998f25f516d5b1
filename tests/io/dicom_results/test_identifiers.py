"""UIDs of results: a retry has the same ones, any other job has others."""

from typing import Any

import pytest
from pydicom import Dataset  # noqa: TID253 - a test module
from pydicom.uid import UID  # noqa: TID253

from medseg.io.dicom_results.identifiers import result_uid
from medseg.io.dicom_results.origin import Origin

DONE: dict[str, Any] = {
    "medseg": {"version": "0.1.0"},
    "model": {"name": "ct-tissue", "version": "1.0"},
    "pipeline": {"segment": {"network": {"weights": [{"path": "a.safetensors", "sha256": "0" * 64}]}}},
    "seed": 0,
    "resources": {"precision": "fp32", "device": "cpu"},
    "inputs": [{"name": "t1", "sha256": "1" * 64}, {"name": "flair", "sha256": "2" * 64}],
}


def origin(*uids: str) -> Origin:
    made = []
    for uid in uids:
        dataset = Dataset()
        dataset.SOPInstanceUID = uid
        made.append(dataset)
    return Origin(tuple(made), tuple((k, None) for k in range(len(uids))))


def test_a_retry_elsewhere_and_later_has_the_same_uid() -> None:
    later = {**DONE, "started": "2026-11-27", "resources": {"precision": "fp32", "device": "cuda"}}
    first, again = (result_uid(origin("1.2", "1.3"), done, "dicom-seg", "series") for done in (DONE, later))
    assert first == again
    assert UID(first).is_valid
    assert first.startswith("2.25.")


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"name": "ct-tissue", "version": "1.1"}},
        {"pipeline": {"segment": {"network": {"weights": [{"path": "a.safetensors", "sha256": "1" * 64}]}}}},
        {"only": ["liver"]},
        {"seed": 1},
        {"policy": {"gaps": "resample"}},
        {"resources": {"precision": "bf16"}},
        {"medseg": {"version": "0.2.0"}},
        {"inputs": [{"name": "t1", "sha256": "1" * 64}, {"name": "flair", "sha256": "3" * 64}]},
    ],
)
def test_another_job_has_another_uid(change: dict[str, Any]) -> None:
    assert result_uid(origin("1.2"), DONE, "a") != result_uid(origin("1.2"), DONE | change, "a")


def test_other_writers_beside_it_change_nothing_and_how_it_is_written_does() -> None:
    def uid(*writers: dict[str, Any], of: str = "dicom-seg") -> str:
        done = {**DONE, "pipeline": {**DONE["pipeline"], "write": list(writers)}}
        return result_uid(origin("1.2"), done, of, "series")

    binary, labelmap = ({"medseg/dicom-seg": {"type": kind}} for kind in ("binary", "labelmap"))
    assert uid(binary) == uid({"medseg/csv": {}}, binary, {"medseg/dicom-sr": {}})
    assert uid(binary) != uid(labelmap)
    assert uid(binary, of="tracking") == uid(labelmap, of="tracking")
    report: dict[str, Any] = {"medseg/dicom-sr": {}}  # it names the file that it refers to
    assert uid(binary, report, of="dicom-sr") != uid(labelmap, report, of="dicom-sr")


def test_a_writer_of_a_third_party_beside_it_changes_nothing() -> None:
    def uid(of: str, *writers: str, **versions: str) -> str:
        pipeline = {
            **DONE["pipeline"],
            "measure": [{"medseg/volumes": {}}],
            "postprocess": [{"good/smooth": {}}],
        }
        done = {
            **DONE,
            "pipeline": {**pipeline, "write": [{name: {}} for name in writers]},
            "plugins": versions,
        }
        return result_uid(origin("1.2"), done, of, "series")

    alone = uid("dicom-seg", "medseg/dicom-seg", medseg="1", good="2")
    assert alone == uid("dicom-seg", "other/slides", "medseg/dicom-seg", medseg="1", good="2", other="3")
    assert alone == uid("dicom-seg", "other/dicom-seg", "medseg/dicom-seg", medseg="1", good="2", other="3")
    assert alone != uid("dicom-seg", "medseg/dicom-seg", medseg="1", good="2.1")


def test_contours_that_refer_to_a_segmentation_are_others_than_those_that_do_not() -> None:
    def uid(*writers: str) -> str:
        done = {**DONE, "pipeline": {**DONE["pipeline"], "write": [{name: {}} for name in writers]}}
        return result_uid(origin("1.2"), done, "rtstruct", "instance", "1")

    assert uid("medseg/rtstruct") == uid("medseg/rtstruct", "medseg/dicom-seg")
    assert uid("medseg/rtstruct") != uid("medseg/dicom-seg", "medseg/rtstruct")


def test_comments_in_the_pipeline_file_change_nothing_and_weights_do() -> None:
    def uid(**model: Any) -> str:
        return result_uid(origin("1.2"), {**DONE, "model": {**DONE["model"], **model}}, "dicom-seg", "series")

    assert uid(pipeline_sha256="a" * 64) == uid(pipeline_sha256="b" * 64)
    assert uid(weights={"a": "1" * 64}) != uid(weights={"a": "2" * 64})


def test_labels_asked_for_in_another_order_are_the_same_result() -> None:
    def uid(*only: str) -> str:
        return result_uid(origin("1.2"), {**DONE, "only": list(only)}, "dicom-seg", "series")

    assert uid("liver", "spleen") == uid("spleen", "liver")
    assert uid("liver", "spleen") != uid("liver")


def test_a_series_in_an_archive_is_the_same_series() -> None:
    packed = {"name": "t1", "sha256": "9" * 64}
    again = {**DONE, "inputs": [packed, *DONE["inputs"][1:]]}
    assert result_uid(origin("1.2"), again, "a") == result_uid(origin("1.2"), DONE, "a")


def test_other_images_or_names_have_other_uids() -> None:
    uids = [
        result_uid(origin("1.2", "1.3"), DONE, "a", "b"),
        result_uid(origin("1.3", "1.2"), DONE, "a", "b"),
        result_uid(origin("1.2"), DONE, "a", "b"),
        result_uid(origin("1.2", "1.3"), DONE, "ab"),
        result_uid(origin("1.2", "1.3"), DONE, "a", "c"),
    ]
    assert len(set(uids)) == len(uids)
