"""Trained weights: safetensors files in a model's folder, known by their checksums.

For segmenters of plugins too: a field `weights: tuple[WeightsFile, ...]`, `require_weights` in `bound`, and
`load_weights` where the network is opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from medseg.errors import ModelError, PipelineError
from medseg.io.regular_file import printable
from medseg.io.weights import check_weights, weights_file
from medseg.steps import Step

if TYPE_CHECKING:
    import torch

__all__ = ["WeightsFile", "load_weights", "require_weights"]


class WeightsFile(BaseModel):
    """A safetensors file in the model's folder."""

    model_config = Step.model_config

    path: str = Field(min_length=1, max_length=200)
    """Where it is, relative to the model's folder."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Its SHA-256; another file is refused."""


def require_weights(files: Sequence[WeightsFile], folder: Path | None) -> Path:
    """The folder in which these files are, sound and unaltered.

    Raises PipelineError where none are named or no folder is known, ModelError with what is wrong of a file.
    """
    if not files:
        raise PipelineError("weights: there are none; train them with `medseg train`, or name their files")
    if folder is None:
        raise PipelineError("weights: lie in a model's folder, and none is known here")
    for file in files:
        check_weights(weights_file(folder, file.path), file.sha256)
    return folder


def load_weights(module: torch.nn.Module, folder: Path, file: WeightsFile) -> None:
    """Fill a module with the tensors of a safetensors file, stored in single or half precision.

    The bytes that are loaded are those whose checksum is right, even if the file changes meanwhile. Raises
    ModelError with the first tensor that is missing, unexpected or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = weights_file(folder, file.path)
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ModelError(
                f"{printable(path)}: the file was altered since the pipeline was read; run again"
            )
        stored = load(content)
    except OSError as problem:
        raise ModelError(f"{printable(path)}: cannot be read: {problem.strerror}") from problem
    except SafetensorError as problem:
        raise ModelError(f"{printable(path)}: is not a sound safetensors file: {problem}") from problem
    fault = _misfit(stored, module.state_dict())
    if fault is not None:
        raise ModelError(f"{printable(path)}: {fault}; is it of another architecture?")
    module.load_state_dict(stored, strict=False)  # _misfit is the stricter one, and knows shared tensors


def _misfit(stored: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str | None:
    """The first tensor by which a file and a network differ, in words; None where they fit.

    A tensor that a network has under several names, as MONAI's DynUNet does, need be stored under one only.
    """
    filled = {tensor.data_ptr() for name, tensor in wanted.items() if name in stored}
    for name, tensor in wanted.items():
        found = stored.get(name)
        if found is None:
            if tensor.numel() and tensor.data_ptr() in filled:
                continue
            return f"has no tensor {name!r}, which the network needs"
        if found.shape != tensor.shape:
            return f"tensor {name!r} is {list(found.shape)}, and the network's is {list(tensor.shape)}"
        if found.is_floating_point() != tensor.is_floating_point():
            return f"tensor {name!r} is {found.dtype}, and the network's is {tensor.dtype}"
    extra = next((name for name in stored if name not in wanted), None)
    return None if extra is None else f"has a tensor {extra!r} that the network has no place for"
