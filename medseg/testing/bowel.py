"""Stomach and bowel: walled tubes with fluid, stool and gas that rises to the front."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.testing.canvas import Canvas, Region
from medseg.testing.implicit import Field, smooth_step, tube
from medseg.testing.patient import Patient, between
from medseg.testing.torso import OTHER, below_diaphragm, cavity

__all__ = ["paint_colon", "paint_small_bowel", "paint_stomach"]

Path = NDArray[np.float64]


class Hollow(NamedTuple):
    """A hollow organ: its outside, where gas is, the HU of what else it holds, and how thick its wall is."""

    outside: Field
    gas: Field
    content: float | Field
    wall_mm: float


def _paint_hollow(canvas: Canvas, region: Region, organ: Hollow, patient: Patient) -> None:
    """Paint gas, content and wall, in this order, as far as they lie in the abdomen."""
    p, hu = region.points, patient.hu
    outside = np.maximum(organ.outside, np.maximum(cavity(p, -2.0), below_diaphragm(p) + 3.0))
    lumen = outside + organ.wall_mm
    canvas.paint(region, np.maximum(lumen, organ.gas), hu["gas"], OTHER)
    canvas.paint(region, lumen, organ.content, OTHER)
    canvas.paint(region, outside, hu["bowel wall"], OTHER)


def paint_stomach(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Stomach from under the left dome across to the duodenum, which bends around the pancreas."""
    full = between(rng, 0.85, 1.15)
    path = np.array([
        [-52, -8, 84, 27 * full], [-62, 8, 64, 31 * full], [-56, 34, 34, 25 * full], [-34, 52, 8, 20 * full],
        [-4, 56, 0, 16], [22, 46, 6, 12],
    ])  # fmt: skip
    region = canvas.region((-125, -60, -45), (60, 95, 130))
    hu = patient.hu
    level = between(rng, 22, 42) - region.points.y  # fluid lies behind, gas in front: the patient is supine
    _paint_hollow(canvas, region, Hollow(tube(region.points, path), level, hu["chyme"], 4.0), patient)
    duodenum = np.array(
        [
            [22, 46, 6, 11],
            [40, 34, 4, 11],
            [46, 14, -16, 11],
            [40, 2, -38, 10.5],
            [4, 4, -44, 9],
            [-24, 14, -30, 10],
        ]
    )
    bubble = 50.0 - region.points.y
    _paint_hollow(canvas, region, Hollow(tube(region.points, duodenum), bubble, hu["chyme"], 2.6), patient)


def paint_colon(canvas: Canvas, patient: Patient, rng: np.random.Generator, grain: Field) -> None:
    """Ascending, transverse and descending colon with haustra, stool and gas."""
    wide = between(rng, 17, 22)
    sag = between(rng, 0, 25)
    ascending = np.array([[98, -18, -190, 22], [102, -14, -110, 22], [98, -6, -62, 21], [88, 14, -48, 20]])
    across = np.array([
        [88, 14, -48, 19], [66, 50, -52 - sag, 18], [24, 62, -62 - sag, 17], [-24, 64, -54 - sag, 17],
        [-66, 50, -26, 17], [-100, 6, 14, 17], [-106, -22, 6, 15],
    ])  # fmt: skip
    down = np.array([[-106, -22, 6, 15], [-108, -30, -40, 13], [-106, -24, -110, 13], [-100, -16, -190, 14]])
    parts = (
        (ascending, 1.0, (40, -70, -250), (150, 60, -5)),
        (across, 1.0, (-150, -60, -130), (130, 95, 60)),
        (down, 0.9, (-150, -75, -250), (-60, 30, 40)),
    )
    hu = patient.hu
    for path, share, low, high in parts:
        region = canvas.region(low, high)
        p = region.points
        scaled = path * np.array([1.0, 1.0, 1.0, share * wide / 19.0])
        haustra = 2.0 * np.abs(grain[region.window])
        stool = hu["stool"] + 45.0 * np.clip(grain[region.window], -2.0, 2.0)
        middle = float(path[:, 1].mean()) + between(rng, -4, 14)
        gas = middle + 6.0 * grain[region.window] - p.y
        shape = tube(p, scaled)
        shape = shape + haustra * smooth_step(-shape, -8.0, 0.0)
        _paint_hollow(canvas, region, Hollow(shape, gas, stool, 2.4), patient)


def paint_small_bowel(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Loops that wind through the middle and lower abdomen, some with a bubble of gas."""
    hu = patient.hu
    for side, top in ((-1.0, -4.0), (-1.0, -40.0), (1.0, -58.0), (0.0, -70.0), (1.0, -105.0), (-1.0, -100.0)):
        path = _loop(rng, side * 42, top)
        low = path[:, :3].min(axis=0) - 26
        high = path[:, :3].max(axis=0) + 26
        region = canvas.region((*low.tolist(),), (*high.tolist(),))
        gas = between(rng, 48, 80) - region.points.y
        chyme = hu["chyme"] + between(rng, -8, 20)
        _paint_hollow(canvas, region, Hollow(tube(region.points, path), gas, chyme, 2.4), patient)


def _loop(rng: np.random.Generator, x: float, z: float) -> Path:
    """A winding path of even steps around (x, z) that turns back at the borders of its field."""
    steps, radius = 26, between(rng, 9.5, 12)
    points = [np.array([x, between(rng, 15, 50), z])]
    heading = rng.standard_normal(3)
    for _ in range(steps):
        pull = (np.array([x, 34.0, z]) - points[-1]) / np.array([45.0, 34.0, 26.0])
        heading = 0.55 * heading + 0.7 * rng.standard_normal(3) + 0.55 * pull
        heading /= np.sqrt((heading * heading).sum())
        points.append(points[-1] + 14.0 * heading)
    return np.column_stack([np.array(points), np.full(len(points), radius)])
