"""Codes of quantities and units against pydicom's dictionary."""

from functools import cache
from typing import Any

import pytest

from medseg.io.dicom_results import quantities
from medseg.io.dicom_results.quantities import Quantity, quantity_of, unit_of
from medseg.io.dicom_results.terms import PRIVATE, Code


@cache
def dictionary() -> dict[tuple[str, str], set[str]]:
    """What codes of the standard's context groups are called, as pydicom has them."""
    from pydicom.sr._concepts_dict import concepts

    found: dict[tuple[str, str], set[str]] = {}
    for scheme in ("SCT", "DCM", "IBSI", "UCUM"):
        of_keyword: Any = concepts[scheme]
        for codes in of_keyword.values():
            for value, (meaning, _) in codes.items():
                found.setdefault((scheme, value), set()).add(meaning)
    return found


def test_every_public_code_has_the_dictionarys_meaning() -> None:
    own: list[Code] = [*quantities.STATISTICS.values(), *quantities.YES_NO.values()]
    own += [quantities.ATTENUATION, quantities.SIGNAL, quantities.UNKNOWN]
    for quantity in quantities.KNOWN.values():
        own += [code for code in quantity if code is not None]
    for code in own:
        assert code.meaning in dictionary()[code.scheme, code.value], code


def test_units_that_the_dictionary_has_are_written_as_there() -> None:
    known = [code for code in quantities.UNITS.values() if ("UCUM", code.value) in dictionary()]
    assert {code.value for code in known} >= {"1", "mm", "mm2", "mm3", "[hnsf'U]", "%", "Bq/ml"}


@pytest.mark.parametrize(
    ("unit", "code"),
    [
        *(
            ("mL", "mL"),
            ("mm²", "mm2"),
            ("HU", "[hnsf'U]"),
            ("", "1"),
            ("px²", "{pixels2}"),
            ("kg/m²", "kg/m2"),
        ),
        *(
            ("\u00b5m", "um"),
            ("\u03bcm³", "um3"),
            ("cm³", "cm3"),
            ("10⁻⁶ mm²/s", "10*-6.mm2/s"),
            ("s⁻¹", "s-1"),
        ),
        *(("10³/\u00b5L", "10*3/uL"), ("mg·mL⁻¹", "mg.mL-1"), ("1/mm", "1/mm"), ("°", "deg"), ("°C", "Cel")),
        *(("SUV", "{SUV}"), ("ml/min/100 g", "{ml/min/100g}"), ("\u00b5", "{u}"), ("日", "{other}")),
    ],
)
def test_units_are_ucums(unit: str, code: str) -> None:
    found = unit_of(unit)
    assert (found.value, found.scheme) == (code, "UCUM")
    assert len(found.value) <= 16
    assert found.value.isascii()


def test_intensities_are_named_by_what_they_are_of() -> None:
    mean = Code("373098007", "SCT", "Mean")
    of_ct = quantity_of("intensity_mean", unit="HU", modality="CT")
    assert of_ct == Quantity(Code("112031", "DCM", "Attenuation Coefficient"), mean)
    assert quantity_of("intensity_mean", unit="", modality="MR").name.meaning == "MR signal intensity"
    other = quantity_of("intensity_mean", unit="", modality=None)
    assert (other.name.scheme, other.name.meaning, other.derivation) == (PRIVATE, "intensity_mean", None)


def test_what_no_scheme_defines_keeps_its_name() -> None:
    assert quantity_of("soft_volume", unit="mL", modality="CT").name.meaning == "soft_volume"
    assert quantity_of("centroid_x", unit="mm", modality="CT").name.meaning == "centroid_x (RAS+)"
    assert quantity_of("volume", unit="mL", modality="CT").name == ("118565006", "SCT", "Volume")
