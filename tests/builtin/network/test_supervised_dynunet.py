from typing import Any

import torch  # noqa: TID253
from monai.networks.nets.dynunet import DynUNet  # noqa: TID253

from medseg.builtin.network.supervised_dynunet import SupervisedDynUNet

PARAMETERS: dict[str, Any] = {
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 3,
    "kernel_size": [3, 3, 3, 3],
    "strides": [1, 2, 2, 2],
    "upsample_kernel_size": [2, 2, 2],
    "filters": [4, 6, 8, 10],
}


def test_its_outputs_are_those_of_monai_before_they_are_enlarged() -> None:
    ours = SupervisedDynUNet(2, **PARAMETERS).train()
    theirs = DynUNet(**PARAMETERS, deep_supervision=True, deep_supr_num=2).train()
    weights = {
        name.replace("supervision_heads", "deep_supervision_heads"): tensor
        for name, tensor in ours.state_dict().items()
    }
    for level in (0, 1):  # MONAI lists its heads a second time
        place = ".".join(["skip_layers", *["next_layer"] * (level + 1), "super_head"])
        head = f"deep_supervision_heads.{level}."
        weights |= {
            name.replace(head, f"{place}."): tensor
            for name, tensor in weights.items()
            if name.startswith(head)
        }
    theirs.load_state_dict(weights)
    images = torch.randn(2, 1, 16, 16)
    for found, expected in zip(ours(images), theirs(images).unbind(1), strict=True):
        enlarged = torch.nn.functional.interpolate(found, (16, 16))
        torch.testing.assert_close(enlarged, expected)


def test_its_heads_start_as_the_other_layers_do() -> None:
    torch.manual_seed(0)
    module = SupervisedDynUNet(1, **{**PARAMETERS, "filters": [64, 400, 64, 64], "out_channels": 50})
    weights = module.supervision_heads.state_dict()
    spread = weights["0.conv.conv.weight"].std().item()
    assert abs(spread / (2 / (1 + 0.01**2) / 400) ** 0.5 - 1) < 0.05  # Kaiming's, for 400 inputs
    assert not weights["0.conv.conv.bias"].any()
