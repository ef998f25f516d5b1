from pathlib import Path

import numpy as np
from results import result_of

from medseg.builtin.write.preview import Preview
from medseg.prediction import Measured
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Source


def test_writes_one_picture_of_the_result(tmp_path: Path) -> None:
    from PIL import Image

    grid = Grid((12, 10, 8), np.eye(4))
    array = np.zeros((1, *grid.shape), np.uint8)
    array[0, 3:6, 3:6, 3:6] = 1
    segmentation = Segmentation(array, grid, LabelTable((Label(1, "liver", colour="#ff00ff"),)))
    result = result_of(
        segmentation,
        (Measured(label="liver", quantity="volume", value=0.027, unit="mL"),),
        source=Source(grid, "array", decided=("tilt: 15",)),
    )
    (path,) = Preview.check(Preview()(result, tmp_path), folder=tmp_path)
    assert path.name == "preview.png"
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        pixels = np.asarray(picture).reshape(-1, 3)
    assert np.all(pixels == (255, 0, 255), axis=1).sum() > 50  # the outline, in the label's colour
    warned = np.abs(pixels.astype(int) - (0xF0, 0xB9, 0x5A)).max(axis=1) < 30
    assert warned.sum() > 20  # what was decided, below the legend
