from pathlib import Path

import pytest

from medseg.io.masks.names import names_beside


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('{"labels": {"background": 0, "liver": 1}}', {0: "background", 1: "liver"}),
        ('{"labels": {"0": "background", "1": "liver"}}', {0: "background", 1: "liver"}),
        ('{"labels": {"whole": [1, 2], "core": 2, "x": true}}', {2: "core"}),
        ('{"EchoTime": 0.03}', {}),
        ('{"labels": ["liver"]}', {}),
        ("[1, 2]", {}),
        ("{", {}),
        ("[" * 100_000, {}),
    ],
)
def test_names_in_either_direction_and_nothing_else(tmp_path: Path, text: str, names: dict[int, str]) -> None:
    (tmp_path / "case.json").write_text(text, encoding="ascii")
    assert names_beside(tmp_path / "case.nii.gz") == names


def test_a_file_of_its_own_name_comes_before_that_of_the_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "labelsTr"
    folder.mkdir()
    (tmp_path / "dataset.json").write_text('{"labels": {"liver": 1}}', encoding="ascii")
    assert names_beside(folder / "case.png") == {1: "liver"}
    (folder / "case.json").write_text('{"labels": {"spleen": 1}}', encoding="ascii")
    assert names_beside(folder / "case.png") == {1: "spleen"}
