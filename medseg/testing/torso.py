"""The trunk around the organs: skin, fat, muscles, spine, ribs, diaphragm, lungs, heart, table.

Reference body: x right, y front, z head, in mm; the first lumbar vertebra lies at z = 0, the middle of the
trunk at x = y = 0. Painted front to back: bones before muscles, muscles before the fat around them.
"""

import numpy as np

from medseg.testing.canvas import Canvas, Kind, Region, fraction_inside
from medseg.testing.implicit import (
    Field,
    Points,
    ellipsoid,
    smooth_step,
    smooth_union,
    superellipse,
    tube,
)
from medseg.testing.patient import Patient, between

__all__ = [
    "BONE",
    "MUSCLE",
    "OTHER",
    "VISCERAL",
    "below_diaphragm",
    "cavity",
    "paint_chest",
    "paint_deep_muscles",
    "paint_ribs",
    "paint_spine",
    "paint_table",
    "paint_wall",
    "spine_y",
    "torso",
]

BONE = Kind(None, "bone")
MUSCLE = Kind(None, "muscle")
OTHER = Kind()
SPINE = Kind("spine", "bone")
VISCERAL = Kind(None, "visceral fat")
LEFT_LUNG = Kind("left lung", "left lung")
RIGHT_LUNG = Kind("right lung", "right lung")

PITCH = 34.0  # mm from one vertebra to the next
RIB_PITCH = 27.0
RIB_FALL = 78.0  # mm that a rib comes down from back to front


def cavity(p: Points, grow: float = 0.0) -> Field:
    """Distance from the inside of the abdominal and chest wall, widened by `grow` mm."""
    half_x = 137.0 * _waist(p.z) + grow
    return superellipse(p.x, p.y, half_x, (82.0 + grow, 92.0 + grow))


def torso(p: Points, patient: Patient, deep: float = 0.0) -> Field:
    """Distance from the skin's surface, or from `deep` mm under it."""
    half_x = 137.0 * _waist(p.z) + (patient.wall + patient.fat_side - deep)
    front = 92.0 + patient.wall * 0.75 + patient.fat_front - deep
    back = 82.0 + patient.wall + patient.fat_back - deep
    groove = smooth_step(-np.abs(p.x), -26.0, 0.0) * smooth_step(-p.y, 0.0, back)
    return superellipse(p.x, p.y * (1.0 + 0.05 * groove), half_x, (back, front))  # 5 mm over the spine


def _waist(z: Field) -> Field:
    """How wide the trunk is at each height, as a share."""
    chest: Field = 0.93 + 0.07 * smooth_step(z, -30.0, 90.0) + 0.05 * smooth_step(-z, 60.0, 150.0)
    return chest


def dome(p: Points) -> Field:
    """Height of the diaphragm over each place: two domes, the right one higher, falling towards the wall."""
    edge = superellipse(p.x, p.y - 14.0, 135.0, 87.0) / 34.8 + 1.0
    edge = np.clip(edge, 0.0, 1.06)  # behind and beside, the recess ends at the first lumbar vertebra
    middle = np.clip(1.0 - (p.x + 8.0) * (p.x + 8.0) / 3600.0, 0.0, 1.0)
    left = smooth_step(-p.x, 0.0, 80.0)
    height: Field = 122.0 - 11.0 * left - 13.0 * middle * middle - 104.0 * edge * edge * np.sqrt(edge)
    return height


def below_diaphragm(p: Points) -> Field:
    """Distance above the diaphragm's underside: negative in the abdomen."""
    return (p.z - dome(p)) * 0.6  # its slope makes the height overstate the distance


def spine_y(z: Field) -> Field:
    """How far forward the middle of the vertebral bodies lies: a slight lordosis."""
    return -40.0 - 0.00035 * (z + 25.0) * (z + 25.0)


def _from_vertebra(z: Field) -> Field:
    """Height above the middle of the nearest vertebra, in mm."""
    return z - PITCH * np.round(z / PITCH)


