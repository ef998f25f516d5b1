"""What this distribution offers to medseg."""

from collections.abc import Iterator

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_models() -> Iterator[Component]:
    """The model."""
    yield Component(
        "hippocampus",
        target="medseg_hippocampus:models/hippocampus",
        summary="Anterior and posterior hippocampus in T1-weighted MR cut out about one hippocampus.",
    )
