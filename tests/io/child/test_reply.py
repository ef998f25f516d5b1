"""Texts that leave the decoder process: one line, short, nothing that a terminal obeys."""

import pytest

from medseg.io.child.reply import MOST_TEXT, one_line, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.840.10008.1.2", "1.2.840.10008.1.2"),
        ("1.2\n3", "1.2?3"),
        ("\x1b[31mred\x07", "?[31mred?"),
        ("ä \u202e", "ä ?"),
        ("x" * 1000, "x" * MOST_TEXT),
        ("", ""),
    ],
)
def test_a_text_from_a_file_is_shown_without_control_characters(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_of_a_librarys_words_the_first_line_is_told() -> None:
    assert one_line(ValueError("bad marker\x00\nat 0x7f")) == "bad marker"
    assert one_line(ValueError()) == "ValueError"