def paint_spine(canvas: Canvas, patient: Patient, grain: Field) -> None:
    """Vertebrae with shell, marrow and processes, discs, and the canal."""
    region = canvas.region((-52, -115, -400), (52, -10, 400))
    p = region.points.moved(y=spine_y(region.points.z))
    hu, texture = patient.hu, grain[region.window]
    level = _from_vertebra(p.z)
    waist = np.minimum(0.9 + 0.1 * (level * level) / 144.0, 1.0)
    body = np.maximum(superellipse(p.x, p.y, 23.5 * waist, 16.5), np.abs(level) - 12.5)
    canal = ellipsoid(p.moved(y=-26.0), (0, 0, 0), (10, 8.5, 1e4))
    canvas.paint(region, canal, hu["canal"], Kind("spine"))
    arch = np.maximum(
        ellipsoid(p.moved(y=-26.0), (0, 0, 0), (16, 14, 1e4)), np.abs(_from_vertebra(p.z - 1.0)) - 9.0
    )
    behind = p.y + 46.0
    spinous = np.maximum(
        np.maximum(np.abs(p.x) - 3.4, np.abs(behind) - 13.0),
        np.abs(_from_vertebra(p.z + 5.0 - 0.3 * behind)) - 8.0,
    )
    across = np.maximum(
        np.maximum(np.abs(p.x) - 40.0, np.abs(p.y + 25.0 + 0.15 * np.abs(p.x)) - 4.0), np.abs(level) - 4.5
    )
    bone = smooth_union(smooth_union(body, arch, 4.0), smooth_union(spinous, across, 3.0), 3.0)
    inside = smooth_step(-bone, 1.0, 3.4)
    values = hu["compacta"] + (hu["marrow"] * (1.0 + 0.08 * texture) - hu["compacta"]) * inside
    bone = np.maximum(bone, torso(region.points, patient, 5.0))  # no process reaches the skin
    canvas.paint(region, bone, values, SPINE)
    disc = np.maximum(superellipse(p.x, p.y, 24.5, 17.5), np.abs(level) - 18.0)
    canvas.paint(region, disc, hu["disc"], Kind("spine"))


def paint_ribs(canvas: Canvas, patient: Patient) -> None:
    """Ribs in the wall, falling forward, the lowest ones short, with cartilage in front."""
    region = canvas.everywhere()
    p, hu = region.points, patient.hu
    ahead = 0.5 + 0.5 * (p.y / 88.0) / np.sqrt((p.x / 143.0) ** 2 + (p.y / 88.0) ** 2 + 1e-6)
    height = p.z - 44.0 + RIB_FALL * ahead
    number = np.maximum(np.round(height / RIB_PITCH), 0.0)  # 0 is the twelfth
    longest = np.minimum(0.34 + 0.17 * number, 0.9)
    depth = cavity(p, 5.0) / 3.6
    rise = (height - RIB_PITCH * number) / 6.4
    round_ends = np.maximum(np.maximum(ahead - longest, 0.028 - ahead), 0.0) * 40.0
    rib = (np.sqrt(depth * depth + rise * rise + round_ends * round_ends) - 1.0) * 3.6
    bony = hu["compacta"] * 0.85 + (hu["marrow"] - hu["compacta"] * 0.85) * smooth_step(-rib, 0.8, 2.6)
    soft = smooth_step(ahead, 0.70, 0.73)
    fraction = fraction_inside(rib)
    canvas.fill(region, fraction * (soft < 0.5), bony, BONE)
    canvas.fill(region, fraction * (soft >= 0.5), hu["cartilage"], OTHER)


def paint_deep_muscles(canvas: Canvas, patient: Patient, grain: Field) -> None:
    """Psoas, erector spinae with multifidus, quadratus lumborum, on both sides, and the crura."""
    for side in (-1.0, 1.0):
        low, high = sorted((side * 6, side * 92))
        region = canvas.region((low, -110, -400), (high, -5, 400))
        p = region.points.moved(y=spine_y(region.points.z) + 40.0)
        down = smooth_step(-p.z, -25.0, 110.0)
        psoas = ellipsoid(
            p.moved(x=side * (25.0 + 12.0 * down), y=-40.0 + 6.0 * down), (0, 0, -130), (19, 21, 150)
        )
        erector = superellipse(p.x - side * 33.0, p.y + 74.0, 25.0, 15.5)
        multifidus = superellipse(p.x - side * 14.0, p.y + 76.0, 11.0, 15.0)
        quadratus = ellipsoid(p.moved(y=0.25 * (side * p.x - 62.0)), (side * 62, -66, -60), (21, 8, 75))
        cleft = 5.0 * np.clip(grain[region.window] - 1.1, 0.0, 1.0)  # streaks of fat between the bundles
        hu = patient.hu["muscle"] * (1.0 + 0.06 * grain[region.window]) - 14.0 * cleft
        for muscle in (
            psoas,
            np.maximum(smooth_union(erector, multifidus, 1.0), cavity(p, patient.wall)),
            quadratus,
        ):
            canvas.paint(region, muscle, hu, MUSCLE)
        path = np.array([[side * 13, -24, 75, 6], [side * 15, -24, 30, 6.5], [side * 17, -27, -30, 3]])
        canvas.paint(region, tube(region.points, path), patient.hu["muscle"], MUSCLE)


