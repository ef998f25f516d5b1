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
DAY_S = 86400
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


def expected(waited_s: float, half_life_s: float = HALF_LIFE_S) -> Any:
    """Bq/mL by hand, over what is left of the dose for each gram."""
    activity = STORED * (2.5 + np.arange(4))
    return activity * WEIGHT_KG * 1000 / (DOSE_BQ * 0.5 ** (waited_s / half_life_s))


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
        {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20240229094500.5"},
        899.5,
    ),
    "a clock with an offset, the injection without": (
        {"RadiopharmaceuticalStartDateTime": "20240229094500", "TimezoneOffsetFromUTC": "+0100"},
        900,
    ),
    "the same offset": (
        {"RadiopharmaceuticalStartDateTime": "20240229094500.5+0100", "TimezoneOffsetFromUTC": "+0100"},
        899.5,
    ),
    "injection in UTC, scan an hour east": (
        {"RadiopharmaceuticalStartDateTime": "20240229080000+0000", "TimezoneOffsetFromUTC": "+0100"},
        3600,
    ),
    "injection in UTC, scan west, the day before": (
        {
            "RadiopharmaceuticalStartDateTime": "20240229013000+0000",
            "TimezoneOffsetFromUTC": "-0930",
            "SeriesDate": "20240228",
            "AcquisitionDate": "20240228",
            "SeriesTime": "170000",
            "AcquisitionTime": "170100",
        },
        3600,
    ),
    "Cu-64, injected the day before": (
        {"RadionuclideHalfLife": 45720, "RadiopharmaceuticalStartDateTime": "20240228100000"},
        DAY_S,
    ),
    "Zr-89, injected a week before": (
        {"RadionuclideHalfLife": 282240, "RadiopharmaceuticalStartDateTime": "20240222100000"},
        7 * DAY_S,
    ),
    "six hours of half-life, clock time only": ({"RadionuclideHalfLife": 21600}, 3600),
    "the day before": (
        {"RadiopharmaceuticalStartDateTime": "20240228160000", "RadiopharmaceuticalStartTime": "160000"},
        18 * 3600,
    ),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_suv_are_what_the_formula_gives(tmp_path: Path, write_series: Write, name: str) -> None:
    changes, waited_s = CLOCKS[name]
    volume = suv(tmp_path, write_series, pet(**changes))
    np.testing.assert_allclose(
        volume.array[0], expected(waited_s, changes.get("RadionuclideHalfLife", HALF_LIFE_S)), rtol=1e-6
    )
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
    "Cu-64": ({"RadionuclideHalfLife": 45720}, "it needs RadiopharmaceuticalStartDateTime"),
    "Zr-89": ({"RadionuclideHalfLife": 282240}, "it needs RadiopharmaceuticalStartDateTime"),
    "longer than six hours": ({"RadionuclideHalfLife": 21601}, "it needs RadiopharmaceuticalStartDateTime"),
    "scan before injection": (
        {"RadiopharmaceuticalStartDateTime": "20240229110000"},
        "does not lie within 10 half-lives after its injection",
    ),
    "scan before injection, by their offsets": (
        {"RadiopharmaceuticalStartDateTime": "20240229093000-0100", "TimezoneOffsetFromUTC": "+0100"},
        "does not lie within 10 half-lives after its injection",
    ),
    "an offset and a clock without": (
        {"RadiopharmaceuticalStartDateTime": "20240229094500+0100"},
        "it needs TimezoneOffsetFromUTC, as RadiopharmaceuticalStartDateTime is told with an offset from UTC",
    ),
    "an offset and a clock with a broken one": (
        {"RadiopharmaceuticalStartDateTime": "20240229094500+0100", "TimezoneOffsetFromUTC": "CET"},
        "it needs TimezoneOffsetFromUTC",
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


def test_slices_by_two_clocks_are_refused(tmp_path: Path, write_series: Write) -> None:
    summer, winter = pet(TimezoneOffsetFromUTC="+0200"), pet(TimezoneOffsetFromUTC="+0100")
    with pytest.raises(InputError, match="differ in TimezoneOffsetFromUTC"):
        suv(tmp_path, write_series, lambda k, ds: (summer if k == 2 else winter)(k, ds))


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
