"""The segmenter `tissue-rules`: body, lungs, bone, fat and muscle of a CT by published Hounsfield rules."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.prediction import Plan, Prediction, Resources, Wanted
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.steps.segmenter import Predictor, Segmenter
from medseg.volume import Grid, Volume
from medseg_ct.blocks import Blocks
from medseg_ct.body import find_body
from medseg_ct.bone import find_bone
from medseg_ct.compartments import BORDER, CAVITY, SUBCUTANEOUS, WALL, Anatomy, find_compartments
from medseg_ct.hounsfield import check_hounsfield
from medseg_ct.lungs import LEFT, RIGHT, find_lungs
from medseg_ct.morphology import Mask, Spacing, dilated, eroded
from medseg_ct.spine import find_spine

__all__ = ["TissueRules"]

LABELS = LabelTable(
    (
        Label(1, "left lung", "SCT:44029006", "#5ab4e5", pair="right lung"),
        Label(2, "right lung", "SCT:3341006", "#2f7fc1", pair="left lung"),
        Label(3, "bone", "SCT:272673000", "#f4e3b5"),
        Label(4, "subcutaneous fat", "SCT:67769005", "#f2b632"),
        Label(5, "visceral fat", None, "#e2703a"),
        Label(6, "muscle", "SCT:127954009", "#c2404f"),
        Label(7, "body", "SCT:38266002", "#7fd1ae", layer=1),
    )
)
SURE, RIM = 1, 2
SMOOTH_MM = (
    0.8  # of the slab in which fat and muscle are told apart: noise of thin slices exceeds their distance
)
BLOCK_BYTES, SLAB_BYTES = 80, 30  # measured, per block and per voxel of a slab
SLAB = 16  # slices held at once while voxels are told apart


class TissueRules(Segmenter):
    """Body, lungs, bone, subcutaneous and visceral fat and skeletal muscle of a torso CT, by rules alone.

    Shapes are decided on means of small blocks (about 2 mm) and voxels told apart by their own value. Made
    for the trunk; see the model card for what goes wrong elsewhere.
    """

    surface_hu: float = -400.0
    """HU above which a voxel is body: half-way between air (-1000) and skin is -500; clothes reach -400."""

    lung_highest_hu: float = -500.0
    """HU under which a voxel is aerated lung; -500 to -400 is usual (Hu et al., IEEE TMI 2001)."""

    lung_border_hu: float = -400.0
    """HU under which a voxel at the lung's border is lung: half-way from lung (-850) to chest wall (50)."""

    bone_lowest_hu: float = 150.0
    """HU above which a voxel may be bone (150 to 200 is usual; hysteresis with `bone_cortical_hu`)."""

    bone_cortical_hu: float = 300.0
    """HU that a piece of bone reaches somewhere: cortical bone starts at about 300."""

    fat_lowest_hu: float = -190.0
    """Lower HU bound of adipose tissue (Mitsiopoulos, J Appl Physiol 1998; Aubrey, Acta Physiol 2014)."""

    fat_highest_hu: float = -30.0
    """Upper HU bound of adipose tissue (Mitsiopoulos 1998; Aubrey 2014)."""

    muscle_lowest_hu: float = -29.0
    """Lower HU bound of skeletal muscle (Mitsiopoulos 1998; Aubrey 2014)."""

    muscle_highest_hu: float = 150.0
    """Upper HU bound of skeletal muscle (Mitsiopoulos 1998; Aubrey 2014)."""

    def labels(self) -> LabelTable:
        """Six exclusive tissues in layer 0 and the whole body in layer 1."""
        return LABELS

    @contextmanager
    def open(self, resources: Resources) -> Iterator[Predictor]:
        """Nothing to load."""
        yield TissuePredictor(self, resources)


