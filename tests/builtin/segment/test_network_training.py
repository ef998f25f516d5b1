"""A step of a network with a head, by hand; and a network in training slid over an image."""

from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module

from medseg.builtin.head.softmax import Softmax
from medseg.builtin.segment.network_training import loss_over_scales, slid_over
from medseg.errors import PluginError
from medseg.segmentation import Label, LabelTable
from medseg.volume import Grid, Volume

TABLE = LabelTable((Label(1, "a"), Label(2, "b")))
BATCH: dict[str, Any] = {
    "image": torch.zeros(1, 1, 4, 4),
    "labels": torch.tensor([[[[0, 0, 1, 1]] * 2 + [[2, 2, 2, 2]] * 2]], dtype=torch.int32),
    "valid": torch.ones(1, 1, 4, 4),
    "maps": {"far": torch.arange(16.0).reshape(1, 1, 4, 4)},
}


class Gives(torch.nn.Module):
    """The same, whatever comes."""

    def __init__(self, outputs: object) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, images: torch.Tensor) -> object:
        return self.outputs


def step(outputs: object, seen: list[Any]) -> torch.Tensor:
    """A loss that is the number of the scale, from 1, and notes what it is given."""

    def loss(*parts: Any) -> torch.Tensor:
        seen.append(parts)
        return torch.tensor(float(len(seen)))

    return loss_over_scales(
        Gives(outputs), BATCH, head=Softmax(), labels=TABLE, spacing=(1.0, 1.0), loss=loss
    )


def test_scales_count_half_as_much_as_the_one_before() -> None:
    """Targets of the nearest voxel, maps of the mean, in the size of each output."""
    seen: list[Any] = []
    outputs = [torch.zeros(1, 3, side, side) for side in (4, 2, 1)]
    assert step(outputs, seen).item() == pytest.approx((1 + 2 / 2 + 3 / 4) / 1.75)
    (_, full, _, _), (_, half, valid, maps), _ = seen
    assert full.argmax(1).tolist() == BATCH["labels"][:, 0].tolist()
    assert half.argmax(1).tolist() == [[[0, 1], [2, 2]]]
    assert valid.shape == (1, 1, 2, 2)
    assert maps["far"][0, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_one_output_is_one_scale() -> None:
    assert step(torch.zeros(1, 3, 4, 4), []).item() == 1


@pytest.mark.parametrize(("outputs", "named"), [({"out": 1}, "dict"), ([], "list"), ((1, 2), "tuple")])
def test_what_is_no_scale_is_blamed(outputs: object, named: str) -> None:
    with pytest.raises(PluginError, match=f"gave {named}, not logits or a list of them"):
        step(outputs, [])


@pytest.mark.parametrize("patch", [(8, 8, 4), (5, 30, 2), (6, 6)])
def test_a_network_is_slid_over_all_of_an_image(patch: tuple[int, ...]) -> None:
    """One that reads the label off each voxel; in windows that are smaller than the image, and larger."""
    labels = np.random.default_rng(0).integers(0, 3, (11, 9, 5)).astype(np.uint8)
    volume = Volume(labels[None].astype(np.float32), Grid((11, 9, 5), np.eye(4)))

    def reads(images: torch.Tensor) -> torch.Tensor:
        assert tuple(images.shape[2:]) == patch
        values = torch.arange(3.0).reshape(1, 3, *[1] * len(patch))
        return -10 * (images - values) ** 2

    found = slid_over(reads, volume, head=Softmax(), labels=TABLE, patch=patch, device=torch.device("cpu"))
    assert np.array_equal(found.array[0], labels)
