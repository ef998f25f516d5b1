"""The table of terms against pydicom's dictionary, and which term a label gets."""

import csv
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import medseg.io.dicom_results.terms as terms_module
from medseg.io.dicom_results.terms import (
    CATEGORIES,
    PRIVATE,
    SIDES,
    declare_codes,
    private,
    term_of,
)
from medseg.segmentation import Label

TABLE = Path(terms_module.__file__).with_name("terms.csv")
CLASSES = """
    spleen kidney_right kidney_left gallbladder liver stomach pancreas adrenal_gland_right adrenal_gland_left
    lung_upper_lobe_left lung_lower_lobe_left lung_upper_lobe_right lung_middle_lobe_right
    lung_lower_lobe_right esophagus trachea thyroid_gland small_bowel duodenum colon urinary_bladder prostate
    kidney_cyst_left kidney_cyst_right sacrum vertebrae_S1 vertebrae_L5 vertebrae_L4 vertebrae_L3 vertebrae_L2
    vertebrae_L1 vertebrae_T12 vertebrae_T11 vertebrae_T10 vertebrae_T9 vertebrae_T8 vertebrae_T7 vertebrae_T6
    vertebrae_T5 vertebrae_T4 vertebrae_T3 vertebrae_T2 vertebrae_T1 vertebrae_C7 vertebrae_C6 vertebrae_C5
    vertebrae_C4 vertebrae_C3 vertebrae_C2 vertebrae_C1 heart aorta pulmonary_vein brachiocephalic_trunk
    subclavian_artery_right subclavian_artery_left common_carotid_artery_right common_carotid_artery_left
    brachiocephalic_vein_left brachiocephalic_vein_right atrial_appendage_left superior_vena_cava
    inferior_vena_cava portal_vein_and_splenic_vein iliac_artery_left iliac_artery_right iliac_vena_left
    iliac_vena_right humerus_left humerus_right scapula_left scapula_right clavicula_left clavicula_right
    femur_left femur_right hip_left hip_right spinal_cord gluteus_maximus_left gluteus_maximus_right
    gluteus_medius_left gluteus_medius_right gluteus_minimus_left gluteus_minimus_right autochthon_left
    autochthon_right iliopsoas_left iliopsoas_right brain skull sternum costal_cartilages
"""
WHOLE_BODY_CT = CLASSES.split() + [
    f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, 13)
]


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def dictionary() -> dict[tuple[str, str], set[str]]:
    """What codes of the standard's context groups are called, as pydicom has them."""
    from pydicom.sr._concepts_dict import concepts

    found: dict[tuple[str, str], set[str]] = {}
    for scheme in ("SCT", "DCM", "NCIt"):
        of_keyword: Any = concepts[scheme]
        for codes in of_keyword.values():
            for value, (meaning, _) in codes.items():
                found.setdefault((scheme, value), set()).add(meaning)
    return found


def meanings(scheme: str, value: str) -> set[str]:
    """What the dictionary calls a code; nothing where it lacks it."""
    return dictionary().get((scheme, value), set())


