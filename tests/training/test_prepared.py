import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage  # noqa: TID253

from medseg.config import PipelineFile
from medseg.errors import InputError, PluginError, ResourceError
from medseg.plugin.catalog import Catalog, discover
from medseg.segmentation import Object, Segmentation
from medseg.steps import Head, Loss
from medseg.training import prepared
from medseg.training.dataset import Case
from medseg.training.prepared import PreparedCase, prepared_case
from medseg.training.recipe import Recipe, recipe
from medseg.volume import Grid, Volume

GRID = Grid((8, 6, 5), np.array([[2.0, 0, 0, 5], [0, 2, 0, -3], [0, 0, 2, 1], [0, 0, 0, 1]]))
SHA = ("0" * 64, "1" * 64)
Array = NDArray[Any]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What is installed."""
    return discover()


def made(catalog: Catalog, **parts: Any) -> Recipe:
    """A recipe that resamples to 1 mm; `network`, `training` and `preprocess` say what is otherwise."""
    network = {
        "architecture": {"dynunet": {"channels": [4, 8, 16]}},
        "head": "softmax",
        "window": {"patch": [8, 8, 8]},
        **parts.get("network", {}),
    }
    content = {
        "labels": {1: {"name": "large"}, 3: {"name": "small"}, 4: {"name": "absent"}},
        "preprocess": parts.get("preprocess", [{"resample": {"spacing": 1.0}}]),
        "segment": {"network": network},
        "training": parts.get("training", {}),
    }
    return recipe(PipelineFile.model_validate(content), catalog)


class Reading:
    """A case in memory, that counts how often it is read."""

    def __init__(self, recipe: Recipe, *, channels: int = 1, partly: bool = False) -> None:
        index = np.indices(GRID.shape)
        labels = np.zeros(GRID.shape, np.uint8)
        labels[2:5, 1:4, 1:3] = 1
        labels[6, 4, 3] = 3
        self.labels = labels
        self.known = index[0] < 4
        image = np.stack([10 * index[0] + n for n in range(channels)]).astype(np.int16)
        names = tuple(f"c{n}" for n in range(channels))
        self.volume = Volume(image, GRID, names)
        self.segmentation = Segmentation(labels[None], GRID, recipe.labels)
        self.partly = partly
        self.count = 0

    def __call__(self) -> tuple[Volume, Segmentation, NDArray[np.bool_] | None]:
        self.count += 1
        return self.volume, self.segmentation, self.known if self.partly else None


def case(folder: Path, recipe: Recipe, read: Reading, sha256: tuple[str, ...] = SHA) -> PreparedCase:
    of = Case("a", {}, None, "s", stratum="x")
    return prepared_case(of, sha256=sha256, read=read, recipe=recipe, folder=folder)


def test_image_labels_and_what_is_known_lie_on_the_models_grid(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog)
    read = Reading(how, partly=True)
    found = case(tmp_path, how, read)
    assert found.grid.shape == found.image.shape[1:] == (16, 12, 10)
    assert found.grid.spacing == (1.0, 1.0, 1.0)
    assert found.image.dtype == np.float32
    # every voxel of 2 mm becomes 2 x 2 x 2 of 1 mm
    doubled = read.labels.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert np.array_equal(found.labels, doubled[None])
    assert found.valid is not None
    assert np.array_equal(found.valid[0], np.indices(found.grid.shape)[0] < 8)
    assert found.known_places is not None
    assert np.array_equal(found.known_places, np.flatnonzero(found.valid[0]))
    assert found.fill == (float(found.image.min()),)
    assert (found.subject, found.stratum, found.channels) == ("s", "x", ("c0",))


def test_places_are_the_voxels_of_each_label(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog, preprocess=[])
    read = Reading(how)
    found = case(tmp_path, how, read)
    assert found.counts == (18, 1, 0)
    assert [list(places) for places in found.places] == [
        list(np.flatnonzero(read.labels == value)) for value in (1, 3, 4)
    ]
    assert found.valid is None


def test_of_very_many_voxels_some_are_chosen(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "MOST_PLACES", 7)
    how = made(catalog, preprocess=[])
    first, again = (case(tmp_path / name, how, Reading(how)) for name in "xy")
    assert first.counts == (7, 1, 0)
    assert set(first.places[0]) < set(np.flatnonzero(first.labels == 1))
    assert np.array_equal(first.places[0], again.places[0])


def test_a_case_is_read_again_only_when_something_has_changed(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog)
    read = Reading(how)
    first = case(tmp_path, how, read)
    assert case(tmp_path, how, read) == first
    assert case(tmp_path, made(catalog, training={"batch": 9}), read) == first
    assert read.count == 1
    others = [
        (how, ("2" * 64, "1" * 64)),
        (made(catalog, preprocess=[]), SHA),
        (made(catalog, training={"loss": {"dice-ce": {"smooth": 0.5}}}), SHA),
    ]
    for number, (other, sha256) in enumerate(others, start=2):
        case(tmp_path, other, read, sha256)
        assert read.count == number
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_one_that_was_being_made_does_not_count(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog)
    read = Reading(how)
    first = case(tmp_path, how, read)
    content = np.array(first.image)
    left = tmp_path / ".a.1.part"  # of a process that was killed right before the rename
    (tmp_path / "a").rename(left)
    (left / "old").write_text("x")
    again = case(tmp_path, how, read)
    assert read.count == 2
    assert np.array_equal(again.image, content)
    assert sorted(each.name for each in tmp_path.iterdir()) == [".a.1.part", "a"]
    assert not (tmp_path / "a" / "old").exists()


@pytest.mark.parametrize("content", [None, "", "{", '{"key": "other"}'])
def test_one_with_a_damaged_statement_is_made_anew(
    tmp_path: Path, catalog: Catalog, content: str | None
) -> None:
    how = made(catalog)
    read = Reading(how)
    case(tmp_path, how, read)
    if content is None:
        (tmp_path / "a" / "case.json").unlink()
    else:
        (tmp_path / "a" / "case.json").write_text(content)
    case(tmp_path, how, read)
    assert read.count == 2
    assert "key" in json.loads((tmp_path / "a" / "case.json").read_text())


def test_a_fault_while_preparing_leaves_nothing_that_counts(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog)
    with pytest.raises(InputError, match=r"^has 2 channels \(c0, c1\), and the network takes 1; give all"):
        case(tmp_path, how, Reading(how, channels=2))
    assert not (tmp_path / "a").exists()


def test_without_space_it_is_a_resource_error(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "cases").write_text("in the way")
    how = made(catalog)
    with pytest.raises(ResourceError, match=r"cannot be written: .*; free space, or choose"):
        case(tmp_path / "cases", how, Reading(how))


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_what_the_loss_prepares_is_kept_beside(tmp_path: Path, catalog: Catalog, head: str) -> None:
    how = made(catalog, training={"loss": "boundary"}, network={"head": head}, preprocess=[])
    read = Reading(how)
    found = case(tmp_path, how, read)
    (name,) = found.maps
    distances = found.map(name)
    assert distances.shape == (3, *GRID.shape)
    inside = read.labels == 1
    away = ndimage.distance_transform_edt(~inside, GRID.spacing)
    deep = ndimage.distance_transform_edt(inside, GRID.spacing)
    assert np.allclose(distances[0], np.where(inside, -deep, away))
    assert (distances[2] == 0).all()  # a label that is absent has no border


class Maps(Loss):
    """Prepares what it is told to."""

    name: str = "m"
    shape: tuple[int, ...] = (1, 8, 6, 5)
    value: float = 0.0

    def prepare(
        self, segmentation: Segmentation, head: Head, valid: NDArray[np.bool_] | None
    ) -> dict[str, Any]:
        """Give a map of one number."""
        return {self.name: np.full(self.shape, np.nan if self.value < 0 else self.value)}

    def build(self, head: Head, *, spacing: tuple[float, ...], channels: int) -> Any:
        """Build nothing."""
        raise NotImplementedError


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (Maps(name="../x"), "named a map '../x'; use letters, digits, - and _"),
        (Maps(name=""), "named a map ''"),
        (Maps(shape=(8, 6, 5)), r"gave 'm' of another shape than \[K, \*\(8, 6, 5\)\]"),
        (Maps(shape=(1, 8, 6, 4)), "gave 'm' of another shape"),
        (Maps(value=-1), "gave 'm' with values that are no numbers"),
    ],
)
def test_maps_that_break_the_contract_are_blamed_on_the_loss(
    tmp_path: Path, catalog: Catalog, loss: Loss, said: str
) -> None:
    how = made(catalog, preprocess=[])
    assert how.loss is not None
    how = replace(how, loss=replace(how.loss, name="maps", distribution="fake", step=loss))
    with pytest.raises(PluginError, match=said) as caught:
        case(tmp_path, how, Reading(how))
    assert any("training.loss: maps (fake" in note for note in caught.value.__notes__)
    assert not (tmp_path / "a").exists()


def test_arrays_are_mapped_and_cannot_be_written_to(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog, preprocess=[])
    found = case(tmp_path, how, Reading(how))
    assert isinstance(found.image, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.image[0, 0, 0, 0] = 1
    shutil.rmtree(tmp_path / "a")  # what is mapped already stays readable
    assert found.image.max() == 70


# ---- objects


def test_heads_of_objects_get_ids_beside_the_labels(tmp_path: Path, catalog: Catalog) -> None:
    """Two boxes of one label that touch: one label, two ids; on the model's grid."""
    how = made(catalog, network={"head": "border-core"})
    read = Reading(how)
    ids = np.zeros(GRID.shape, np.uint16)
    ids[2:5, 1:4, 1:3], ids[5:7, 1:4, 1:3], ids[0, 0, 0] = 700, 9, 30
    things = (Object(700, "large"), Object(9, "large"), Object(30, "small"))
    read.segmentation = Segmentation(ids[None], GRID, how.labels, ("objects",), things)
    found = case(tmp_path, how, read)
    doubled = ids.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    assert found.objects is not None
    assert np.array_equal(found.objects[0], doubled)
    assert np.array_equal(found.labels[0], np.where(doubled == 30, 3, np.where(doubled > 0, 1, 0)))
    assert [len(places) for places in found.places] == [
        np.count_nonzero((doubled == 700) | (doubled == 9)),
        8,
        0,
    ]


