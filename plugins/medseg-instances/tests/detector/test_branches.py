"""Branches: shapes, the order of anchors, and that a mask is its own label's."""

import pytest
import torch  # noqa: TID253 - a test module
from medseg_instances.detector.anchors import Anchors, shapes
from medseg_instances.detector.branches import BINS, BoxBranch, DenseBranch, MaskBranch


@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_told_is_in_the_order_of_the_anchors(dims: int) -> None:
    """A last convolution that gives its place's own value, plus 1000 times the number of shape and kind."""
    sizes = [(3, 4, 2)[:dims], (2, 2, 1)[:dims]]
    levels = [torch.rand(2, 1, *size) for size in sizes]
    sides = shapes(2.0, 2, (), dims)
    branch = DenseBranch(1, kinds=3, shapes=len(sides), depth=0, dims=dims)
    last = branch.classes[0]
    assert isinstance(last, torch.nn.Conv2d | torch.nn.Conv3d)
    assert last.bias is not None
    with torch.no_grad():
        last.weight.zero_()
        last.weight.flatten(2)[:, 0, 3**dims // 2] = 1  # its middle
        last.bias.copy_(1000 * torch.arange(len(sides) * 3))
        logits, deltas = branch(levels)
    anchors = Anchors.of(levels, [(1,) * dims, (2,) * dims], sides)
    assert logits.shape == (2, len(anchors.boxes), 3)
    assert deltas.shape == (2, len(anchors.boxes), 2 * dims)
    wanted = torch.cat([level.flatten(2)[:, 0] for level in levels], 1).repeat_interleave(len(sides), 1)
    number = torch.arange(len(sides)).repeat(len(anchors.boxes) // len(sides))
    for kind in range(3):
        assert torch.allclose(logits[..., kind], wanted + 1000.0 * (3 * number + kind))


def test_a_new_network_says_that_objects_are_rare() -> None:
    logits, _ = DenseBranch(8, kinds=2, shapes=3, depth=1, dims=2)([torch.zeros(1, 8, 4, 4)])
    assert logits.sigmoid().mean().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("dims", [2, 3])
def test_of_each_box_labels_and_a_finer_box(dims: int) -> None:
    branch = BoxBranch(6, labels=4, dims=dims)
    logits, deltas = branch(torch.rand(5, 6, *(BINS,) * dims))
    assert (logits.shape, deltas.shape) == ((5, 5), (5, 2 * dims))
    logits, deltas = branch(torch.rand(0, 6, *(BINS,) * dims))
    assert (len(logits), len(deltas)) == (0, 0)


@pytest.mark.parametrize("dims", [2, 3])
def test_a_mask_is_of_its_label(dims: int) -> None:
    torch.manual_seed(0)
    branch = MaskBranch(8, labels=3, dims=dims)
    features = torch.rand(1, 8, *(5,) * dims).expand(4, *(-1,) * (dims + 1))
    found = branch(features, torch.tensor([0, 1, 2, 1]))
    assert found.shape == (4, *(10,) * dims)
    assert torch.equal(found[1], found[3])
    assert not torch.allclose(found[0], found[1])
    with torch.no_grad():
        branch.bias[2] += 7
    assert torch.allclose(branch(features[:2], torch.tensor([2, 1]))[0], found[2] + 7, atol=1e-5)
