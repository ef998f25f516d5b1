import pytest
from numpy import eye

from medseg.io.nifti_description import description
from medseg.volume import Grid, Source

GRID = Grid((2, 2, 2), eye(4))


def said(*decided: str, remarks: tuple[str, ...] = ()) -> str:
    return description(Source(GRID, "DICOM series", decided=decided), *remarks).decode("ascii")


def test_nothing_decided_nothing_said() -> None:
    assert description(None) == b"medseg: research use only"
    assert said() == "medseg: research use only"


def test_each_decision_is_told_by_the_doubt_before_its_colon() -> None:
    gaps = "missing slice: 20 slices resampled onto 21"
    assert said(gaps) == "medseg: research use only; missing slice resampled"
    both = said(gaps, "series: CT of 2", remarks=("slices uneven",))
    assert both == "medseg: research use only; slices uneven; missing slice resampled; and more"
    assert said("series: CT", "series: MR") == "medseg: research use only; series decided"


@pytest.mark.parametrize("length", range(40, 60))
@pytest.mark.parametrize("many", [1, 2, 5])
def test_it_always_fits_and_says_where_something_is_left_out(length: int, many: int) -> None:
    lines = [f"{number}{'x' * length}" for number in range(many)]
    text = said(*lines)
    assert len(text) <= 79
    kept = sum(line in text for line in lines)
    assert ("; and more" in text) == (kept < many)


def test_only_ascii_is_written() -> None:
    assert said("tilt of 15°: …") == "medseg: research use only; tilt of 15? decided"
