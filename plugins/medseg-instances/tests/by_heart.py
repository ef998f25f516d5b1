"""A small network that learns one image by heart, and the objects that it then gives back."""

from typing import Literal

import numpy as np
import torch  # noqa: TID253
from medseg_instances.instance_head import InstanceHead
from numpy.typing import NDArray
from touching import decoded

from medseg.builtin.network.dynunet import DynUnet
from medseg.segmentation import Segmentation
from medseg.steps import Loss

RATE = 1e-2
STRIDE = 8  # of the network below


def picture(wanted: Segmentation) -> NDArray[np.float32]:
    """Noise, with objects that are brighter, and darker where they meet: those of "long" brightest."""
    ids = wanted.array[0].astype(np.int64)
    noise = np.random.default_rng(0).normal(0, 0.1, ids.shape)
    bright = (ids > 0) + 0.7 * wanted.mask("long")
    for axis in range(3):
        meets = (np.diff(ids, axis=axis, prepend=0) != 0) & (ids > 0)
        bright = np.where(meets, bright - 0.3, bright)
    return np.asarray(bright + noise, np.float32)


def recalled(head: InstanceHead, loss: Loss, wanted: Segmentation, *, steps: int) -> Segmentation:
    """What a network finds in an image after so many steps on that image alone."""
    torch.manual_seed(0)
    shape = wanted.grid.shape
    dims: Literal[2, 3] = 2 if shape[2] == 1 else 3
    padding = [n for size in reversed(shape[:dims]) for n in (0, -size % STRIDE)]

    def batch(channels: NDArray[np.float32]) -> torch.Tensor:
        whole = torch.from_numpy(channels.reshape(-1, *shape[:dims]))[None]
        return torch.nn.functional.pad(whole, padding)

    image, target = batch(picture(wanted)), batch(head.target(wanted))
    known = batch(np.ones(shape, np.float32))
    module = DynUnet(channels=(16, 24, 32, 48)).build(dims=dims, inputs=1, outputs=target.shape[1])
    criterion = loss.build(head, spacing=(1.0,) * dims, channels=target.shape[1])
    optimiser = torch.optim.AdamW(module.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        value = criterion(module(image), target, known, {})
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
    with torch.inference_mode():
        logits = module.eval()(image)[0].numpy()
    inner = tuple(slice(0, size) for size in shape[:dims])
    return decoded(head, logits[(slice(None), *inner)].reshape(-1, *shape), wanted)
