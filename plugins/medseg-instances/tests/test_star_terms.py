import math

import pytest
import torch  # noqa: TID253
from medseg_instances.label_terms import Terms
from medseg_instances.star_terms import DepthTerm, RayTerm


def test_rays_count_as_their_voxel_is_deep() -> None:
    """Two voxels, as deep as 1 and 0.5, of four rays: off by 2 on average in the one, by 1 in the other."""
    target, logits = torch.zeros(1, 6, 1, 3), torch.zeros(1, 6, 1, 3)
    target[0, 1, 0] = torch.tensor([1.0, 0.5, 0.0])
    target[0, 2:, 0, :2] = 5
    logits[0, 2:, 0, 0] = torch.tensor([9.0, 5.0, 5.0, 1.0])
    logits[0, 2:, 0, 1] = 4
    logits[0, 2:, 0, 2] = 100  # in the background
    term = RayTerm(1, 3.0)
    assert float(term(logits, target, torch.ones(1, 1, 1, 3), {})) == pytest.approx(3 * (2 + 0.5) / 1.5)
    known = torch.tensor([1.0, 0.0, 1.0]).reshape(1, 1, 1, 3)
    assert float(term(logits, target, known, {})) == pytest.approx(3 * 2)
    assert float(term(logits, target, 0 * known, {})) == 0


def test_rays_that_leave_the_patch_may_be_longer() -> None:
    target = torch.tensor([1.0, -5.0, -5.0]).reshape(1, 3, 1, 1)
    logits = torch.tensor([0.0, 9.0, 3.0]).reshape(1, 3, 1, 1)
    assert float(RayTerm(0, 1.0)(logits, target, torch.ones(1, 1, 1, 1), {})) == pytest.approx((0 + 2) / 2)


def test_depth_is_compared_as_a_probability_above_the_best_there_is() -> None:
    """The cross-entropy beyond that of the depth with itself: what is called Kullback-Leibler divergence."""
    target, known = torch.full((1, 1, 1, 1), 0.25), torch.ones(1, 1, 1, 1)
    term = DepthTerm(0, 2.0)
    assert float(term(target.logit(), target, known, {})) == pytest.approx(0, abs=1e-6)
    wanted = 0.25 * math.log(0.25 / 0.5) + 0.75 * math.log(0.75 / 0.5)
    assert float(term(0 * target, target, known, {})) == pytest.approx(2 * wanted, rel=1e-5)


def test_depth_in_objects_counts_as_much_as_outside_however_little_they_fill() -> None:
    target, known = torch.zeros(1, 1, 1, 100), torch.ones(1, 1, 1, 100)
    target[..., 0] = 1
    value = DepthTerm(0, 1.0)(torch.zeros_like(target), target, known, {})
    assert float(value) == pytest.approx(2 * math.log(2), rel=1e-4)
    known[..., 0] = 0
    assert float(DepthTerm(0, 1.0)(torch.zeros_like(target), target, known, {})) == pytest.approx(
        math.log(2), rel=1e-4
    )


def test_gradients_are_right() -> None:
    torch.manual_seed(0)
    target = torch.rand(2, 6, 3, 3, dtype=torch.float64)
    target[:, 1:] = target[:, 1:] * 5 + 0.1
    target[0, 3] *= -1
    known = (torch.rand(2, 1, 3, 3) > 0.2).double()
    logits = (torch.randn(2, 6, 3, 3, dtype=torch.float64) * 3).float().requires_grad_()

    def value(given: torch.Tensor) -> torch.Tensor:
        terms: torch.Tensor = Terms(DepthTerm(0, 1.0), RayTerm(0, 1.0))(given, target, known, {})
        return terms

    value(logits).backward()  # type: ignore[no-untyped-call]
    gradient, step = logits.grad, torch.randn(2, 6, 3, 3) * 1e-3
    assert gradient is not None
    with torch.no_grad():
        slope = (value(logits + step) - value(logits - step)) / 2
    assert float(slope) == pytest.approx(float((gradient * step).sum()), rel=2e-2, abs=1e-5)
