"""The digital phantom of the IBSI: every feature in 3-D against its published reference value."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.prediction import Prediction
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps import Measurement
from medseg.volume import Grid, Volume

pytest.importorskip("medseg_radiomics")

from medseg_radiomics.features import Family
from medseg_radiomics.radiomics import Radiomics

SLICES = """
14411 14611 41641 44641
14411 11611 11311 44611
14411 11111 11911 11611
14411 11111 11111 11611
"""
OUTSIDE = ((0, 2, 1), (3, 0, 2), (4, 0, 2), (2, 2, 2), (3, 0, 3), (4, 0, 3))
"""Voxels x, y, z that are not in the region; of slices z with rows y of five voxels x, 2 mm wide each."""

# Reference values of the image biomarker standardisation initiative's digital phantom, three digits each
# (Zwanenburg et al., Radiology 295, 2020, 328-338, and the reference manual, arXiv 1612.07003; CC BY 4.0).
REFERENCE = """
morph_volume 556, morph_vol_approx 592, morph_area_mesh 388, morph_av 0.698, morph_comp_1 0.0411,
morph_comp_2 0.599, morph_sph_dispr 1.19, morph_sphericity 0.843, morph_asphericity 0.186, morph_com 0.672,
morph_diam 13.1, morph_pca_maj_axis 11.4, morph_pca_min_axis 9.31, morph_pca_least_axis 8.54,
morph_pca_elongation 0.816, morph_pca_flatness 0.749, morph_vol_dens_aabb 0.869, morph_area_dens_aabb 0.866,
morph_vol_dens_aee 1.17, morph_area_dens_aee 1.36, morph_vol_dens_conv_hull 0.961, morph_area_dens_conv_hull
1.03, morph_integ_int 1200, morph_moran_i 0.0397, morph_geary_c 0.974, loc_peak_loc 2.6, loc_peak_glob 3.1,
stat_mean 2.15, stat_var 3.05, stat_skew 1.08, stat_kurt -0.355, stat_median 1, stat_min 1, stat_p10 1,
stat_p90 4, stat_max 6, stat_iqr 3, stat_range 5, stat_mad 1.55, stat_rmad 1.11, stat_medad 1.15, stat_cov
0.812, stat_qcod 0.6, stat_energy 567, stat_rms 2.77, ih_mean 2.15, ih_var 3.05, ih_skew 1.08, ih_kurt
-0.355, ih_median 1, ih_min 1, ih_p10 1, ih_p90 4, ih_max 6, ih_mode 1, ih_iqr 3, ih_range 5, ih_mad 1.55,
ih_rmad 1.11, ih_medad 1.15, ih_cov 0.812, ih_qcod 0.6, ih_entropy 1.27, ih_uniformity 0.512, ih_max_grad 8,
ih_max_grad_g 3, ih_min_grad -50, ih_min_grad_g 1, szm_sze 0.255, szm_lze 550, szm_lgze 0.253, szm_hgze
15.6, szm_szlge 0.0256, szm_szhge 2.76, szm_lzlge 503, szm_lzhge 1490, szm_glnu 1.4, szm_glnu_norm 0.28,
szm_zsnu 1, szm_zsnu_norm 0.2, szm_z_perc 0.0676, szm_gl_var 2.64, szm_zs_var 331, szm_zs_entr 2.32, dzm_sde
1, dzm_lde 1, dzm_lgze 0.253, dzm_hgze 15.6, dzm_sdlge 0.253, dzm_sdhge 15.6, dzm_ldlge 0.253, dzm_ldhge
15.6, dzm_glnu 1.4, dzm_glnu_norm 0.28, dzm_zdnu 5, dzm_zdnu_norm 1, dzm_z_perc 0.0676, dzm_gl_var 2.64,
dzm_zd_var 0, dzm_zd_entr 1.92, ngt_coarseness 0.0296, ngt_contrast 0.584, ngt_busyness 6.54, ngt_complexity
13.5, ngt_strength 0.763, ngl_lde 0.045, ngl_hde 109, ngl_lgce 0.693, ngl_hgce 7.66, ngl_ldlge 0.00963,
ngl_ldhge 0.736, ngl_hdlge 102, ngl_hdhge 235, ngl_glnu 37.9, ngl_glnu_norm 0.512, ngl_dcnu 4.86,
ngl_dcnu_norm 0.0657, ngl_dc_perc 1, ngl_gl_var 3.05, ngl_dc_var 22.1, ngl_dc_entr 4.4, ngl_dc_energy 0.0533
"""
AVERAGED = """
cm_joint_max 0.503, cm_joint_avg 2.14, cm_joint_var 3.1, cm_joint_entr 2.4, cm_diff_avg 1.43, cm_diff_var
3.06, cm_diff_entr 1.56, cm_sum_avg 4.29, cm_sum_var 7.07, cm_sum_entr 1.92, cm_energy 0.303, cm_contrast
5.32, cm_dissimilarity 1.43, cm_inv_diff 0.677, cm_inv_diff_norm 0.851, cm_inv_diff_mom 0.618,
cm_inv_diff_mom_norm 0.898, cm_inv_var 0.0604, cm_corr 0.157, cm_auto_corr 5.06, cm_clust_tend 7.07,
cm_clust_shade 16.6, cm_clust_prom 145, cm_info_corr1 -0.157, cm_info_corr2 0.52, rlm_sre 0.705, rlm_lre
3.06, rlm_lgre 0.603, rlm_hgre 9.7, rlm_srlge 0.352, rlm_srhge 8.54, rlm_lrlge 2.39, rlm_lrhge 17.6,
rlm_glnu 21.8, rlm_glnu_norm 0.43, rlm_rlnu 26.9, rlm_rlnu_norm 0.513, rlm_r_perc 0.68, rlm_gl_var 3.46,
rlm_rl_var 0.574, rlm_rl_entr 2.43
"""
MERGED = """
cm_joint_max 0.509, cm_joint_avg 2.15, cm_joint_var 3.13, cm_joint_entr 2.57, cm_diff_avg 1.38, cm_diff_var
3.21, cm_diff_entr 1.64, cm_sum_avg 4.3, cm_sum_var 7.41, cm_sum_entr 2.11, cm_energy 0.291, cm_contrast
5.12, cm_dissimilarity 1.38, cm_inv_diff 0.688, cm_inv_diff_norm 0.856, cm_inv_diff_mom 0.631,
cm_inv_diff_mom_norm 0.902, cm_inv_var 0.0574, cm_corr 0.183, cm_auto_corr 5.19, cm_clust_tend 7.41,
cm_clust_shade 17.4, cm_clust_prom 147, cm_info_corr1 -0.0288, cm_info_corr2 0.269, rlm_sre 0.729, rlm_lre
2.76, rlm_lgre 0.607, rlm_hgre 9.64, rlm_srlge 0.372, rlm_srhge 8.67, rlm_lrlge 2.16, rlm_lrhge 15.6,
rlm_glnu 281, rlm_glnu_norm 0.43, rlm_rlnu 328, rlm_rlnu_norm 0.501, rlm_r_perc 0.68, rlm_gl_var 3.48,
rlm_rl_var 0.598, rlm_rl_entr 2.62
"""
ALL = get_args(Family)


def phantom() -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Image and region `[x, y, z]`."""
    rows = [[[int(v) for v in row] for row in line.split()] for line in SLICES.strip().splitlines()]
    image = np.array(rows, np.int16).transpose(2, 1, 0)
    region = np.ones(image.shape, bool)
    region[tuple(np.transpose(OUTSIDE))] = False
    return image, region


