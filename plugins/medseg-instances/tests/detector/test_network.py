"""Both kinds of network: losses with objects and without, what is not known, what is found, what is kept."""

import copy
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 - a test module
from detector.samples import batch, network, two_boxes
from medseg_instances.detector.boxes import overlaps
from medseg_instances.detector.mask_rcnn import MaskRcnn
from medseg_instances.detector.network import DetectorNetwork, box_loss, in_space
from medseg_instances.detector.retinanet import RetinaNet
from medseg_instances.detector.truth import Truth
from touching import TABLE

KINDS = ("mask-rcnn", "retinanet")
TERMS = {
    "mask-rcnn": {"object", "anchor", "label", "box", "mask"},
    "retinanet": {"label", "box", "mask"},
}


def loss(net: DetectorNetwork, given: dict[str, Any]) -> torch.Tensor:
    """With the same draws every time."""
    torch.manual_seed(1)
    return net.loss(given)


def gradients(net: DetectorNetwork, given: dict[str, Any]) -> list[torch.Tensor]:
    net.zero_grad()
    loss(net, given).backward()  # type: ignore[no-untyped-call]  # of PyTorch
    missing = [name for name, each in net.named_parameters() if each.grad is None]
    assert missing == []
    return [each.grad.clone() for each in net.parameters() if each.grad is not None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_losses_with_objects_and_without_reach_every_weight(kind: str, dims: int) -> None:
    """So a weight is trained on every device of several, whatever their samples show."""
    net = network(dims, kind=kind)
    both = batch(np.stack([two_boxes(dims), 0 * two_boxes(dims)]))
    some, none = (batch(each[None]) for each in (two_boxes(dims), 0 * two_boxes(dims)))
    for given in (both, some, none):
        assert all(each.isfinite().all() for each in gradients(net, given))
        assert loss(net, given).isfinite()
    truth = Truth.of(some, 0, TABLE)
    terms = net.losses(net.view(some["image"]), 0, truth)
    assert set(terms) == TERMS[kind]
    assert all(value.item() > 0 for value in terms.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_in_half_precision_it_learns_and_finds(kind: str, dims: int) -> None:
    """As `training.precision: bf16` has it: boxes and losses are in single precision all the same."""
    net, given = network(dims, kind=kind), batch(two_boxes(dims)[None])
    with torch.autocast("cpu", torch.bfloat16):
        half = loss(net, given)
    half.backward()  # type: ignore[no-untyped-call]  # of PyTorch
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(net, given).item(), rel=0.05)
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        (found,) = net.eval()(given["image"], least=0.0)
    assert found.boxes.dtype == torch.float32
    assert len(found.boxes) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_single_voxels_and_all_of_a_patch_are_learnt(kind: str) -> None:
    ids = np.zeros((3, 16, 16), np.int32)
    ids[0, 15, 0], ids[0, 7, 7], ids[1] = 4, 9, 2
    ids[2] = np.arange(1, 257).reshape(16, 16)  # each voxel an object
    assert all(each.isfinite().all() for each in gradients(network(2, kind=kind), batch(ids)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_written_where_nothing_is_known_changes_no_gradient(kind: str, dims: int) -> None:
    """An object there, another, or none: neither is learnt, and it is no background either."""
    net = network(dims, kind=kind, samples=2000)
    unknown = np.zeros((1, *(16,) * dims), np.bool_)
    unknown[0, 9:] = True
    found = []
    for number in (0, 7, 9):
        ids = two_boxes(dims)[None].copy()
        ids[ids == 7] = number
        found.append(gradients(net, batch(ids, unknown=unknown)))
    for other in found[1:]:
        assert all(torch.equal(mine, its) for mine, its in zip(found[0], other, strict=True))
    known = gradients(net, batch(two_boxes(dims)[None]))
    assert any(not torch.equal(mine, its) for mine, its in zip(found[0], known, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_what_is_found_is_sorted_apart_and_within_the_image(kind: str, dims: int) -> None:
    net = network(dims, kind=kind, most=20, overlap=0.3).eval()
    with torch.inference_mode():
        (found, _) = net(torch.rand(2, 1, *(16,) * dims), least=0.0)
    count = len(found.boxes)
    assert 0 < count <= 20
    assert found.masks.shape == (count, *(8,) * dims)
    assert ((found.masks >= 0) & (found.masks <= 1)).all()
    assert (found.scores.diff() <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= 16).all()
    for label in range(2):
        own = found.boxes[found.labels == label]
        apart = overlaps(own, own).fill_diagonal_(0)
        assert (apart <= in_space(0.3, dims) + 1e-6).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_all_that_it_makes_is_on_its_own_device(kind: str, dims: int) -> None:
    """Where tensors that name no device would go elsewhere, to one where nothing can be computed."""
    net, given = network(dims, kind=kind), batch(two_boxes(dims)[None])
    given["valid"][:, :, 12:] = 0
    own, image = gradients(net, given), given["image"]
    with torch.inference_mode():
        (wanted,) = net(image, least=0.0)
    with torch.device("meta"):
        torch.manual_seed(1)
        net.zero_grad()
        net.loss(given).backward()  # type: ignore[no-untyped-call]  # of PyTorch
        with torch.inference_mode():
            (found,) = net(image, least=0.0)
    grads = [each.grad for each in net.parameters() if each.grad is not None]
    assert all(torch.equal(mine, its) for mine, its in zip(own, grads, strict=True))
    assert {each.device.type for each in (found.boxes, found.labels, found.scores, found.masks)} == {"cpu"}
    assert torch.equal(found.masks, wanted.masks)


@pytest.mark.parametrize("kind", KINDS)
def test_less_sure_objects_are_left_out(kind: str) -> None:
    net = network(2, kind=kind, score=1.0).eval()
    with torch.inference_mode():
        (none,) = net(torch.rand(1, 1, 16, 16))
        (some,) = net(torch.rand(1, 1, 16, 16), least=0.005)
    assert (len(none.boxes), tuple(none.masks.shape)) == (0, (0, 8, 8))
    assert (some.scores >= 0.005).all()


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_learnt_is_in_its_state(kind: str) -> None:
    """Another network with this one's state finds the same; a copy is one of its own."""
    first, image = network(2, kind=kind).eval(), torch.rand(1, 1, 16, 16)
    second = copy.deepcopy(first)
    torch.manual_seed(9)
    third = first.how.untrained(TABLE).eval()
    third.load_state_dict(first.state_dict())
    with torch.inference_mode():
        found = [net(image, least=0.0)[0] for net in (first, second, third)]
    for other in found[1:]:
        assert torch.equal(other.boxes, found[0].boxes)
        assert torch.equal(other.masks, found[0].masks)


def test_kinds_are_what_they_are_called() -> None:
    assert isinstance(network(2), MaskRcnn)
    assert isinstance(network(3, kind="retinanet"), RetinaNet)


def test_the_loss_of_a_box_by_hand() -> None:
    """Squared within 1/9, straight beyond."""
    deltas = torch.tensor([[0.05, 0.0, 1.0, 0.0]], dtype=torch.float64)
    wanted = 0.5 * 0.05**2 * 9 + (1 - 0.5 / 9)
    assert box_loss(deltas, torch.zeros(1, 4, dtype=torch.float64)).item() == pytest.approx(wanted)


def test_overlaps_in_space_ask_the_same_along_each_axis() -> None:
    assert in_space(0.5, 2) == 0.5
    assert in_space(0.49, 3) == pytest.approx(0.7**3)
