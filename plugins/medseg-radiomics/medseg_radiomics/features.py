"""MIRP asked for the features of one mask, and its answer as plain numbers."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Family", "features"]

Family = Literal[
    "morphology",
    "local-intensity",
    "statistics",
    "histogram",
    "glcm",
    "glrlm",
    "glszm",
    "gldzm",
    "ngtdm",
    "ngldm",
]
CALLED: Mapping[str, str] = {
    "local-intensity": "local_intensity",
    "histogram": "intensity_histogram",
}
ABOUT = ("image_", "sample_name")  # columns that say what was measured, and how


def features(  # noqa: PLR0913 - all but image and mask are named
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    spacing: Sequence[float],
    families: Sequence[Family],
    bins: int | None,
    bin_width: float | None,
    within: tuple[float | None, float | None],
    spacing_mm: float | None,
    merged: bool,
) -> dict[str, float]:
    """Features by MIRP's names of `mask[i, j, k]` in `image`; not a number where one is not defined.

    `spacing` is in mm along i, j, k; `bins` or `bin_width`, counted from the first of `within`, say how
    intensities are made discrete. Empty where no voxel is left.
    """
    inside = image[mask]
    low, high = (other if end is None else end for end, other in zip(within, (-np.inf, np.inf), strict=True))
    if not ((inside >= low) & (inside <= high)).any():
        return {}
    asked: dict[str, Any] = {
        "base_feature_families": [CALLED.get(family, family) for family in families],
        "base_discretisation_method": "fixed_bin_number" if bin_width is None else "fixed_bin_size",
        "base_discretisation_n_bins": bins,
        "base_discretisation_bin_width": bin_width,
        "glcm_spatial_method": "3d_volume_merge" if merged else "3d_average",
        "glrlm_spatial_method": "3d_volume_merge" if merged else "3d_average",
    }
    if within != (None, None):
        asked["resegmentation_intensity_range"] = [np.nan if end is None else end for end in within]
    if spacing_mm is not None:
        asked["new_spacing"] = spacing_mm
    with _quiet():
        (table,) = _extracted(image, mask, spacing, asked)
    row = table.iloc[0].to_dict()
    return {str(name): float(value) for name, value in row.items() if not str(name).startswith(ABOUT)}


def _extracted(
    image: NDArray[np.float32], mask: NDArray[np.bool_], spacing: Sequence[float], asked: Mapping[str, Any]
) -> Any:
    """The tables that MIRP makes; its axes are z, y, x."""
    import mirp
    from mirp.data_import.import_image import import_image
    from mirp.data_import.import_mask import import_mask

    (there,) = _listed(import_image(np.ascontiguousarray(image.T), sample_name="label"))
    (region,) = _listed(import_mask(np.ascontiguousarray(mask.T), sample_name="label"))
    there.image_spacing = region.image_spacing = tuple(float(step) for step in reversed(spacing))
    return mirp.extract_features(image=there, mask=region, export_features=True, **asked)


def _listed(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


@contextmanager
def _quiet() -> Iterator[None]:
    """MIRP logs to standard output, where results belong, unless somebody has said where logs go.

    Its warnings are of numbers that are not defined, which an empty cell says, and of bins of a fixed width
    in an image that it does not know for a CT or PET.
    """
    root, nobody = logging.getLogger(), logging.NullHandler()
    root.addHandler(nobody)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        root.removeHandler(nobody)