def paint_chest(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Heart, vessels of the lungs, lungs and diaphragm; fat fills the mediastinum later."""
    region = canvas.region((-160, -110, -10), (160, 110, 400))
    p, hu = region.points, patient.hu
    over = (dome(p) + 3.5 - p.z) * 0.6
    tilted = p.moved(x=-0.35 * (p.z - 150.0))
    heart = np.maximum(ellipsoid(tilted, (-26, 30, 152), (66, 46, 50)), over)
    canvas.paint(region, heart, hu["heart"], OTHER)
    fat = np.maximum(ellipsoid(tilted, (-26, 32, 152), (73, 52, 55)), over)
    canvas.paint(region, fat, hu["visceral fat"], VISCERAL)
    inner = np.maximum(cavity(p, -2.0), over)
    beside = 17.0 + 8.0 * smooth_step(-p.y, 20.0, 45.0)
    for side, kind in ((-1.0, LEFT_LUNG), (1.0, RIGHT_LUNG)):
        lung = np.maximum(inner, beside - side * p.x)
        for path in _bronchovascular(rng, side):
            vessel = np.maximum(tube(p, path), lung + 3.0)
            canvas.paint(region, vessel, 35.0, kind)
        canvas.paint(region, lung, hu["lung"] - 0.35 * (p.y + 10.0), kind)
    canvas.paint(region, np.maximum(cavity(p), (dome(p) - p.z) * 0.6), hu["visceral fat"], VISCERAL)
    muscle = np.maximum(cavity(p), (dome(p) - 3.0 - p.z) * 0.6)
    canvas.paint(region, muscle, hu["muscle"], MUSCLE)


def _bronchovascular(rng: np.random.Generator, side: float) -> list[np.ndarray]:
    """Tapering vessels from a hilum down into a lung's base."""
    paths = []
    for _ in range(14):
        angle = between(rng, -2.6, 2.2)
        reach = between(rng, 0.7, 1.0)
        end = (
            side * (72 + 50 * reach * float(np.cos(angle))),
            -12 + 66 * reach * float(np.sin(angle)),
            between(rng, 60, 150),
        )
        start = (side * 38, -12, 185)
        bend = [(a + b) / 2 + between(rng, -9, 9) for a, b in zip(start, end, strict=True)]
        thick = between(rng, 2.2, 3.6)
        paths.append(np.array([[*start, thick + 2], [*bend, thick], [*end, 0.8]]))
    return paths


def paint_wall(canvas: Canvas, patient: Patient, grain: Field) -> None:
    """What is left inside the wall as fat, then muscles of the wall, subcutaneous fat and skin."""
    region = canvas.everywhere()
    p, hu = region.points, patient.hu
    canvas.paint(region, cavity(p), hu["visceral fat"] + 4.0 * grain, VISCERAL)
    outer = (82.0 + patient.wall, 92.0 + patient.wall * 0.75)
    wall = superellipse(p.x, p.y, 137.0 * _waist(p.z) + patient.wall, outer)
    _paint_layers(canvas, region, patient, wall, grain)
    canvas.paint(
        region, torso(p, patient, 2.0), hu["subcutaneous fat"] + 3.0 * grain, Kind(None, "subcutaneous fat")
    )
    canvas.paint(region, torso(p, patient), hu["skin"], OTHER)


def _paint_layers(canvas: Canvas, region: Region, patient: Patient, wall: Field, grain: Field) -> None:
    """Three flat muscles at the flanks with a little fat between them, and a recti with a seam in front."""
    p = region.points
    seam = np.zeros_like(wall)
    for depth in (0.36, 0.68):
        off = (cavity(p, patient.wall * depth)) / 1.3
        seam = np.maximum(seam, 1.0 / (1.0 + off * off))
    flank = (
        smooth_step(np.abs(p.x), 62.0, 90.0) * smooth_step(p.y, -60.0, -30.0) * smooth_step(-p.z, -60.0, 0.0)
    )
    midline = smooth_step(-np.abs(p.x), -6.0, -1.5) * smooth_step(p.y, 0.0, 20.0)
    beside = smooth_step(-np.abs(np.abs(p.x) - 68.0), -8.0, -2.0) * smooth_step(p.y, 0.0, 20.0)
    fatty = np.clip(seam * flank * 0.75 + midline * 0.5 + beside * 0.4, 0.0, 1.0)
    inside = fraction_inside(wall)
    hu = patient.hu["muscle"] * (1.0 + 0.06 * grain)
    canvas.fill(region, inside * (1.0 - fatty), hu, MUSCLE)
    canvas.fill(region, inside, patient.hu["visceral fat"], OTHER)


def paint_table(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """A thin curved couch under the back: carbon skin around foam, with air between it and the body."""
    lowest = 82.0 + patient.wall + patient.fat_back + canvas.placement.slack
    gap, radius, half = between(rng, 4, 10), between(rng, 600, 900), between(rng, 195, 215)
    region = canvas.region((-240, -230, -500), (240, -60, 500))
    p = region.points
    top = p.y + (lowest + gap) - p.x * p.x / (2.0 * radius)
    plate = np.maximum(np.abs(top + 12.0) - 12.0, np.abs(p.x) - half)
    foam = np.maximum(np.abs(top + 12.0) - 9.0, np.abs(p.x) - (half - 3.0))
    canvas.paint(region, foam, -880.0, OTHER)
    canvas.paint(region, plate, -200.0, OTHER)
