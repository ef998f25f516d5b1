"""The units of features, by their names."""

__all__ = ["unit_of"]

LENGTHS = ("morph_com", "morph_diam", "morph_pca_maj_axis", "morph_pca_min_axis", "morph_pca_least_axis")
UNITS = {
    **dict.fromkeys(LENGTHS, "mm"),
    "morph_volume": "mm³",
    "morph_vol_approx": "mm³",
    "morph_area_mesh": "mm²",
    "morph_av": "1/mm",
}
OF_INTENSITY = {
    f"stat_{name}"
    for name in ("mean", "median", "min", "p10", "p90", "max", "iqr", "range", "mad", "rmad", "medad", "rms")
} | {"loc_peak_loc", "loc_peak_glob"}
OF_ITS_SQUARE = {"stat_var", "stat_energy"}


def unit_of(name: str, intensity: str) -> str:
    """mm, mm², mm³ or 1/mm; the unit of the image's intensities or its square; empty for all others."""
    if name in OF_INTENSITY:
        return intensity
    if name in OF_ITS_SQUARE:
        return f"{intensity}²" if intensity else ""
    return UNITS.get(name, "")
