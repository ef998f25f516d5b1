import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.segmentation import Segmentation
from medseg.volume import Volume

SIZE = (40, 30)  # width, height


@pytest.fixture
def image(tmp_path: Path) -> Volume:
    from PIL import Image

    Image.new("L", SIZE).save(tmp_path / "cells.png")
    return read(tmp_path / "cells.png")


def square(x: float, y: float, side: float) -> list[float]:
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Uncompressed run lengths of `[x, y]`, down the columns, by definition."""
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return [0, *counts] if flat[0] else counts


def packed(counts: list[int]) -> str:
    """The text that COCO's programs make of run lengths."""
    letters = []
    for n, count in enumerate(counts):
        value = count - counts[n - 2] if n > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            letters.append(chr((bits | 32 if more else bits) + 48))
    return "".join(letters)


def write(path: Path, drawn: list[dict[str, Any]], **changes: Any) -> Path:
    told = {
        "images": [
            {"id": 7, "file_name": "train/cells.png", "width": SIZE[0], "height": SIZE[1]},
            {"id": 8, "file_name": "other.png", "width": 5, "height": 5},
        ],
        "categories": [{"id": 1, "name": "nucleus"}, {"id": 4, "name": "cell"}],
        "annotations": [{"id": 100 + n, "image_id": 7, **one} for n, one in enumerate(drawn)],
    }
    path.write_text(json.dumps(told | changes), encoding="utf-8")
    return path


def told(path: Path, image: Volume) -> tuple[Segmentation, list[str]]:
    notes: list[str] = []
    return read_segmentation(path, onto=image, tell=notes.append), notes


def test_polygons_become_objects_with_the_area_they_have(tmp_path: Path, image: Volume) -> None:
    angle = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    circle = np.column_stack([20 + 9 * np.cos(angle), 15 + 9 * np.sin(angle)]).ravel().tolist()
    annotations = [
        {"category_id": 1, "segmentation": [square(2.2, 3.2, 4)], "score": 0.5},
        {"category_id": 1, "segmentation": [circle], "iscrowd": 1},
        {"category_id": 1, "segmentation": [[1, 1, 2, 1, 2, 2]], "image_id": 8},
    ]
    found, notes = told(write(tmp_path / "a.json", annotations), image)
    assert notes == []
    assert found.kinds == ("objects",)
    assert [label.name for label in found.labels] == ["nucleus", "cell"]
    first, second = found.objects
    assert (first.label, first.score, first.attributes) == ("nucleus", 0.5, {"id": 100})
    assert second.attributes == {"id": 101, "crowd": True}
    ids = found.array[0, :, :, 0]
    assert np.argwhere(ids == first.id).min(axis=0).tolist() == [2, 3]  # centres from 2.5, 3.5 on
    assert (ids == first.id).sum() == 16
    assert (ids == second.id).sum() == pytest.approx(np.pi * 81, rel=0.02)


def test_run_lengths_plain_and_packed(tmp_path: Path, image: Volume) -> None:
    rng = np.random.default_rng(5)
    for mask in (rng.random(SIZE) > 0.5, rng.random(SIZE) > 0.99, np.ones(SIZE, bool)):
        for counts in (runs(mask), packed(runs(mask))):
            shape = {"size": [SIZE[1], SIZE[0]], "counts": counts}
            found, _ = told(write(tmp_path / "a.json", [{"category_id": 4, "segmentation": shape}]), image)
            assert np.array_equal(found.mask("cell")[:, :, 0], mask)


def test_categories_may_overlap_and_objects_of_one_share_nothing(tmp_path: Path, image: Volume) -> None:
    annotations = [
        {"category_id": 4, "segmentation": [square(0, 0, 20)]},
        {"category_id": 4, "segmentation": [square(10, 10, 5)]},
        {"category_id": 1, "segmentation": [square(12, 12, 10)]},
    ]
    found, notes = told(write(tmp_path / "a.json", annotations), image)
    assert found.kinds == ("objects", "objects")
    assert found.mask("cell").sum() == 400
    assert found.mask("nucleus").sum() == 100
    counts = {thing.id: int((found.array == thing.id).sum()) for thing in found.objects}
    assert counts == {1: 375, 2: 25, 3: 100}
    assert notes == ["pixels of two objects of one category, given to the smaller: 25 in cell"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"size": [30, 41], "counts": [1230]}, "another size"),
        ({"size": [30, 40], "counts": [1199]}, "cover 1199 of 1200"),
        ({"size": [30, 40], "counts": [-5, 1205]}, "damaged"),
        ({"size": [30, 40], "counts": "a~"}, "damaged"),
        ({"size": [30, 40], "counts": "o"}, "cut off"),
        ({"size": [30, 40]}, "damaged"),
        ([[1, 2, 3, 4]], "fewer than 3 points"),
        ([[1, 2, 3, 4, 5]], "not a list of x, y"),
        ([["a", "b"] * 3], "not a list of x, y"),
        ([[1, 2, 3, 4, 5, float("nan")]], "not a list of x, y"),
        ([square(30, 20, 15)], "5.0 pixels beyond"),
        ("text", "not a list of x, y"),
    ],
)
def test_damaged_shapes_are_refused(tmp_path: Path, image: Volume, shape: Any, said: str) -> None:
    path = write(tmp_path / "a.json", [{"category_id": 1, "segmentation": shape}])
    with pytest.raises(InputError, match=said):
        told(path, image)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": []}, "no picture of this image's file name among 0"),
        ({"images": [{"file_name": "cells.png"}, {"file_name": "b/cells.png"}]}, "2 pictures of"),
        ({"categories": []}, "a category that is not named"),
        ({"categories": [{"id": 1}, {"id": 1}]}, "an id of its own"),
        ({"annotations": None}, "not COCO"),
        ({"annotations": [3]}, "not COCO"),
    ],
)
def test_contradictions_are_refused(
    tmp_path: Path, image: Volume, changes: dict[str, Any], said: str
) -> None:
    path = write(tmp_path / "a.json", [{"category_id": 1, "segmentation": [square(1, 1, 3)]}], **changes)
    with pytest.raises(InputError, match=said):
        told(path, image)


def test_other_sizes_and_volumes_are_refused(tmp_path: Path, image: Volume) -> None:
    path = write(tmp_path / "a.json", [])
    small = image.crop((0, 0, 0), (10, 10, 1))
    with pytest.raises(GeometryError, match="40 x 30 pixels, the image 10 x 10"):
        told(path, small)
    with pytest.raises(GeometryError, match="are for pictures"):
        told(path, image.pad((0, 0, 1), (0, 0, 1)))


def test_damaged_json_is_refused(tmp_path: Path, image: Volume) -> None:
    for text in ("{", "[" * 200_000, '"text"', "\x00\xff"):
        (tmp_path / "a.json").write_text(text, encoding="latin-1")
        with pytest.raises(InputError):
            told(tmp_path / "a.json", image)
