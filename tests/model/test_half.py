"""Weights in half precision: rounded once, everything else as it was."""

import hashlib
from pathlib import Path

import numpy as np
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
    rounded = halve(path)
    assert (rounded.sha256, rounded.tensors) == (hashlib.sha256(path.read_bytes()).hexdigest(), 2)
    # a: 2^-11 of numbers whose norm is 65504, so b decides: 0.1 lies 2.4e-5 from the next half
    assert rounded.error == pytest.approx(abs(float(np.float16(0.1)) - 0.1) / 0.1)
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
    first, again = halve(path), halve(path)
    assert (first.sha256, first.tensors) == (again.sha256, 1)
    assert (again.tensors, again.error) == (0, 0.0)


def test_a_number_that_half_precision_cannot_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"fine": torch.ones(3), "running_var": torch.tensor([1.0, 70000.0])}, path)
    before = path.read_bytes()
    with pytest.raises(ModelError, match="'running_var' holds numbers beyond 65504"):
        halve(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("size", [1.0, 1e-4, 60_000.0])
def test_the_error_is_that_of_half_precision_at_most(tmp_path: Path, size: float) -> None:
    path = tmp_path / "w.safetensors"
    numbers = torch.rand(1000, generator=torch.Generator().manual_seed(1)) * 0.3 + 0.7
    save_file({"a": numbers * size, "nothing": torch.zeros(3)}, path)
    assert 2**-14 < halve(path).error < 2**-11


def test_a_tensor_too_small_for_half_precision_is_refused(tmp_path: Path) -> None:
    """Its numbers lie where half precision has steps of 6e-8; a few such among others do not matter."""
    path = tmp_path / "w.safetensors"
    small = torch.full((4,), 1.03e-6)
    save_file({"mixed": torch.cat((small, torch.ones(1)))}, path)
    assert halve(path).error < 2**-11
    save_file({"small": small}, path)
    before = path.read_bytes()
    steps = round(1.03e-6 * 2**24)  # binary16's smallest numbers are multiples of 2^-24
    with pytest.raises(
        ModelError, match=f"'small' would change by {abs(steps * 2**-24 / 1.03e-6 - 1):.2g} of"
    ):
        halve(path)
    assert path.read_bytes() == before
