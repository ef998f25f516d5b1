"""A small detector that learns one image by heart, and the objects that it then gives back."""

from typing import Any

import numpy as np
import torch  # noqa: TID253
from by_heart import picture
from medseg_instances.detector.search import search
from medseg_instances.detector.segmenter import Detector

from medseg.segmentation import Segmentation
from medseg.volume import Volume

BATCH = 1
LEARNT: dict[str, Any] = {
    "features": (12, 24, 48, 64),
    "finest": 1,
    "pyramid": 32,
    "anchor_size": 5.0,
    "octave": 1,
    "proposals": 48,
    "samples": 32,
    "mask_bins": 8,
}


def recalled(
    wanted: Segmentation, patch: tuple[int, ...], *, steps: int, rate: float = 4e-3, **parameters: Any
) -> Segmentation:
    """What a detector finds in an image after so many steps on patches of that image alone."""
    torch.manual_seed(0)
    how = Detector.model_validate({**LEARNT, "window": {"patch": patch}, **parameters})
    how.check(wanted.labels)
    network = how.untrained(wanted.labels).train()
    image = picture(wanted)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        value = how.training_loss(
            network,
            _batch(image, wanted, patch, rng),
            labels=wanted.labels,
            spacing=(1.0,) * len(patch),
            loss=None,
        )
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]  # of PyTorch
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
    with torch.inference_mode():
        return search(Volume(image[None], wanted.grid), [network.eval()], how=how, labels=wanted.labels)


def _batch(
    image: Any, wanted: Segmentation, patch: tuple[int, ...], rng: np.random.Generator
) -> dict[str, Any]:
    """Patches, anywhere."""
    whole = {"image": image[None], "labels": wanted.by_label().array, "objects": wanted.array}
    parts: dict[str, list[torch.Tensor]] = {name: [] for name in whole}
    for _ in range(BATCH):
        sides = (*patch, 1)[:3]
        start = [int(rng.integers(0, n - side + 1)) for n, side in zip(image.shape, sides, strict=True)]
        region = tuple(slice(a, a + side) for a, side in zip(start, sides, strict=True))
        for name, array in whole.items():
            cut = array[(slice(None), *region)].reshape(1, *patch)
            parts[name].append(torch.from_numpy(cut.astype(np.float32 if name == "image" else np.int32)))
    batch: dict[str, Any] = {name: torch.stack(each) for name, each in parts.items()}
    return {**batch, "valid": torch.ones_like(batch["image"]), "maps": {}}
