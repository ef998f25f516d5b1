"""Steps that keep to their contracts."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medseg.prediction import Measured, Plan, Prediction, Resources, Result, Wanted
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.steps import Measurement, Postprocessor, Predictor, Preprocessor, Segmenter, Writer
from medseg.volume import Grid, Volume

LABELS = LabelTable((Label(1, "bright"),))


class Scale(Preprocessor):
    """Multiply intensities."""

    by: float = 0.5
    """What they are multiplied with."""

    def __call__(self, volume: Volume) -> Volume:
        return volume.replace(array=volume.array * np.float32(self.by))


class Brightness(Predictor):
    """Compares with a level, then improves."""

    def __init__(
        self, level: float, improve: tuple[Postprocessor, ...] = (), *, objects: bool = False
    ) -> None:
        self.level = level
        self.improve = improve
        self.objects = objects

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        return Plan(device="cpu", peak_bytes=int(np.prod(grid.shape)))

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        found = Segmentation.from_masks({"bright": volume.array[0] > self.level}, volume.grid, LABELS)
        for step in self.improve:
            found = step(found, volume)
        if self.objects:
            found = found.replace(kinds=("objects",), objects=(Object(1, "bright", 0.5),))
        soft = {"bright": float(found.mask("bright").sum()) * volume.grid.voxel_ml}
        return Prediction(segmentation=found.onto(onto), members=(found.onto(onto),), soft_ml=soft)


class Bright(Segmenter):
    """Label what is bright."""

    level: float = 0.0
    """Intensity above which a voxel is bright."""

    def labels(self) -> LabelTable | None:
        return LABELS

    @contextmanager
    def open(self, resources: Resources) -> Iterator[Predictor]:
        yield Brightness(self.level)


class Nameless(Bright):
    """Label what is bright; the pipeline file names it."""

    def labels(self) -> LabelTable | None:
        return None


class Boxed(Bright):
    """What is bright, as one object."""

    @contextmanager
    def open(self, resources: Resources) -> Iterator[Predictor]:
        yield Brightness(self.level, objects=True)


class Level(BaseModel):
    """A parameter that is a model of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lowest: float = 0.0
    """Intensity above which a voxel is bright."""


class Ensemble(Segmenter):
    """What is bright, improved by nested steps."""

    first: Postprocessor
    """Applied first."""

    backup: Postprocessor | None = None
    """Applied next, if there is one."""

    members: tuple[Postprocessor, ...] = ()
    """Applied after that."""

    named: dict[str, Postprocessor] = Field(default_factory=dict)
    """Applied in the end."""

    couple: tuple[Preprocessor, Postprocessor] | None = None
    """Of two kinds; not applied."""

    level: Level = Level()
    """Where brightness begins."""

    def labels(self) -> LabelTable | None:
        return LABELS

    @contextmanager
    def open(self, resources: Resources) -> Iterator[Predictor]:
        backup = () if self.backup is None else (self.backup,)
        yield Brightness(self.level.lowest, (self.first, *backup, *self.members, *self.named.values()))


class Smooth(Postprocessor):
    """Leave labels as they are."""

    radius: float = 1.0
    """Without effect."""

    labels: tuple[str, ...] | None = None
    """Without effect."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        return segmentation


class Repeat(Postprocessor):
    """Apply another step several times."""

    step: Postprocessor
    """The other step."""

    times: int = 2
    """How often."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        for _ in range(self.times):
            segmentation = self.step(segmentation, volume)
        return segmentation


class Both(Postprocessor):
    """Apply a step that has a default."""

    step: Postprocessor = Smooth(radius=3.0)
    """The step."""

    def __call__(self, segmentation: Segmentation, volume: Volume) -> Segmentation:
        return self.step(segmentation, volume)


class OneLabel(Smooth):
    """Leave labels as they are."""

    labels: str = "bright"  # type: ignore[assignment]  # what other authors may well do
    """Without effect."""


class ManyLabels(Smooth):
    """Leave labels as they are."""

    labels: int = 3  # type: ignore[assignment]  # what other authors may well do
    """Without effect."""


class Voxels(Measurement):
    """Number of voxels of each label."""

    def __call__(
        self, volume: Volume, segmentation: Segmentation, prediction: Prediction
    ) -> Iterable[Measured]:
        for label in segmentation.labels:
            yield Measured(
                label=label.name, quantity="voxels", value=int(segmentation.mask(label.name).sum())
            )


class Note(Writer):
    """One line of text."""

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        path = folder / "note.txt"
        path.write_text(f"{len(result.measurements)} measurements\n", encoding="utf-8")
        yield path
