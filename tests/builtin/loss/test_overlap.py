import torch  # noqa: TID253
from loss_properties import batch
from monai.losses.dice import DiceLoss  # noqa: TID253

from medseg.builtin.loss.overlap import overlap


def test_unknown_voxels_count_as_if_they_were_cut_out() -> None:
    given = batch("softmax", 2, samples=1)
    measure = DiceLoss(soft_label=True)
    whole = overlap(*given, {}, activation="softmax", include_background=True, measure=measure)
    known = given.valid[0, 0] == 1
    cut = [tensor[:, :, known][..., None] for tensor in given]  # as a patch of one row
    part = overlap(cut[0], cut[1], cut[2], {}, activation="softmax", include_background=True, measure=measure)
    torch.testing.assert_close(whole, part)


def test_the_background_is_left_out_after_the_softmax() -> None:
    given = batch("softmax", 3)
    louder = given.logits.clone()
    louder[:, 0] += 3
    measure = DiceLoss(soft_label=True)
    quiet, loud = (
        overlap(logits, *given[1:], {}, activation="softmax", include_background=False, measure=measure)
        for logits in (given.logits, louder)
    )
    assert loud > quiet + 0.05
