"""The recipe: phantoms as a dataset that `medseg train` takes, and the plan that was trained."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import medseg_phantom
import nibabel as nib  # noqa: TID253 - a test module
import numpy as np
import pytest
import yaml

from medseg.testing.abdomen import ORGANS
from medseg.training.dataset import open_dataset

RECIPE = Path(__file__).parents[1] / "recipe"
MODEL = Path(str(medseg_phantom.__file__)).parent / "models" / "phantom-abdomen"
SEEDS = (162, 163)  # scanned at 3 mm, which is quick


@pytest.fixture(scope="module")
def recipe() -> Iterator[dict[str, Any]]:
    """The recipe's scripts as modules."""
    sys.path.insert(0, str(RECIPE))
    names = ("cases", "dataset", "evaluate")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.remove(str(RECIPE))
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def painted(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two phantoms."""
    folder = tmp_path_factory.mktemp("phantoms")
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for seed in SEEDS:
        recipe["dataset"].paint(seed, folder)
    (folder / "dataset.yaml").write_bytes((RECIPE / "dataset.yaml").read_bytes())
    return folder


def test_what_is_painted_is_a_dataset(painted: Path) -> None:
    dataset = open_dataset(painted)
    assert [case.id for case in dataset.trainable] == [f"phantom-{seed:04d}" for seed in SEEDS]
    assert [(label.value, label.name, label.code, label.pair) for label in dataset.labels] == [
        (label.value, label.name, label.code, label.pair) for label in ORGANS
    ]


def test_images_are_in_hu_at_3_mm_and_labels_lie_on_them(painted: Path, recipe: dict[str, Any]) -> None:
    for seed in SEEDS:
        image, labels = (
            nib.load(painted / part / f"phantom-{seed:04d}.nii.gz") for part in ("images", "labels")
        )
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_allclose(image.header.get_zooms(), 3.0)
        np.testing.assert_array_equal(image.affine, labels.affine)
        hu, found = np.asanyarray(image.dataobj), np.asanyarray(labels.dataobj)
        assert set(np.unique(found)) <= set(range(10))
        assert 40 < np.median(hu[found == 1]) < 140  # liver
        assert np.median(hu[found == 7]) < -600  # lung
        case = recipe["cases"].training_case(seed)  # the same phantom again
        np.testing.assert_array_equal(case.image, hu)
        np.testing.assert_array_equal(case.labels, found)


def test_what_is_there_is_kept(painted: Path, recipe: dict[str, Any]) -> None:
    kept = painted / "images" / f"phantom-{SEEDS[0]:04d}.nii.gz"
    before = kept.stat().st_mtime_ns
    recipe["dataset"].paint(SEEDS[0], painted)
    assert kept.stat().st_mtime_ns == before


def test_what_it_is_measured_on_was_not_trained_on(recipe: dict[str, Any]) -> None:
    assert recipe["evaluate"].FIRST_SEED >= 100_000  # training counts up from 0


def test_what_was_trained_is_what_runs() -> None:
    plan = yaml.safe_load((RECIPE / "plan.yaml").read_text(encoding="utf-8"))
    pipeline = yaml.safe_load((MODEL / "pipeline.yaml").read_text(encoding="utf-8"))
    assert [file["path"] for file in pipeline["segment"]["network"].pop("weights")] == ["weights.safetensors"]
    assert pipeline == plan
