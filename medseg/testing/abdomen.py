"""A randomised abdominal CT phantom with exact truth.

    phantom = abdomen(seed=7)
    phantom.volume  # HU, with partial volume, blur and noise
    phantom.truth.mask("liver"), phantom.tissues.mask("visceral fat")
    phantom.volumes_ml["liver"]  # from fractions of voxels, before blur and noise

The phantom is a body in the world, around the world's origin: one seed sampled on two grids is one patient.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import UsageError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.testing import bowel, organs, torso
from medseg.testing.canvas import Canvas, Placement, fraction_inside, wave_field, waves
from medseg.testing.implicit import Field
from medseg.testing.patient import PHASES, Patient, Phase, between
from medseg.volume import Grid, Volume

__all__ = ["ORGANS", "TISSUES", "Phantom", "abdomen", "scan_grid"]

ORGANS = LabelTable((
    Label(1, "liver", "SCT:10200004", "#b5523b"),
    Label(2, "spleen", "SCT:78961009", "#8c5aa6"),
    Label(3, "left kidney", "SCT:18639004", "#e0a33a", pair="right kidney"),
    Label(4, "right kidney", "SCT:9846003", "#c97f2c", pair="left kidney"),
    Label(5, "aorta", "SCT:15825003", "#d8322f"),
    Label(6, "spine", "SCT:421060004", "#efe0b0"),
    Label(7, "left lung", "SCT:44029006", "#5ab4e5", pair="right lung"),
    Label(8, "right lung", "SCT:3341006", "#2f7fc1", pair="left lung"),
    Label(9, "liver tumour", "SCT:126851005", "#3fae5a"),
))  # fmt: skip

TISSUES = LabelTable((
    Label(1, "left lung", "SCT:44029006", "#5ab4e5", pair="right lung"),
    Label(2, "right lung", "SCT:3341006", "#2f7fc1", pair="left lung"),
    Label(3, "bone", "SCT:272673000", "#f4e3b5"),
    Label(4, "subcutaneous fat", "SCT:67769005", "#f2b632"),
    Label(5, "visceral fat", None, "#e2703a"),
    Label(6, "muscle", "SCT:127954009", "#c2404f"),
    Label(7, "body", "SCT:38266002", "#7fd1ae", layer=1),
))  # fmt: skip

AIR = -1000.0
LOWEST, HIGHEST = -1024.0, 3071.0  # what 12 bits with an intercept of -1024 can hold


@dataclass(frozen=True)
class Phantom:
    """A CT with its truth.

    `truth` has the organs, `tissues` lungs, bone, fat and muscle, with the whole body in layer 1; a voxel has
    the label of what fills most of it. `volumes_ml` sums fractions of voxels inside the grid, so it is exact
    where a label's voxels are not. The liver is without its tumours, the spine with discs and canal, visceral
    fat with the fat around the heart; bone is without discs.
    """

    volume: Volume
    truth: Segmentation
    tissues: Segmentation
    volumes_ml: dict[str, float]
    phase: Phase


def abdomen(
    seed: int = 0,
    *,
    grid: Grid | None = None,
    phase: Phase | None = None,
    tumours: int | None = None,
    noise_hu: float | None = None,
) -> Phantom:
    """An abdominal CT by chance: anatomy, contrast and scan follow from the seed where they are not given.

    `grid` is where it is scanned (see `scan_grid`), `tumours` how many hypodense tumours lie in the liver (0
    to 5), `noise_hu` the noise's standard deviation. The anatomy does not depend on the grid or the noise.
    Bit-equal for one seed and grid. Raises UsageError for values that make no sense.
    """
    if phase is not None and phase not in PHASES:
        raise UsageError(f"no contrast phase {phase!r}; there are {', '.join(PHASES)}")
    if tumours is not None and not 0 <= tumours <= 5:
        raise UsageError(f"a phantom has 0 to 5 tumours, not {tumours}")
    if noise_hu is not None and not 0 <= noise_hu < 500:
        raise UsageError(f"noise of {noise_hu:g} HU: give 0 to 500")
    build, place, scan, paint, noise = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
    )
    patient = Patient.drawn(build, phase)
    drawn_tumours = int(build.integers(0, 6))
    scanned = _random_grid(scan) if grid is None else grid
    scanned.require_mm("a phantom")
    canvas = Canvas(scanned, _placement(place, patient))
    body = _paint(canvas, patient, paint, drawn_tumours if tumours is None else tumours)
    sd = between(noise, 8, 15)
    image = _scanned(canvas, noise, sd if noise_hu is None else noise_hu)
    return _phantom(canvas, scanned, image, body, patient.phase)


def scan_grid(
    *,
    spacing: tuple[float, float, float] = (2.6, 2.6, 5.0),
    extent_mm: tuple[float, float, float] = (374.0, 374.0, 250.0),
    codes: str = "LPS",
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    centre: tuple[float, float, float] = (0.0, -20.0, 15.0),
) -> Grid:
    """A grid around the phantom: spacing and extent along world x, y, z in mm, before it is turned.

    `codes` orders the axes, as in "LPS"; `tilt_deg` then turns the grid about world x, y, z through its
    centre, so that it becomes oblique.
    """
    shape = np.maximum(1, np.rint(np.asarray(extent_mm) / np.asarray(spacing))).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = _rotation(np.radians(tilt_deg)) @ np.diag(spacing)
    affine[:3, 3] = np.asarray(centre) - affine[:3, :3] @ ((shape - 1) / 2)
    straight = np.eye(4)
    straight[:3, :3] = np.diag(spacing)
    upright = Grid((int(shape[0]), int(shape[1]), int(shape[2])), straight)
    ordered = upright.reoriented(codes)  # named while it is straight: a tilt must not change the order
    turn = affine @ np.linalg.inv(straight)
    return Grid(ordered.shape, _clean(turn @ ordered.affine))


def _clean(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine without the dust of floating-point products."""
    return np.round(affine, 9) + 0.0


