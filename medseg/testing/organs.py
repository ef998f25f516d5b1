"""The solid organs and the great vessels of the reference body; axes as in `torso`."""

import numpy as np
from numpy.typing import NDArray

from medseg.testing.canvas import Canvas, Kind
from medseg.testing.implicit import FAR, Field, Points, ellipsoid, minus, smooth_step, smooth_union, tube
from medseg.testing.patient import Patient, between
from medseg.testing.torso import OTHER, VISCERAL, below_diaphragm, cavity

__all__ = ["paint_kidneys", "paint_liver", "paint_pancreas", "paint_spleen", "paint_vessels"]

Triple = tuple[float, float, float]

AORTA = Kind("aorta")
LIVER = Kind("liver")
TUMOUR = Kind("liver tumour")
MARGIN = 6.0  # mm of liver around a tumour
TRIES = 12  # places tried for a tumour before it is made a little smaller

CAVA = np.array(
    [
        [22, -16, -200, 10],
        [22, -15, -30, 10.5],
        [24, -10, 25, 11],
        [22, -4, 70, 11.5],
        [16, 2, 112, 13],
        [8, 12, 150, 14],
    ],
    np.float64,
)
PORTAL = np.array([[4, 18, -6, 5.5], [14, 16, 16, 6.5], [30, 18, 38, 6.5], [44, 20, 46, 5.5]], np.float64)
BRANCHES = [
    np.array([[44, 20, 46, 5], [70, 6, 44, 3.8], [98, -8, 40, 2.0]], np.float64),
    np.array([[44, 20, 46, 5], [66, 36, 58, 3.4], [88, 48, 74, 1.8]], np.float64),
    np.array([[36, 20, 44, 4.4], [16, 40, 66, 3.4], [-10, 48, 76, 1.8]], np.float64),
    np.array([[70, 6, 44, 3.4], [84, -22, 66, 2.6], [98, -34, 82, 1.6]], np.float64),
    np.array([[70, 6, 44, 3.2], [90, 14, 14, 2.4], [98, 20, -8, 1.4]], np.float64),
    np.array([[18, 0, 104, 5.5], [48, -10, 96, 4.2], [84, -18, 78, 2.2], [100, -24, 62, 1.4]], np.float64),
    np.array([[18, 2, 104, 5.5], [42, 22, 94, 4.2], [66, 40, 76, 2.0]], np.float64),
    np.array([[14, 4, 104, 5], [0, 28, 92, 3.8], [-18, 44, 82, 1.8]], np.float64),
]