def values(
    step: Radiomics, grid: Grid, image: NDArray[np.int16], region: NDArray[np.bool_]
) -> dict[str, float]:
    """Each feature's value by MIRP's name without what says how it was discretised."""
    segmentation = Segmentation.from_masks({"region": region}, grid, LabelTable((Label(1, "region"),)))
    rows = Measurement.check(
        step(Volume(image[None], grid), segmentation, Prediction(segmentation=segmentation)),
        segmentation=segmentation,
    )
    assert rows[0].value == len(rows) - 1
    return {row.quantity.removeprefix("ibsi_"): float(row.value or 0.0) for row in rows[1:]}


def published(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in (pair.split() for pair in text.split(","))}


def turned() -> Grid:
    """Voxels of 2 mm, the axes turned by 30 degrees about x."""
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ affine[:3, :3]
    return Grid((5, 4, 4), affine)


@pytest.mark.parametrize("merged", [False, True])
def test_every_feature_is_what_was_published(merged: bool) -> None:
    step = Radiomics(families=ALL, bins=6, directions="merged" if merged else "average")
    found = values(step, turned(), *phantom())
    expected = published(REFERENCE) | published(MERGED if merged else AVERAGED)
    for name, value in expected.items():
        (is_,) = {
            found[each]
            for each in found
            if each == name or each.startswith((f"{name}_d1_", f"{name}_3d_", f"{name}_fbn_"))
        }
        # three digits, the last of which rounding may move
        assert is_ == pytest.approx(value, rel=6e-3, abs=1e-6), name
    assert len(expected) == 163


def test_the_order_and_direction_of_axes_change_nothing() -> None:
    image, region = phantom()
    step = Radiomics(families=("morphology", "statistics", "glcm", "glszm"), bins=6)
    straight = values(step, Grid(image.shape, np.diag([2.0, 2.0, 2.0, 1.0])), image, region)
    other = Grid((4, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    swapped = values(step, other, image.transpose(1, 0, 2)[::-1], region.transpose(1, 0, 2)[::-1])
    assert swapped == pytest.approx(straight, rel=1e-4)
