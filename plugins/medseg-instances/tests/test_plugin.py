"""The records are what medseg expects, and what they point at keeps to its contract."""

from medseg_instances import plugin

from medseg.testing.contracts import check_plugin


def test_records_are_sound() -> None:
    for kind, records in (
        ("head", plugin.medseg_heads()),
        ("segmenter", plugin.medseg_segmenters()),
        ("loss", plugin.medseg_losses()),
    ):
        assert [fault for record in records if (fault := record.fault(kind)) is not None] == []


def test_contract() -> None:
    check_plugin("medseg-instances")
