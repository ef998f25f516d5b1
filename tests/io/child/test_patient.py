"""A digest tells patients apart, and nothing of who they are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_series import CANARIES

from medseg.errors import InputError
from medseg.io import inspect, read
from medseg.io.child.patient import patient_key
from medseg.io.decoder import decode

STORED = np.arange(12 * 10 * 6, dtype=np.int16).reshape(12, 10, 6)
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
Write = Callable[..., Path]


def dataset(**values: Any) -> Any:
    from pydicom.dataset import Dataset

    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def records(folder: Path, salt: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    files = sorted(folder.iterdir())
    asked = {"do": "dicom-headers", "salt": salt.hex()}
    decode(asked, files=files, take=lambda fields, _: found.append(fields))
    return found


def two_patients(write_series: Write, folder: Path, *, uids: str | None = None, **other: Any) -> Path:
    """One stack of 12 slices, half of it of another patient."""

    def edit(k: int, image: Any) -> None:
        for keyword in UIDS if uids is not None else ():
            setattr(image, keyword, uids)
        for keyword, value in other.items() if k >= 6 else ():
            setattr(image, keyword, value)

    return write_series(folder, np.concatenate([STORED, STORED], axis=2), edit=edit)


def test_a_key_has_16_letters_and_another_with_every_salt(tmp_path: Path, write_series: Write) -> None:
    folder = write_series(tmp_path / "ct", STORED)
    salts = (b"a" * 16, b"b" * 16)
    once, again = ({record["patient"] for record in records(folder, salt)} for salt in salts)
    assert len(once) == len(again) == 1
    assert once != again
    assert {record["patient"] for record in records(folder, salts[0])} == once
    assert all(re.fullmatch("[0-9a-f]{16}", key) for key in once | again)


@pytest.mark.parametrize(
    "other", [{"PatientID": "B"}, {"PatientBirthDate": "19700101"}, {"PatientName": "Other^Name"}]
)
def test_each_tag_tells_patients_apart(other: dict[str, str]) -> None:
    one = {"PatientID": "A", "PatientBirthDate": "19450607", "PatientName": "Some^Name"}
    salt = bytes(16)
    assert patient_key(dataset(**one), salt) != patient_key(dataset(**one | other), salt)


def test_what_only_fills_a_value_up_tells_nothing_apart() -> None:
    salt = bytes(16)
    one = patient_key(dataset(PatientID="A 1", PatientName="Some^Name"), salt)
    assert one == patient_key(
        dataset(PatientID="a 1 ", PatientName="SOME^NAME^^^", PatientBirthDate=""), salt
    )
    assert one != patient_key(dataset(PatientID="A1", PatientName="Some^Name"), salt)
    assert patient_key(dataset(PatientID="A19700101"), salt) != patient_key(
        dataset(PatientID="A", PatientBirthDate="19700101"), salt
    )


def test_anonymous_images_have_no_key() -> None:
    assert patient_key(dataset(), bytes(16)) == ""
    assert patient_key(dataset(PatientID="", PatientName="^^"), bytes(16)) == ""


@pytest.mark.parametrize("uids", [None, ""], ids=["same UIDs", "emptied UIDs"])
@pytest.mark.parametrize("keyword", ["PatientID", "PatientBirthDate", "PatientName"])
def test_two_patients_never_become_one_volume(
    tmp_path: Path, write_series: Write, uids: str | None, keyword: str
) -> None:
    folder = two_patients(write_series, tmp_path / "ct", uids=uids, **{keyword: "19991231"})
    with pytest.raises(InputError) as caught:
        read(folder)
    assert str(caught.value) == (
        "ct: more than one patient in one series (6 + 6 images), as IM0006.dcm; put each patient's images "
        "into a folder of their own"
    )
    assert [candidate.shape for candidate in inspect(folder)] == [(12, 10, 6)] * 2


def test_one_slice_of_another_patient_is_no_slice_to_leave_out(tmp_path: Path, write_series: Write) -> None:
    def edit(k: int, image: Any) -> None:
        if k == 5:
            image.PatientID = "B"

    with pytest.raises(InputError, match=r"more than one patient in one series \(5 \+ 1 images\)"):
        read(write_series(tmp_path / "ct", STORED, edit=edit))


def test_the_same_stack_of_one_patient_is_a_volume(tmp_path: Path, write_series: Write) -> None:
    assert read(two_patients(write_series, tmp_path / "ct", uids="")).grid.shape == (12, 10, 12)


def test_no_key_is_kept_in_what_is_read(tmp_path: Path, write_series: Write) -> None:
    volume = read(write_series(tmp_path / "ct", STORED))
    assert volume.source is not None
    assert not any({"patient", "PatientID", "PatientName"} & set(header) for header in volume.source.headers)
    assert not [canary for canary in CANARIES if canary in repr(volume.source)]
    assert not re.search(r"\b[0-9a-f]{16}\b", repr(volume.source))
