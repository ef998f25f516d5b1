"""What steps with a length in mm refuse alike."""

from collections.abc import Callable

import numpy as np
import pytest

from medseg.errors import GeometryError, UsageError
from medseg.segmentation import Segmentation
from medseg.steps import Postprocessor
from medseg.volume import Grid, Volume

RefusesAlike = Callable[[Postprocessor, str, str], None]


@pytest.fixture
def refuses_alike(
    sheared: Callable[..., Grid],
    labelled: Callable[..., Segmentation],
    objects: Segmentation,
    any_image: Callable[[Segmentation], Volume],
) -> RefusesAlike:
    """`refuses_alike(step, "open", "radius_mm")`: leaning axes, images in pixels, layers of objects."""

    def check(step: Postprocessor, name: str, length: str) -> None:
        full = np.ones((4, 4, 4), bool)
        with pytest.raises(GeometryError, match=f"{name} needs axes at right angles"):
            step(labelled(sheared((4, 4, 4)), a=full), any_image(objects))
        with pytest.raises(GeometryError, match=f"{length} of {name} needs a scale"):
            step(labelled(Grid((4, 4, 4), np.eye(4), "px"), a=full), any_image(objects))
        with pytest.raises(UsageError, match="layer of objects"):
            step(objects, any_image(objects))

    return check
