"""What this distribution offers to medseg."""

from collections.abc import Iterator

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_segmenters() -> Iterator[Component]:
    """The segmenter by published Hounsfield rules."""
    yield Component(
        "tissue-rules",
        target="medseg_ct.tissue_rules:TissueRules",
        summary="Body, lungs, bone, fat and muscle of a torso CT by published Hounsfield rules; no weights.",
    )


@hookimpl
def medseg_models() -> Iterator[Component]:
    """The ready-to-run model made of it."""
    yield Component(
        "ct-tissue",
        target="medseg_ct:models/ct-tissue",
        summary="Body, lungs, bone, subcutaneous and visceral fat, and skeletal muscle from a torso CT.",
    )
