from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import GeometryError, InputError
from medseg.io.masks import read_segmentation
from medseg.volume import Grid, Volume

GRID = Grid((8, 7, 6), np.diag([-1.0, -1.0, 2.0, 1.0]))
IMAGE = Volume(np.zeros((1, *GRID.shape), np.int16), GRID)
TAGS = (
    "Segmentation.Status:inprogress|TerminologyEntry:Segmentation category and type - 3D Slicer General "
    "Anatomy list~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic codes~^^~^^|"
)


def write(path: Path, layers: NDArray[np.uint8], texts: dict[str, str], origin: str = "(0,0,0)") -> Path:
    """`[layer, i, j, k]` as 3D Slicer writes it: layers fastest, in LPS."""
    sizes = " ".join(str(n) for n in layers.shape)
    fields = [
        "NRRD0004",
        "type: unsigned char",
        "dimension: 4",
        "space: left-posterior-superior",
        f"sizes: {sizes}",
        "space directions: none (1,0,0) (0,1,0) (0,0,2)",
        "kinds: list domain domain domain",
        "encoding: raw",
        f"space origin: {origin}",
        *(f"{key}:={value}" for key, value in texts.items()),
    ]
    path.write_bytes("\n".join([*fields, "", ""]).encode() + layers.tobytes(order="F"))
    return path


def segment(number: int, name: str, *, layer: int, value: int, **more: str) -> dict[str, str]:
    fields = {"ID": f"Segment_{number}", "Name": name, "Layer": str(layer), "LabelValue": str(value), **more}
    return {f"Segment{number}_{key}": text for key, text in fields.items()}


def overlapping() -> NDArray[np.uint8]:
    layers = np.zeros((2, *GRID.shape), np.uint8)
    layers[0, 1:5, 1:5, 1:4] = 1
    layers[0, 6:, 6:, 5:] = 2
    layers[1, 3:7, 3:6, 2:5] = 1
    return layers


def test_layers_names_colours_and_codes(tmp_path: Path) -> None:
    layers = overlapping()
    texts = {
        **segment(0, "Liver", layer=0, value=1, Color="0.866667 0.509804 0.396078", Tags=TAGS),
        **segment(1, "Node", layer=0, value=2),
        **segment(2, "Tumour", layer=1, value=1, Color="1 0 0"),
        "Segmentation_ReferenceImageExtentOffset": "5 5 5",
    }
    notes: list[str] = []
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", layers, texts), onto=IMAGE, tell=notes.append)
    assert np.array_equal(found.mask("Liver"), layers[0] == 1)
    assert np.array_equal(found.mask("Node"), layers[0] == 2)
    assert np.array_equal(found.mask("Tumour"), layers[1] == 1)
    assert [(label.layer, label.colour, label.code) for label in found.labels] == [
        (0, "#dd8265", "SCT:10200004"),
        (0, None, None),
        (1, "#ff0000", None),
    ]
    assert len(notes) == 1
    assert "renumbered from 1 to 1, 2 to 2, 1 to 3" in notes[0]


def test_layers_that_need_not_be_two_become_one(tmp_path: Path) -> None:
    layers = overlapping()
    layers[1][layers[0] > 0] = 0
    texts = {
        **segment(0, "A", layer=0, value=1),
        **segment(1, "B", layer=0, value=2),
        **segment(2, "C", layer=1, value=7),
    }
    layers[1] *= 7
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", layers, texts), onto=IMAGE)
    assert found.array.shape[0] == 1
    assert [label.value for label in found.labels] == [1, 2, 7]


def test_older_files_have_a_layer_for_each_segment(tmp_path: Path) -> None:
    layers = (overlapping() == 1).astype(np.uint8)
    texts = {"Segment0_Name": "A", "Segment1_Name": "B"}
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", layers, texts), onto=IMAGE, tell=lambda _: None)
    assert np.array_equal(found.mask("A"), layers[0] == 1)
    assert np.array_equal(found.mask("B"), layers[1] == 1)


