"""Text in figures: one typeface, no markup, nothing the typeface lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ellipsis", "plain", "text_width", "write_text"]

FAMILY = "DejaVu Sans"  # ships with matplotlib, so that every machine draws the same picture
MISSING = "\u25a1"


def write_text(figure: Figure, at: tuple[float, float], words: str, **style: Any) -> None:
    """Put words at a place in pixels from the figure's upper left; `style` goes to matplotlib's Text.

    Names come from files: they are drawn as they are, never read as TeX.
    """
    from matplotlib.text import Text
    from matplotlib.transforms import IdentityTransform

    height = figure.get_figheight() * figure.dpi
    text = Text(
        at[0],
        height - at[1],
        words,
        fontproperties=_font(style.pop("size"), style.pop("weight", "normal")),
        transform=IdentityTransform(),
        parse_math=False,
        usetex=False,
        **{"va": "center", **style},
    )
    figure.add_artist(text)


def text_width(words: str, size: float, weight: str = "normal") -> float:
    """Width in pixels of words at `size` pixels."""
    from matplotlib.textpath import TextToPath

    if not words:
        return 0.0
    width, _, _ = TextToPath().get_text_width_height_descent(words, _font(size, weight), ismath=False)
    return float(width)


def ellipsis(words: str, width: float, size: float, weight: str = "normal") -> str:
    """The words, cut with "…" where they are wider than `width` pixels at `size`."""
    if text_width(words, size, weight) <= width:
        return words
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if text_width(f"{words[:middle].rstrip()}…", size, weight) <= width:
            low = middle
        else:
            high = middle - 1
    return f"{words[:low].rstrip()}…"


def plain(words: str, instead: str = "") -> str:
    """The words on one line, a box for each character the typeface lacks; `instead` where none is left."""
    from matplotlib.font_manager import get_font

    font = get_font(_file())
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split())
    drawn = "".join(c if font.get_char_index(ord(c)) else MISSING for c in line)
    return drawn if drawn.strip(f"{MISSING} ") else instead or drawn


def _file() -> str:
    from matplotlib.font_manager import findfont

    return str(findfont(_font(10, "normal")))


def _font(size: float, weight: str) -> Any:
    from matplotlib.font_manager import FontProperties

    return FontProperties(family=FAMILY, size=size, weight=weight)
