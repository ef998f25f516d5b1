from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.builtin.postprocess.within import Within
from medseg.errors import GeometryError, UsageError
from medseg.segmentation import Label, LabelTable, Segmentation
from medseg.volume import Grid, Volume

MakeGrid = Callable[..., Grid]
Labelled = Callable[..., Segmentation]
Sphere = Callable[..., Any]
AnyImage = Callable[[Segmentation | Grid], Volume]


def lesions(grid: Grid, sphere: Sphere, spacing: tuple[float, float, float]) -> dict[str, Any]:
    """A liver of 16 mm radius with a lesion inside, one on its surface, and others 4 and 20 mm away."""
    middle = (np.asarray(grid.shape) - 1) / 2

    def at(mm: float) -> Any:
        return middle + np.array([mm / spacing[0], 0, 0])

    found = {
        "liver": sphere(grid, middle, 16),
        "inside": sphere(grid, at(-6), 3),
        "surface": sphere(grid, at(-17), 4),
        "near": sphere(grid, at(23), 3),
        "far": sphere(grid, at(39), 3),
    }
    found["liver"] &= ~found["inside"] & ~found["surface"]
    return found


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0)])
@pytest.mark.parametrize("margin", [(0, False), (3, False), (6, True)])
def test_parts_away_from_the_host_go(
    spacing: tuple[float, float, float],
    margin: tuple[float, bool],
    oblique: MakeGrid,
    sphere: Sphere,
    labelled: Labelled,
    any_image: AnyImage,
) -> None:
    grid = oblique(tuple(round(n / s) for n, s in zip((90, 40, 40), spacing, strict=True)), spacing)
    found = lesions(grid, sphere, spacing)
    tumour = found["inside"] | found["surface"] | found["near"] | found["far"]
    before = labelled(grid, liver=found["liver"], tumour=tumour)
    margin_mm, near = margin
    step = Within(label="tumour", of="liver", margin_mm=margin_mm)
    after = step(before, any_image(before))
    kept = found["inside"] | found["surface"] | (found["near"] if near else False)
    assert np.array_equal(after.mask("tumour"), kept)
    assert np.array_equal(after.mask("liver"), before.mask("liver"))
    assert after.array.sum() == before.array.sum() - 2 * (tumour & ~kept).sum()


def test_a_leak_is_cut_off_and_a_cavity_of_the_host_is_not(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    liver, tumour = np.zeros((2, 40, 20, 20), bool)
    liver[2:20, 2:18, 2:18] = True
    tumour[6:14, 6:14, 6:14] = True  # a cavity of the liver, deeper than any margin
    tumour[14:36, 9:11, 9:11] = True  # and a leak through its face
    before = labelled(straight((40, 20, 20)), liver=liver & ~tumour, tumour=tumour)
    whole = Within(label="tumour", of="liver")(before, any_image(before))
    assert np.array_equal(whole.mask("tumour"), tumour)
    after = Within(label="tumour", of="liver", margin_mm=5, cut=True)(before, any_image(before))
    kept = after.mask("tumour")
    # the leak is a shaft through the liver, so that the cavity opens; the margin closes it from the sides
    assert kept[14:20, 9:11, 9:11].all()
    assert kept[20:24, 9:11, 9:11].all()
    assert not kept[26:].any()
    enclosed = tumour.copy()
    enclosed[14:] = False
    solid = labelled(straight((40, 20, 20)), liver=liver & ~enclosed, tumour=enclosed)
    closed = Within(label="tumour", of="liver", cut=True)(solid, any_image(solid))
    assert np.array_equal(closed.mask("tumour"), enclosed)


def test_the_host_is_filled_in_a_layer_of_its_own(any_image: AnyImage) -> None:
    grid = Grid((20, 20, 20), np.eye(4))
    liver, tumour = np.zeros((2, 20, 20, 20), bool)
    liver[2:15, 2:15, 2:15] = True
    tumour[5:8, 5:8, 5:8] = tumour[14:17, 8:10, 8:10] = tumour[19, 19, 19] = True
    table = LabelTable((Label(1, "liver"), Label(2, "tumour", layer=1)))
    before = Segmentation.from_masks({"liver": liver & ~tumour, "tumour": tumour}, grid, table)
    after = Within(label="tumour", of="liver", fill=True)(before, any_image(grid))
    assert after.mask("tumour").sum() == tumour.sum() - 1
    assert np.array_equal(after.mask("liver"), liver | after.mask("tumour"))


def test_connectivity_decides_what_a_part_is(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    liver, tumour = np.zeros((2, 12, 12, 3), bool)
    liver[:3] = True
    tumour[3:6, 4, 1] = tumour[6:9, 5, 1] = True  # joined by an edge
    before = labelled(straight((12, 12, 3)), liver=liver, tumour=tumour)
    for connectivity, kept in ((6, 3), (18, 6), (26, 6)):
        step = Within.model_validate({"label": "tumour", "of": "liver", "connectivity": connectivity})
        assert step(before, any_image(before)).mask("tumour").sum() == kept


def test_without_a_host_all_goes_and_without_a_part_all_stays(
    straight: MakeGrid, labelled: Labelled, any_image: AnyImage
) -> None:
    some, none = np.ones((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    step = Within(label="tumour", of="liver", cut=True)
    before = labelled(straight((4, 4, 4)), liver=none, tumour=some)
    assert not step(before, any_image(before)).array.any()
    before = labelled(straight((4, 4, 4)), liver=some, tumour=none)
    assert np.array_equal(step(before, any_image(before)).array, before.array)


def test_what_cannot_be_meant_is_refused(
    sheared: MakeGrid, labelled: Labelled, objects: Segmentation, any_image: AnyImage
) -> None:
    grid = Grid((4, 4, 4), np.eye(4))
    full, none = np.ones((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    before = labelled(grid, a=full, b=none)
    image = any_image(grid)
    with pytest.raises(UsageError, match="cannot lie within itself"):
        Within(label="a", of="a")(before, image)
    with pytest.raises(UsageError, match="share a layer"):
        Within(label="a", of="b", fill=True)(before, image)
    with pytest.raises(UsageError, match="no label 'c'"):
        Within(label="a", of="c")(before, image)
    with pytest.raises(UsageError, match="layer of objects"):
        Within(label="nucleus", of="nucleus")(objects, image)
    with pytest.raises(GeometryError, match="within needs axes at right angles"):
        Within(label="a", of="b")(labelled(sheared((4, 4, 4)), a=full, b=none), image)
    with pytest.raises(GeometryError, match="of within needs a scale"):
        Within(label="a", of="b")(labelled(Grid((4, 4, 4), np.eye(4), "px"), a=full, b=none), image)
    for parameters in ({}, {"label": "a"}, {"label": "a", "of": "b", "margin_mm": -1}):
        with pytest.raises(ValidationError):
            Within.model_validate(parameters)
