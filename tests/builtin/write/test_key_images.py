from pathlib import Path

import numpy as np
import pytest
from PIL import Image  # noqa: TID253
from pydantic import ValidationError
from results import result_of

from medseg.builtin.measure.lesions import Lesions
from medseg.builtin.write.key_images import KeyImages
from medseg.errors import UsageError
from medseg.prediction import Prediction
from medseg.segmentation import Label, LabelTable, Object, Segmentation
from medseg.volume import Grid

GRID = Grid((60, 50, 12), np.diag([-1.0, -1.0, 3.0, 1.0]))
BLOCKS = ((5, 12, 5), (20, 10, 5), (40, 14, 8))  # where each begins along i, its length along i, its width


def masks() -> list[np.ndarray]:
    found = []
    for start, length, width in BLOCKS:
        mask = np.zeros(GRID.shape, bool)
        mask[start : start + length, 10 : 10 + width, 4:7] = True
        found.append(mask)
    return found


def labelled() -> Segmentation:
    table = LabelTable((Label(1, "liver"), Label(2, "liver tumour")))
    liver = np.zeros(GRID.shape, bool)
    liver[2:58, 2:48, 2:10] = True
    return Segmentation.from_masks({"liver": liver, "liver tumour": np.any(masks(), axis=0)}, GRID, table)


def as_objects(*ids: int) -> Segmentation:
    array = np.zeros((1, *GRID.shape), np.uint32)
    for id_, mask in zip(ids, masks(), strict=True):
        array[0][mask] = id_
    things = tuple(Object(id_, "cell") for id_ in sorted(ids))
    return Segmentation(array, GRID, LabelTable((Label(1, "cell"),)), ("objects",), things)


def test_the_largest_lesions_in_order_with_the_numbers_that_lesions_are_measured_by() -> None:
    segmentation = labelled()
    images = KeyImages().images(segmentation)
    assert [image.name for image in images] == ["liver tumour 1", "liver tumour 2", "liver tumour 3"]
    rows = list(
        Lesions()(result_of(segmentation).volume, segmentation, Prediction(segmentation=segmentation))
    )
    for number, image in enumerate(images, start=1):
        own = {row.quantity: row.value for row in rows if row.object == number}
        longest, perpendicular = own["longest_axial_diameter"], own["perpendicular_axial_diameter"]
        assert image.words.startswith(f"{longest:.1f} \u00d7 {perpendicular:.1f} mm")
        assert image.slice == own["axial_slice"]
        assert np.linalg.norm(np.subtract(*image.longest)) == pytest.approx(longest)
        assert image.axis == 2
    assert [image.box[0].start for image in images] == [40, 5, 20]
    assert len(KeyImages(most=2).images(segmentation)) == 2


def test_objects_have_their_ids() -> None:
    images = KeyImages().images(as_objects(7, 300, 2))
    assert [image.name for image in images] == ["cell 2", "cell 7", "cell 300"]


def test_ids_of_any_height_take_no_memory_of_their_own() -> None:
    """A place for every id up to the highest would be 32 GB of pointers."""
    images = KeyImages().images(as_objects(7, 4_000_000_000, 2))
    assert [image.name for image in images] == ["cell 2", "cell 7", "cell 4000000000"]
    assert [image.box[0].start for image in images] == [40, 5, 20]


def test_labels_that_are_named_and_those_that_sound_like_lesions() -> None:
    segmentation = labelled()
    assert [image.name for image in KeyImages(labels=("liver",)).images(segmentation)] == ["liver 1"]
    organs = segmentation.replace(labels=LabelTable((Label(1, "liver"), Label(2, "spleen"))))
    assert len(KeyImages().images(organs)) == 4
    with pytest.raises(UsageError, match="no label 'lung'"):
        KeyImages(labels=("lung",)).images(segmentation)


def test_a_picture_is_written_where_there_are_lesions(tmp_path: Path) -> None:
    step = KeyImages()
    (path,) = KeyImages.check(step(result_of(labelled()), tmp_path), folder=tmp_path)
    assert path.name == "lesions.png"
    with Image.open(path) as picture:
        width, height = picture.size
    assert width > 3 * 420
    assert height > 420
    path.unlink()
    empty = labelled().replace(array=np.zeros((1, *GRID.shape), np.uint8))
    assert list(step(result_of(empty), tmp_path)) == []
    assert not path.exists()


def test_wrong_parameters_are_refused() -> None:
    for parameters in ({"most": 0}, {"connectivity": 8}, {"label": ["a"]}):
        with pytest.raises(ValidationError):
            KeyImages.model_validate(parameters)
