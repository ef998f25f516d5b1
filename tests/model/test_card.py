"""What a card must and must not say."""

from pathlib import Path

import pytest

from medseg.errors import PipelineError
from medseg.model import read_card

CARD = "name: mine\nversion: '1'\nsummary: One line.\nlicence: MIT\nintended_use: Tests.\n"


def refused(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(PipelineError) as caught:
        read_card(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("name", ["a", "ct-tissue", "3d-unet", "a" * 64])
def test_a_plain_name_is_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "card.yaml").write_text(CARD.replace("mine", f"'{name}'"))
    assert read_card(tmp_path / "card.yaml").name == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "../evil",
            "/etc",
            "a/b",
            "a\\\\b",
            "A",
            "ct_tissue",
            "ct tissue",
            "-a",
            "a-",
            "a--b",
        ),
        *("a\\0", "a\\n", "\\e[31mred", "é", "a" * 65, "a" * 300, "a" * 100_000, "user/mine", "."),
    ],
)
def test_a_name_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "is not a name: use at most 64" in refused(
        tmp_path / "card.yaml", CARD.replace("mine", f'"{name}"')
    )


@pytest.mark.parametrize("field", ["version", "summary", "licence", "intended_use"])
@pytest.mark.parametrize("text", ["", " ", "a\\e[2Jb", "a\\0b", "a\\u202eb"])
def test_control_characters_do_not_reach_a_terminal(tmp_path: Path, field: str, text: str) -> None:
    lines = [f'{field}: "{text}"' if line.startswith(field) else line for line in CARD.splitlines()]
    assert f"card.yaml: {field}: is empty or holds control characters" in refused(
        tmp_path / "card.yaml", "\n".join(lines)
    )


def test_text_over_several_lines_becomes_one(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(CARD + "limitations:\n  - |\n    One\n      two.\n  - >\n    Three\n")
    assert read_card(tmp_path / "card.yaml").limitations == ("One two.", "Three")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CARD + "code: import os\n", "there is no 'code' here"),
        (CARD + "research_use_only: false\n", "research_use_only"),
        (CARD + "references: &a [x, *a]\n", "anchors and aliases"),
        (CARD + "references: " + "[" * 40 + "]" * 40, "nested deeper than"),
        (CARD + "references: !!python/object/apply:os.system [id]\n", "not valid YAML"),
        (CARD + f"references: [{'x, ' * 101}]\n", "references"),
        (CARD.replace("One line.", "x" * 4001), "summary"),
    ],
)
def test_a_hostile_card_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path / "card.yaml", text)
