"""Training a network on one image, to see that it can learn at all."""

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from medseg.builtin.head.softmax import Softmax
from medseg.builtin.loss.dice_ce import DiceCe


def dice_after(module: nn.Module, patch: tuple[int, ...], *, steps: int) -> float:
    """Dice of a ball in noise after so many steps on it; coarse outputs are trained on a coarse ball."""
    image, mask = ball(patch)
    loss = DiceCe().build(Softmax(), spacing=(1.0,) * len(patch), channels=2)
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    module.train()
    for _ in range(steps):
        outputs = module(image)
        total = torch.zeros(())
        for logits in outputs if isinstance(outputs, list) else [outputs]:
            share = nn.functional.interpolate(mask, logits.shape[2:], mode="area")
            target = torch.cat([1 - share, share], 1)
            total = total + loss(logits, target, torch.ones_like(share), {})
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    with torch.inference_mode():
        found = module.eval()(image).argmax(1, keepdim=True)
    return float(2 * (found * mask).sum() / (found.sum() + mask.sum()))


def ball(patch: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """An image `[1, 1, *patch]` of noise with a brighter ball, off the middle, and its mask."""
    lines = [torch.linspace(-1, 1, n) + 0.2 for n in patch]
    away = torch.stack(torch.meshgrid(*lines, indexing="ij")).norm(dim=0)
    mask = (away < 0.6).float()[None, None]
    noise = torch.randn(mask.shape, generator=torch.Generator().manual_seed(0))
    return mask + 0.5 * noise, mask
