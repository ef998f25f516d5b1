import json
import sys
from pathlib import Path

import pytest

from medseg.testing.beside_truth import compare, main


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    found = {"liver": {"volume_ml": 1100.0}, "spleen": {"volume_ml": None}, "bone": {"volume_ml": 3.0}}
    (tmp_path / "measurements.json").write_text(json.dumps({"labels": found}))
    truth = {"labels": [{"name": "spleen", "volume_ml": 200.0}, {"name": "liver", "volume_ml": 1000.0}]}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    return tmp_path, tmp_path / "truth.json"


def test_labels_that_both_know_are_compared(folders: tuple[Path, Path]) -> None:
    out, truth = folders
    spleen, liver = compare(out, truth)
    assert (spleen.label, liver.label) == ("spleen", "liver")
    assert spleen.error == -100.0
    assert liver.error == pytest.approx(10.0)


def test_the_table(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["beside_truth", *map(str, folders)])
    main()
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        "liver",
        "1,100.0",
        "mL",
        "1,000.0",
        "mL",
        "+10.0",
        "%",
    ]
