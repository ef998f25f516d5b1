"""The records are what medseg expects, and what they point at keeps to its contract."""

import pytest
from medseg_crf import plugin
from medseg_crf.dense_crf import DenseCrf
from medseg_crf.label_crf import LabelCrf
from pydantic import ValidationError

from medseg.testing.contracts import check_plugin


def test_records_are_sound() -> None:
    for kind, records in (
        ("refiner", plugin.medseg_refiners()),
        ("postprocessor", plugin.medseg_postprocessors()),
        ("network", plugin.medseg_networks()),
    ):
        assert [record.fault(kind) for record in records] == [None]


def test_contract() -> None:
    check_plugin("medseg-crf")


@pytest.mark.parametrize("kind", [DenseCrf, LabelCrf])
def test_intensity_must_be_said_and_every_parameter_is_described(
    kind: type[DenseCrf] | type[LabelCrf],
) -> None:
    with pytest.raises(ValidationError, match="intensity"):
        kind()  # type: ignore[call-arg]  # the point
    assert all(field.description for field in kind.model_fields.values())