class TissuePredictor(Predictor):
    """Applies the rules to one CT after another."""

    def __init__(self, rules: TissueRules, resources: Resources) -> None:
        self.rules = rules
        self.resources = resources

    def plan(self, grid: Grid, *, onto: Grid, wanted: Wanted) -> Plan:
        """Memory beyond the volume itself: its copy in RAS order, labels on both grids, blocks and a slab."""
        voxels = int(np.prod(grid.shape, dtype=np.int64))
        placed = int(np.prod(onto.shape, dtype=np.int64))
        upright = grid.reoriented("RAS")
        blocks = int(np.prod(Blocks.of(upright.shape, upright.spacing).count, dtype=np.int64))
        slab = min(SLAB, upright.shape[2]) * upright.shape[0] * upright.shape[1]
        layers = LABELS.layers
        peak = voxels * (4 + layers) + placed * layers + blocks * BLOCK_BYTES + slab * SLAB_BYTES
        return Plan(
            device="cpu", peak_bytes=peak, strategy=f"rules on {blocks} blocks, {SLAB} slices at once"
        )

    def __call__(self, volume: Volume, *, onto: Grid, wanted: Wanted) -> Prediction:
        """Segment a CT of one channel in HU; raises InputError for what does not look like one."""
        volume.grid.require_mm("tissue-rules")
        if len(volume.channels) != 1:
            raise InputError(
                f"tissue-rules reads one CT; this volume has channels {', '.join(volume.channels)}"
            )
        upright = volume.reorient("RAS")
        segmentation = self._segment(upright)
        return Prediction(
            segmentation=segmentation.onto(onto), used={"device": "cpu", "method": "tissue-rules"}
        )

    def _segment(self, volume: Volume) -> Segmentation:
        image = volume.array[0]
        blocks = Blocks.of(volume.grid.shape, volume.grid.spacing)
        hu = blocks.means(image)
        check_hounsfield(hu)
        shapes = self._shapes(hu, blocks.spacing)
        array = np.zeros((LABELS.layers, *blocks.shape), np.uint8)
        for start in range(0, blocks.shape[2], SLAB):
            stop = min(start + SLAB, blocks.shape[2])
            slab = {name: blocks.spread(mask, start, stop) for name, mask in shapes.items()}
            array[:, :, :, start:stop] = self._paint(
                image[:, :, start:stop], slab, spacing=volume.grid.spacing
            )
            self.resources.progress("tissue-rules", stop, blocks.shape[2])
        return Segmentation(array, volume.grid, LABELS)

    def _shapes(self, hu: NDArray[np.float32], spacing: Spacing) -> dict[str, NDArray[np.uint8]]:
        """Decisions on blocks: what surely belongs to each structure, and its rim where voxels decide."""
        rules = self.rules
        body, table = find_body(hu, spacing, surface_hu=rules.surface_hu)
        bone = find_bone(
            hu, body, spacing, lowest_hu=rules.bone_lowest_hu, cortical_hu=rules.bone_cortical_hu
        )
        spine = find_spine(body, bone, spacing)
        middle = spine.middle if spine is not None else _middle(body)
        lungs = find_lungs(hu, body, spacing, highest_hu=rules.lung_highest_hu, middle=middle)
        fat, muscle = (
            (rules.fat_lowest_hu, rules.fat_highest_hu),
            (rules.muscle_lowest_hu, rules.muscle_highest_hu),
        )
        anatomy = Anatomy(hu, body, lungs > 0, bone, spine, spacing, fat, muscle)
        return {
            "body": np.where(table, 0, _sure_and_rim(body, spacing)).astype(np.uint8),
            "bone": np.where(bone, SURE, _sure_and_rim(bone, spacing)).astype(np.uint8),
            "left lung": _sure_and_rim(lungs == LEFT, spacing),
            "right lung": _sure_and_rim(lungs == RIGHT, spacing),
            "parts": find_compartments(anatomy),
        }

    def _paint(
        self, image: NDArray[Any], shapes: dict[str, NDArray[np.uint8]], *, spacing: Spacing
    ) -> NDArray[np.uint8]:
        """Both layers of a slab: fat and muscle by compartment, bone and lungs over them; then the body."""
        rules, parts = self.rules, shapes["parts"]
        soft = _denoised(image, spacing)
        fat = (soft >= rules.fat_lowest_hu) & (soft <= rules.fat_highest_hu)
        muscle = (soft >= rules.muscle_lowest_hu) & (soft <= rules.muscle_highest_hu)
        air = image < rules.lung_border_hu
        layers = np.zeros((LABELS.layers, *image.shape), np.uint8)
        masks = {
            "muscle": muscle & ((parts == WALL) | (parts == BORDER)),
            "visceral fat": fat & (parts == CAVITY),
            "subcutaneous fat": fat & ((parts == SUBCUTANEOUS) | (parts == BORDER)),
            "bone": _decided(shapes["bone"], image > rules.bone_lowest_hu),
            "left lung": _decided(shapes["left lung"], air),
            "right lung": _decided(shapes["right lung"], air),
            "body": _decided(shapes["body"], image > rules.surface_hu),
        }
        for name, mask in masks.items():
            label = LABELS[name]
            layers[label.layer][mask] = label.value
        return layers


def _denoised(image: NDArray[Any], spacing: Spacing) -> NDArray[np.float32]:
    """The slab with noise smoothed in the axial plane (`SMOOTH_MM`); coarse voxels stay as they are."""
    from scipy import ndimage

    values = np.clip(image, -1024, 1024, dtype=np.float32)
    sigma = [SMOOTH_MM / s if s < 2 * SMOOTH_MM else 0.0 for s in spacing[:2]]
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(values, [*sigma, 0.0], truncate=3.0)
    return np.rint(smooth)  # CT numbers are whole: nothing may fall between -30 and -29


def _middle(body: Mask) -> float:
    columns = np.flatnonzero(body.any(axis=(1, 2)))
    return float(columns.min() + columns.max()) / 2 if len(columns) else 0.0


def _sure_and_rim(mask: Mask, spacing: Spacing) -> NDArray[np.uint8]:
    """SURE inside the mask, RIM within a block of its face on either side."""
    block = 1.01 * max(spacing)
    result = np.zeros(mask.shape, np.uint8)
    result[dilated(mask, block, spacing)] = RIM
    result[eroded(mask, block, spacing)] = SURE
    return result


def _decided(shape: NDArray[np.uint8], voxels: NDArray[np.bool_]) -> Mask:
    """The sure part, and in the rim the voxels that pass by their own value."""
    return np.asarray((shape == SURE) | ((shape == RIM) & voxels))
