import pytest

from medseg.report.lettering import ellipsis, plain, text_width


def test_words_that_fit_stay_and_others_end_in_an_ellipsis() -> None:
    words = "gluteus maximus left"
    whole = text_width(words, 14)
    assert ellipsis(words, whole, 14) == words
    cut = ellipsis(words, whole - 10, 14)
    assert cut.endswith("…")
    assert words.startswith(cut[:-1])
    assert text_width(cut, 14) <= whole - 10
    assert ellipsis(words, 0, 14) == "…"


@pytest.mark.parametrize(
    ("words", "drawn"),
    [
        ("Drüse ß ñ Ω печень", "Drüse ß ñ Ω печень"),
        ("two\nlines\tand\x00more", "two lines and more"),
        ("liver 肝", "liver □"),
        ("肝臓", "label 3"),
        ("$\\frac{1}{0}$", "$\\frac{1}{0}$"),
        ("", "label 3"),
    ],
)
def test_only_what_the_typeface_has_is_drawn(words: str, drawn: str) -> None:
    assert plain(words, "label 3") == drawn
