"""What a label is in coded terms: category, type, side, region and colour, as DICOM objects name it.

`terms.csv` beside this file is the table: names and synonyms of usual structures and findings, with codes as
DICOM's own dictionary has them. Its column `source` says where a code was taken from: `pydicom` is the
dictionary of the standard's context groups that ships with pydicom; `hl7` are codes of muscles, ribs, the
first sacral vertebra and infarcts that those lack, as HL7 lists them in guides (of radiotherapy: AAPM TG-263
to SNOMED CT) and value sets; `totalsegmentator` those that only the table of that model has.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medseg.segmentation import SIDE, Label

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

__all__ = ["PRIVATE", "Code", "Term", "declare_codes", "private", "term_of"]

PRIVATE = "99MEDSEG"  # names that begin with 99 are for anyone's own codes (PS3.16, section 8.2)
LONGEST_MEANING = 64  # characters of a VR of LO


class Code(NamedTuple):
    """A coded concept: its value in a coding scheme, and what it means in words."""

    value: str
    scheme: str
    meaning: str

    def concept(self) -> CodedConcept:
        """The same as highdicom has it."""
        from highdicom.sr import CodedConcept

        return CodedConcept(self.value, self.scheme, self.meaning)


@dataclass(frozen=True)
class Term:
    """What a segment is: `category` and `type` as DICOM SEG asks, and the rest where it is known.

    `modifier` is the side of a structure, or its anterior or posterior part. Of a finding, `region` is where
    it lies and `region_modifier` on which side. `colour` is the table's, "#rrggbb"; None where it has neither
    the code nor the name.
    """

    category: Code
    type: Code
    modifier: Code | None
    colour: str | None
    region: Code | None = None
    region_modifier: Code | None = None


ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
CATEGORIES = {
    "anatomy": ANATOMY,
    "tissue": Code("85756007", "SCT", "Tissue"),
    "abnormal": ABNORMAL,
    "fluid": Code("91720002", "SCT", "Body Substance"),
    "object": Code("260787004", "SCT", "Physical object"),
}
SIDES = {
    "left": Code("7771000", "SCT", "Left"),
    "right": Code("24028007", "SCT", "Right"),
    "anterior": Code("255549009", "SCT", "Anterior"),
    "posterior": Code("255551008", "SCT", "Posterior"),
}
SHADE = 0.82  # of a colour, so that two sides of a structure, two parts, and findings on two sides differ
SHADED = ("right", "posterior")
SMALL_WORDS = frozenset({"of", "the", "and", "in"})
WITHIN = re.compile(r"(?<![a-z])in(?![a-z])", re.IGNORECASE)  # "mass in muscle" is no muscle mass
DENIALS = frozenset({"no", "non", "not", "without"})


def term_of(label: Label) -> Term:
    """The term of a label: by its code if it has one, else by its name, else a private one with that name.

    The label's own code wins over the table's. A code that the table lacks keeps the label's name
    as its meaning, and no side beside it: it may mean the left kidney by itself.
    """
    words, side = _words(label.name)
    if not side and _row(frozenset(words), "") is None:
        words, side = _part(words)
    found = _named(words, side, within=WITHIN.search(label.name) is not None)
    if label.code is not None:
        found = _coded(label, side, found)
    if found is None:
        category = ABNORMAL if _names_a_finding(words) else ANATOMY
        found = Term(category, private(label.name), None, None)
    return found


def private(meaning: str) -> Code:
    """A code of our own scheme for what no other has: the same words always make the same code."""
    digest = hashlib.sha256(meaning.casefold().encode()).hexdigest()
    return Code(f"MS{digest[:12].upper()}", PRIVATE, meaning[:LONGEST_MEANING])


def declare_codes(dataset: Any) -> None:
    """Say in a DICOM data set whose the private codes are, where it uses any."""
    if not _uses_private(dataset):
        return
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    scheme = Dataset()
    scheme.CodingSchemeDesignator = PRIVATE
    scheme.CodingSchemeName = "Codes of medseg for what no public scheme names"
    scheme.CodingSchemeResponsibleOrganization = "medseg"
    others = [
        item
        for item in dataset.get("CodingSchemeIdentificationSequence", ())
        if item.get("CodingSchemeDesignator") != PRIVATE
    ]
    dataset.CodingSchemeIdentificationSequence = Sequence([*others, scheme])


def _uses_private(dataset: Any) -> bool:
    for element in dataset:
        if element.keyword == "CodingSchemeIdentificationSequence":
            continue
        if element.keyword == "CodingSchemeDesignator" and element.value == PRIVATE:
            return True
        if element.VR == "SQ" and any(_uses_private(item) for item in element.value):
            return True
    return False


# ---- the table


class _Row(NamedTuple):
    """A line of the table; `side` where the code itself has one."""

    category: str
    code: Code
    side: str
    colour: str

    def term(self, side: str) -> Term:
        modifier = SIDES[side] if side and not self.side else None
        colour = _shaded(self.colour, side if modifier else "")
        return Term(CATEGORIES[self.category], self.code, modifier, colour)

    def finding(self, side: str) -> Term:
        """As a finding on that side, which is said of where it lies."""
        return replace(self.term(""), colour=_shaded(self.colour, side))


_Key = tuple[frozenset[str], str]


@cache
def _table() -> tuple[Mapping[_Key, _Row], Mapping[tuple[str, str], _Row]]:
    """Rows by the words of their names and their side, and by scheme and code."""
    by_name: dict[_Key, _Row] = {}
    by_code: dict[tuple[str, str], _Row] = {}
    with Path(__file__).with_name("terms.csv").open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            scheme, _, value = line["code"].partition(":")
            row = _Row(line["category"], Code(value, scheme, line["meaning"]), line["side"], line["colour"])
            by_code.setdefault((scheme, value), row)
            for name in (line["name"], *filter(None, line["synonyms"].split("|"))):
                words, side = _words(name)
                by_name.setdefault((frozenset(words), side), row)
    return by_name, by_code


def _named(words: list[str], side: str, *, within: bool) -> Term | None:
    """The term of a name's words; of a finding in an organ, "liver tumour", with the organ as its region.

    Where the name says that one lies `within` the other, that comes first.
    """
    row = _row(frozenset(words), side)
    if row is not None and not within:
        return row.term(side)
    if DENIALS & set(words):
        return None
    for start in range(1, len(words)):
        finding = _finding(words[start:])
        if finding is not None:  # the longest that the name ends in; what stands before need not be known
            return _located(finding.finding(side), _row(frozenset(words[:start]), side), side)
    for end in range(len(words) - 1, 0, -1):
        finding, place = _finding(words[:end]), _row(frozenset(words[end:]), side)
        if finding is not None and place is not None:
            return _located(finding.finding(side), place, side)
    return None if row is None else row.term(side)


def _part(words: list[str]) -> tuple[list[str], str]:
    """A known structure's words without the one that names a part of it, and that one."""
    for part in ("anterior", "posterior"):
        rest = [word for word in words if word != part]
        if part in words and _row(frozenset(rest), "") is not None:
            return rest, part
    return words, ""


