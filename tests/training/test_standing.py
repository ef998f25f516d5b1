import csv
import json
from pathlib import Path

import torch  # noqa: TID253

from medseg.training.standing import Standing, write_log

STANDING = Standing(
    step=400,
    epoch=4,
    elapsed=12.5,
    span=(0.4, 0.5),
    validate_at=6,
    best=0.75,
    best_epoch=3,
    since_best=1,
    over=True,
    rows=[{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "dice_mean": None}],
    scores={"a": {"liver": 0.75, "tumour": None}},
)


def test_it_comes_back_from_json_and_from_a_checkpoint(tmp_path: Path) -> None:
    assert Standing.from_plain(json.loads(json.dumps(STANDING.as_plain()))) == STANDING
    torch.save(STANDING.as_plain(), tmp_path / "x")
    assert Standing.from_plain(torch.load(tmp_path / "x", weights_only=True)) == STANDING
    assert Standing.from_plain(Standing().as_plain()) == Standing()


def test_what_is_kept_does_not_change_with_the_training() -> None:
    standing = Standing(rows=[{"epoch": 1}])
    kept = standing.as_plain()
    standing.rows.append({"epoch": 2})
    standing.rows[0]["epoch"] = 7
    assert kept["rows"] == [{"epoch": 1}]


def test_the_log_has_every_column_that_a_row_has(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    write_log(path, [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25, "dice a, b": 1.0}])
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [
            {"epoch": "1", "loss": "0.5", "dice a, b": ""},
            {"epoch": "2", "loss": "0.25", "dice a, b": "1.0"},
        ]
    write_log(path, [{"epoch": 1, "loss": 0.5}])  # resumed from an earlier epoch
    assert path.read_text(encoding="utf-8") == "epoch,loss\n1,0.5\n"
    assert [each.name for each in tmp_path.iterdir()] == ["log.csv"]
