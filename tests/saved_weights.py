"""Random weights of a network in a file, as a pipeline names it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch  # noqa: TID253
from safetensors.torch import save_file

from medseg.steps import Network

__all__ = ["saved"]


def saved(network: Network, folder: Path, *, seed: int = 0, outputs: int = 3) -> dict[str, str]:
    """Path and checksum of the weights that a 3-D network of one input has with this seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = network.build(dims=3, inputs=1, outputs=outputs).state_dict()
    file = folder / f"{seed}.safetensors"
    save_file(state, file)
    return {"path": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
