"""The pyramid: how large its levels are, and what each of them sees."""

import pytest
import torch  # noqa: TID253 - a test module
from medseg_instances.detector.pyramid import Pyramid, block


@pytest.mark.parametrize(
    ("strides", "shape", "finest", "levels"),
    [
        ([(2, 2)] * 3, (32, 48), 1, [(16, 24), (8, 12), (4, 6)]),
        ([(2, 2)] * 3, (32, 48), 3, [(4, 6)]),
        ([(2, 2)] * 3, (16, 8), 0, [(16, 8), (8, 4), (4, 2), (2, 1)]),
        ([(2, 2, 1), (2, 2, 2), (2, 2, 2)], (16, 16, 4), 1, [(8, 8, 4), (4, 4, 2), (2, 2, 1)]),
    ],
)
def test_levels_are_the_image_by_their_strides(
    strides: list[tuple[int, ...]], shape: tuple[int, ...], finest: int, levels: list[tuple[int, ...]]
) -> None:
    network = Pyramid(2, (4, 6, 8, 10), strides, finest=finest, width=5, dims=len(shape))
    found = network(torch.zeros(3, 2, *shape))
    assert [tuple(level.shape) for level in found] == [(3, 5, *size) for size in levels]


def test_the_finest_level_is_told_by_coarser_ones() -> None:
    """With nothing of its own stage it still holds each place of the next level twice along each axis."""
    torch.manual_seed(0)
    network = Pyramid(1, (4, 4, 4, 4), [(2, 2)] * 3, finest=1, width=4, dims=2).eval()
    for name, weight in network.named_parameters():
        if name.startswith("smooth") and name.endswith("weight"):  # passes on what it gets
            torch.nn.init.dirac_(weight)
        if name == "across.0.weight":
            torch.nn.init.zeros_(weight)
    with torch.inference_mode():
        finest, next_one, _ = network(torch.rand(1, 1, 32, 32))
    assert next_one.std() > 0
    assert torch.equal(finest, next_one.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize("width", [1, 7, 8, 12, 30])
def test_any_number_of_features_can_be_normalised(width: int) -> None:
    assert block(3, width, dims=2)(torch.rand(1, 3, 4, 4)).shape == (1, width, 4, 4)