def test_objects_of_plain_labels_are_connected_parts(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog, network={"head": "border-core"}, preprocess=[])
    read = Reading(how)
    labels = read.labels.copy()
    labels[7, 0, 0] = 1
    read.segmentation = Segmentation(labels[None], GRID, how.labels)
    found = case(tmp_path, how, read)
    assert found.objects is not None
    own = found.objects[0]
    assert sorted(np.unique(own).tolist()) == [0, 1, 2, 3]
    assert len(np.unique(own[labels == 1])) == 2
    assert len(np.unique(own[labels == 3])) == 1
    assert np.array_equal(own > 0, labels > 0)


def test_other_heads_get_no_ids(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog, preprocess=[])
    read = Reading(how)
    read.segmentation = Segmentation.from_objects(
        (read.labels[None] + 40 * (read.labels[None] > 0)).astype(np.uint32),
        read.labels[None],
        GRID,
        how.labels,
    )
    found = case(tmp_path, how, read)
    assert found.objects is None
    assert np.array_equal(found.labels[0], read.labels)


def test_ids_that_single_precision_does_not_hold_are_refused(tmp_path: Path, catalog: Catalog) -> None:
    how = made(catalog, network={"head": "border-core"}, preprocess=[])
    read = Reading(how)
    ids = (read.labels[None] > 0) * np.uint32((1 << 24) + 1)
    read.segmentation = Segmentation.from_objects(ids, (ids > 0).astype(np.uint8), GRID, how.labels)
    with pytest.raises(InputError, match="has an object with the id 16777217; number them from 1 on"):
        case(tmp_path, how, read)


def test_objects_that_reach_the_unknown_are_unknown(tmp_path: Path, catalog: Catalog) -> None:
    """Nothing says where they end: their borders must not be learnt."""
    how = made(catalog, network={"head": "border-core"}, preprocess=[])
    read = Reading(how, partly=True)
    ids = np.zeros(GRID.shape, np.uint8)
    ids[0:2, 0:3, 0:3], ids[3, 4:6, 0:3] = 1, 2
    read.known = np.ones(GRID.shape, np.bool_)
    read.known[4:] = False
    read.segmentation = Segmentation.from_objects(
        ids[None].astype(np.uint32), (ids > 0)[None].astype(np.uint8), GRID, how.labels
    )
    found = case(tmp_path, how, read)
    assert found.valid is not None
    assert np.array_equal(found.valid[0] > 0, read.known & (ids != 2))
