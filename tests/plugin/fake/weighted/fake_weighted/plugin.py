from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_segmenters() -> Iterable[Component]:
    yield Component("weighted", "fake_weighted.segmenter:Weighted", "Names files and opens none.")
    yield Component("untold", "fake_weighted.segmenter:Untold", "Does not say what it should.")
