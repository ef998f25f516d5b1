"""`medseg tune`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tuning_cases
import yaml
from tuning_cases import LARGE, OWN, SMALL

Medseg = Callable[..., Any]


def test_a_table_of_what_was_tried_and_a_pipeline_file(medseg: Medseg, tmp_path: Path) -> None:
    path, out = tuning_cases.pipeline(tmp_path / "lesions.yaml"), tmp_path / "tuned.yaml"
    tuning_cases.case(tmp_path / "data", "a")
    data = tuning_cases.dataset(tmp_path / "data")
    vary = ("--vary", f"postprocess[1].below_ml={SMALL},{LARGE}")
    done = medseg("tune", path, data, "-o", out, *vary, "--threads", 1)
    assert (done.code, done.err) == (0, "Case 1 of 1\n")
    assert done.out.splitlines() == [
        "postprocess[1].below_ml    dice  difference  note",
        "                   0.01  1.0000     +0.0162  best",
        "                  0.001  0.9838     +0.0000  the pipeline's own",
        "                    0.1  0.9412     -0.0426",
        "Tuned on 1 case of lesions, all 3 combinations.",
        "Chosen: postprocess[1].below_ml 0.01 instead of 0.001.",
        "dice, mean over labels and cases: 1.0000, with the values that were there 0.9838.",
        "These numbers are of the cases that the values were chosen on: expect less of new ones.",
        f"The tuned model is {out}. Research use only.",
    ]
    assert yaml.safe_load(out.read_text())["postprocess"][1] == {"remove-small": {"below_ml": SMALL}}

    again = medseg("tune", path, data, "-o", out, *vary)
    assert again.code == 64
    assert again.err == f"medseg: {out} exists; choose another name or give --overwrite\n"

    image = tmp_path / "data" / "images" / "a.nii.gz"
    assert medseg("segment", image, "--model", out, "-o", tmp_path / "out", "-q").code == 0


def test_what_cannot_be_meant_is_one_line(medseg: Medseg, tmp_path: Path) -> None:
    path, out = tuning_cases.pipeline(tmp_path / "lesions.yaml"), tmp_path / "tuned.yaml"
    data = tuning_cases.dataset(tmp_path / "data")
    for vary, code, said in (
        ("postprocess[1].belw_ml=1", 4, "postprocess[1].remove-small.belw_ml: there is no 'belw_ml' here"),
        (
            "postprocess[1].below_ml=x",
            4,
            "below_ml: input should be a valid number",
        ),
        (f"postprocess[1].below_ml={OWN}", 64, "names no other values than the pipeline's own"),
        ("segment.above=1", 64, "write PLACE.PARAMETER=VALUE,VALUE"),
    ):
        done = medseg("tune", path, data, "-o", out, "--vary", vary)
        assert done.code == code
        assert said in done.err
        assert done.err.count("\n") == 1
    assert medseg("tune", path, tmp_path / "no", "-o", out, "--vary", "postprocess[1].below_ml=1").code == 2
    assert not out.exists()
