"""The temperature: other probabilities, the same labels, in every engine and with every head."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from saved_weights import saved

from medseg import Grid, Label, LabelTable, Prediction, Resources, Volume, Wanted
from medseg.builtin.head.sigmoid import Sigmoid
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.network.unet import Unet
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.steps import Head

SMALL = Unet(channels=(4, 8))
GRID = Grid((20, 12, 9), np.diag([2.0, 2.0, 3.0, 1.0]))
LABELS = LabelTable((Label(1, "liver"), Label(2, "spleen")))
EVERYTHING = Wanted(whole_scores=True, members=True, reductions=frozenset({"soft-volume", "entropy"}))


def predicted(folder: Path, head: Head, engine: str, **parameters: Any) -> Prediction:
    outputs = head.channels(LABELS)
    network = NetworkSegmenter.model_validate(
        {
            "architecture": SMALL,
            "head": head,
            "weights": [saved(SMALL, folder, seed=seed, outputs=outputs) for seed in range(2)],
            "window": {"patch": [8, 8, 8]},
            **parameters,
        }
    )
    image = np.random.default_rng(3).normal(0, 3, (1, *GRID.shape)).astype(np.float32)
    resources = Resources(threads=1, engine=engine, device="cpu")
    with network.bound(labels=LABELS, folder=folder).open(resources) as predictor:
        return predictor(Volume(image, GRID), onto=GRID, wanted=EVERYTHING)


def probabilities(prediction: Prediction) -> NDArray[np.float64]:
    assert prediction.scores is not None
    return prediction.scores.read(GRID).array.astype(np.float64)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("head", [Softmax(), Sigmoid()], ids=["softmax", "sigmoid"])
def test_probabilities_are_those_of_divided_logits_and_labels_stay(
    tmp_path: Path, head: Head, engine: str
) -> None:
    plain = predicted(tmp_path, head, engine)
    warm = predicted(tmp_path, head, engine, temperature=2.5)
    assert np.array_equal(warm.segmentation.array, plain.segmentation.array)
    for one, other in zip(warm.members, plain.members, strict=True):
        assert np.array_equal(one.array, other.array)
    shares, found = probabilities(plain), probabilities(warm)
    if head.activation == "softmax":
        whole = np.concatenate([1 - shares.sum(0, keepdims=True), shares])
        raised = np.maximum(whole, 0) ** (1 / 2.5)
        expected = (raised / raised.sum(0))[1:]
        sure = (whole > 0.02).all(0)  # half precision keeps little of the logits of others
    else:
        raised, rest = shares ** (1 / 2.5), (1 - shares) ** (1 / 2.5)
        expected = raised / (raised + rest)
        sure = ((shares > 0.02) & (shares < 0.98)).all(0)
    assert sure.mean() > 0.4
    np.testing.assert_allclose(found[:, sure], expected[:, sure], atol=4e-3)
    assert np.abs(found - shares).max() > 0.05
    assert warm.maps["entropy"].array.mean() > plain.maps["entropy"].array.mean()


def test_a_temperature_found_later_multiplies() -> None:
    network = NetworkSegmenter(
        architecture=SMALL, head=Softmax(), window={"patch": [8, 8, 8]}, temperature=1.5
    )
    assert network.calibrated(2.0) == {"temperature": 3.0}
    assert network.calibrated(1 / 3) == {"temperature": 0.5}
