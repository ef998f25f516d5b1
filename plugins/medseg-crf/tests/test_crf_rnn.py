"""A network with a field after it: the same without weight, better with what it learns; trained and slid."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch  # noqa: TID253
import trainings
from crf_phantoms import dice
from medseg_crf.crf_rnn import CrfRnn
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

import medseg
from medseg import PipelineError
from medseg.inference.activations import activation_bytes
from medseg.prediction import Resources
from medseg.steps import Network
from medseg.training.train import train
from medseg.training.wishes import Heard, Wishes

Dims = Literal[2, 3]


class Given(torch.nn.Module):
    """Takes its logits from the second channel of the input; with a coarser output while it is trained."""

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        logits = torch.cat([-images[:, 1:2], images[:, 1:2]], 1)
        return [logits, logits[..., ::2, ::2]] if self.training else logits


class GivenLogits(Network):
    """Builds it."""

    def divisor(self, *, dims: Dims) -> tuple[int, ...]:
        return (4,) * dims

    def build(self, *, dims: Dims, inputs: int, outputs: int) -> torch.nn.Module:
        return Given()


def built(dims: Dims = 2, **parameters: Any) -> torch.nn.Module:
    return CrfRnn(architecture=GivenLogits(), **parameters).build(dims=dims, inputs=2, outputs=2)


def disc(seed: int, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """A disc in noise with logits that are unsure of it `[1, 2, side, side]`, and where it is."""
    random = np.random.default_rng(seed)
    centre, radius = random.uniform(18, 30, 2), random.uniform(10, 15)
    truth = np.hypot(*(np.indices((side, side)) - centre[:, None, None])) < radius
    image = truth + random.normal(0, 0.3, truth.shape)
    logits = np.where(truth, 0.5, -0.5) + random.normal(0, 1, truth.shape)
    images = torch.from_numpy(np.stack([image, logits])[None].astype(np.float32))
    return images, torch.from_numpy(truth[None])


def test_without_weight_it_is_the_network_alone() -> None:
    images, _ = disc(0)
    module = built(smooth_weight=0, appearance_weight=0)
    with torch.no_grad():
        assert torch.equal(module.eval()(images), Given().eval()(images))
        for found, own in zip(module.train()(images), Given()(images), strict=True):
            assert torch.equal(found, own)


def test_the_finest_output_is_refined_while_it_is_trained() -> None:
    images, _ = disc(0)
    module = built(guides=(0,))
    with torch.no_grad():
        finest, coarse = module.train()(images)
        assert torch.equal(finest, module.eval()(images))
        assert not torch.equal(finest, Given()(images)[0])
        assert torch.equal(coarse, Given()(images)[1])


def test_what_it_learns_lifts_dice_over_the_logits_alone() -> None:
    module = built(guides=(0,), intensity=0.6).train()
    optimiser = torch.optim.Adam(module.parameters(), lr=0.1)
    images, truth = (torch.cat(each) for each in zip(*map(disc, range(4)), strict=True))
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(module(images)[0], truth.long())
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    images, truth = (torch.cat(each) for each in zip(*map(disc, range(10, 14)), strict=True))
    with torch.no_grad():
        alone, with_field = (each.eval()(images).argmax(1).bool().numpy() for each in (Given(), module))
    before, after = (dice(found, truth.numpy()) for found in (alone, with_field))
    assert before < 0.7
    assert after > before + 0.2


def test_weights_are_kept_in_a_file(tmp_path: Path) -> None:
    module = built(dims=3)
    with torch.no_grad():
        for value in module.parameters():
            value.add_(0.25)
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    other = built(dims=3)
    other.load_state_dict(load_file(tmp_path / "w.safetensors"))
    images = torch.randn(1, 2, 8, 8, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(other.eval()(images), module.eval()(images))


def test_a_pipeline_with_it_is_trained_and_segments(tmp_path: Path) -> None:
    data = trainings.dataset(tmp_path / "data", cases=3)
    overlay = tmp_path / "crf.yaml"
    overlay.write_text(
        "segment:\n  network:\n    architecture:\n      crf-rnn:\n        iterations: 2\n"
        "        reach: 1\n        architecture:\n"
        "          dynunet:\n"
        "            {channels: [4, 8, 16], strides: [2, 2], kernels: [3, 3, 3], deep_supervision: 1}\n"
        "    window: {patch: [24, 24, 24]}\n"
        "training: {steps_per_epoch: 4, batch: 2, warm_up: 0}\n"
    )
    done = train(
        data,
        tmp_path / "run",
        wishes=Wishes(epochs=2, pipeline=overlay),
        resources=Resources(device="cpu", threads=1),
        heard=Heard(),
    )
    assert done.model is not None
    (weights,) = done.model.glob("*.safetensors")
    field = {name: value for name, value in load_file(weights).items() if name.startswith("field.")}
    assert not torch.equal(field["field.weights"], torch.ones(2))
    assert not torch.equal(field["field.compatibility"], 1 - torch.eye(3))
    resources = Resources(device="cpu", threads=1)  # of graphs, too: PyTorch takes their place
    result = medseg.segment(data / "images" / "case0.nii.gz", model=done.model, resources=resources)
    written = result.provenance["pipeline"]["segment"]["medseg/network"]["architecture"]
    assert list(written["medseg-crf/crf-rnn"]["architecture"]) == ["medseg/dynunet"]
    assert result.provenance["used"]["windows"] >= 1
    assert result.provenance["used"]["engine"] == "torch"


def test_its_memory_is_told_without_taking_it() -> None:
    """A number for each pair of voxels that hear each other, beside the network's own."""
    near, wide = (
        activation_bytes(partial(built, dims=3, reach=reach), (1, 2, 16, 16, 16)) for reach in (1, 2)
    )
    assert near is not None
    assert wide is not None
    heard = [sum(16 - abs(n) for n in range(-reach, reach + 1)) ** 3 for reach in (1, 2)]  # itself too
    assert wide - near == 4 * (heard[1] - heard[0]) // 2


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="reach has 2 numbers, and the patch has 3 axes"):
        CrfRnn(architecture=GivenLogits(), reach=(2, 2)).divisor(dims=3)
    assert CrfRnn(architecture=GivenLogits(), reach=(2, 2)).divisor(dims=2) == (4, 4)
    with pytest.raises(PipelineError, match="input has 2 channels, counted from 0, and no 2"):
        built(guides=(0, 2))
    with pytest.raises(PipelineError, match="one channel competes with none"):
        CrfRnn(architecture=GivenLogits()).build(dims=2, inputs=2, outputs=1)
    with pytest.raises(ValidationError, match="architecture"):
        CrfRnn()  # type: ignore[call-arg]  # the point
