from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_postprocessors() -> Iterable[Component]:
    yield Component("smooth", "fake_clashing.steps:Rough", "Something else of the same name.")
    yield Component("keep-largest", "fake_clashing.steps:Rough", "A built-in name.")


@hookimpl
def medseg_writers() -> Iterable[Component]:
    yield Component("csv", "fake_clashing.steps:Table", "A built-in name that pipelines need by default.")
