from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_writers() -> Iterable[Component]:
    yield Component("orphan", "fake_no_metadata.steps:Orphan", "Of a distribution without metadata.")
