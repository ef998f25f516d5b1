"""Every head of medseg-instances learns touching objects by heart, and decodes large images as a whole.

As in plugins/medseg-instances/tests/test_training.py for two heads in pictures; here all heads, in pictures
and in space, and images of 2048 x 2048 and 256 x 256 x 256 voxels with objects across every border between
blocks.
"""

import time
import tracemalloc
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from learning import learnt, learnt_by
from medseg_instances.instance_head import InstanceHead
from touching import average_precision, decoded, ideal, reference

from medseg.assemble import component_class
from medseg.inference import ObjectSink
from medseg.io import read
from medseg.io.masks import read_segmentation
from medseg.io.nifti import write_labels
from medseg.plugin.catalog import discover
from medseg.prediction import Scores
from medseg.report.label_files import label_files
from medseg.volume import Grid

HEADS = sorted(
    entry.component.name
    for entry in discover().entries
    if entry.kind == "head" and entry.distribution == "medseg-instances"
)
PARAMETERS: dict[str, dict[int, dict[str, Any]]] = {
    "border-core": {2: {"border": 1.5}, 3: {"border": 1.5}},
    "stardist": {2: {"axes": 2}, 3: {"axes": 3, "rays": 48}},
}
DETECTOR: dict[str, Any] = {
    "features": [12, 24, 48, 64],
    "finest": 1,
    "pyramid": 32,
    "anchor_size": 5,
    "octave": 1,
    "proposals": 64,
    "samples": 64,
    "mask_bins": 10,
}
SCENES = {2: (90, 90), 3: (45, 45, 45)}
LARGE = {2: (2048, 2048, 1), 3: (256, 256, 256)}


class InBlocks(ObjectSink):
    """Blocks that are small beside the image."""

    most_voxels: ClassVar[int] = 1 << 19


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", HEADS)
def test_touching_objects_are_learnt_by_heart(
    name: str, dims: int, tmp_path: Path, figures: list[str]
) -> None:
    parameters = PARAMETERS.get(name, {}).get(dims, {})
    found = learnt(tmp_path, name, SCENES[dims], epochs=16, least_voxels=30, **parameters)
    figures.append(f"{name} in {dims}-D, learnt by heart: AP at 0.5 {found}")
    assert found == {"round": [1.0, 1.0], "long": [1.0, 1.0]}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["mask-rcnn", "retinanet"])
def test_a_detector_learns_touching_objects_by_heart(
    kind: str, dims: int, tmp_path: Path, figures: list[str]
) -> None:
    """Objects have about 16 voxels: windows of 32 overlap by more than that."""
    window = {"patch": [48 if dims == 2 else 32] * dims, "overlap": 0.6}
    segment = {"detector": {**DETECTOR, "kind": kind, "window": window}}
    found = learnt_by(segment, tmp_path, SCENES[dims], epochs=20, rate=0.003)
    figures.append(f"detector {kind} in {dims}-D, learnt by heart: AP at 0.5 {found}")
    assert found == {"round": [1.0, 1.0], "long": [1.0, 1.0]}