def test_cropped_array_lies_where_its_origin_says(tmp_path: Path) -> None:
    whole = overlapping()[:1]
    whole[0, 6:, 6:, 5:] = 0
    texts = segment(0, "A", layer=0, value=1, Extent="1 4 1 4 1 3")
    texts["Segmentation_ReferenceImageExtentOffset"] = "1 1 1"
    path = write(tmp_path / "a.seg.nrrd", whole[:, 1:6, 1:6, 1:5], texts, origin="(1,1,2)")
    assert np.array_equal(read_segmentation(path, onto=IMAGE).mask("A"), whole[0] == 1)
    elsewhere = write(tmp_path / "b.seg.nrrd", whole[:, 1:6, 1:6, 1:5], texts, origin="(40,1,2)")
    with pytest.raises(GeometryError, match="none of its 48 labelled voxels lies in the image"):
        read_segmentation(elsewhere, onto=IMAGE)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (segment(0, "A", layer=2, value=1), "in layer 2 of 2"),
        (segment(0, "A", layer=0, value=1), "layer 0 holds value 2, which no segment describes"),
        (
            {**segment(0, "A", layer=0, value=1), **segment(1, "B", layer=0, value=1)},
            "share a layer and a value",
        ),
        (segment(0, "A", layer=0, value=1) | {"Segment0_Layer": "first"}, "cannot be read"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, texts: dict[str, str], said: str) -> None:
    path = write(tmp_path / "a.seg.nrrd", overlapping(), texts)
    with pytest.raises(InputError, match=said):
        read_segmentation(path, onto=IMAGE, tell=lambda _: None)


def test_thousands_of_segments_are_read_voxel_for_voxel(tmp_path: Path) -> None:
    """As a writer of objects leaves them: more text than voxels, and numbers of five digits."""
    count = 10_300
    grid = Grid((120, 110, 1), np.diag([-1.0, -1.0, 2.0, 1.0]))
    values = np.zeros(grid.shape, np.uint16)
    values.reshape(-1)[: count + 500] = 1 + np.arange(count + 500) % count  # some have a second voxel
    texts = {
        f"Segment{number}_{key}": text
        for number in range(count)
        for key, text in (("Name", f"nucleus {number + 1}"), ("LabelValue", str(number + 1)), ("Layer", "0"))
    }
    head = [
        "NRRD0004", "type: unsigned short", "dimension: 3", "space: left-posterior-superior",
        "sizes: 120 110 1", "space directions: (1,0,0) (0,1,0) (0,0,2)", "kinds: domain domain domain",
        "endian: little", "encoding: raw", "space origin: (0,0,0)",
    ]  # fmt: skip
    path = tmp_path / "many.seg.nrrd"
    path.write_bytes(
        "\n".join([*head, *(f"{key}:={text}" for key, text in texts.items()), "", ""]).encode()
        + values.tobytes(order="F")
    )
    assert path.stat().st_size > 700_000
    onto = Volume(np.zeros((1, *grid.shape), np.int16), grid)
    found = read_segmentation(path, onto=onto)
    assert (found.array[0] == values).all()
    assert [label.name for label in found.labels][::5000] == ["nucleus 1", "nucleus 5001", "nucleus 10001"]


def owned(owner: str) -> str:
    return TAGS + f"Medseg.ObjectOf:{owner}|"


def test_segments_that_are_objects_of_a_label_are_its_objects(tmp_path: Path) -> None:
    """Behind the labels, in a layer of their own; a code stays with the label."""
    layers = overlapping()
    layers[1] = 0
    layers[0, 1:5, 1:5, 2:4][layers[0, 1:5, 1:5, 2:4] == 1] = 3
    texts = {
        **segment(0, "Node", layer=0, value=2),
        **segment(1, "Tumour 1", layer=0, value=1, Tags=owned("Tumour")),
        **segment(2, "Tumour 3", layer=0, value=3, Tags=owned("Tumour")),
    }
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", layers, texts), onto=IMAGE)
    assert {label.name: (label.layer, label.code) for label in found.labels} == {
        "Node": (0, None),
        "Tumour": (1, "SCT:10200004"),
    }
    assert found.kinds == ("labels", "objects")
    assert [(thing.id, thing.label) for thing in found.objects] == [(1, "Tumour"), (3, "Tumour")]
    assert np.array_equal(found.mask("Node"), layers[0] == 2)
    for thing in found.objects:
        assert np.array_equal(found.array[1] == thing.id, layers[0] == thing.id)


