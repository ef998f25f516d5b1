"""Pictures and volumes of two kinds of objects that touch, as a dataset; a training on it; what it finds."""

import json
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel  # noqa: TID253 - a test module
import numpy as np
from numpy.typing import NDArray
from PIL import Image  # noqa: TID253
from touching import average_precision

import medseg
from medseg.segmentation import LabelTable, Segmentation
from medseg.training.dataset import open_dataset, read_case
from medseg.training.train import train
from medseg.training.wishes import Wishes

nibabel: Any = untyped_nibabel
CPU = medseg.Resources(device="cpu", engine="torch", threads=1)
KINDS = ("round", "long")
Array = NDArray[Any]


def scene(shape: tuple[int, ...], seed: int) -> tuple[Array, Array]:
    """An image, and ids: balls, and ellipsoids that are darker and half as thick, side by side; 2-D or 3-D.

    Odd ids are round, even ones long.
    """
    rng = np.random.default_rng(seed)
    place = np.indices(shape)
    ids = np.zeros(shape, np.uint16)
    step = 15
    for n, cell in enumerate(np.ndindex(*(size // step for size in shape)), start=1):
        centre = [step * at + step / 2 + rng.uniform(-1, 1) for at in cell]
        radii = np.full(len(shape), 7.8)
        if n % 2 == 0:
            radii[0] = 4.5
        far = sum(((a - c) / r) ** 2 for a, c, r in zip(place, centre, radii, strict=True))
        ids[np.asarray(far <= 1) & (ids == 0)] = n
    image = np.where(ids == 0, 20.0, np.where(ids % 2, 200.0, 120.0)) + rng.normal(0, 8, shape)
    return image.clip(0, 255), ids


def dataset(folder: Path, shape: tuple[int, ...], cases: int = 2) -> Path:
    """A table of images and a mask of ids for each kind."""
    folder.mkdir(parents=True)
    rows = ["case,image,label:round,label:long"]
    for number in range(cases):
        image, ids = scene(shape, number)
        masks = (np.where(ids % 2 == 1, ids, 0), np.where(ids % 2 == 0, ids, 0))
        names = [_save(folder / f"{kind}{number}", array) for kind, array in zip(KINDS, masks, strict=True)]
        rows.append(
            ",".join([f"c{number}", _save(folder / f"image{number}", image.astype(np.uint8)), *names])
        )
    (folder / "set.csv").write_text("\n".join(rows) + "\n")
    (folder / "set.yaml").write_text("labels: {round: any, long: any}\n")
    return folder / "set.csv"


def _save(path: Path, array: Array) -> str:
    """As a PNG, or as NIfTI with voxels of 1 mm where it has three axes; the file's name."""
    if array.ndim == 2:
        name = f"{path.name}.png"
        Image.fromarray(np.ascontiguousarray(array.T)).save(path.with_name(name))
        return name
    name = f"{path.name}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path.with_name(name))
    return name


def learnt(
    folder: Path, head: str, shape: tuple[int, ...], *, epochs: int, **parameters: object
) -> dict[str, list[float | None]]:
    """AP at an IoU of 0.5 of each label in each case that the head was trained on."""
    dims = len(shape)
    dynunet = {
        "channels": [12, 24, 48],
        "strides": [[2] * dims] * 2,
        "kernels": [[3] * dims] * 3,
        "deep_supervision": 0,
    }
    network = {
        "architecture": {"dynunet": dynunet},
        "head": {head: {"size": 24, **parameters}},
        "window": {"patch": [48 if dims == 2 else 32] * dims},
    }
    return learnt_by({"network": network}, folder, shape, epochs=epochs)


def learnt_by(
    segment: dict[str, Any], folder: Path, shape: tuple[int, ...], *, epochs: int, rate: float = 0.005
) -> dict[str, list[float | None]]:
    """AP at an IoU of 0.5 of each label in each case that the segmenter was trained on."""
    dims = len(shape)
    data = dataset(folder / "data", shape)
    overlay = {
        "preprocess": ["z-score"],
        "segment": segment,
        "training": {
            "augment": ["flip"] if dims == 2 else [],
            "batch": 4 if dims == 2 else 2,
            "steps_per_epoch": 40,
            "averaging": 0.9,
            "warm_up": 10,
            "rate": rate,
        },
        "write": ["nifti"],
        "measure": ["objects"],
    }
    pipeline = folder / "p.yaml"
    pipeline.write_text(json.dumps(overlay))
    wishes = Wishes(pipeline=pipeline, epochs=epochs, validation=0)
    done = train(data, folder / "run", wishes=wishes, resources=CPU)
    assert done.model is not None
    return dict(zip(KINDS, _scores(data, done.model), strict=True))


def _scores(data: Path, model: Path) -> list[list[float | None]]:
    found = open_dataset(data)
    scores: list[list[float | None]] = [[], []]
    for case in found.cases:
        example = read_case(case, found)
        assert example.segmentation is not None
        result = medseg.segment(example.volume, model=str(model), resources=CPU)
        own = _as_named(result.segmentation, example.segmentation.labels)
        ap = average_precision(own, example.segmentation, 0.5)
        for values, kind in zip(scores, KINDS, strict=True):
            values.append(ap[kind])
        counted = {row.label: row.value for row in result.measurements if row.quantity == "objects"}
        assert sum(int(value or 0) for value in counted.values()) == len(result.segmentation.objects)
    return scores


def _as_named(found: Segmentation, labels: LabelTable) -> Segmentation:
    assert found.kinds == ("objects",)
    return found.replace(labels=labels)
