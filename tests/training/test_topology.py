import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.training.topology import MOST_SIDE, topology

CPU, GPU = 64**3, 128**3


def test_small_images_whole_in_multiples_that_are_halved() -> None:
    found = topology((35, 50, 36), (1, 1, 1), most_voxels=CPU)
    assert found.patch == (40, 56, 40)
    assert found.levels == 4
    assert found.strides == ((2, 2, 2),) * 3
    assert found.kernels == ((3, 3, 3),) * 4
    assert found.channels(16, 64) == (16, 32, 64, 64)


def test_across_thick_slices_nothing_is_halved_or_smoothed_until_voxels_are_cubes() -> None:
    found = topology((320, 320, 11), (0.5, 0.5, 7.5), most_voxels=CPU)
    # 7.5 mm is 15, 7.5, 3.75 and 1.9 times the pixels of levels 0 to 3: below 2 times at level 3 only
    assert found.strides[:4] == ((2, 2, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2))
    assert found.kernels[:4] == ((3, 3, 1), (3, 3, 1), (3, 3, 1), (3, 3, 3))
    assert found.patch[2] == 12  # all 11 slices, in a multiple of 2
    assert found.patch[0] == found.patch[1] == 160  # sqrt(64^3 / 11) = 154.4 pixels, in multiples of 32


def test_large_images_are_cut_into_cubes_of_mm() -> None:
    found = topology((500, 400, 200), (1, 1, 2), most_voxels=GPU)
    assert found.patch == (160, 160, 80)  # 161 mm along each
    assert 0.8 * GPU < math.prod(found.patch) < 1.25 * GPU


def test_a_flat_image_has_two_axes() -> None:
    found = topology((256, 200), (1, 1), most_voxels=256 * 256)
    assert found.patch == (256, 224)
    assert found.strides == (*((2, 2),) * 5, (2, 1))  # 8 and 6.25 pixels are left then


@pytest.mark.parametrize("shape", [(5, 5, 5), (1, 1, 1), (15, 3, 2), (9, 9), (8, 7, 6)])
def test_tiny_images_still_make_a_network(shape: tuple[int, ...]) -> None:
    found = topology(shape, (1.0,) * len(shape), most_voxels=CPU)
    assert found.levels == 3  # the fewest that dynunet has
    assert found.patch == (16,) * len(shape)


def test_a_window_is_no_longer_than_a_pipeline_file_may_say() -> None:
    assert topology((4000, 3000), (1, 1), most_voxels=2 << 20).patch == (1024, 1024)
    assert max(topology((5000, 20), (1, 1), most_voxels=CPU).patch) == 1024


SIDES = st.integers(1, 700) | st.sampled_from([1, 2, 7, 8, 11, 15, 16, 2048])
SPACINGS = st.floats(0.05, 10) | st.sampled_from([0.5, 1.0, 3.0, 7.5])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), axes=st.sampled_from([2, 3]), most=st.sampled_from([1 << 16, CPU, GPU, 2 * GPU]))
def test_every_image_has_a_patch_that_its_network_takes(data: st.DataObject, axes: int, most: int) -> None:
    shape = data.draw(st.tuples(*[SIDES] * axes))
    spacing = data.draw(st.tuples(*[SPACINGS] * axes))
    found = topology(shape, spacing, most_voxels=most)
    assert len(found.strides) == found.levels - 1
    assert 3 <= found.levels <= 7
    for axis, side in enumerate(found.patch):
        multiple = math.prod(stride[axis] for stride in found.strides)
        assert side % multiple == 0
        assert 1 <= side <= MOST_SIDE
        assert side < max(shape[axis], 16) + multiple  # no more around an image than the multiple takes
    assert all(any(step > 1 for step in stride) for stride in found.strides)
    if math.prod(shape) <= most and max(shape) <= MOST_SIDE:
        assert all(side >= n for side, n in zip(found.patch, shape, strict=True))
