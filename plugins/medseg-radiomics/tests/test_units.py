"""Units of features."""

import pytest

pytest.importorskip("medseg_radiomics")

from medseg_radiomics.units import unit_of


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("morph_volume", "mm³"),
        ("morph_diam", "mm"),
        ("morph_av", "1/mm"),
        ("morph_sphericity", ""),
        ("stat_mean", "HU"),
        ("stat_var", "HU²"),
        ("stat_skew", ""),
        ("cm_contrast_d1_3d_avg_fbn_n6", ""),
        ("ih_mean_fbn_n6", ""),
    ],
)
def test_a_feature_has_the_unit_of_its_definition(name: str, unit: str) -> None:
    assert unit_of(name, "HU") == unit


def test_without_a_unit_of_intensities_squares_have_none() -> None:
    assert unit_of("stat_var", "") == ""
