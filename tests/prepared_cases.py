"""Prepared cases with known content, made without images, pipelines or preprocessing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.pipeline import Stage
from medseg.steps import Augmentation
from medseg.training.prepared import PreparedCase
from medseg.volume import Grid

__all__ = ["prepared", "staged"]

Array = NDArray[Any]


def prepared(
    folder: Path,
    image: Array,
    labels: Array,
    *,
    values: Sequence[int] = (1,),
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    fill: Sequence[float] | None = None,
    valid: Array | None = None,
    maps: Mapping[str, Array] | None = None,
    objects: Array | None = None,
) -> PreparedCase:
    """A case of `image[C, i, j, k]` and `labels[i, j, k]`, whose labels have these values, in a folder.

    `objects[i, j, k]` are ids, for heads that tell them apart.
    """
    folder.mkdir(parents=True)
    places = [np.flatnonzero(labels == value) for value in values]
    arrays: dict[str, Array] = {
        "image": image.astype(np.float32),
        "labels": labels[None].astype(np.uint8),
        "places": np.concatenate(places),
        **({} if valid is None else {"valid": valid[None].astype(np.uint8)}),
        **({} if valid is None else {"known-places": np.flatnonzero(valid)}),
        **({} if objects is None else {"objects": objects[None].astype(np.uint32)}),
        **{f"map-{name}": each.astype(np.float32) for name, each in (maps or {}).items()},
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    i, j, k = labels.shape
    return PreparedCase(
        id=folder.name,
        subject=folder.name,
        folder=folder,
        grid=Grid((i, j, k), np.diag([*spacing, 1.0])),
        channels=tuple(f"c{n}" for n in range(len(image))),
        fill=tuple(float(channel.min()) for channel in image) if fill is None else tuple(fill),
        counts=tuple(map(len, places)),
        maps=tuple(maps or ()),
        partly_valid=valid is not None,
        of_objects=objects is not None,
    )


def staged(*steps: Augmentation) -> list[Stage[Augmentation]]:
    """Augmentations as a pipeline file would name them, of a plugin called fake."""
    return [
        Stage(f"training.augment[{n}]", type(step).__name__.lower(), "fake", "1.0", step, {})
        for n, step in enumerate(steps)
    ]
