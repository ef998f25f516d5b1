from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from results import result_of

from medseg.builtin.write.mesh import Mesh
from medseg.builtin.write.surface import Surface
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.testing.known_image import known_image
from medseg.volume import Grid, Volume

BALL_MM3 = 4 / 3 * np.pi * 20**3
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def written(folder: Path, step: Mesh, segmentation: Segmentation) -> dict[str, Path]:
    return {path.name: path for path in Mesh.check(step(result_of(segmentation), folder), folder=folder)}


def read_stl(path: Path) -> tuple[str, Surface]:
    """Binary STL as its definition has it: each triangle has corners of its own."""
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little")
    assert len(data) == 84 + 50 * count
    triangles = np.frombuffer(data[84:], TRIANGLE)
    corners = triangles["corners"].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    assert (triangles["normal"] * normals).sum(axis=1).min() > 0.9
    return data[:80].decode(), Surface(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


def read_obj(path: Path) -> tuple[str, Surface]:
    title, *lines = path.read_text().splitlines()
    rows: dict[str, list[list[float]]] = {"v": [], "f": []}
    for line in lines:
        key, *numbers = line.split()
        rows[key].append([float(number) for number in numbers])
    return title, Surface(np.array(rows["v"]), np.array(rows["f"], np.int64) - 1)


@pytest.mark.parametrize("format_", ["stl", "obj"])
@pytest.mark.parametrize("space", ["LPS", "RAS"])
def test_a_ball_has_its_volume_and_place_in_either_space(tmp_path: Path, format_: str, space: str) -> None:
    _, segmentation = known_image()
    step = Mesh.model_validate({"format": format_, "space": space})
    files = written(tmp_path, step, segmentation)
    assert list(files) == [f"mesh-ball.{format_}"]
    title, surface = (read_stl if format_ == "stl" else read_obj)(files[f"mesh-ball.{format_}"])
    assert f"SPACE={space}" in title
    assert "research use only" in title
    assert surface.volume_mm3 == pytest.approx(BALL_MM3, rel=0.02)  # above 0: triangles look outwards
    sign = np.array([-1, -1, 1]) if space == "LPS" else np.ones(3)
    middle = (surface.vertices.min(axis=0) + surface.vertices.max(axis=0)) / 2
    assert middle * sign == pytest.approx(segmentation.grid.centre, abs=0.7)


def test_a_file_for_each_label_that_is_asked_for_and_has_voxels(tmp_path: Path) -> None:
    grid = Grid((20, 12, 12), np.eye(4))
    masks = {name: np.zeros(grid.shape, bool) for name in ("Left Kidney", "left kidney", "gone")}
    masks["Left Kidney"][2:8, 2:8, 2:8], masks["left kidney"][11:18, 2:8, 2:8] = True, True
    table = LabelTable((Label(1, "Left Kidney"), Label(2, "left kidney"), Label(3, "gone")))
    before = Segmentation.from_masks(masks, grid, table)
    assert list(written(tmp_path, Mesh(), before)) == ["mesh-left-kidney.stl", "mesh-left-kidney-2.stl"]
    (tmp_path / "one").mkdir()
    only = written(tmp_path / "one", Mesh(labels=("left kidney",)), before)
    assert list(only) == ["mesh-left-kidney-2.stl"]


def test_objects_are_drawn_together(tmp_path: Path) -> None:
    array = np.zeros((1, 20, 10, 10), np.uint8)
    array[0, 2:8, 2:8, 2:8], array[0, 12:18, 2:8, 2:8] = 5, 9
    before = Segmentation(
        array,
        Grid((20, 10, 10), np.eye(4)),
        LabelTable((Label(1, "cell"),)),
        ("objects",),
        (Object(5, "cell"), Object(9, "cell")),
    )
    _, surface = read_stl(written(tmp_path, Mesh(smooth_mm=0), before)["mesh-cell.stl"])
    assert surface.volume_mm3 == pytest.approx(2 * 6**3, rel=0.005)


def test_a_picture_without_a_scale_and_wrong_parameters_are_refused() -> None:
    flat = Volume(np.zeros((1, 4, 4, 1), np.uint8), Grid((4, 4, 1), np.eye(4), "px"))
    assert "scale" in str(Mesh().needs(flat))
    for parameters in ({"format": "ply"}, {"space": "LAS"}, {"smooth_mm": -1}):
        with pytest.raises(ValidationError):
            Mesh.model_validate(parameters)
