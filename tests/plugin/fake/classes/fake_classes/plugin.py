from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_postprocessors() -> Iterable[Component]:
    yield Component("no-module", "fake_classes.absent:Thing", "The module is missing.")
    yield Component("no-class", "fake_classes.steps:Absent", "The class is missing.")
    yield Component("no-import", "fake_classes.broken:Thing", "The module cannot be imported.")
    yield Component("ends", "fake_classes.ending:Thing", "The module ends the program.")
    yield Component("not-a-class", "fake_classes.steps:function", "A function.")
    yield Component("not-a-step", "fake_classes.steps:Plain", "A class of its own.")
    yield Component("abstract", "fake_classes.steps:Abstract", "Without __call__.")
    yield Component("wrong-kind", "fake_classes.steps:Other", "A preprocessor.")
    yield Component("lenient", "fake_classes.steps:Lenient", "Accepts any parameter.")
    yield Component("changeable", "fake_classes.steps:Changeable", "Its parameters can be changed.")
    yield Component("undocumented", "fake_classes.steps:Undocumented", "Without docstrings.")
    yield Component("bad-default", "fake_classes.steps:BadDefault", "Its default is refused by its own type.")
    yield Component("fussy", "fake_classes.steps:Fussy", "Fails while its parameters are checked.")
    yield Component("unwritable", "fake_classes.steps:Unwritable", "A parameter that no file can hold.")


@hookimpl
def medseg_models() -> Iterable[Component]:
    yield Component("no-folder", "fake_classes:models/absent", "The folder is missing.")
    yield Component("no-package", "fake_absent:models/x", "The package is missing.")
