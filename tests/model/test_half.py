"""Weights in half precision: rounded once, everything else as it was."""

import hashlib
from pathlib import Path

import pytest
import torch  # noqa: TID253
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from medseg.errors import ModelError
from medseg.model.half import halve


def test_numbers_are_rounded_to_half_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    whole = torch.arange(5)
    short = torch.tensor([1.5, -3.0], dtype=torch.bfloat16)
    save_file(
        {
            "a": torch.tensor([1.0, 1 + 2**-11, -65504.0, 1e-9, torch.inf]),
            "b": torch.tensor([0.1], dtype=torch.float64),
            "n": whole,
            "s": short,
        },
        path,
        metadata={"other": "a"},
    )
    assert halve(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    stored = load_file(path)
    # 1 + 2^-11 lies in the middle of two numbers of half precision, and goes to the even one
    assert stored["a"].tolist() == [1.0, 1.0, -65504.0, 0.0, torch.inf]
    assert stored["b"].dtype == torch.float16
    assert float(stored["b"]) == pytest.approx(0.1, rel=2**-11)
    assert torch.equal(stored["n"], whole)
    assert stored["s"].dtype == torch.bfloat16
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"other": "a"}


def test_twice_is_once(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.rand(64)}, path)
    assert halve(path) == halve(path)


def test_a_number_that_half_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"fine": torch.ones(3), "running_var": torch.tensor([1.0, 70000.0])}, path)
    before = path.read_bytes()
    with pytest.raises(ModelError, match="'running_var' holds numbers beyond 65504"):
        halve(path)
    assert path.read_bytes() == before
