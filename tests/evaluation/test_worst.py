import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.evaluation import evaluate_files, match_files, metrics_named
from medseg.evaluation.pairs import Pair
from medseg.evaluation.worst import ranked_by, worst_cases

Save = Callable[..., Path]
NAMES = {1: "liver", 2: "tumour"}


@pytest.fixture
def pairs(tmp_path: Path, save: Save) -> tuple[Pair, ...]:
    """Four cases, of which c is the worst and b has nothing wrong."""
    for case, start in (("a", 3), ("b", 2), ("c", 5), ("d", 3)):
        save(tmp_path / "pred" / f"{case}.nii.gz", {1: start, 2: 9}, NAMES)
        save(tmp_path / "ref" / f"{case}.nii.gz", {1: 2, 2: 9}, NAMES)
    return match_files(tmp_path / "pred", tmp_path / "ref")


@pytest.mark.parametrize("metrics", ["dice", "hd95", "iou"])
def test_the_worst_case_comes_first_whatever_is_measured(pairs: tuple[Pair, ...], metrics: str) -> None:
    evaluation = evaluate_files(pairs, metrics_named(metrics))
    worst = list(worst_cases(evaluation, pairs))
    assert [case.case for case in worst] == ["c", "a", "d", "b"]
    assert worst[0].dice == pytest.approx({"liver": 0.25, "tumour": 1.0})


def test_dice_orders_cases_where_it_was_asked_for(pairs: tuple[Pair, ...]) -> None:
    assert ranked_by(evaluate_files(pairs, metrics_named("hd95, dice"))) == ("dice", "high")
    assert ranked_by(evaluate_files(pairs, metrics_named("hd95, iou"))) == ("hd95", "low")


@pytest.mark.parametrize(
    ("metrics", "quantity"),
    [
        ("volume-error", ("volume-error", "low")),
        ("lesion-f1", ("lesion-f1", "high")),
        ("panoptic-quality", ("pq", "high")),
        ("average-precision, hd95", ("ap@0.50", "high")),
        ("overall-iou, hd95", ("hd95", "low")),
        ("overall-iou", ("dice", "high")),
        ("overall-iou, panoptic-quality, hd95", ("pq", "high")),
    ],
)
def test_no_case_is_ordered_by_a_signed_error_or_an_amount(
    pairs: tuple[Pair, ...], metrics: str, quantity: tuple[str, str]
) -> None:
    assert ranked_by(evaluate_files(pairs, metrics_named(metrics))) == quantity


@pytest.mark.parametrize("metrics", ["volume-error", "overall-iou"])
def test_a_missed_organ_is_worse_than_a_small_error(tmp_path: Path, save: Save, metrics: str) -> None:
    """In b the tumour is missed and voxels are larger: it has most mL in common. In c nothing is wrong."""
    large = np.diag([2.0, 3, 6, 1])  # voxels of 36 mm3, where they are 4.5 mm3 otherwise
    for case, found, more in (
        ("a", {1: 3, 2: 9}, {}),
        ("b", {1: 2}, {"affine": large}),
        ("c", {1: 2, 2: 9}, {}),
    ):
        save(tmp_path / "pred" / f"{case}.nii.gz", found, NAMES, **more)
        save(tmp_path / "ref" / f"{case}.nii.gz", {1: 2, 2: 9}, NAMES, **more)
    pairs = match_files(tmp_path / "pred", tmp_path / "ref")
    worst = list(worst_cases(evaluate_files(pairs, metrics_named(metrics)), pairs))
    assert [case.case for case in worst] == ["b", "a", "c"]


def test_labels_that_were_not_compared_are_not_drawn(pairs: tuple[Pair, ...]) -> None:
    evaluation = evaluate_files(pairs, metrics_named("dice"), labels=["liver"])
    (first,) = worst_cases(evaluation, pairs, most=1)
    assert [label.name for label in first.reference.labels] == ["liver"]


def test_worst_cases_are_drawn_on_their_images(pairs: tuple[Pair, ...], save: Save, tmp_path: Path) -> None:
    evaluation = evaluate_files(pairs, metrics_named("dice"))
    image = save(tmp_path / "image.nii.gz", {200: 5})
    (first,) = worst_cases(evaluation, pairs, images={"c": image}, most=1)
    assert first.volume.array.max() == 200


def test_an_image_of_another_place_is_not_drawn_on(
    pairs: tuple[Pair, ...], save: Save, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluation = evaluate_files(pairs, metrics_named("dice"))
    away = np.diag([1.0, 1.5, 3.0, 1.0])
    away[:3, 3] = 400
    image = save(tmp_path / "image.nii.gz", {200: 5}, affine=away)
    (first,) = worst_cases(evaluation, pairs, images={"c": image}, most=1)
    assert first.volume.array.max() == 0
    assert "case c is drawn without its image, which lies elsewhere" in caplog.text


def test_an_image_that_cannot_be_read_costs_no_evaluation(
    pairs: tuple[Pair, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluation = evaluate_files(pairs, metrics_named("dice"))
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        (first,) = worst_cases(evaluation, pairs, images={"c": broken}, most=1)
    assert first.volume.array.max() == 0
    assert "case c is drawn without its image" in caplog.text
