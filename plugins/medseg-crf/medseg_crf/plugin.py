"""What this distribution offers to medseg."""

from collections.abc import Iterator

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_refiners() -> Iterator[Component]:
    """The field on a network's scores."""
    yield Component(
        "dense-crf",
        target="medseg_crf.dense_crf:DenseCrf",
        summary="Scores that agree with their neighbours and follow the image, by a fully connected CRF.",
    )


@hookimpl
def medseg_postprocessors() -> Iterator[Component]:
    """The field on labels alone."""
    yield Component(
        "label-crf",
        target="medseg_crf.label_crf:LabelCrf",
        summary="Labels moved onto edges of the image by a fully connected CRF, without a network's scores.",
    )


@hookimpl
def medseg_networks() -> Iterator[Component]:
    """The field as a layer."""
    yield Component(
        "crf-rnn",
        target="medseg_crf.crf_rnn:CrfRnn",
        summary="Any network with the updates of a CRF after it, trained together.",
    )
