"""What differs from one phantom to the next: build, contrast phase and Hounsfield units."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

__all__ = ["PHASES", "Patient", "Phase", "between"]

Phase = Literal["native", "arterial", "portal", "delayed"]
PHASES: tuple[Phase, ...] = get_args(Phase)

# Typical mean HU at 120 kVp, by phase in the order of PHASES.
ENHANCING: dict[str, tuple[float, float, float, float]] = {
    "liver": (58, 70, 106, 90),
    "tumour": (40, 52, 60, 62),
    "spleen": (48, 118, 120, 96),
    "cortex": (33, 180, 178, 150),
    "medulla": (31, 85, 158, 156),
    "aorta": (42, 300, 195, 115),
    "veins": (40, 90, 165, 112),
    "portal vein": (40, 110, 176, 114),
    "heart": (42, 230, 160, 112),
    "muscle": (52, 56, 60, 58),
    "pancreas": (40, 104, 94, 74),
    "bowel wall": (40, 88, 96, 76),
}
FIXED: dict[str, float] = {
    "skin": 10,
    "subcutaneous fat": -104,
    "visceral fat": -97,
    "lung": -850,
    "bile": 9,
    "chyme": 22,
    "stool": 30,
    "gas": -985,
    "disc": 82,
    "canal": 22,
    "marrow": 180,
    "compacta": 520,
    "cartilage": 105,
}


@dataclass(frozen=True)
class Patient:
    """One drawn build: `size` scales the reference body along x, y, z; thicknesses are in reference mm."""

    size: tuple[float, float, float]
    fat_front: float
    fat_side: float
    fat_back: float
    wall: float
    phase: Phase
    hu: dict[str, float]

    @classmethod
    def drawn(cls, rng: np.random.Generator, phase: Phase | None) -> "Patient":
        """A patient by chance; in the portal venous phase more often than in any other."""
        girth = between(rng, 0.94, 1.06)
        chosen = PHASES[int(rng.choice(4, p=(0.15, 0.2, 0.5, 0.15)))]
        index = PHASES.index(phase or chosen)
        hu = {name: by_phase[index] * between(rng, 0.94, 1.06) for name, by_phase in ENHANCING.items()}
        hu |= {name: value * between(rng, 0.97, 1.03) for name, value in FIXED.items()}
        fat = between(rng, 8, 22)
        return cls(
            size=(girth, girth * between(rng, 0.95, 1.05), between(rng, 0.95, 1.05)),
            fat_front=fat * between(rng, 0.7, 1.2),
            fat_side=fat * between(rng, 0.8, 1.1),
            fat_back=fat * between(rng, 0.7, 1.1) + 3,
            wall=between(rng, 10, 14),
            phase=PHASES[index],
            hu=hu,
        )


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number drawn evenly; a plain float, which leaves float32 arrays float32."""
    return float(rng.uniform(low, high))
