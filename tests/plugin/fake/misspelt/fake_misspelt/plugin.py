from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_postprocesors() -> Iterable[Component]:
    yield Component("never-1", "fake_misspelt.steps:Never", "Not found: the hook is misspelt.")


def medseg_writers() -> Iterable[Component]:
    yield Component("never-2", "fake_misspelt.steps:Never", "Not found: the hook is not marked.")


@hookimpl(specname="medseg_measurements")
def numbers() -> Iterable[Component]:
    yield Component("renamed", "fake_misspelt.steps:Never", "Found: the hook is named by its mark.")


@hookimpl
def medseg_preprocessors() -> Iterable[Component]:
    yield Component("right", "fake_misspelt.steps:Never", "Found: this hook is right.")
