import numpy as np

from medseg.prediction import Measured
from medseg.report.result_table import ROWS, compose, rows_of
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid

GRID = Grid((2, 2, 2), np.eye(4))


def named(*names: str) -> Segmentation:
    table = LabelTable(tuple(Label(n, name) for n, name in enumerate(names, start=1)))
    return Segmentation(np.zeros((1, *GRID.shape), np.uint8), GRID, table)


def words(figure: object) -> list[str]:
    return [text.get_text() for text in getattr(figure, "texts", [])] + [
        artist.get_text() for artist in getattr(figure, "artists", []) if hasattr(artist, "get_text")
    ]


def test_numbers_are_those_measured() -> None:
    rows = rows_of(
        named("liver", "spleen"),
        [
            Measured(label="liver", quantity="volume", value=1523.4, unit="mL", flag="truncated: superior"),
            Measured(label="liver", quantity="intensity_mean", value=-12.34, unit="HU"),
            Measured(label="liver", quantity="intensity_sd", value=20.0, unit="HU"),
            Measured(label="liver", quantity="volume", value=3.0, unit="mL", object=1),
            Measured(label="spleen", quantity="volume", value=0.0, unit="mL", flag="empty"),
            Measured(label="spleen", quantity="intensity_mean", value=None, unit="HU"),
        ],
    )
    assert (rows[0].name, rows[0].size) == ("liver", "1,523 mL")
    assert rows[0].intensity == "\u221212.3 \u00b1 20.0 HU"
    assert rows[0].flag == "truncated: superior"
    assert (rows[1].size, rows[1].intensity, rows[1].flag) == ("0 mL", "", "empty")


def test_every_label_stands_on_some_page() -> None:
    names = [f"vertebra {n}" for n in range(ROWS + 1)]
    pages = [words(figure) for figure in compose(rows_of(named(*names), []), title="model")]
    assert len(pages) == 2
    assert "model (1 of 2)" in pages[0]
    assert "model (2 of 2)" in pages[1]
    assert [word for page in pages for word in page if word in names] == names


def test_without_labels_it_says_so() -> None:
    (page,) = compose(rows_of(named(), []), title="model")
    assert {"model", "no labels"} <= set(words(page))
