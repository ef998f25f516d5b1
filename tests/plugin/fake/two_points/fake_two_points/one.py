from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_writers() -> Iterable[Component]:
    yield Component("twin", "fake_two_points.steps:First", "The first of the name.")
