import numpy as np
import pytest

from medseg.report.key_images import KeyImage
from medseg.report.summary_pages import BAND, NARROWEST, SIGNAL, summary_pages
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

GRID = Grid((20, 20, 10), np.diag([1.0, 1.0, 2.0, 1.0]))
LESION = KeyImage(
    name="tumour 1",
    words="5.0 mm",
    colour="#ff0000",
    mask=np.ones((4, 4, 2), bool),
    box=(slice(8, 12), slice(8, 12), slice(4, 6)),
    axis=2,
    slice=4,
    longest=((8.0, 8.0, 8.0), (11.0, 11.0, 8.0)),
    perpendicular=((8.0, 11.0, 8.0), (11.0, 8.0, 8.0)),
)


@pytest.mark.parametrize("lesions", [(), (LESION,)])
def test_each_page_has_a_whole_banner(lesions: tuple[KeyImage, ...]) -> None:
    array = np.zeros((1, *GRID.shape), np.uint8)
    array[0, 8:12, 8:12, 4:6] = 1
    segmentation = Segmentation(array, GRID, LabelTable((Label(1, "tumour"),)))
    pages = summary_pages(Volume(array.astype(np.float32), GRID), segmentation, lesions=lesions)
    middle = ["Largest lesions"] if lesions else []
    assert [page.words for page in pages] == ["Labels over the image", *middle, "Table of labels"]
    signal = np.array(tuple(bytes.fromhex(SIGNAL[1:])))
    for page in pages:
        assert page.picture.shape[1] >= NARROWEST
        band = page.picture[:BAND]
        assert (band[:, :20] == signal).all()
        assert (band[:, -20:] == signal).all()
        assert ((band < 64).all(axis=2).sum()) > 2000  # and letters between
