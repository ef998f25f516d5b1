"""Weights in a model's folder: what is refused, and that what was saved comes back."""

import hashlib
from pathlib import Path

import pytest
import torch  # noqa: TID253 - a test module
from safetensors.torch import save_file

from medseg.errors import ModelError, PipelineError
from medseg.weights import WeightsFile, load_weights, require_weights


def network(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3))


def kept(folder: Path, seed: int = 0) -> WeightsFile:
    path = folder / "w.safetensors"
    save_file(network(seed).state_dict(), path)
    return WeightsFile(path=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    file, other = kept(tmp_path), network(1)
    assert require_weights([file], tmp_path) == tmp_path
    load_weights(other, tmp_path, file)
    wanted = network(0).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in other.state_dict().items())


def test_without_files_or_a_folder_there_is_nothing_to_run(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="weights: there are none; train them"):
        require_weights([], tmp_path)
    with pytest.raises(PipelineError, match="weights: lie in a model's folder"):
        require_weights([kept(tmp_path)], None)


def test_an_altered_file_is_refused_at_once_and_when_it_is_loaded(tmp_path: Path) -> None:
    file = kept(tmp_path)
    kept(tmp_path, seed=3)
    with pytest.raises(ModelError, match="was altered or is another one"):
        require_weights([file], tmp_path)
    with pytest.raises(ModelError, match="was altered since the pipeline was read"):
        load_weights(network(0), tmp_path, file)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = kept(tmp_path)
    with pytest.raises(ModelError, match=r"tensor '0.weight' is \[3, 1, 3, 3\], and the network's is \[4, 1"):
        load_weights(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4)), tmp_path, file)
