from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from medseg.builtin.augment.span import Factors, Lengths, Shares, Span


@pytest.mark.parametrize(
    ("kind", "fits", "wrong"),
    [
        (Span, [(0, 0), (0, 0.3), (2, 2)], [(-1, 1), (0.3, 0), (0, float("nan")), (0, 2000)]),
        (Factors, [(1, 1), (0.7, 1.4)], [(0, 1), (1.4, 0.7)]),
        (Shares, [(1, 1), (0.5, 1)], [(0.5, 1.1), (0, 1)]),
        (Lengths, [(80, 240)], [(0, 240), (240, 80)]),
    ],
)
def test_spans_are_ordered_and_within_limits(
    kind: Any, fits: list[tuple[float, float]], wrong: list[tuple[float, float]]
) -> None:
    adapter = TypeAdapter[tuple[float, float]](kind)
    for span in fits:
        assert adapter.validate_python(list(span)) == span
    for span in wrong:
        with pytest.raises(ValidationError):
            adapter.validate_python(span)


def test_the_wrong_order_is_told_with_the_numbers() -> None:
    with pytest.raises(ValidationError, match=r"first number \(1.4\) must not be above the second \(0.7\)"):
        TypeAdapter[tuple[float, float]](Factors).validate_python((1.4, 0.7))
