"""The record is what medseg expects, and what it points at keeps to its contract."""

import pytest

pytest.importorskip("medseg_radiomics")

from medseg_radiomics import plugin

from medseg.testing.contracts import check_plugin


def test_records_are_sound() -> None:
    assert [record.fault("measurement") for record in plugin.medseg_measurements()] == [None]


def test_contract() -> None:
    check_plugin("medseg-radiomics")
