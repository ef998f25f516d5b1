"""Colours: told apart, and the same wherever a label or an object is shown."""

from pathlib import Path

import numpy as np
import pytest
from dicom_series import write_dicom_series
from seg_results import finished

from medseg.builtin.write.dicom_seg import DicomSeg
from medseg.builtin.write.key_images import KeyImages
from medseg.builtin.write.rtstruct import RTStruct
from medseg.io import read
from medseg.io.colours import PALETTE, colour_of_object, colours_of
from medseg.io.masks import read_segmentation
from medseg.report.label_files import layer_table
from medseg.report.legend import entries_of
from medseg.report.result_table import rows_of
from medseg.segmentation import Label, LabelTable, Object

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
        (Label(1, "liver"), "#b5523b"),
        (Label(9, "Leber", code="SCT:10200004"), "#b5523b"),
        (Label(1, "zone"), PALETTE[0]),
        (Label(1, "zone", code="99X:7"), PALETTE[0]),
        (Label(len(PALETTE) + 2, "zone"), PALETTE[1]),
        (Label(3, "zone", colour="red; nothing"), PALETTE[2]),
    ],
)
def test_a_label_has_its_own_colour_else_the_tables_else_one_by_its_value(label: Label, colour: str) -> None:
    assert colours_of(LabelTable((label,))) == {label.name: colour}


def test_labels_of_one_table_differ_though_the_terms_give_them_one_colour() -> None:
    """Two tumours have one code; only what labels bring themselves is theirs in any case."""
    kidney, liver, own = (
        Label(1, "kidney tumour"),
        Label(2, "liver tumour"),
        Label(3, "rim", colour="#F27F5D"),
    )
    (tumour,) = {colours_of(LabelTable((label,)))[label.name] for label in (kidney, liver)}
    table = LabelTable((kidney, liver, own))
    assert colours_of(table) == {"kidney tumour": tumour, "liver tumour": PALETTE[1], "rim": PALETTE[0]}
    later = LabelTable((kidney, liver, Label(3, "rim", colour=PALETTE[1])))
    assert colours_of(later)["liver tumour"] == PALETTE[2]
    spine = LabelTable(tuple(Label(n, f"vertebra L{n}") for n in range(1, 6)))
    assert len(set(colours_of(spine).values())) == 5
    many = LabelTable(tuple(Label(n, f"zone {n}") for n in range(1, 201)))
    assert set(colours_of(many).values()) == set(PALETTE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("left lung", "right lung"),
        ("anterior hippocampus", "posterior hippocampus"),
        ("left lung nodule", "right lung nodule"),
        ("nodule in the left lung", "nodule in the right lung"),
        ("left nodule", "right nodule"),
    ],
)
def test_sides_and_parts_of_one_structure_differ(one: str, other: str) -> None:
    def of(name: str, code: str | None = None) -> str:
        return colours_of(LabelTable((Label(1, name, code=code),)))[name]

    assert np.linalg.norm(lab(linear(of(one))) - lab(linear(of(other)))) > 5
    assert of(one, "SCT:27925004") != of(other, "SCT:27925004")


def test_a_colour_is_one_and_the_same_in_pictures_and_in_files(tmp_path: Path) -> None:
    volume = read(write_dicom_series(tmp_path / "ct", np.full((12, 10, 6), 1024, np.uint16)))
    array = np.zeros((2, 12, 10, 6), np.uint16)
    for value in (1, 2, 3):
        array[0, 2 * value : 2 * value + 2, 2:8, 1:4] = value
    array[1, 1:3, 1:3, 1:3], array[1, 6:9, 6:9, 2:5] = 7, 300
    labels = (
        Label(1, "rim", colour="#DD8265"),
        Label(2, "left kidney"),
        Label(3, "zone"),
        Label(4, "cell", layer=1),
    )
    things = (Object(7, "cell"), Object(300, "cell"))
    result = finished(volume, array, labels, kinds=("labels", "objects"), objects=things)
    colours = colours_of(result.segmentation.labels)
    meant = {label.name: colours[label.name] for label in labels[:3]} | {
        f"cell {thing.id}": colour_of_object(thing.id) for thing in things
    }
    assert len(set(meant.values())) == 5
    for writer in (DicomSeg(), RTStruct()):
        (path,) = writer(result, tmp_path)
        found = read_segmentation(path, onto=volume)
        assert {label.name: label.colour for label in found.labels} == meant
    tables = [label for layer in (0, 1) for label in layer_table(result.segmentation, layer)]
    assert {label.name: label.colour for label in tables} == meant
    images = KeyImages(labels=("left kidney", "zone", "cell")).images(result.segmentation)
    kinds = {image.name.removesuffix(" 1"): image.colour for image in images}
    assert kinds.items() < meant.items()
    assert len(kinds) == 4
    legend = {entry.name: entry.colour for entry in entries_of(result.segmentation, ())}
    rows = {row.name: row.colour for row in rows_of(result.segmentation, ())}
    for shown in (legend, rows):
        assert {name: shown[name] for name in ("rim", "left kidney", "zone")}.items() < meant.items()
