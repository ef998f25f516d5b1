import pytest

from medseg.config import SeriesRule
from medseg.errors import UsageError
from medseg.io import STRICT, Policy


def test_by_default_all_doubt_is_refused() -> None:
    assert Policy() == STRICT
    assert (STRICT.gaps, STRICT.tilt, STRICT.duplicates) == ("refuse", "refuse", "refuse")
    assert (STRICT.phase, STRICT.series, STRICT.suv) == (None, None, False)


@pytest.mark.parametrize(
    ("policy", "option"),
    [(Policy(series=SeriesRule(modality="CT")), "--series"), (Policy(suv=True), "--suv")],
)
def test_what_is_for_dicom_is_refused_elsewhere_by_the_name_of_its_option(
    policy: Policy, option: str
) -> None:
    with pytest.raises(UsageError, match=rf"a\.nii: is NIfTI-1, .* leave out {option}"):
        policy.require_use("NIfTI-1", "a.nii")
    policy.require_use("DICOM series", "folder")
    Policy(gaps="resample", phase=2).require_use("NIfTI-1", "a.nii")
