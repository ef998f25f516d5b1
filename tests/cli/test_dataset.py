"""`medseg dataset check` and `medseg dataset show`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import labels, nifti, pairs, table

Medseg = Callable[..., Any]


def boxes(folder: Path) -> Path:
    pairs(folder, [labels(1, 2)] * 4)
    table(folder / "dataset.yaml", "name: boxes", "labels: [liver, tumour]", "licence: CC0-1.0")
    return folder


def who(folder: Path) -> Path:
    return table(folder / "who.csv", "case,subject", "case0,A", "case1,A", "case2,B", "case3,C")


def test_a_sound_dataset(medseg: Medseg, tmp_path: Path) -> None:
    done = medseg("dataset", "check", boxes(tmp_path / "data"), "--subjects", who(tmp_path))
    assert (done.code, done.out, done.err) == (0, "boxes: 4 cases, 0 errors, 0 warnings\n", "")


def test_errors_exit_with_2(medseg: Medseg, tmp_path: Path) -> None:
    folder = boxes(tmp_path)
    nifti(folder / "labels" / "case1.nii.gz", labels(1, 2, 3))
    done = medseg("dataset", "check", folder)
    assert done.code == 2
    first, second, last = done.out.splitlines()
    assert first.startswith("error: case1: its mask holds 3, which no label has; add it to `labels:`")
    assert second.startswith("info: no subjects are stated")
    assert last == "boxes: 4 cases, 1 error, 0 warnings"


def test_many_of_a_kind_are_counted(medseg: Medseg, tmp_path: Path) -> None:
    folder = pairs(tmp_path, [labels(1, 7)] * 12)
    table(folder / "dataset.yaml", "labels: [liver]")
    done = medseg("dataset", "check", folder)
    assert done.out.count("error: case") == 10
    assert "error: 2 more of the kind 'stray-value' (see --json)" in done.out


def test_json_is_for_programs(medseg: Medseg, tmp_path: Path) -> None:
    folder = boxes(tmp_path / "data")
    (folder / "images" / "case3.nii.gz").unlink()
    (folder / "labels" / "case2.nii.gz").write_bytes(b"")
    done = medseg("dataset", "check", folder, "--json", "--subjects", who(tmp_path))
    assert done.code == 2
    told = json.loads(done.out)
    assert told["dataset"]["labels"] == {"liver": [1], "tumour": [2]}
    assert told["counts"]["error"] == 1
    assert told["findings"][0]["case"] == "case2"


def test_show_describes(medseg: Medseg, tmp_path: Path) -> None:
    folder = boxes(tmp_path / "data")
    done = medseg("dataset", "show", folder, "--subjects", who(tmp_path))
    assert (done.code, done.err) == (0, "")
    for words in ("4, of 3 subjects", "8 x 7 x 6", "1.5 x 2 x 3", "image (modality unknown)", "0.072"):
        assert words in done.out
    told = json.loads(medseg("dataset", "show", folder, "--json").out)
    assert told["dataset"]["licence"] == "CC0-1.0"
    assert [case["id"] for case in told["fingerprint"]["cases"]] == ["case0", "case1", "case2", "case3"]


def test_what_is_no_dataset_is_one_line(medseg: Medseg, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        for command in ("check", "show"):
            done = medseg("dataset", command, path)
            assert (done.code, done.out) == (2, "")
            assert done.err.count("\n") == 1
