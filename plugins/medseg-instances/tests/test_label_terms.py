import pytest
import torch  # noqa: TID253
from medseg_instances.label_terms import FieldTerm, LabelTerms, Terms
from torch.nn.functional import one_hot  # noqa: TID253


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, target and where it is known, of two samples with three labels and one field, 8 x 6."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (2, 8, 6), generator=generator)
    field = torch.rand(2, 1, 8, 6, generator=generator)
    target = torch.cat([one_hot(labels, 3).movedim(-1, 1).float(), field], 1)
    logits = torch.randn(2, 4, 8, 6, generator=generator)
    return logits, target, (torch.rand(2, 1, 8, 6, generator=generator) > 0.3).float()


def test_label_terms_are_cross_entropy_and_dice_of_known_voxels() -> None:
    """By their definitions, written out voxel by voxel."""
    logits, target, valid = batch()
    expected, dices = [], []
    for sample in range(2):
        entropy, known = 0.0, 0.0
        shares = torch.softmax(logits[sample, :3], 0)
        both, ours, theirs = torch.zeros(3), torch.zeros(3), torch.zeros(3)
        for place in torch.nonzero(valid[sample, 0]).tolist():
            share, wanted = shares[:, *place], target[sample, :3, *place]
            entropy -= float((wanted * share.log()).sum())
            known += 1
            both, ours, theirs = both + share * wanted, ours + share, theirs + wanted
        expected.append(entropy / known)
        dices.append(float((2 * both / (ours + theirs))[1:].mean()))
    found = LabelTerms(3)(logits, target, valid, {})
    assert float(found) == pytest.approx(sum(expected) / 2 + 1 - sum(dices) / 2, abs=1e-5)


def test_the_field_counts_within_objects_alone() -> None:
    logits, target, valid = batch()
    term = FieldTerm(3, 2.0)
    before = float(term(logits, target, valid, {}))
    logits[:, 3:] += 5 * target[:, :1]  # in the background
    assert float(term(logits, target, valid, {})) == pytest.approx(before)
    exact = torch.cat([logits[:, :3], target[:, 3:]], 1)
    assert float(term(exact, target, valid, {})) == 0
    off = exact.clone()
    off[:, 3] += 0.5
    assert float(term(off, target, valid, {})) == pytest.approx(2 * (0.5 - 0.05))  # beyond 0.1 a line


def test_a_map_may_say_what_is_asked() -> None:
    """As the depth of the whole object; where it is negative, nothing is."""
    logits, target, valid = batch()
    wanted = torch.rand(2, 1, 8, 6)
    right = torch.cat([logits[:, :3], wanted], 1)
    term = FieldTerm(3, 2.0, "depth")
    assert float(term(right, target, valid, {"depth": wanted})) == 0
    assert float(term(logits, target, valid, {"depth": wanted})) > 0
    assert float(term(logits, target, valid, {"depth": torch.full_like(wanted, -1)})) == 0


def test_voxels_between_objects_count_more() -> None:
    """Means with weights, written out."""
    logits, target, valid = batch()
    closeness = torch.rand(2, 1, 8, 6, generator=torch.Generator().manual_seed(1))
    maps, counts = {"closeness": closeness}, valid * (1 + 3 * closeness)
    entropy = -(target[:, :3] * logits[:, :3].log_softmax(1)).sum(1, keepdim=True)
    plain = (entropy * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3))
    weighted = (entropy * counts).sum((1, 2, 3)) / counts.sum((1, 2, 3))
    more = LabelTerms(3, 3.0)(logits, target, valid, maps) - LabelTerms(3)(logits, target, valid, {})
    assert float(more) == pytest.approx(float((weighted - plain).mean()), abs=1e-6)
    off = torch.zeros(2, 1, 8, 6)
    off[:, :, :4] = 0.5
    right = torch.cat([logits[:, :3], target[:, 3:] + off], 1)
    inside = counts * (target[:, :1] < 0.5)
    share = inside[:, :, :4].sum((1, 2, 3)) / inside.sum((1, 2, 3))
    found = FieldTerm(3, 2.0, gap_weight=3.0)(right, target, valid, maps)
    assert float(found) == pytest.approx(2 * 0.45 * float(share.mean()), rel=1e-5)


def test_terms_add_up() -> None:
    logits, target, valid = batch()
    labels, field = LabelTerms(3), FieldTerm(3, 2.0)
    both = Terms(labels, field)(logits, target, valid, {})
    parts = labels(logits, target, valid, {}) + field(logits, target, valid, {})
    assert float(both) == pytest.approx(float(parts))
