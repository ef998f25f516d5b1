from collections.abc import Iterable

from medseg.plugin import Component, hookimpl


@hookimpl
def medseg_preprocessors() -> Iterable[Component]:
    yield Component("gives-none", "fake_misbehaving.preprocessors:GivesNone", "GivesNone.")
    yield Component("gives-array", "fake_misbehaving.preprocessors:GivesArray", "GivesArray.")
    yield Component("gives-nan", "fake_misbehaving.preprocessors:GivesNan", "GivesNan.")
    yield Component("gives-bool", "fake_misbehaving.preprocessors:GivesBool", "GivesBool.")
    yield Component("writes-image", "fake_misbehaving.preprocessors:WritesImage", "WritesImage.")
    yield Component("raises-value", "fake_misbehaving.preprocessors:RaisesValue", "RaisesValue.")
    yield Component("raises-key", "fake_misbehaving.preprocessors:RaisesKey", "RaisesKey.")
    yield Component("raises-nothing", "fake_misbehaving.preprocessors:RaisesNothing", "RaisesNothing.")
    yield Component("exits", "fake_misbehaving.preprocessors:Exits", "Exits.")
    yield Component("refuses", "fake_misbehaving.preprocessors:Refuses", "Refuses.")
    yield Component("forces-image", "fake_misbehaving.preprocessors:ForcesImage", "ForcesImage.")
    yield Component("random", "fake_misbehaving.preprocessors:Random", "Random.")


@hookimpl
def medseg_segmenters() -> Iterable[Component]:
    yield Component("moved", "fake_misbehaving.segmenters:Moved", "Moved.")
    yield Component("none", "fake_misbehaving.segmenters:NoPrediction", "NoPrediction.")
    yield Component("unknown-label", "fake_misbehaving.segmenters:UnknownLabel", "UnknownLabel.")
    yield Component("open-fails", "fake_misbehaving.segmenters:OpenFails", "OpenFails.")
    yield Component("no-predictor", "fake_misbehaving.segmenters:NoPredictor", "NoPredictor.")
    yield Component("labels-dict", "fake_misbehaving.segmenters:LabelsDict", "LabelsDict.")
    yield Component("labels-fail", "fake_misbehaving.segmenters:LabelsFail", "LabelsFail.")
    yield Component("more-labels", "fake_misbehaving.segmenters:MoreLabels", "MoreLabels.")
    yield Component("nan-map", "fake_misbehaving.segmenters:NanMap", "NanMap.")


@hookimpl
def medseg_heads() -> Iterable[Component]:
    yield Component("sure-of-a-label", "fake_misbehaving.heads:SureOfALabel", "SureOfALabel.")
    yield Component("short-background", "fake_misbehaving.heads:ShortBackground", "ShortBackground.")
    yield Component("nothing-apart", "fake_misbehaving.heads:TellsNothingApart", "TellsNothingApart.")
    yield Component("joins", "fake_misbehaving.heads:JoinsWhatTouches", "JoinsWhatTouches.")


@hookimpl
def medseg_postprocessors() -> Iterable[Component]:
    yield Component("moves-grid", "fake_misbehaving.postprocessors:MovesGrid", "MovesGrid.")
    yield Component("loses-labels", "fake_misbehaving.postprocessors:LosesLabels", "LosesLabels.")
    yield Component("invents-label", "fake_misbehaving.postprocessors:InventsLabel", "InventsLabel.")
    yield Component("writes-labels", "fake_misbehaving.postprocessors:WritesLabels", "WritesLabels.")


@hookimpl
def medseg_measurements() -> Iterable[Component]:
    yield Component("nan-row", "fake_misbehaving.measurements:NanRow", "NanRow.")
    yield Component("unknown-row", "fake_misbehaving.measurements:UnknownRow", "UnknownRow.")
    yield Component("no-rows", "fake_misbehaving.measurements:NoRows", "NoRows.")
    yield Component("wrong-row", "fake_misbehaving.measurements:WrongRow", "WrongRow.")
    yield Component("wants-fails", "fake_misbehaving.measurements:WantsFails", "WantsFails.")
    yield Component("late", "fake_misbehaving.measurements:Late", "Late.")
    yield Component("wants-nothing", "fake_misbehaving.measurements:WantsNothing", "WantsNothing.")


@hookimpl
def medseg_writers() -> Iterable[Component]:
    yield Component("absent", "fake_misbehaving.writers:Absent", "Absent.")
    yield Component("outside", "fake_misbehaving.writers:Outside", "Outside.")
    yield Component("link", "fake_misbehaving.writers:Link", "Link.")
    yield Component("no-paths", "fake_misbehaving.writers:NoPaths", "NoPaths.")
    yield Component("needs-fails", "fake_misbehaving.writers:NeedsFails", "NeedsFails.")
    yield Component("borrows", "fake_misbehaving.writers:Borrows", "Borrows.")
    yield Component("writes-nothing", "fake_misbehaving.writers:WritesNothing", "WritesNothing.")
