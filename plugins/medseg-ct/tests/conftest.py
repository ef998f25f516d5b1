"""The folder of real images, as in the tests of medseg itself."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def real_data() -> Path:
    """The folder that `MEDSEG_TEST_DATA` names; a test that asks for it is skipped without."""
    folder = os.environ.get("MEDSEG_TEST_DATA")
    if not folder:
        pytest.skip("MEDSEG_TEST_DATA is not set")
    return Path(folder)
