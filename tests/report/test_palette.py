import numpy as np
import pytest

from medseg.report.palette import PALETTE, colour_of
from medseg.segmentation import Label

# sRGB to CIE L*a*b* (D65): another space than the one the palette was chosen in.
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
# Viénot, Brettel and Mollon 1999, for dichromats without M cones, on linear RGB.
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    f = np.cbrt(TO_XYZ @ rgb / WHITE)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_all_colours_differ() -> None:
    colours = [lab(linear(colour)) for colour in PALETTE]
    distances = [np.linalg.norm(a - b) for n, a in enumerate(colours) for b in colours[:n]]
    assert min(distances) > 5  # 2.3 is just noticeable


def test_the_first_eight_differ_without_green_cones_too() -> None:
    colours = [lab(np.clip(DEUTERANOPIA @ linear(colour), 0, 1)) for colour in PALETTE[:8]]
    distances = [np.linalg.norm(a - b) for n, a in enumerate(colours) for b in colours[:n]]
    assert min(distances) > 8


def test_all_colours_stand_out_from_the_dark_ground() -> None:
    assert min(lab(linear(colour))[0] for colour in PALETTE) > 45


@pytest.mark.parametrize(
    ("label", "colour"),
    [
        (Label(1, "liver", colour="#DD8265"), "#dd8265"),
        (Label(1, "liver"), PALETTE[0]),
        (Label(len(PALETTE) + 2, "liver"), PALETTE[1]),
        (Label(3, "liver", colour="red; nothing"), PALETTE[2]),
    ],
)
def test_a_label_keeps_its_colour_or_gets_one_by_its_value(label: Label, colour: str) -> None:
    assert colour_of(label) == colour
