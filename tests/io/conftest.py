"""What the tests of the readers share: a writer of small DICOM series with every voxel known."""

from collections.abc import Callable
from pathlib import Path

import pytest
from dicom_series import CANARIES, write_dicom_series


@pytest.fixture
def write_series() -> Callable[..., Path]:
    """`write_dicom_series`, which a test module cannot import from its neighbour."""
    return write_dicom_series


@pytest.fixture
def canaries() -> tuple[str, ...]:
    """What every written series says of its patient, and nothing that medseg makes may repeat."""
    return CANARIES
