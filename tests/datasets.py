"""Small datasets as people have them: files in folders, with known labels."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as untyped_nibabel  # noqa: TID253
import numpy as np
from numpy.typing import NDArray
from PIL import Image  # noqa: TID253

nibabel: Any = untyped_nibabel
SHAPE = (8, 7, 6)
AFFINE = np.diag([1.5, 2.0, 3.0, 1.0])
Array = NDArray[Any]


def labels(*values: int, size: int = 2) -> Array:
    """A box of `size` x 2 x 2 voxels for each value, one above the other."""
    array = np.zeros(SHAPE, np.uint8)
    for number, value in enumerate(values):
        array[1 : 1 + size, 2:4, 2 * number : 2 * number + 2] = value
    return array


def image(seed: int = 0, offset: float = 100.0) -> Array:
    """Noise around `offset`, another for each seed."""
    return (np.random.default_rng(seed).normal(0, 1, SHAPE) + offset).astype(np.float32)


def nifti(path: Path, array: Array, affine: Array = AFFINE) -> Path:
    """Write an image; its last axis is volumes where it has four."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = nibabel.Nifti1Image(array, affine)
    held.header.set_xyzt_units("mm")
    held.set_sform(affine, 1)
    held.set_qform(affine, 1)
    nibabel.save(held, path)
    return path


def picture(path: Path, array: Array) -> Path:
    """Write `[x, y]` or `[x, y, 3]` as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(array.swapaxes(0, 1))).save(path)
    return path


def table(path: Path, *rows: str) -> Path:
    """Write a text file, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def pairs(folder: Path, masks: Sequence[Array], *, names: Sequence[str] = (), images: str = "images") -> Path:
    """`images/` and `labels/`; cases are called case0, case1, … unless `names` says how."""
    for number, mask in enumerate(masks):
        name = names[number] if names else f"case{number}"
        nifti(folder / images / f"{name}.nii.gz", image(number))
        nifti(folder / images.replace("images", "labels") / f"{name}.nii.gz", mask)
    return folder


def decathlon(
    folder: Path, masks: Sequence[Array], *, modalities: Sequence[str] = ("MRI",), **more: Any
) -> Path:
    """A folder of the Medical Segmentation Decathlon, with a test case that has no mask."""
    training = []
    for number, mask in enumerate([*masks, None]):
        channels = [image(number, 100.0 * (n + 1)) for n in range(len(modalities))]
        array = np.stack(channels, axis=-1) if len(channels) > 1 else channels[0]
        part = "imagesTs" if mask is None else "imagesTr"
        nifti(folder / part / f"brain_{number:03d}.nii.gz", array)
        if mask is not None:
            nifti(folder / "labelsTr" / f"brain_{number:03d}.nii.gz", mask)
            name = f"brain_{number:03d}.nii.gz"
            training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    told = {
        "name": "Brain",
        "description": "Boxes",
        "reference": "https://example.org/boxes",
        "licence": "CC-BY-SA 4.0",
        "modality": {str(n): name for n, name in enumerate(modalities)},
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": training,
        "test": [f"./imagesTs/brain_{len(masks):03d}.nii.gz"],
        **more,
    }
    (folder / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def nnunet(
    folder: Path, masks: Sequence[Array], *, channels: Sequence[str], names: Mapping[str, Any], **more: Any
) -> Path:
    """A raw folder of nnU-Net v2."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, mask in enumerate(masks):
        for channel in range(len(channels)):
            path = folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz"
            nifti(path, image(number, 100.0 * (channel + 1)))
        nifti(folder / "labelsTr" / f"case_{number}.nii.gz", mask)
    told = {
        "channel_names": {str(n): name for n, name in enumerate(channels)},
        "labels": dict(names),
        "numTraining": len(masks),
        "file_ending": ".nii.gz",
        **more,
    }
    (folder / "dataset.json").write_text(json.dumps(told), encoding="utf-8")
    return folder
