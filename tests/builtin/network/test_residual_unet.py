from typing import Literal

import pytest
import torch  # noqa: TID253
from monai.networks.nets.segresnet_ds import SegResNetDS  # noqa: TID253
from overfitting import dice_after
from pydantic import ValidationError

from medseg.builtin.network.residual_unet import ResidualUnet

Dims = Literal[2, 3]


@pytest.mark.parametrize("dims", [2, 3])
def test_logits_have_the_size_of_the_patch(dims: Dims) -> None:
    net = ResidualUnet(channels=4, blocks=(1, 2, 2), deep_supervision=1)
    assert net.divisor(dims=dims) == (4,) * dims
    module = net.build(dims=dims, inputs=2, outputs=3)
    patch = (8, 12, 16)[:dims]
    with torch.inference_mode():
        assert tuple(module.eval()(torch.zeros(1, 2, *patch)).shape) == (1, 3, *patch)
        outputs = module.train()(torch.zeros(1, 2, *patch))
    assert [tuple(logits.shape) for logits in outputs] == [
        (1, 3, *patch),
        (1, 3, *(n // 2 for n in patch)),
    ]


def test_without_deep_supervision_training_gives_one_tensor() -> None:
    module = ResidualUnet(channels=4, blocks=(1, 1)).build(dims=2, inputs=1, outputs=2).train()
    assert tuple(module(torch.zeros(1, 1, 8, 8)).shape) == (1, 2, 8, 8)


def test_weights_without_deep_supervision_are_those_with_it_less_the_coarse_heads() -> None:
    plain = ResidualUnet(channels=4, blocks=(1, 1, 1, 1)).build(dims=2, inputs=1, outputs=2)
    deep = ResidualUnet(channels=4, blocks=(1, 1, 1, 1), deep_supervision=2).build(
        dims=2, inputs=1, outputs=2
    )
    more = set(deep.state_dict()) - set(plain.state_dict())
    assert len(more) == 4
    assert all(".head." in name for name in more)
    plain.load_state_dict({name: deep.state_dict()[name] for name in plain.state_dict()})
    images = torch.randn(1, 1, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(plain.eval()(images), deep.eval()(images))


@pytest.mark.parametrize(
    ("spacing", "divisor"),
    [
        ((1.0, 1.0, 1.0), (8, 8, 8)),
        ((1.0, 1.0, 1.9), (8, 8, 8)),
        ((1.0, 1.0, 2.5), (8, 8, 4)),
        ((5.0, 1.0, 1.0), (2, 8, 8)),
        ((0.5, 1.0, 4.0), (8, 4, 1)),
        ((1.0, 1.0, 40.0), (8, 8, 1)),
        ((1.0, 4.0), (8, 2)),
    ],
)
def test_thick_slices_keep_their_resolution_longer(
    spacing: tuple[float, ...], divisor: tuple[int, ...]
) -> None:
    dims: Dims = 2 if len(spacing) == 2 else 3
    net = ResidualUnet(channels=2, blocks=(1, 1, 1, 1), spacing=spacing)
    assert net.divisor(dims=dims) == divisor
    module = net.build(dims=dims, inputs=1, outputs=2).eval()
    assert isinstance(module, SegResNetDS)
    factor = module.shape_factor()  # type: ignore[no-untyped-call]  # MONAI's own count
    assert tuple(factor) == divisor
    patch = [2 * n for n in divisor]
    with torch.inference_mode():
        assert list(module(torch.zeros(1, 1, *patch)).shape) == [1, 2, *patch]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValidationError, match="3 levels have 1 outputs below the full resolution"):
        ResidualUnet(blocks=(1, 1, 1), deep_supervision=2)
    net = ResidualUnet(spacing=(1.0, 1.0, 5.0))
    for call in (lambda: net.divisor(dims=2), lambda: net.build(dims=2, inputs=1, outputs=2)):
        with pytest.raises(ValueError, match="is for 3 axes, and the network has 2"):
            call()


def test_it_can_be_made_a_graph_with_one_output() -> None:
    net = ResidualUnet(channels=4, blocks=(1, 1, 1), spacing=(1.0, 1.0, 2.0), deep_supervision=1)
    module, images = net.build(dims=3, inputs=1, outputs=2).eval(), torch.randn(1, 1, 8, 8, 4)
    program = torch.export.export(module, (images,))
    assert len(program.graph_signature.user_outputs) == 1
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(images), module(images))


def test_it_learns_one_image() -> None:
    torch.manual_seed(0)
    net = ResidualUnet(channels=8, blocks=(1, 1, 1), spacing=(1.0, 1.0, 2.0), deep_supervision=1)
    assert dice_after(net.build(dims=3, inputs=1, outputs=2), (16, 16, 8), steps=40) > 0.95