def test_numbered_segments_without_an_owner_are_labels(tmp_path: Path) -> None:
    texts = {**segment(0, "rib 1", layer=0, value=1), **segment(1, "rib 2", layer=0, value=2)}
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", overlapping()[:1], texts), onto=IMAGE)
    assert (found.kinds, [label.name for label in found.labels]) == (("labels",), ["rib 1", "rib 2"])


def test_objects_drawn_over_each_other_are_labels_and_that_is_told(tmp_path: Path) -> None:
    """As someone may leave them who edits the file."""
    texts = {
        **segment(0, "Tumour 1", layer=0, value=1, Tags=owned("Tumour")),
        **segment(1, "Node", layer=0, value=2),
        **segment(2, "Tumour 3", layer=1, value=1, Tags=owned("Tumour")),
    }
    told: list[str] = []
    found = read_segmentation(
        write(tmp_path / "a.seg.nrrd", overlapping(), texts), onto=IMAGE, tell=told.append
    )
    assert told[0] == "objects of 'Tumour' lie over each other or share an id: they are labels"
    assert set(found.kinds) == {"labels"}
    assert [label.name for label in found.labels] == ["Tumour 1", "Node", "Tumour 3"]
    assert np.array_equal(found.mask("Tumour 3"), overlapping()[1] == 1)


def test_a_segment_drawn_since_and_called_as_the_label_is_one_more_object(tmp_path: Path) -> None:
    """In a layer of its own, where its value is an object's; one called otherwise is a label."""
    layers = overlapping()
    layers[1][layers[0] > 0] = 0
    texts = {
        **segment(0, "Tumour 1", layer=0, value=1, Tags=owned("Tumour")),
        **segment(1, "Node", layer=0, value=2),
        **segment(2, "Tumour", layer=1, value=1),
    }
    told: list[str] = []
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", layers, texts), onto=IMAGE, tell=told.append)
    assert told == []
    assert {label.name: label.layer for label in found.labels} == {"Node": 0, "Tumour": 1}
    assert [thing.id for thing in found.objects] == [1, 2]
    assert np.array_equal(found.array[1] == 1, layers[0] == 1)
    assert np.array_equal(found.array[1] == 2, layers[1] == 1)


@pytest.mark.parametrize("owner", ["", " \t", "x" * 100_000])
def test_an_owner_is_a_name(tmp_path: Path, owner: str) -> None:
    texts = segment(0, "Tumour 1", layer=0, value=1, Tags=owned(owner))
    layers = overlapping()[:1]
    layers[layers == 2] = 0
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", layers, texts), onto=IMAGE)
    assert [label.name for label in found.labels] == ["x" * 200 if owner.strip() else "Tumour 1"]


@pytest.mark.parametrize("value", ["-3", "0", "99999999999"])
def test_a_segment_whose_value_can_be_no_id_leaves_labels(tmp_path: Path, value: str) -> None:
    layers = overlapping()[:1]
    layers[layers == 2] = 0
    texts = {
        **segment(0, "Tumour 1", layer=0, value=1, Tags=owned("Tumour")),
        **segment(1, "Tumour 2", layer=0, value=int(value), Tags=owned("Tumour")),
    }
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", layers, texts), onto=IMAGE, tell=print)
    assert set(found.kinds) == {"labels"}
    assert np.array_equal(found.mask("Tumour 1"), layers[0] == 1)


def test_an_object_that_was_erased_since_is_gone(tmp_path: Path) -> None:
    layers = overlapping()[:1]
    layers[layers == 2] = 0
    texts = {
        **segment(0, "Tumour 1", layer=0, value=1, Tags=owned("Tumour")),
        **segment(1, "Tumour 2", layer=0, value=2, Tags=owned("Tumour")),
    }
    found = read_segmentation(write(tmp_path / "a.seg.nrrd", layers, texts), onto=IMAGE)
    assert [thing.id for thing in found.objects] == [1]
