import pytest
import torch  # noqa: TID253
from loss_properties import batch

from medseg.builtin.loss.overlap import Costs, overlap

DICE = Costs(0.5, 0.5, 1e-5)


def test_unknown_voxels_count_as_if_they_were_cut_out() -> None:
    given = batch("softmax", 2, samples=1)
    whole = overlap(*given, {}, activation="softmax", include_background=True, costs=DICE)
    known = given.valid[0, 0] == 1
    cut = [tensor[:, :, known][..., None] for tensor in given]  # as a patch of one row
    part = overlap(cut[0], cut[1], cut[2], {}, activation="softmax", include_background=True, costs=DICE)
    torch.testing.assert_close(whole, part)


def test_the_background_is_left_out_after_the_softmax() -> None:
    given = batch("softmax", 3)
    louder = given.logits.clone()
    louder[:, 0] += 3
    quiet, loud = (
        overlap(logits, *given[1:], {}, activation="softmax", include_background=False, costs=DICE)
        for logits in (given.logits, louder)
    )
    assert loud > quiet + 0.05


def test_a_label_of_few_voxels_is_not_lost_in_a_large_patch() -> None:
    """Found everywhere with probability 0.3, and 8 voxels large: 2.4 hits."""
    shape = (1, 1, 112, 112, 112)
    target = torch.zeros(shape)
    target[..., 60:62, 60:62, 60:62] = 1
    logits = torch.full(shape, 0.3).logit()
    found = overlap(
        logits,
        target,
        torch.ones(shape),
        {},
        activation="sigmoid",
        include_background=False,
        costs=Costs(0, 1, 1e-5),  # hits and misses only: the share of the label that is found
    )
    assert found.item() == pytest.approx(0.7, abs=1e-4)
