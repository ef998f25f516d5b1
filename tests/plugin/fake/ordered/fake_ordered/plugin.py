from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_writers() -> Iterable[Component]:
    yield Component("letter", "fake_ordered.writers:Letter", "Refers to no one.")
    yield Component("answer", "fake_ordered.writers:Answer", "Refers to the letter.")
    yield Component("picky", "fake_ordered.writers:Picky", "Takes MR only.")
    yield Component("echo", "fake_ordered.writers:Echo", "Refers to the picky one.")
    yield Component("vague", "fake_ordered.writers:Vague", "Says wrongly what it refers to.")
