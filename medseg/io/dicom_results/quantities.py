"""What was measured in coded terms: each quantity's concept and unit, as a structured report names them.

Quantities that a public scheme defines have its code; all others one of our own, whose meaning is the name
that the quantity has in `measurements.csv`. Units are UCUM's.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from medseg.io.dicom_results.terms import Code, private

__all__ = ["YES_NO", "Quantity", "quantity_of", "unit_of"]

MEAN = Code("373098007", "SCT", "Mean")
DEVIATION = Code("386136009", "SCT", "Standard Deviation")
LEAST = Code("255605001", "SCT", "Minimum")
MOST = Code("56851009", "SCT", "Maximum")
MEDIAN = Code("373099004", "SCT", "Median")
YES_NO = {"true": Code("373066001", "SCT", "Yes"), "false": Code("373067005", "SCT", "No")}
UNKNOWN = Code("114010", "DCM", "Value unknown")


class Quantity(NamedTuple):
    """A concept and, where it is a statistic of one, which."""

    name: Code
    derivation: Code | None = None


KNOWN = {
    "volume": Quantity(Code("118565006", "SCT", "Volume")),
    "area": Quantity(Code("42798000", "SCT", "Area")),
    # RECIST's two lines within one axial slice
    "longest_axial_diameter": Quantity(Code("103339001", "SCT", "Long axis")),
    "perpendicular_axial_diameter": Quantity(Code("103340004", "SCT", "Short axis")),
    "feret_diameter": Quantity(Code("81827009", "SCT", "Diameter"), MOST),
    "sphericity": Quantity(Code("QCFX", "IBSI", "Sphericity")),
    "major_axis": Quantity(Code("TDIC", "IBSI", "Major Axis in 3D Length")),
    "minor_axis": Quantity(Code("P9VJ", "IBSI", "Minor Axis in 3D Length")),
    "least_axis": Quantity(Code("7J51", "IBSI", "Least Axis in 3D Length")),
    "elongation": Quantity(Code("Q3CK", "IBSI", "Elongation")),
    "flatness": Quantity(Code("N17B", "IBSI", "Flatness")),
}
STATISTICS = {
    "intensity_mean": MEAN,
    "intensity_sd": DEVIATION,
    "intensity_min": LEAST,
    "intensity_max": MOST,
    "intensity_p50": MEDIAN,
}
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
SIGNAL = Code("110852", "DCM", "MR signal intensity")
UNITS = {
    "": Code("1", "UCUM", "no units"),
    "mL": Code("mL", "UCUM", "milliliter"),
    "mm": Code("mm", "UCUM", "millimeter"),
    "mm²": Code("mm2", "UCUM", "square millimeter"),
    "mm³": Code("mm3", "UCUM", "cubic millimeter"),
    "HU": Code("[hnsf'U]", "UCUM", "Hounsfield unit"),
    "%": Code("%", "UCUM", "Percent"),
    "px": Code("{pixels}", "UCUM", "pixels"),
    "px²": Code("{pixels2}", "UCUM", "square pixels"),
    "s": Code("s", "UCUM", "second"),
    "Bq/mL": Code("Bq/ml", "UCUM", "Becquerels/milliliter"),
}
LONGEST_CODE = 16  # characters of a VR of SH
RAISED = (
    "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b"  # 0 to 9 and minus, as exponents
)
# Signs that UCUM, which is ASCII, writes otherwise: the micro sign, the letter mu, two kinds of dots
ASCII = str.maketrans(
    {"\u00b5": "u", "\u03bc": "u", "\u00b7": ".", "\u22c5": "."}
    | dict(zip(RAISED, "0123456789-", strict=True))
)
METRIC = "m|g|s|L|l|mol|rad|Hz|N|Pa|J|W|A|V|T|C|K|eV|Bq|Gy|Sv|Cel"  # UCUM's atoms that take a prefix
ATOM = rf"(?:(?:da|[YZEPTGMkhdcmunpfazy])?(?:{METRIC})|min|h|d|deg|10\*)(?:-?[1-9][0-9]?)?|%|1"
UCUM = re.compile(rf"/?(?:{ATOM})(?:[./](?:{ATOM}))*")
COORDINATE = re.compile(r"(centroid|bbox_min|bbox_max)_[xyz]")


def quantity_of(name: str, *, unit: str, modality: str | None) -> Quantity:
    """The concept of a quantity of a table of measurements; intensities are named by what they are of."""
    if name in KNOWN:
        return KNOWN[name]
    of = ATTENUATION if unit == "HU" else SIGNAL if modality == "MR" else None
    if name in STATISTICS and of is not None:
        return Quantity(of, STATISTICS[name])
    # DICOM's own coordinates point left and back where those of the tables point right and forward
    return Quantity(private(f"{name} (RAS+)" if COORDINATE.fullmatch(name) else name))


def unit_of(unit: str) -> Code:
    """A unit as UCUM writes it; one that is not known stands in braces, as UCUM has what is not its own.

    "µm" is um, "kg/m²" kg/m2, "10⁻⁶ mm²/s" 10*-6.mm2/s; the meaning is the unit as it was given.
    """
    if unit in UNITS:
        return UNITS[unit]
    told = re.sub(rf"10(?=[{RAISED}])", "10*", unit.strip())
    told = told.replace("\u00b0C", "Cel").replace("\u00b0", "deg").translate(ASCII)
    code = re.sub(r"\s+", ".", told)
    if len(code) <= LONGEST_CODE and UCUM.fullmatch(code):
        return Code(code, "UCUM", unit[:64])
    plain = "".join(c for c in told if c.isascii() and c.isprintable() and c not in "{}[]\"'\\ ")
    return Code("{" + (plain or "other")[: LONGEST_CODE - 2] + "}", "UCUM", unit[:64])