def _row(words: frozenset[str], side: str) -> _Row | None:
    by_name, _ = _table()
    return by_name.get((words, side)) or by_name.get((words, ""))


def _finding(words: list[str]) -> _Row | None:
    row = _row(frozenset(words), "")
    return row if row is not None and row.category == "abnormal" else None


def _names_a_finding(words: list[str]) -> bool:
    """Whether any word is a finding's, as in "tumour core" or "lesion 2"; never an organ then."""
    return not DENIALS & set(words) and any(_finding([word]) is not None for word in words)


def _located(finding: Term, place: _Row | None, side: str) -> Term:
    """The finding in an organ; a side that belongs to no known organ is the finding's own."""
    if place is None or place.category == "abnormal":
        return replace(finding, modifier=SIDES.get(side))
    there = place.term(side)
    return replace(finding, region=there.type, region_modifier=there.modifier)


def _coded(label: Label, side: str, named: Term | None) -> Term:
    """The term of a label's own code; `named` is what its name says."""
    scheme, _, value = (label.code or "").rpartition(":")
    _, by_code = _table()
    row = by_code.get((scheme, value))
    if row is not None and row.category == "abnormal" and named is not None and named.region is not None:
        return replace(row.finding(side), region=named.region, region_modifier=named.region_modifier)
    if row is not None:
        return row.term(side)
    kind = Code(value, scheme or PRIVATE, label.name[:LONGEST_MEANING])
    if named is None:
        return Term(ANATOMY, kind, None, None)
    return replace(named, type=kind, modifier=None)


# ---- names


def _words(name: str) -> tuple[list[str], str]:
    """The words of a name in one spelling, and which side it says: "Kidney L" is `["kidney"]` and "left"."""
    plain = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", " ", name).lower()  # KidneyLeft
    if re.search(r"vertebra|dis[ck]", plain):  # of which "L 1" is a name, not a side
        plain = re.sub(r"(?<![a-z])([ctls])[ _.-]+(?=[0-9])", r"\1", plain)
    side, words = "", []
    for word in re.split(r"[^a-z0-9]+", plain):
        if SIDE.fullmatch(word) and not side:
            side = "left" if word.startswith("l") or word == "sin" else "right"
        elif word and word not in SMALL_WORDS:
            words.append(_spelt(word))
    return words, side


def _spelt(word: str) -> str:
    """British, American, plural and Latin plural forms as one; not always a word itself."""
    word = re.sub(r"^oe", "e", word)
    word = re.sub(r"^(h|f)ae", r"\1e", word).replace("coeliac", "celiac").replace("haematoma", "hematoma")
    word = re.sub(r"our", "or", word).replace("grey", "gray")
    if len(word) > 3:
        word = re.sub(r"(ae|es|s)$", lambda end: "a" if end[0] == "ae" else "", word)
    return word


def _shaded(colour: str, side: str) -> str:
    if side not in SHADED:
        return colour
    parts = (round(part * SHADE) for part in bytes.fromhex(colour[1:]))
    return "#" + "".join(f"{part:02x}" for part in parts)
