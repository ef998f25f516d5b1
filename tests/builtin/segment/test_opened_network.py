"""A network opened in an engine: it is the one that the pipeline names, whatever graphs were kept before."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch  # noqa: TID253
from saved_weights import saved

from medseg import Label, LabelTable, Resources
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.builtin.segment.opened_network import OpenedNetwork
from medseg.inference.engines.installed import missing
from medseg.steps import Network

LABELS = LabelTable((Label(1, "a"), Label(2, "b")))


class Leaky(Network):
    """A convolution and what follows it, which shows neither in the weights nor in the module's name."""

    slope: float
    """Of negative values."""

    def divisor(self, *, dims: Literal[2, 3]) -> tuple[int, ...]:
        return (1,) * dims

    def build(self, *, dims: Literal[2, 3], inputs: int, outputs: int) -> torch.nn.Module:
        slope = self.slope

        class Module(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Conv3d(inputs, outputs, 3, padding=1)

            def forward(self, images: torch.Tensor) -> torch.Tensor:
                return torch.nn.functional.leaky_relu(self.layer(images), slope)

        return Module()


@pytest.mark.skipif(missing("openvino", "onnx", "onnxscript") is not None, reason="needs medseg[engines]")
def test_a_kept_graph_is_of_the_parameters_that_the_pipeline_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = saved(Leaky(slope=0.0), tmp_path)
    images = np.random.default_rng(0).standard_normal((1, 1, 8, 8, 8)).astype(np.float32)

    def logits(slope: float, engine: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        segmenter = NetworkSegmenter.model_validate(
            {
                "architecture": Leaky(slope=slope),
                "head": Softmax(),
                "weights": [file],
                "window": {"patch": [8, 8, 8]},
            }
        ).bound(labels=LABELS, folder=tmp_path)
        opened = OpenedNetwork(segmenter, 3, tmp_path, Resources(device="cpu", engine=engine))
        assert opened.engine.name == engine
        return opened.engine(images)

    for slope in (0.0, 0.7, 0.0):  # the last one finds its graph
        assert np.abs(logits(slope, "openvino") - logits(slope, "torch")).max() < 1e-4
    assert np.abs(logits(0.0, "torch") - logits(0.7, "torch")).max() > 0.1
    assert len(list((tmp_path / "cache" / "medseg" / "engines").iterdir())) == 2
