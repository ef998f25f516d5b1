from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_segmenters() -> Iterable[Component]:
    yield Component("counting", "fake_counting.segmenter:Counting", "Threshold that counts its openings.")


@hookimpl
def medseg_measurements() -> Iterable[Component]:
    yield Component("hungry", "fake_counting.measurements:Hungry", "Hungry.")
