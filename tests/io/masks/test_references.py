"""Frames of reference and series that a mask names, against those of the image."""

from collections.abc import Sequence

import numpy as np
import pytest

from medseg.errors import GeometryError, InputError
from medseg.io.masks.references import require_same_image
from medseg.volume import Grid, Source, Volume

GRID = Grid((2, 2, 2), np.eye(4))


def image(**header: str) -> Volume:
    source = Source(native=GRID, format="DICOM", headers=(header, header))
    return Volume(np.zeros((1, 2, 2, 2), np.int16), GRID, ("ct",), source)


OWN = image(FrameOfReferenceUID="1.2.3", SeriesInstanceUID="1.2.4")


def notes(onto: Volume, frames: Sequence[str], series: Sequence[str]) -> list[str]:
    told: list[str] = []
    require_same_image("rt.dcm", frames=frames, series=series, onto=onto, tell=told.append)
    return told


def test_the_same_ones_need_no_word() -> None:
    assert notes(OWN, ["1.2.3"], ["1.2.4"]) == []
    assert notes(OWN, ["1.2.3", ""], ["1.9.9", "1.2.4"]) == []


def test_others_are_refused_by_their_last_characters() -> None:
    with pytest.raises(
        GeometryError, match=r"drawn in frame of reference …345678901234, the image lies in …1\.2\.3"
    ):
        notes(OWN, ["1.2.3", "1.2.345678901234"], ["1.2.4"])
    with pytest.raises(InputError, match=r"made for series …1\.2\.5, the image is series …1\.2\.4"):
        notes(OWN, ["1.2.3"], ["1.2.5"])


@pytest.mark.parametrize(
    ("onto", "frames", "series", "note"),
    [
        (OWN, [""], ["1.2.4"], "it names no frame of reference: placed by coordinates alone"),
        (image(), ["1.2.3"], ["1.2.4"], "the image names no frame of reference: placed by coordinates alone"),
        (OWN, ["1.2.3"], [], "it names no series: placed by frame of reference and coordinates"),
        (
            image(FrameOfReferenceUID="1.2.3"),
            ["1.2.3"],
            ["1.2.4"],
            "the image names no series: placed by frame of reference and coordinates",
        ),
    ],
)
def test_what_cannot_be_checked_is_told(
    onto: Volume, frames: list[str], series: list[str], note: str
) -> None:
    assert notes(onto, frames, series) == [note]


def test_an_image_without_a_source_names_nothing() -> None:
    bare = Volume(np.zeros((1, 2, 2, 2), np.int16), GRID, ("ct",))
    assert notes(bare, ["1.2.3"], ["1.2.4"]) == [
        "the image names no frame of reference: placed by coordinates alone"
    ]
