from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_preprocessors() -> Iterable[Component]:
    yield Component("scale", "fake_good.steps:Scale", "Multiply intensities.")


@hookimpl
def medseg_segmenters() -> Iterable[Component]:
    yield Component("bright", "fake_good.steps:Bright", "Label what is bright.")
    yield Component("nameless", "fake_good.steps:Nameless", "The same, without a name for it.")
    yield Component("ensemble", "fake_good.steps:Ensemble", "What is bright, improved by nested steps.")
    yield Component("boxed", "fake_good.steps:Boxed", "Objects: every bright voxel row is one.")


@hookimpl
def medseg_postprocessors() -> Iterable[Component]:
    yield Component("smooth", "fake_good.steps:Smooth", "Leave labels as they are.")
    yield Component("repeat", "fake_good.steps:Repeat", "Apply another step several times.")
    yield Component("both", "fake_good.steps:Both", "Apply a step that has a default.")
    yield Component("one-label", "fake_good.steps:OneLabel", "A parameter called labels that is one name.")
    yield Component(
        "many-labels", "fake_good.steps:ManyLabels", "A parameter called labels that is a number."
    )


@hookimpl
def medseg_measurements() -> Iterable[Component]:
    yield Component("voxels", "fake_good.steps:Voxels", "Number of voxels of each label.")


@hookimpl
def medseg_writers() -> Iterable[Component]:
    yield Component("note", "fake_good.steps:Note", "One line of text.")


@hookimpl
def medseg_models() -> Iterable[Component]:
    yield Component("fake-model", "fake_good:models/fake-model", "A model of the fakes.")
