import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Medseg = Callable[..., Any]


def test_tells_grid_spacing_orientation_and_verdict(medseg: Medseg, ball: Path) -> None:
    done = medseg("info", ball)
    assert (done.code, done.err) == (0, "")
    for word in ("NIfTI-1", "32 x 30 x 24", "2 x 2 x 3 mm", "RAS", "int16", "ok"):
        assert word in done.out


def test_json_is_for_programs(medseg: Medseg, ball: Path) -> None:
    (found,) = json.loads(medseg("info", ball, "--json").out)
    assert found["shape"] == [32, 30, 24]
    assert found["spacing"] == pytest.approx([2, 2, 3])
    assert (found["axis_codes"], found["unit"], found["verdict"]) == ("RAS", "mm", "ok")


def test_what_is_no_image_is_one_line(medseg: Medseg, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear colleague")
    for path, name in (
        (tmp_path / "letter.txt", "letter.txt"),
        (tmp_path / "absent", "absent"),
        (tmp_path, tmp_path.name),
    ):
        done = medseg("info", path)
        assert (done.code, done.out) == (2, "")
        assert done.err.count("\n") == 1
        assert name in done.err
