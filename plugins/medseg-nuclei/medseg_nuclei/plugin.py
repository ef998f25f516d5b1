"""What this distribution offers to medseg."""

from collections.abc import Iterator

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_models() -> Iterator[Component]:
    """The model."""
    yield Component(
        "nuclei",
        target="medseg_nuclei:models/nuclei",
        summary="Every nucleus in a picture from a microscope, fluorescent or stained, as an object.",
    )
