import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.cli.series import series_rule
from medseg.config import SeriesRule
from medseg.errors import UsageError


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("1.2.840.113619.2.55.3", {"uid": "1.2.840.113619.2.55.3"}),
        (".2.55.3", {"uid": "2.55.3"}),
        ("...9.2.55.3", {"uid": "9.2.55.3"}),
        (" …12345678 ", {"uid": "12345678"}),
        ("uid=...12345678", {"uid": "12345678"}),
        ("modality=CT", {"modality": "CT"}),
        ("modality = CT , max_thickness_mm=3", {"modality": "CT", "max_thickness_mm": 3.0}),
        ('description="portal, thin",min_slices=20', {"description": "portal, thin", "min_slices": 20}),
        ("description=a=b", {"description": "a=b"}),
        ("description=^(portal|venous)$", {"description": "^(portal|venous)$"}),
        ("image_type=ORIGINAL,image_type=AXIAL", {"image_type": ("ORIGINAL", "AXIAL")}),
        ("orientation=coronal,min_thickness_mm=0.5", {"orientation": "coronal", "min_thickness_mm": 0.5}),
    ],
)
def test_a_uid_its_end_or_a_rule(text: str, rule: dict[str, object]) -> None:
    assert series_rule(text) == SeriesRule.model_validate(rule)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("portal", "is neither a series UID (or its end) nor a rule, as in modality=CT"),
        ("", "is neither a series UID"),
        ("modalty=CT", "there is no 'modalty'; did you mean 'modality'?"),
        ("max-thickness-mm=3", "there is no 'max-thickness-mm'; did you mean 'max_thickness_mm'?"),
        ("modality=CT,modality=MR", "modality is given twice"),
        ("modality=", "modality has no value"),
        ('description="', "write key=value,key=value"),
        ("modality=CT,thin", "write key=value,key=value"),
        ("min_slices=many", "min_slices: input should be a valid integer"),
        ("min_slices=0", "min_slices: input should be greater than or equal to 1"),
        ("orientation=upright", "orientation: input should be 'axial', 'coronal', 'sagittal' or 'oblique'"),
        ("description=(", "is no regular expression"),
        ("min_thickness_mm=3,max_thickness_mm=1", "no thickness is at least 3 mm and at most 1 mm"),
        ("uid=CT", "uid: string should match pattern"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        series_rule(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40) | st.text(alphabet='abmodlity=,".0123456789 ', max_size=40))
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    try:
        rule = series_rule(text)
    except UsageError:
        return
    assert rule != SeriesRule()