def _head(name: str, dims: int) -> InstanceHead:
    kind = component_class(discover().find("head", f"medseg-instances/{name}"))
    head = kind.model_validate({"size": 32, **PARAMETERS.get(name, {}).get(dims, {})})
    assert isinstance(head, InstanceHead)
    return head


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", HEADS)
def test_a_large_image_in_blocks_is_as_the_whole(name: str, dims: int, figures: list[str]) -> None:
    head, shape = _head(name, dims), LARGE[dims]
    step = 24
    place = np.indices(shape, np.float32)
    cells = [axis // step for axis in place]
    far = sum(
        (axis % step - (step - 1) / 2) ** 2 for axis, size in zip(place, shape, strict=True) if size > 1
    )
    across = [-(-size // step) for size in shape]
    number = 1 + (cells[0] * across[1] + cells[1]) * across[2] + cells[2]
    wanted = reference(np.where(far <= (0.51 * step) ** 2, number, 0).astype(np.uint32))
    logits = ideal(head, wanted)
    began = time.process_time()
    whole = decoded(head, logits, wanted)
    seconds = time.process_time() - began
    tiled = decoded(head, logits, wanted, InBlocks)
    figures.append(f"{name}, {' x '.join(map(str, shape))}: {len(whole.objects)} objects, {seconds:.1f} s")
    assert np.array_equal(tiled.array, whole.array)
    assert tiled.objects == whole.objects
    assert average_precision(whole, wanted, 0.5) == {"round": 1.0, "long": 1.0}


@pytest.mark.parametrize("rods", [[(20, 320, 150, 40, 150, 40)], [(0, 340, 100, 130, 0, 340)]], ids=str)
def test_no_voxel_of_a_large_object_is_lost(rods: list[tuple[int, ...]], figures: list[str]) -> None:
    """One that is longer than a block and can be read alone, and one that cannot, beside balls."""
    head = _head("border-core", 3).model_copy(update={"size": 64})
    shape = (340, 340, 340)
    ids = np.zeros(shape, np.uint32)
    for n, (first, stop, *box) in enumerate(rods, start=1):
        ids[first:stop, box[0] : box[0] + box[1], box[2] : box[2] + box[3]] = n
    ids[200:240, 280:310, 310:330] = len(rods) + 1
    wanted = reference(ids)
    began = time.process_time()
    found = decoded(head, ideal(head, wanted), wanted)
    seconds = time.process_time() - began
    joined = [thing.attributes.get("joined", False) for thing in found.objects]
    figures.append(f"border-core, 340 x 340 x 340, {joined.count(True)} of 2 joined: {seconds:.1f} s")
    assert np.array_equal(found.array[0] > 0, ids > 0)
    assert len(found.objects) == 2
    assert joined == [rods[0][5] > 100, False]  # in the order of their first voxels


@pytest.mark.parametrize("name", ["border-core", "distance-watershed"])
def test_a_million_objects_are_told_apart_and_kept(name: str, tmp_path: Path, figures: list[str]) -> None:
    """10,000 x 10,000 pixels of discs that touch, in the memory foretold; then through a file."""
    head, side, tile, step = _head(name, 2), 10_000, 1000, 10
    i, j = np.indices((tile + 2 * step, tile + 2 * step))  # with a row of discs around, which is cut off
    far = sum((axis % step - (step - 1) / 2) ** 2 for axis in (i, j))
    ids = np.where(far <= (0.52 * step) ** 2, 1 + (i // step) * (tile // step + 2) + j // step, 0)
    wanted = reference(ids.astype(np.uint32)[..., None])
    inner = slice(step, -step)
    logits = np.tile(ideal(head, wanted)[:, inner, inner], (1, side // tile, side // tile, 1))
    foreground = np.tile(ids[inner, inner] > 0, (side // tile, side // tile))
    grid = Grid((side, side, 1), np.eye(4), "px")
    sink = head.sink(wanted.labels, grid=grid, axis=2, onto=grid)
    began = time.process_time()
    tracemalloc.start()
    try:
        sink.take(Scores(logits, grid, "logits"), 0)
        found = sink.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    seconds = time.process_time() - began
    foretold = head.work_bytes(wanted.labels, grid)
    figures.append(
        f"{name}, {len(found.objects)} objects: {seconds:.0f} s, {peak >> 20} MB of {foretold >> 20} foretold"
    )
    assert len(found.objects) == (side // step) ** 2
    assert np.array_equal(found.array[0, :, :, 0] > 0, foreground)
    assert peak < foretold
    ((_, array, labels, objects),) = label_files(found)
    path = tmp_path / "ids.nii"
    write_labels(array, grid, path, labels=labels, source=None, objects=objects)
    again = read_segmentation(path, onto=read(path))
    assert np.array_equal(again.array, found.array)
    assert {thing.id: thing.label for thing in again.objects} == {
        thing.id: thing.label for thing in found.objects
    }
