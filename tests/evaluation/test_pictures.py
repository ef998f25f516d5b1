import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image  # noqa: TID253  # looks at pixels

from medseg.evaluation import Evaluation, evaluate_files, match_files, metrics_named
from medseg.evaluation.pictures import draw_evaluation, draw_worst
from medseg.evaluation.worst import worst_cases

Save = Callable[..., Path]


@pytest.fixture
def places(tmp_path: Path, save: Save) -> tuple[Path, Path]:
    """Four cases, of which c is the worst and b has nothing wrong."""
    names = {1: "liver", 2: "tumour"}
    for case, start in (("a", 3), ("b", 2), ("c", 5), ("d", 3)):
        save(tmp_path / "pred" / f"{case}.nii.gz", {1: start, 2: 9}, names)
        save(tmp_path / "ref" / f"{case}.nii.gz", {1: 2, 2: 9}, names)
    return tmp_path / "pred", tmp_path / "ref"


def evaluated(places: tuple[Path, Path], metrics: str) -> Evaluation:
    return evaluate_files(match_files(*places), metrics_named(metrics))


def test_a_chart_for_each_metric_but_counts_and_one_of_volumes(places: tuple[Path, Path]) -> None:
    drawn = list(draw_evaluation(evaluated(places, "dice, hd95, lesion-f1")))
    assert [each.name for each in drawn] == [
        "dice",
        "hd95",
        "lesion-f1",
        "lesion-precision",
        "lesion-recall",
        "agreement-of-volumes",
    ]
    assert "liver median 0.750" in drawn[0].picture.alt
    for each in drawn:
        with Image.open(io.BytesIO(base64.b64decode(each.picture.uri.split(",")[1]))) as image:
            assert np.ptp(np.asarray(image)) > 100


def test_the_labels_that_differ_are_drawn_worst_first(places: tuple[Path, Path]) -> None:
    pairs = match_files(*places)
    evaluation = evaluate_files(pairs, metrics_named("dice"))
    drawn = list(draw_worst(worst_cases(evaluation, pairs)))
    assert [(each.name, each.heading) for each in drawn] == [
        ("worst-1-1", "c"),
        ("worst-2-1", "a"),
        ("worst-3-1", "d"),
    ]
    assert drawn[0].picture.caption == "liver: Dice 0.250"
