"""For plugin authors: phantoms with known answers, and a contract test for each kind of component."""

from medseg.testing.abdomen import Phantom, abdomen, scan_grid
from medseg.testing.phantoms import box, cylinder, ellipsoid, labelled, occupancy, sphere

__all__ = [
    "Phantom",
    "abdomen",
    "box",
    "cylinder",
    "ellipsoid",
    "labelled",
    "occupancy",
    "scan_grid",
    "sphere",
]
