"""PET activity concentration as standardized uptake value by body weight (SUVbw).

    SUV = Bq/mL * weight in g / (injected Bq * 2 ** (-minutes from injection to scan / half-life))

as in the Quantitative Imaging Biomarkers Alliance's vendor-neutral pseudo-code, for values that the scanner
has corrected for attenuation and decay. Dose, weight and times are asked for here, used and forgotten.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from medseg.errors import InputError
from medseg.io.decoder import decode
from medseg.io.dicom.header import SliceHeader

__all__ = ["suv_factor"]

DAY_S = 86_400.0
LONG_LIVED_S = 6 * 3600.0  # half-life: such tracers (Cu-64, Zr-89, I-124) are scanned days after injection
LEAST_DOSE_BQ = 1e5  # a thousandth of a usual dose: less was written in MBq
MOST_HALF_LIVES = 10.0  # a thousandth of the dose is left
# in which a series must agree: one injection, one patient
SHARED = (
    "PatientWeight", "DecayCorrection", "Units", "SeriesDate", "SeriesTime", "TimezoneOffsetFromUTC", "doses",
)  # fmt: skip
OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")


def suv_factor(headers: Sequence[SliceHeader]) -> float:
    """What Bq/mL has to be multiplied by to be SUVbw (g/mL), the same for all slices of a series.

    Raises InputError for anything but PET in Bq/mL, corrected for attenuation and decay, and for every tag
    that is needed and missing. No message tells a value of those tags.
    """
    modality = headers[0].text("Modality")
    if modality != "PT":
        raise InputError(f"SUV are for PET (modality PT); this series is {modality or 'of no modality'}")
    paths = list(dict.fromkeys(header.path for header in headers))
    told: list[dict[str, Any]] = []
    decode({"do": "pet-dose"}, files=paths, take=lambda fields, _: told.append(fields))
    for keyword in SHARED:
        if any(one[keyword] != told[0][keyword] for one in told):
            tag = "RadiopharmaceuticalInformationSequence" if keyword == "doses" else keyword
            raise InputError(f"{_name(paths)}: SUV cannot be computed: its slices differ in {tag}")
    name = _name(paths)
    for one, path in zip(told, paths, strict=True):
        _refuse_uncorrected(one, path.name)
    if len(told[0]["doses"]) != 1:
        raise _lacking(name, "exactly one item in RadiopharmaceuticalInformationSequence")
    dose = told[0]["doses"][0]
    weight_kg = _positive(told[0], "PatientWeight", name)
    injected_bq = _positive(dose, "RadionuclideTotalDose", name)
    half_life_s = _positive(dose, "RadionuclideHalfLife", name)
    if injected_bq < LEAST_DOSE_BQ:
        raise InputError(f"{name}: SUV cannot be computed: its RadionuclideTotalDose is not in Bq")
    waited_s = 0.0 if told[0]["DecayCorrection"] == "ADMIN" else _waited(told, dose, half_life_s, name)
    return weight_kg * 1000 / (injected_bq * 2 ** (-waited_s / half_life_s))


def _name(paths: Sequence[Path]) -> str:
    return paths[0].name


def _lacking(name: str, what: str) -> InputError:
    return InputError(f"{name}: SUV cannot be computed: it needs {what}; read it without --suv")


def _refuse_uncorrected(image: dict[str, Any], name: str) -> None:
    if image["Units"] != "BQML":
        raise _lacking(name, "Units BQML (Bq/mL)")
    corrected = image["CorrectedImage"]
    done = [corrected] if isinstance(corrected, str) else corrected or []
    for step in ("ATTN", "DECY"):
        if step not in done:
            raise _lacking(name, f"{step} in CorrectedImage")
    if image["DecayCorrection"] not in ("START", "ADMIN"):
        raise _lacking(name, "DecayCorrection START or ADMIN")


def _positive(values: dict[str, Any], keyword: str, name: str) -> float:
    value = values.get(keyword)
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise _lacking(name, keyword)
    return float(value)


# ------------------------------------------------------------------ from injection to scan
def _waited(told: Sequence[dict[str, Any]], dose: dict[str, Any], half_life_s: float, name: str) -> float:
    """Seconds from injection to the time that decay was corrected to, the start of the scan.

    That is the time of the series, or of its first acquisition where the series was made later. With a clock
    time of injection only, midnight may lie between, but not a whole day.
    """
    acquired = [_moment(one["AcquisitionDate"], one["AcquisitionTime"]) for one in told]
    series = _moment(told[0]["SeriesDate"], told[0]["SeriesTime"])
    if any(moment is None for moment in acquired):
        raise _lacking(name, "AcquisitionTime")
    first = min(moment for moment in acquired if moment is not None)
    start = first if series is None or series > first else series
    injected = _injected(dose, told[0]["TimezoneOffsetFromUTC"], name)
    dated = injected is not None and start.year > 1
    if injected is not None and dated:
        waited = (start - injected).total_seconds()
    else:
        if half_life_s > LONG_LIVED_S:
            raise _lacking(name, "RadiopharmaceuticalStartDateTime")
        clock = _moment(None, dose["RadiopharmaceuticalStartTime"])
        if clock is None:
            raise _lacking(name, "RadiopharmaceuticalStartTime")
        waited = (start - clock).total_seconds() % DAY_S
    if not 0 <= waited <= MOST_HALF_LIVES * half_life_s:
        raise InputError(
            f"{name}: SUV cannot be computed: its scan does not lie within {MOST_HALF_LIVES:g} half-lives "
            "after its injection"
        )
    return waited


def _injected(dose: dict[str, Any], clock: Any, name: str) -> datetime | None:
    """Date and time of the injection by the scanner's clock, `clock` off UTC; None where it is not told.

    Dates and times of the scan have no offset of their own: TimezoneOffsetFromUTC is that of them all, and of
    a date-time without one (DICOM PS3.3 C.12.1, PS3.5 table 6.2-1).
    """
    whole = re.fullmatch(
        r"(\d{8})(\d{2}[\d.]*)([+-]\d{4})?", str(dose["RadiopharmaceuticalStartDateTime"] or "")
    )
    moment = whole and _moment(whole[1], whole[2])
    if not whole or moment is None or moment.year == 1:
        return None
    if whole[3] is None:
        return moment
    own, scanner = _offset(whole[3]), _offset(clock)
    if own is None or scanner is None:
        raise _lacking(
            name, "TimezoneOffsetFromUTC, as RadiopharmaceuticalStartDateTime is told with an offset from UTC"
        )
    return moment - own + scanner


def _offset(value: Any) -> timedelta | None:
    """An offset from UTC as +HHMM or -HHMM; None where it is none."""
    found = OFFSET.fullmatch(str(value or "").strip())
    if found is None:
        return None
    minutes = 60 * int(found[2]) + int(found[3])
    return timedelta(minutes=-minutes if found[1] == "-" else minutes)


def _moment(date: Any, time: Any) -> datetime | None:
    """A DICOM date and time; of the year 1 without a date; None for no time."""
    clock = re.fullmatch(r"(\d{2})(\d{2})?(\d{2})?(\.\d{1,6})?", str(time or "").strip())
    if clock is None:
        return None
    hours, minutes, seconds, part = clock.groups()
    day = date if isinstance(date, str) and re.fullmatch(r"\d{8}", date) else "00010101"
    try:
        start = datetime(int(day[:4]), int(day[4:6]), int(day[6:]))  # noqa: DTZ001  # the scanner's clock
    except ValueError:
        return None
    since = 3600 * int(hours) + 60 * int(minutes or 0) + int(seconds or 0) + float(part or 0)
    return start + timedelta(seconds=since)
