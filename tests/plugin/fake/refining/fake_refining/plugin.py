from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_refiners() -> Iterable[Component]:
    yield Component("favour", "fake_refining.refiners:Favour", "Add to the scores of a channel.")
    yield Component("bad-type", "fake_refining.refiners:BadType", "BadType.")
    yield Component("bad-box", "fake_refining.refiners:BadBox", "BadBox.")
    yield Component("bad-number", "fake_refining.refiners:BadNumber", "BadNumber.")
    yield Component("writes-scores", "fake_refining.refiners:WritesScores", "WritesScores.")
    yield Component("runs-out", "fake_refining.refiners:RunsOut", "RunsOut.")
    yield Component("differs", "fake_refining.refiners:Differs", "Differs.")
