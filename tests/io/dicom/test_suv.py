import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_frames import item

from medseg.errors import InputError
from medseg.io.dicom import read_dicom
from medseg.io.policy import Policy

STORED = np.arange(12 * 10 * 4, dtype=np.int16).reshape(12, 10, 4)
HALF_LIFE_S = 6586.2  # F-18
DOSE_BQ = 3.7e8
WEIGHT_KG = 73.5
Write = Callable[..., Path]


def pet(**changes: Any) -> Callable[[int, Any], None]:
    """A PET of F-18, injected at 09:00 and scanned from 10:00 on; `changes` with None delete."""

    def edit(k: int, dataset: Any) -> None:
        dataset.Modality, dataset.Units = "PT", "BQML"
        dataset.RescaleSlope, dataset.RescaleIntercept = 2.5 + k, 0
        dataset.CorrectedImage, dataset.DecayCorrection = ["NORM", "ATTN", "DECY"], "START"
        dataset.SeriesDate = dataset.AcquisitionDate = "20240229"
        dataset.SeriesTime, dataset.AcquisitionTime = "100000", f"10{k:02d}30.25"
        dataset.PatientWeight = WEIGHT_KG
        dose = item(
            RadionuclideTotalDose=DOSE_BQ,
            RadionuclideHalfLife=HALF_LIFE_S,
            RadiopharmaceuticalStartTime="090000.00",
        )
        dataset.RadiopharmaceuticalInformationSequence = [dose]
        for keyword, value in changes.items():
            holder = dose if keyword.startswith(("Radionuclide", "RadiopharmaceuticalStart")) else dataset
            if value is None:
                delattr(holder, keyword)
            else:
                setattr(holder, keyword, value)

    return edit


def expected(waited_s: float) -> Any:
    """Bq/mL by hand, over what is left of the dose for each gram."""
    activity = STORED * (2.5 + np.arange(4))
    return activity * WEIGHT_KG * 1000 / (DOSE_BQ * 0.5 ** (waited_s / HALF_LIFE_S))


def suv(tmp_path: Path, write_series: Write, edit: Any) -> Any:
    return read_dicom(write_series(tmp_path / "pet", STORED, edit=edit), Policy(suv=True))


CLOCKS: dict[str, tuple[dict[str, Any], float]] = {
    "an hour": ({}, 3600),
    "past midnight": (
        {"RadiopharmaceuticalStartTime": "233000", "SeriesTime": "001500", "AcquisitionTime": "001600"},
        2700,
    ),
    "series made later": ({"SeriesTime": "180000"}, 3630.25),
    "no series time": ({"SeriesTime": None}, 3630.25),
    "decay corrected to the injection": ({"DecayCorrection": "ADMIN"}, 0),
    "no time needed": ({"DecayCorrection": "ADMIN", "RadiopharmaceuticalStartTime": None}, 0),
    "date and time in one": (
        {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20240229094500.5+0100"},
        899.5,
    ),
    "the day before": (
        {"RadiopharmaceuticalStartDateTime": "20240228160000", "RadiopharmaceuticalStartTime": "160000"},
        18 * 3600,
    ),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_suv_are_what_the_formula_gives(tmp_path: Path, write_series: Write, name: str) -> None:
    changes, waited_s = CLOCKS[name]
    volume = suv(tmp_path, write_series, pet(**changes))
    np.testing.assert_allclose(volume.array[0], expected(waited_s), rtol=1e-6)
    assert volume.array.dtype == np.float32
    assert volume.source.decided == ("SUV: by body weight (g/mL), from PET in Bq/mL",)


def test_without_the_policy_values_stay_bq_per_ml(tmp_path: Path, write_series: Write) -> None:
    volume = read_dicom(write_series(tmp_path / "pet", STORED, edit=pet()))
    np.testing.assert_allclose(volume.array[0], STORED * (2.5 + np.arange(4)), rtol=1e-7)


LACKING: dict[str, tuple[dict[str, Any], str]] = {
    "units": ({"Units": "CNTS"}, "it needs Units BQML"),
    "attenuation": ({"CorrectedImage": ["DECY"]}, "it needs ATTN in CorrectedImage"),
    "decay": ({"CorrectedImage": "ATTN"}, "it needs DECY in CorrectedImage"),
    "no decay correction": ({"DecayCorrection": "NONE"}, "it needs DecayCorrection START or ADMIN"),
    "weight": ({"PatientWeight": None}, "it needs PatientWeight"),
    "no weight": ({"PatientWeight": 0}, "it needs PatientWeight"),
    "dose": ({"RadionuclideTotalDose": None}, "it needs RadionuclideTotalDose"),
    "dose in MBq": ({"RadionuclideTotalDose": 370}, "its RadionuclideTotalDose is not in Bq"),
    "half-life": ({"RadionuclideHalfLife": None}, "it needs RadionuclideHalfLife"),
    "injection": ({"RadiopharmaceuticalStartTime": None}, "it needs RadiopharmaceuticalStartTime"),
    "no time at all": ({"RadiopharmaceuticalStartTime": ""}, "it needs RadiopharmaceuticalStartTime"),
    "acquisition": ({"AcquisitionTime": None}, "it needs AcquisitionTime"),
    "long-lived": ({"RadionuclideHalfLife": 282240}, "it needs RadiopharmaceuticalStartDateTime"),
    "scan before injection": (
        {"RadiopharmaceuticalStartDateTime": "20240229110000"},
        "does not lie within 10 half-lives after RadiopharmaceuticalStartTime",
    ),
    "no dose item": (
        {"RadiopharmaceuticalInformationSequence": []},
        "RadiopharmaceuticalInformationSequence",
    ),
}


@pytest.mark.parametrize("name", LACKING)
def test_what_is_needed_and_missing_is_named(tmp_path: Path, write_series: Write, name: str) -> None:
    changes, words = LACKING[name]
    with pytest.raises(InputError) as caught:
        suv(tmp_path, write_series, pet(**changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_slices_of_two_injections_are_refused(tmp_path: Path, write_series: Write) -> None:
    one, other = pet(), pet(RadionuclideTotalDose=4e8)
    with pytest.raises(InputError, match="differ in RadiopharmaceuticalInformationSequence"):
        suv(tmp_path, write_series, lambda k, ds: (other if k == 2 else one)(k, ds))


def test_only_pet_has_suv(tmp_path: Path, write_series: Write) -> None:
    with pytest.raises(InputError, match=r"SUV are for PET \(modality PT\); this series is CT"):
        read_dicom(write_series(tmp_path / "ct", STORED), Policy(suv=True))


def test_nothing_of_dose_and_patient_is_kept(
    tmp_path: Path, write_series: Write, canaries: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    volume = suv(tmp_path, write_series, pet())
    told = f"{volume.source!r} {volume.source.headers!r} {caplog.text}"
    for hidden in (*canaries, "73.5", "370000000", "090000", "20240229", "PatientWeight", "Radionuclide"):
        assert hidden not in told