def paint_vessels(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Aorta with its first branches, inferior vena cava, mesenteric and renal vessels, portal trunk."""
    hu = patient.hu
    bow = between(rng, -4, 4)
    aorta = np.array([
        [-22, -36, 260, 11.5], [-20, -30, 120, 11.5], [-12 + bow / 2, -15, 50, 11],
        [-9 + bow, -11, 0, 10], [-6 + bow, -11, -90, 9],
    ])  # fmt: skip
    legs = [
        np.array([aorta[-1], [side * 20, -12, -118, 6.5], [side * 44, -22, -190, 5.5]])
        for side in (-1.0, 1.0)
    ]
    region = canvas.region((-60, -70, -400), (60, 30, 400))
    trunk = tube(region.points, aorta)
    for leg in legs:
        trunk = smooth_union(trunk, tube(region.points, leg), 2.0)
    canvas.paint(region, trunk, hu["aorta"], AORTA)
    canvas.paint(region, tube(region.points, CAVA), hu["veins"], OTHER)
    superior = np.array([[-9 + bow, -4, 18, 4], [-7, 10, 6, 3.8], [-3, 22, -25, 3.2], [2, 30, -80, 2]])
    vein = PORTAL[:1] + np.array([[0, 0, 0, 0], [4, 8, -24, -0.5], [8, 12, -80, -2.5]])
    splenic = np.array([[10, 16, 10, 5], [-20, 6, 22, 4.4], [-60, -18, 38, 3.6], [-80, -30, 50, 3]])
    wide = canvas.region((-100, -60, -140), (80, 60, 80))
    for path, name in (
        (superior, "aorta"),
        (vein, "portal vein"),
        (PORTAL, "portal vein"),
        (splenic, "portal vein"),
    ):
        canvas.paint(wide, tube(wide.points, path), hu[name], OTHER)
    for side, root in ((-1.0, -4.0), (1.0, 24.0)):
        renal = np.array([[root, -6, 4, 4.2], [side * 30, -14, 2, 4], [side * 50, -30, -4 - 4 * side, 3.6]])
        canvas.paint(wide, tube(wide.points, renal), hu["veins"], OTHER)
    _paint_mesenteric_twigs(canvas, patient, rng)


def _paint_mesenteric_twigs(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Small vessels that fan out from the root of the mesentery: dots and streaks in the fat."""
    region = canvas.region((-100, -40, -140), (100, 85, 30))
    for _ in range(16):
        angle, reach = between(rng, -2.9, 0.2), between(rng, 0.6, 1.0)
        end = np.array(
            [80 * reach * np.cos(angle), between(rng, 10, 70), -30 + 85 * reach * np.sin(angle), 0.9]
        )
        start = np.array([2.0, 24.0, -20.0, 2.2])
        bend = (start + end) / 2 + np.array(
            [between(rng, -8, 8), between(rng, -8, 8), between(rng, -8, 8), 0.3]
        )
        canvas.paint(region, tube(region.points, np.array([start, bend, end])), patient.hu["veins"], OTHER)


def paint_kidneys(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Both kidneys with cortex, medulla and sinus, each in a capsule of fat."""
    hu = patient.hu
    for side, name, height in ((-1.0, "left kidney", 4.0), (1.0, "right kidney", -9.0)):
        z = height + between(rng, -6, 6)
        radii = (between(rng, 26, 30), between(rng, 24, 27), between(rng, 53, 60))
        low, high = sorted((side * 5, side * 130))
        region = canvas.region((low, -95, z - 85), (high, 25, z + 85))
        p = region.points.moved(z=z)
        p = p.moved(x=side * (66.0 - 0.18 * p.z), y=-40.0 - 0.16 * p.z)
        out = p._replace(x=p.x * side)
        turned = Points(
            out.x * 0.85 - out.y * 0.53, out.x * 0.53 + out.y * 0.85, out.z
        )  # hilum looks forward
        whole = ellipsoid(turned, (0, 0, 0), radii)
        notch = ellipsoid(turned, (-radii[0] * 0.85, 0, 0), (radii[0] * 0.95, 11, 21))
        kidney = minus(whole, notch, 5.0)
        cortex = smooth_step(whole, -9.5, -6.5)
        limits = np.maximum(cavity(region.points, -2.0), below_diaphragm(region.points) + 3.0)
        values = hu["medulla"] + (hu["cortex"] - hu["medulla"]) * cortex
        canvas.paint(region, np.maximum(kidney, limits), values, Kind(name))
        pelvis = ellipsoid(turned, (-radii[0] * 0.55, 0, -4), (8, 5, 12))
        canvas.paint(region, pelvis, 12.0 if patient.phase != "delayed" else 240.0, OTHER)
        capsule = np.maximum(smooth_union(whole - 9.0, notch, 6.0), limits)
        canvas.paint(region, capsule, hu["visceral fat"], VISCERAL)


def _liver(p: Points, rng_shape: NDArray[np.float64]) -> Field:
    """Right and left lobe under the diaphragm, hollowed from below where kidney, bowel and stomach lie."""
    a, b, c, d = (float(v) for v in rng_shape)
    right = ellipsoid(p, (78, 2, 42 + 4 * a), (66 + 3 * b, 88, 92 + 5 * c))
    left = ellipsoid(p.moved(z=0.25 * p.x), (0 - 8 * d, 40, 76), (78 + 8 * d, 46, 36))
    lobes = smooth_union(right, left, 22.0)
    under = ellipsoid(p, (-2, -18, -18), (62, 66, 62))
    flank = ellipsoid(p, (44, 62, -62), (62, 60, 66))
    hollow = minus(minus(lobes, under, 14.0), flank, 14.0)
    limits = np.maximum(cavity(p, -3.0), below_diaphragm(p) + 3.0)
    liver: Field = np.maximum(hollow, limits)
    return liver


def paint_liver(
    canvas: Canvas, patient: Patient, rng: np.random.Generator, *, tumours: int, grain: Field
) -> None:
    """Liver with its vessels, tumours that lie fully inside it, and the gallbladder."""
    form = rng.uniform(-1, 1, 4)
    region = canvas.region((-105, -95, -90), (150, 100, 140))
    p, hu = region.points, patient.hu
    bladder = _gallbladder(rng)
    canvas.paint(region, tube(p, bladder), hu["bile"], OTHER)
    canvas.paint(region, tube(p, bladder) - 1.8, hu["bowel wall"], OTHER)
    texture = 1.0 + 0.025 * grain[region.window]
    for centre, radii in _tumour_places(rng, tumours, form, bladder):
        rough = 0.08 * min(radii) * grain[region.window]
        tumour = ellipsoid(p, centre, radii) + np.clip(rough, -1.5, 2.0)
        core = 14.0 * smooth_step(-tumour, 0.35 * min(radii), 0.8 * min(radii))
        canvas.paint(region, tumour, (hu["tumour"] - core) * texture, TUMOUR)
    liver = _liver(p, form)
    for number, path in enumerate(BRANCHES):
        vessel = np.maximum(tube(p, path), liver + 2.0)
        canvas.paint(region, vessel, hu["portal vein" if number < 5 else "veins"], LIVER)
    canvas.paint(region, liver, hu["liver"] * texture, LIVER)


def _gallbladder(rng: np.random.Generator) -> NDArray[np.float64]:
    """A pear from the hilum forward and down, in the bed under the liver."""
    wide = between(rng, 10, 15)
    return np.array(
        [[42, 22, 24, 3.5], [50, 36, 8, wide * 0.75], [58, 54, -12, wide], [62, 62, -22, wide * 0.85]]
    )


def _tumour_places(
    rng: np.random.Generator, count: int, form: NDArray[np.float64], bladder: NDArray[np.float64]
) -> list[tuple[Triple, Triple]]:
    """Centres and radii of ellipsoids that lie in the liver, MARGIN away from its surface and each other."""
    directions = rng.standard_normal((128, 3))
    directions /= np.sqrt((directions * directions).sum(axis=1, keepdims=True))
    places: list[tuple[Triple, Triple]] = []
    for number in range(count):
        size, tries = between(rng, 5, 22) if number else between(rng, 12, 24), 0
        while len(places) <= number:
            tries += 1
            size = max(size * 0.97, 4.0) if tries % TRIES == 0 else size
            x, y, z = between(rng, -40, 125), between(rng, -70, 75), between(rng, -40, 112)
            radii = (
                size * between(rng, 0.8, 1.1),
                size * between(rng, 0.8, 1.1),
                size * between(rng, 0.8, 1.1),
            )
            shell = np.array([x, y, z]) + directions * (np.array(radii) + MARGIN)
            clear = _only_liver(Points(*np.vstack([shell, [x, y, z]]).T.astype(np.float32)), form, bladder)
            apart = (
                np.sqrt((x - c[0]) ** 2 + (y - c[1]) ** 2 + (z - c[2]) ** 2) > max(radii) + max(r) + MARGIN
                for c, r in places
            )
            if clear and all(apart):
                places.append(((x, y, z), radii))
    return places


def _only_liver(p: Points, form: NDArray[np.float64], bladder: NDArray[np.float64]) -> bool:
    """Whether all points lie in the liver and clear of whatever is painted before it."""
    kidney = ellipsoid(p.moved(x=-0.18 * (p.z + 9.0)), (66, -40, -9), (44, 42, 78))
    hilum = ellipsoid(p, (44, -26, -9), (34, 22, 32))
    back = np.maximum(np.abs(p.x) - 32.0, p.y + 10.0)  # spine, crura, psoas
    clear = (_liver(p, form) < 0) & (kidney > 0) & (hilum > 0) & (back > 0)
    for path in (bladder, CAVA, PORTAL):
        clear &= tube(p, path) > 1.0
    return bool(clear.all())


def paint_spleen(canvas: Canvas, patient: Patient, rng: np.random.Generator, grain: Field) -> None:
    """Spleen under the left diaphragm: convex to the wall, hollow towards stomach and kidney."""
    region = canvas.region((-150, -100, -40), (-30, 50, 130))
    p = region.points
    z, long = 55.0 + between(rng, -5, 5), between(rng, 59, 70)
    leaning = p.moved(x=0.2 * (p.z - z), y=0.35 * (p.z - z) * -1.0)
    whole = ellipsoid(leaning, (-94, -34, z), (43, 58, long))
    hollow = ellipsoid(leaning, (-54, -4, z), (36, 44, long * 1.1))
    limits = np.maximum(cavity(p, -3.0), below_diaphragm(p) + 3.0)
    spleen = np.maximum(minus(whole, hollow, 8.0), limits)
    patchy = 0.12 if patient.phase == "arterial" else 0.02
    canvas.paint(region, spleen, patient.hu["spleen"] * (1.0 + patchy * grain[region.window]), Kind("spleen"))


def paint_pancreas(canvas: Canvas, patient: Patient, grain: Field) -> None:
    """Pancreas from the duodenal loop over the mesenteric vessels to the spleen's hilum."""
    path = np.array([
        [34, 14, -14, 11], [28, 18, 8, 11.5], [8, 27, 20, 8.5], [-14, 24, 25, 8],
        [-44, 6, 32, 9], [-70, -14, 44, 8],
    ])  # fmt: skip
    region = canvas.region((-95, -40, -45), (60, 55, 75))
    lobules = np.clip(1.6 * grain[region.window], -2.5, 2.5)
    shape = tube(region.points, path) + np.where(tube(region.points, path) < FAR, lobules, np.float32(0.0))
    canvas.paint(region, shape, patient.hu["pancreas"], OTHER)