def _rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn about x, then y, then z, by angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _random_grid(rng: np.random.Generator) -> Grid:
    """Spacing, field of view and axis order as scanners have them, at the resolution of small networks."""
    inplane, thick = between(rng, 2.2, 3.2), between(rng, 3.0, 5.0)
    width = between(rng, 370, 420)
    length = between(rng, 200, 290)
    codes = ("LPS", "RAS", "LPI", "LAS")[int(rng.integers(4))]
    return scan_grid(spacing=(inplane, inplane, thick), extent_mm=(width, width, length), codes=codes)


def _placement(rng: np.random.Generator, patient: Patient) -> Placement:
    """The patient's size, a few mm and degrees off the middle, and gently bent."""
    turn = _rotation(np.radians([between(rng, -2, 2), between(rng, -2, 2), between(rng, -4, 4)]))
    offset = np.array([between(rng, -6, 6), between(rng, -4, 4), between(rng, -8, 8)])
    bend = [waves(rng, 3, 1.7, (110.0, 280.0)) for _ in range(3)]
    return Placement(np.diag(1 / np.asarray(patient.size)) @ turn, offset, (bend[0], bend[1], bend[2]))


def _paint(canvas: Canvas, patient: Patient, rng: np.random.Generator, tumours: int) -> Field:
    """Paint everything front to back; returns the body's fraction of each voxel."""
    grain = wave_field(canvas.grid, waves(rng, 14, 0.62, (14.0, 46.0)))
    chances = rng.spawn(8)  # one each, so that a change to one organ leaves the others as they are
    torso.paint_spine(canvas, patient, grain)
    torso.paint_ribs(canvas, patient)
    organs.paint_vessels(canvas, patient, chances[0])
    torso.paint_deep_muscles(canvas, patient, grain)
    organs.paint_kidneys(canvas, patient, chances[1])
    organs.paint_liver(canvas, patient, chances[2], tumours=tumours, grain=grain)
    organs.paint_spleen(canvas, patient, chances[3], grain)
    organs.paint_pancreas(canvas, patient, grain)
    bowel.paint_stomach(canvas, patient, chances[4])
    bowel.paint_colon(canvas, patient, chances[5], grain)
    bowel.paint_small_bowel(canvas, patient, chances[6])
    torso.paint_chest(canvas, patient, chances[7])
    torso.paint_wall(canvas, patient, grain)
    body = fraction_inside(torso.torso(canvas.points, patient))
    torso.paint_table(canvas, patient, rng)
    canvas.hu += canvas.left * AIR
    return body


def _scanned(canvas: Canvas, rng: np.random.Generator, noise_hu: float) -> NDArray[np.int16]:
    """What a scanner makes of the Hounsfield units: blur, slightly correlated noise, whole numbers."""
    from scipy import ndimage

    spacing = np.asarray(canvas.grid.spacing)
    image = ndimage.gaussian_filter(canvas.hu, (1.0 / spacing).tolist(), mode="nearest")  # sd of 1 mm
    if noise_hu:
        grain = rng.standard_normal(canvas.grid.shape).astype(np.float32)
        grain = ndimage.gaussian_filter(grain, 0.5, mode="wrap")
        image += grain * np.float32(noise_hu / float(grain.std(dtype=np.float64)))
    inner = image[1:-1, 1:-1, 1:-1]
    stored: NDArray[np.int16] = np.clip(np.rint(inner), LOWEST, HIGHEST).astype(np.int16)
    return stored


def _phantom(canvas: Canvas, grid: Grid, image: NDArray[np.int16], body: Field, phase: Phase) -> Phantom:
    """Labels from the parts that fill most of each voxel."""
    part = canvas.part[1:-1, 1:-1, 1:-1]
    inner = body[1:-1, 1:-1, 1:-1]
    organ = _painted(part, [kind.organ for kind in canvas.kinds], ORGANS)
    tissue = _painted(part, [kind.tissue for kind in canvas.kinds], TISSUES)
    whole = np.where(inner >= 0.5, np.uint8(TISSUES["body"].value), np.uint8(0))
    volumes: dict[str, Any] = {
        label.name: canvas.volumes.get(label.name, 0.0) for label in (*ORGANS, *TISSUES)
    }
    volumes["body"] = float(inner.sum(dtype=np.float64)) * grid.voxel_ml
    return Phantom(
        volume=Volume(image[None], grid, ("CT",)),
        truth=Segmentation(organ[None], grid, ORGANS),
        tissues=Segmentation(np.stack([tissue, whole]), grid, TISSUES),
        volumes_ml=volumes,
        phase=phase,
    )


def _painted(part: NDArray[np.uint8], names: list[str | None], table: LabelTable) -> NDArray[np.uint8]:
    """Label values from numbers of parts."""
    values = np.array([0 if name is None else table[name].value for name in names], np.uint8)
    return np.asarray(values[part])
