"""Weights that a segmenter is given: what they are held against before they are used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: TID253
from safetensors.torch import save_file, save_model
from small_network import LABELS, logits, module, noise, predicted, saved, segmenter

from medseg import Grid, ModelError, Resources
from medseg.builtin.network.dynunet import DynUnet
from medseg.builtin.network.unet import Unet


def test_weights_that_do_not_fit_are_refused_by_the_first_tensor(tmp_path: Path) -> None:
    file = saved(tmp_path)
    with pytest.raises(ModelError, match=r"w\.safetensors: has no tensor '.*'") as refusal:
        predicted(
            segmenter([file], architecture=Unet(channels=(4, 8, 16)), window={"patch": [8, 8, 8]}),
            tmp_path,
            noise(),
        )
    assert "\n" not in str(refusal.value)
    with pytest.raises(ModelError, match=r"tensor '.*' is \[4, 1, 3, 3, 3\], and the network's is \[4, 2,"):
        predicted(segmenter([file], channels=2), tmp_path, noise(channels=2))
    state = {**module(tmp_path).state_dict(), "head.bias": torch.zeros(3)}
    save_file(state, tmp_path / "w.safetensors")
    file = {**file, "sha256": hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()}
    with pytest.raises(ModelError, match=r"has a tensor 'head\.bias' that the network has no place for"):
        predicted(segmenter([file]), tmp_path, noise())


def test_tensors_that_a_network_shares_are_stored_once(tmp_path: Path) -> None:
    net = DynUnet(channels=(4, 4, 8))
    built = net.build(dims=3, inputs=1, outputs=3).eval()
    save_model(built, str(tmp_path / "once.safetensors"))
    cloned = {name: value.clone() for name, value in built.state_dict().items()}
    save_file(cloned, tmp_path / "twice.safetensors")
    size = {"once": 0, "twice": 0}
    volume = noise(Grid((8, 12, 8), np.eye(4)))
    expected = logits(built, volume.array).argmax(0)
    for name in size:
        path = tmp_path / f"{name}.safetensors"
        size[name] = path.stat().st_size
        file = {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        network = segmenter([file], architecture=net, window={"patch": [8, 12, 8]})
        assert np.array_equal(predicted(network, tmp_path, volume).segmentation.array[0], expected)
    assert size["once"] < 0.7 * size["twice"]
    lacking = {name: value for name, value in cloned.items() if "input_block.conv1" not in name}
    lacking = {name: value for name, value in lacking.items() if "skip_layers.downsample.conv1" not in name}
    save_file(lacking, tmp_path / "w.safetensors")
    file = {
        "path": "w.safetensors",
        "sha256": hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest(),
    }
    with pytest.raises(ModelError, match="has no tensor 'input_block"):
        predicted(segmenter([file], architecture=net, window={"patch": [8, 12, 8]}), tmp_path, volume)


def test_missing_and_altered_weights_are_refused_before_torch_has_work(tmp_path: Path) -> None:
    file = saved(tmp_path)
    absent = {**file, "path": "fold7.safetensors"}
    with pytest.raises(ModelError, match=r"fold7\.safetensors"):
        segmenter([absent]).bound(labels=LABELS, folder=tmp_path)
    with pytest.raises(ModelError, match="sha256"):
        segmenter([{**file, "sha256": "0" * 64}]).bound(labels=LABELS, folder=tmp_path)
    bound = segmenter([file]).bound(labels=LABELS, folder=tmp_path)
    saved(tmp_path, seed=9)
    with pytest.raises(ModelError, match="altered"), bound.open(Resources()):
        pass


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path)
    state = module(tmp_path).state_dict()
    next(iter(state.values())).fill_(float("nan"))
    save_file(state, tmp_path / "w.safetensors")
    file = {**file, "sha256": hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()}
    with pytest.raises(ModelError, match="not finite"):
        predicted(segmenter([file]), tmp_path, noise())
