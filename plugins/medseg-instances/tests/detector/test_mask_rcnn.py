"""Mask R-CNN: proposals, and what is learnt where none of them is of an object."""

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from detector.samples import batch, network, two_boxes
from medseg_instances.detector.boxes import overlaps, sides
from medseg_instances.detector.mask_rcnn import MaskRcnn
from medseg_instances.detector.network import in_space
from medseg_instances.detector.truth import Truth
from touching import TABLE


def rcnn(dims: int, **parameters: object) -> MaskRcnn:
    found = network(dims, **parameters)
    assert isinstance(found, MaskRcnn)
    return found


@pytest.mark.parametrize("dims", [2, 3])
def test_proposals_are_few_apart_and_within_the_image(dims: int) -> None:
    net = rcnn(dims, proposals=12)
    found = net.proposals(net.view(torch.rand(2, 1, *(16,) * dims)), 1)
    assert 0 < len(found) <= 12
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 16
    assert (sides(found) > 0).all()
    assert (overlaps(found, found).fill_diagonal_(0) <= in_space(0.7, dims) + 1e-6).all()


def test_a_thousand_proposals_of_which_none_is_of_an_object() -> None:
    net = rcnn(2, samples=1000, window={"patch": (64, 64)})
    given = batch(np.zeros((1, 64, 64), np.int32))
    view, truth = net.view(given["image"]), Truth.of(given, 0, TABLE)
    proposals = view.anchors.boxes[:1000]
    assert len(proposals) == 1000
    terms = net.region_losses(view, 0, truth, proposals)
    assert terms["box"].item() == terms["mask"].item() == 0
    assert 0 < terms["label"].item() < 10
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]  # of PyTorch
    assert all(each.grad is not None for each in net.regions.parameters())


def test_without_proposals_the_objects_themselves_are_learnt() -> None:
    net, given = rcnn(2), batch(two_boxes(2)[None])
    view, truth = net.view(given["image"]), Truth.of(given, 0, TABLE)
    terms = net.region_losses(view, 0, truth, torch.zeros(0, 4))
    assert all(value.item() > 0 for value in terms.values())


def test_without_proposals_and_objects_nothing_is_learnt() -> None:
    net, given = rcnn(2), batch(0 * two_boxes(2)[None])
    view, truth = net.view(given["image"]), Truth.of(given, 0, TABLE)
    (nothing,) = net.region_losses(view, 0, truth, torch.zeros(0, 4)).values()
    assert nothing.item() == 0
    nothing.backward()  # type: ignore[no-untyped-call]  # of PyTorch
    assert all(each.grad is not None for each in [*net.regions.parameters(), *net.masks.parameters()])
