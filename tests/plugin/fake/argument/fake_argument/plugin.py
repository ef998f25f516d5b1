from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_writers(config: object) -> Iterable[Component]:
    yield Component("never", "fake_argument.steps:Never", "Not found: the hook takes an argument.")
