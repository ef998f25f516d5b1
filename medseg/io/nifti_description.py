"""The 80 bytes of free text in a NIfTI header: whose file it is, and in short what was decided about it."""

from __future__ import annotations

from medseg.volume import Source

__all__ = ["description"]

RESEARCH = "medseg: research use only"
MOST_BYTES = 79  # the field has 80, the last of them zero
MORE = "; and more"


def description(source: Source | None, *remarks: str) -> bytes:
    """`descrip` of a file made from this source: "medseg: research use only; missing slice resampled".

    A line of `Source.decided` is told by the doubt that stands before its colon, in ASCII. What does not fit
    is left out and a hint put in its place.
    """
    decided = source.decided if source is not None else ()
    short = dict.fromkeys((*remarks, *map(_in_short, decided)))
    text = RESEARCH
    for number, part in enumerate(short):
        words = part.encode("ascii", "replace").decode()
        room = MOST_BYTES - (len(MORE) if number < len(short) - 1 else 0)
        if len(text) + len(words) + 2 > room:
            return f"{text}{MORE}".encode()
        text += f"; {words}"
    return text.encode()


def _in_short(line: str) -> str:
    doubt, _, decision = line.partition(":")
    return f"{doubt.strip()} {'resampled' if 'resampled' in decision else 'decided'}"
