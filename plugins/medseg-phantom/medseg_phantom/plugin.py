"""What this distribution offers to medseg."""

from collections.abc import Iterator

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_models() -> Iterator[Component]:
    """The model trained on phantoms."""
    yield Component(
        "phantom-abdomen",
        target="medseg_phantom:models/phantom-abdomen",
        summary="Abdominal organs and liver tumours of synthetic CT phantoms; never for patients.",
    )
