"""Batches of a training, with known objects; small detectors."""

from typing import Any

import numpy as np
import torch  # noqa: TID253
from medseg_instances.detector.network import DetectorNetwork
from medseg_instances.detector.segmenter import Detector
from numpy.typing import NDArray
from touching import TABLE

SMALL: dict[str, Any] = {
    "features": (6, 8, 12),
    "finest": 1,
    "pyramid": 8,
    "anchor_size": 4.0,
    "octave": 1,
    "proposals": 30,
    "samples": 16,
    "mask_bins": 4,
}


def detector(dims: int, **parameters: Any) -> Detector:
    """One that computes in no time."""
    return Detector.model_validate({"window": {"patch": (16,) * dims}, **SMALL, **parameters})


def network(dims: int, **parameters: Any) -> DetectorNetwork:
    """Its network for two labels, with the same weights every time."""
    torch.manual_seed(0)
    return detector(dims, **parameters).untrained(TABLE)


def batch(ids: NDArray[Any], *, unknown: NDArray[np.bool_] | None = None, seed: int = 0) -> dict[str, Any]:
    """Samples `ids[N, *patch]`, of which every third object is "long"; the image is noise."""
    values = np.where(ids == 0, 0, np.where(ids % 3 == 0, 5, 2))
    known = np.ones(ids.shape, np.float32) if unknown is None else 1 - unknown.astype(np.float32)
    image = np.random.default_rng(seed).normal(0, 1, ids.shape).astype(np.float32)
    return {
        "image": torch.from_numpy(image)[:, None],
        "labels": torch.from_numpy(values.astype(np.int32))[:, None],
        "objects": torch.from_numpy(ids.astype(np.int32))[:, None],
        "valid": torch.from_numpy(known)[:, None],
        "maps": {},
    }


def two_boxes(dims: int) -> NDArray[np.int32]:
    """Objects 3 and 7 in a patch of 16 voxels, of which 7 reaches its faces."""
    ids = np.zeros((16,) * dims, np.int32)
    ids[(slice(2, 8),) * dims] = 3
    ids[(slice(9, 16),) * dims] = 7
    return ids
