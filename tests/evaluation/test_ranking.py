import pytest

from medseg.evaluation import metrics_named
from medseg.evaluation.ranking import quantity_of
from medseg.prediction import Measured


def rows(*quantities: tuple[str, float, str]) -> list[Measured]:
    return [Measured(label="a", quantity=name, value=value, unit=unit) for name, value, unit in quantities]


@pytest.mark.parametrize(
    ("metric", "said", "quantity"),
    [
        ("volume-error", rows(("volume-bias", -2.0, "mL"), ("volume-error", 2.0, "mL")), "volume-error"),
        ("nsd", rows(("nsd@2mm", 0.5, "")), "nsd@2mm"),
        ("panoptic-quality", rows(("pq-tp", 3, ""), ("pq", 0.5, "")), "pq"),
        ("overall-iou", rows(("intersection", 2.0, "mL"), ("union", 3.0, "mL")), None),
        ("hd95", rows(("distance", 2.0, "mm")), "distance"),
        ("dice", [Measured(label="a", quantity="dice", value=0.5, object=1)], None),
        ("dice", [], None),
    ],
)
def test_a_metric_is_ordered_by_what_says_how_good_a_case_is(
    metric: str, said: list[Measured], quantity: str | None
) -> None:
    assert quantity_of(metrics_named(metric)[0], said) == quantity
