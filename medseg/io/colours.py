"""The colour of a label or an object: one and the same in every picture and every file of a result.

A label has its own colour where it brings one, else that of the table of terms where the table knows its code
or its name, else one of the palette by its value. No two labels of a table have one colour, unless they bring
it or there are more than colours: of two that the terms give one, as two tumours, the later takes one of the
palette. Objects are told apart: each has one of the palette by its id, whatever its label's colour is, which
stands for all of them in a legend.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from medseg.io.dicom_results.terms import term_of
from medseg.segmentation import Label, LabelTable

__all__ = ["PALETTE", "colour_of_object", "colours_of"]

HEX = re.compile(r"#[0-9a-fA-F]{6}")

# Chosen in OKLab (Ottosson 2020) for a dark ground: lightness 0.60 to 0.87, chroma below 0.17; after the
# first eight, each is the one furthest from those before it, seen normally and as with deuteranopia and
# protanopia (Machado, Oliveira and Fernandes 2009), so that neighbours in value never look alike.
PALETTE = (
    *("#f27f5d", "#5ec6ec", "#efd451", "#2abe9c", "#c885e5", "#efa9c6", "#5686e3", "#abc54b"),
    *("#74fad5", "#679012", "#c5547c", "#2b9191", "#c65d26", "#a161bd", "#ee79a1", "#45dfa9"),
    *("#f9ad7d", "#9ca15e", "#4aabfd", "#f5cffa", "#ee9ef9", "#52a9c0", "#b2f48c", "#e49e22"),
    *("#72e8fc", "#cb6ab3", "#df6867", "#30a069", "#c68129", "#fad8ab", "#7887b4", "#5dc879"),
    *("#957c4e", "#b6d889", "#26d2c6", "#99b234", "#f9b13e", "#ba96bf", "#ab76d9", "#879f18"),
    *("#d69f8e", "#d9668e", "#8690f6", "#49b567", "#a6b1fd", "#9f6c9a", "#359bd9", "#e986cf"),
)


@lru_cache(maxsize=16)
def colours_of(labels: LabelTable) -> Mapping[str, str]:
    """Each label's own colour, else the terms', else one that follows from its value: "#rrggbb" by name."""
    found = {label.name: own for label in labels if (own := _own(label)) is not None}
    taken = set(found.values())
    for label in labels:
        if label.name not in found:
            colour = term_of(label).colour
            if colour is None or colour in taken:
                turns = (_of_palette(label.value + turn) for turn in range(len(PALETTE)))
                colour = next((each for each in turns if each not in taken), _of_palette(label.value))
            found[label.name] = colour
            taken.add(colour)
    return found


def _own(label: Label) -> str | None:
    return label.colour.lower() if label.colour is not None and HEX.fullmatch(label.colour) else None


def colour_of_object(number: int) -> str:
    """The colour of the object with this id: "#rrggbb"."""
    return _of_palette(number)


def _of_palette(number: int) -> str:
    return PALETTE[(number - 1) % len(PALETTE)]