def verhoeff(number: str) -> int:
    """0 where the last digit checks the others, as in every SNOMED CT identifier (Verhoeff, 1969)."""
    product = [[(i + j) % 5 if i < 5 and j < 5 else _reflected(i, j) for j in range(10)] for i in range(10)]
    turned = [[*range(10)], [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        turned.append([turned[1][value] for value in turned[-1]])
    check = 0
    for place, digit in enumerate(reversed(number)):
        check = product[check][turned[place % 8][int(digit)]]
    return check


def _reflected(i: int, j: int) -> int:
    """The rest of the product in the dihedral group of the pentagon."""
    if i < 5:
        return 5 + (i + j - 5) % 5
    return 5 + (i - 5 - j) % 5 if j < 5 else (i - j) % 5


def test_codes_from_pydicom_are_in_its_dictionary_with_the_same_meaning() -> None:
    wrong = []
    for row in rows():
        scheme, value = row["code"].split(":")
        if row["source"] == "pydicom" and row["meaning"] not in meanings(scheme, value):
            wrong.append((row["name"], row["code"], row["meaning"]))
    assert not wrong


def test_codes_of_other_sources_are_few_and_in_no_dictionary() -> None:
    others = [row for row in rows() if row["source"] != "pydicom"]
    assert {row["source"] for row in others} == {"hl7", "totalsegmentator"}
    assert len(others) == 21
    assert not [row["name"] for row in others if meanings(*row["code"].split(":"))]


def test_every_snomed_code_passes_its_check_digit() -> None:
    values = [row["code"].removeprefix("SCT:") for row in rows() if row["code"].startswith("SCT:")]
    assert not [value for value in values if not value.isdigit() or verhoeff(value)]
    assert verhoeff("10200005")  # the liver's with another last digit


def test_categories_and_sides_are_the_standards() -> None:
    for code in (*CATEGORIES.values(), *SIDES.values()):
        assert code.meaning in meanings(code.scheme, code.value)


def test_no_two_lines_claim_one_name() -> None:
    names = Counter(
        (frozenset(words), side)
        for row in rows()
        for words, side in {
            (frozenset(found), side)
            for found, side in map(
                terms_module._words, [row["name"], *filter(None, row["synonyms"].split("|"))]
            )
        }
    )
    assert not [name for name, count in names.items() if count > 1]
    assert all(re.fullmatch("#[0-9a-f]{6}", row["colour"]) for row in rows())


@pytest.mark.parametrize("name", WHOLE_BODY_CT)
def test_knows_each_class_of_a_whole_body_model(name: str) -> None:
    term = term_of(Label(1, name))
    assert term.type.scheme == "SCT"
    side = next((side for side in ("left", "right") if side in name), None)
    told = [term.modifier, term.region_modifier]
    assert side is None or SIDES[side] in told or side in term.type.meaning.lower()


def test_a_whole_body_model_has_117_classes() -> None:
    assert len(set(WHOLE_BODY_CT)) == 117


@pytest.mark.parametrize(
    "name", ["left kidney", "kidney_left", "Kidney L", "KidneyLeft", "LT kidney", "kidneys (left)"]
)
def test_one_structure_however_it_is_spelt(name: str) -> None:
    term = term_of(Label(1, name))
    assert term.category.value == "91723000"
    assert term.type == ("64033007", "SCT", "Kidney")
    assert term.modifier == SIDES["left"]


def test_a_side_within_a_code_is_not_said_twice() -> None:
    term = term_of(Label(1, "heart_atrium_left"))
    assert (term.type.meaning, term.modifier) == ("Left atrium", None)


def test_a_number_beside_a_letter_is_no_side() -> None:
    assert term_of(Label(1, "L5")).type.meaning == "L5 vertebra"
    assert term_of(Label(1, "disc L4/L5")).type.meaning == "L4/L5 disc"
    assert term_of(Label(1, "vertebra L 1")).type.meaning == "L1 vertebra"
    assert term_of(Label(1, "disc L 5/S 1")).type.meaning == "L5/S1 disc"
    assert term_of(Label(1, "rib L 1")).modifier == SIDES["left"]
    assert term_of(Label(1, "lumbar vertebra 2")).type.meaning == "L2 vertebra"


def test_both_spellings_and_plurals() -> None:
    assert term_of(Label(1, "oesophagus")) == term_of(Label(1, "esophagus"))
    assert term_of(Label(1, "liver tumour")) == term_of(Label(1, "Liver tumors"))


def test_a_finding_lies_in_its_organ() -> None:
    term = term_of(Label(1, "kidney_cyst_left"))
    assert term.category.meaning == "Morphologically Abnormal Structure"
    assert (term.type.meaning, term.modifier) == ("Cyst", None)
    assert term.region is not None
    assert (term.region.meaning, term.region_modifier) == ("Kidney", SIDES["left"])
    assert term_of(Label(1, "lesion in liver")).region == ("10200004", "SCT", "Liver")


def test_what_only_sounds_like_a_finding_is_none() -> None:
    for name in ("no lesion", "tumour bed", "non tumour"):
        assert term_of(Label(1, name)).type.scheme == PRIVATE, name


@pytest.mark.parametrize(
    ("name", "category", "meaning"),
    [
        ("muscle mass", "Tissue", "Muscle"),
        ("skeletal muscle mass", "Anatomical Structure", "Skeletal muscle"),
        ("fat mass", "Tissue", "Fat"),
        ("mass in muscle", "Morphologically Abnormal Structure", "Mass"),
        ("infarct", "Morphologically Abnormal Structure", "Infarct"),
        ("brain infarction", "Morphologically Abnormal Structure", "Infarct"),
        ("pleural effusion", "Morphologically Abnormal Structure", "Pleural effusion"),
        ("WMH", "Morphologically Abnormal Structure", "White Matter T2 Hyperintensity"),
    ],
)
def test_what_a_name_is_not_mistaken_for(name: str, category: str, meaning: str) -> None:
    term = term_of(Label(1, name))
    assert (term.category.meaning, term.type.meaning) == (category, meaning)


def test_what_the_table_lacks_has_no_colour_of_it() -> None:
    assert term_of(Label(1, "Zwischenraum")).colour is None
    assert term_of(Label(1, "Zwischenraum", code="99X:7")).colour is None


def test_parts_of_the_hippocampus() -> None:
    term = term_of(Label(1, "anterior hippocampus", code="SCT:5366008"))
    assert (term.type.meaning, term.modifier) == ("Hippocampus", SIDES["anterior"])
    assert term_of(Label(1, "serratus_anterior")).modifier is None


def test_a_models_own_code_wins() -> None:
    term = term_of(Label(1, "left kidney", code="SCT:18639004"))
    assert term.type == ("18639004", "SCT", "left kidney")
    assert term.modifier is None  # the code may say it itself
    assert term_of(Label(1, "Leber", code="SCT:10200004")).type.meaning == "Liver"
    lesion = term_of(Label(1, "liver tumour", code="SCT:126851005"))
    assert (lesion.category.meaning, lesion.type.value) == ("Morphologically Abnormal Structure", "126851005")


def test_sides_differ_in_colour() -> None:
    assert term_of(Label(1, "left lung")).colour != term_of(Label(2, "right lung")).colour


def test_an_unknown_name_has_a_private_code_that_stays() -> None:
    term = term_of(Label(1, "Zwischenraum"))
    assert term.type.scheme == PRIVATE
    assert term.type.meaning == "Zwischenraum"
    assert len(term.type.value) <= 16
    assert term == term_of(Label(9, "Zwischenraum"))
    assert term.type != term_of(Label(1, "Zwischenraum 2")).type
    assert len(term_of(Label(1, "x" * 200)).type.meaning) == 64


@pytest.mark.parametrize("name", ["tumour core", "lesion 2", "Infiltrating edema zone"])
def test_an_unknown_name_of_a_finding_is_no_organ(name: str) -> None:
    term = term_of(Label(1, name))
    assert (term.type.scheme, term.type.meaning) == (PRIVATE, name)
    assert term.category.meaning == "Morphologically Abnormal Structure"


def test_a_denied_finding_is_none() -> None:
    assert term_of(Label(1, "no tumour core")).category.meaning == "Anatomical Structure"


def test_private_codes_are_declared_once_and_only_where_used() -> None:
    import pydicom

    dataset, inner = pydicom.Dataset(), pydicom.Dataset()
    declare_codes(dataset)
    assert "CodingSchemeIdentificationSequence" not in dataset
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = private("anything")
    dataset.ConceptNameCodeSequence = [inner]
    declare_codes(dataset)
    declare_codes(dataset)
    assert [item.CodingSchemeDesignator for item in dataset.CodingSchemeIdentificationSequence] == [PRIVATE]


def test_highdicom_takes_the_codes() -> None:
    concept = term_of(Label(1, "liver")).type.concept()
    assert (concept.value, concept.scheme_designator, concept.meaning) == ("10200004", "SCT", "Liver")
