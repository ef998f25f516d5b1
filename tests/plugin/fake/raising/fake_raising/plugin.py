from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_writers() -> Iterable[Component]:
    yield Component("never", "fake_raising.steps:Never", "Not found: the hook fails afterwards.")
    raise RuntimeError("no licence\nfile")


@hookimpl
def medseg_segmenters() -> Iterable[Component]:
    raise SystemExit(3)


@hookimpl
def medseg_measurements() -> None:
    return None


@hookimpl
def medseg_preprocessors() -> Iterable[Component]:
    yield Component("right", "fake_raising.steps:Never", "Found: this hook is right.")
