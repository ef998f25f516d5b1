"""What this distribution offers to medseg."""

from collections.abc import Iterator

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_measurements() -> Iterator[Component]:
    """The features of each label."""
    yield Component(
        "radiomics",
        target="medseg_radiomics.radiomics:Radiomics",
        summary="Shape, intensity and texture of each label, as the IBSI defines them.",
    )
