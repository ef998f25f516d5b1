"""Small networks with known weights through the whole segmenter."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from pydantic import ValidationError
from saved_weights import saved as saved_of
from scipy.ndimage import map_coordinates  # noqa: TID253
from small_network import GRID, LABELS, logits, module, noise, predicted, saved, segmenter
from torch.nn.functional import interpolate  # noqa: TID253

from medseg import (
    Grid,
    InputError,
    Label,
    LabelTable,
    PipelineError,
    ResourceError,
    Resources,
    UsageError,
    Wanted,
)
from medseg.builtin.head.sigmoid import Sigmoid
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.network.unet import Unet
from medseg.builtin.segment.zoomed import Zoomed


def test_one_window_is_the_network_and_nothing_else(tmp_path: Path) -> None:
    network = segmenter([saved(tmp_path)], window={"patch": [16, 12, 8]})
    volume = noise(Grid((16, 12, 8), np.eye(4)))
    prediction = predicted(network, tmp_path, volume)
    expected = logits(module(tmp_path), volume.array).argmax(0)
    assert len(np.unique(expected)) > 1
    assert np.array_equal(prediction.segmentation.array[0], expected)
    assert prediction.used["windows"] == 1
    assert prediction.used["device"] == "cpu"


def test_half_precision_weights_are_computed_in_single(tmp_path: Path) -> None:
    network = segmenter([saved(tmp_path, half=True)], window={"patch": [16, 12, 8]})
    volume = noise(Grid((16, 12, 8), np.eye(4)))
    found = predicted(network, tmp_path, volume).segmentation.array[0]
    assert np.array_equal(found, logits(module(tmp_path), volume.array).argmax(0))


def test_an_ensemble_averages_logits(tmp_path: Path) -> None:
    files = [saved(tmp_path, f"{n}.safetensors", seed=n) for n in range(3)]
    volume = noise(Grid((16, 12, 8), np.eye(4)))
    network = segmenter(files, window={"patch": [16, 12, 8]})
    each = [logits(module(tmp_path, f"{n}.safetensors"), volume.array) for n in range(3)]
    found = predicted(network, tmp_path, volume)
    assert np.array_equal(found.segmentation.array[0], np.mean(each, axis=0).argmax(0))
    assert any((found.segmentation.array[0] != one.argmax(0)).any() for one in each)
    assert found.used["weights"] == [file["sha256"] for file in files]


@pytest.mark.parametrize("codes", ["RAS", "ALS", "SPL"])
def test_mirroring_is_the_mean_with_images_mirrored_by_hand(tmp_path: Path, codes: str) -> None:
    grid = Grid((8, 12, 16), np.eye(4)).reoriented(codes)
    volume = noise(grid)
    network = segmenter(
        [saved(tmp_path)], window={"patch": list(grid.shape)}, mirror=["left-right", "superior-inferior"]
    )
    net = module(tmp_path)
    x, z = (next(n for n, code in enumerate(codes) if code in pair) for pair in ("LR", "SI"))
    copies = []
    for axes in [(), (x,), (z,), (x, z)]:
        flip = tuple(1 + axis for axis in axes)
        copies.append(np.flip(logits(net, np.flip(volume.array, flip)), flip))
    found = predicted(network, tmp_path, volume)
    assert np.array_equal(found.segmentation.array[0], np.mean(copies, axis=0).argmax(0))
    assert (copies[0].argmax(0) != found.segmentation.array[0]).any()
    assert found.used["passes"] == 4


def test_mirroring_left_to_right_is_refused_where_labels_have_sides(tmp_path: Path) -> None:
    pair = LabelTable(
        (Label(1, "left kidney", pair="right kidney"), Label(2, "right kidney", pair="left kidney"))
    )
    network = segmenter([saved(tmp_path)], mirror=["anterior-posterior", "left-right"])
    with pytest.raises(PipelineError, match="'left kidney' and 'right kidney'") as refusal:
        network.bound(labels=pair, folder=tmp_path)
    assert "\n" not in str(refusal.value)
    network.bound(labels=LABELS, folder=tmp_path)
    segmenter([saved(tmp_path)], mirror=["anterior-posterior"]).bound(labels=pair, folder=tmp_path)


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnx"])
@pytest.mark.parametrize("dims", [2, 3])
def test_zooming_is_the_mean_with_an_image_enlarged_by_hand(tmp_path: Path, dims: int, engine: str) -> None:
    grid = Grid((16, 12, 8 if dims == 3 else 1), np.eye(4))
    volume = noise(grid)
    file = saved(tmp_path, dims=dims)
    network = segmenter([file], window={"patch": list(grid.shape[:dims])}, zoom=[1.5, 0.5])
    net = module(tmp_path, dims=dims)
    whole = volume.array if dims == 3 else volume.array[..., 0]
    copies = [logits(net, whole)]
    for larger in [(24, 18, 12), (8, 6, 4)]:
        image = by_scipy(whole, larger[:dims])
        copies.append(by_scipy(logits(net, image), whole.shape[1:]))
    resources = Resources(threads=1, engine=engine, device="cpu")
    prediction = predicted(network, tmp_path, volume, resources=resources)
    assert prediction.used["zoom"] == [1.5, 0.5]
    found = prediction.segmentation.array[0]
    mean = np.mean(copies, axis=0)
    margin = np.diff(np.sort(mean, axis=0)[-2:], axis=0)[0].reshape(grid.shape)
    same = found == mean.argmax(0).reshape(grid.shape)
    assert same[margin > 1e-3].all()
    assert (margin > 1e-3).mean() > 0.95
    assert (copies[0].argmax(0).reshape(grid.shape) != found).any()


def by_scipy(channels: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Linear interpolation at the middles of so many voxels over the same extent; the edge goes on."""
    lines = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, channels.shape[1:], strict=True)]
    places = np.meshgrid(*lines, indexing="ij")
    return np.stack([map_coordinates(each, places, order=1, mode="nearest") for each in channels])


def test_an_enlarged_window_has_its_size_and_goes_on_to_what_the_network_takes() -> None:
    shapes: list[tuple[int, ...]] = []
    net = torch.nn.Conv2d(1, 3, 1)
    net.register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape[2:])))
    zoomed, image = Zoomed(net, [1.3, 0.5], [8, 16]), torch.rand(1, 1, 24, 32)
    found = zoomed(image)
    assert shapes == [(24, 32), (32, 48), (16, 16)]  # of 31 x 42 and 12 x 16
    whole = net(image)
    parts = [
        interpolate(net(interpolate(image, size, mode="bilinear")), (24, 32), mode="bilinear")
        for size in ((31, 42), (12, 16))
    ]
    torch.testing.assert_close(found, (whole + sum(parts)) / 3)


def test_an_axis_of_one_voxel_is_not_enlarged() -> None:
    shapes: list[tuple[int, ...]] = []
    net = torch.nn.Conv3d(1, 1, 1)
    net.register_forward_hook(lambda _, given, __: shapes.append(tuple(given[0].shape[2:])))
    Zoomed(net, [2.0], [1, 1, 1])(torch.zeros(1, 1, 6, 4, 1))
    assert shapes == [(6, 4, 1), (12, 8, 1)]


def test_a_network_that_cannot_take_a_smaller_window_names_the_zoom(tmp_path: Path) -> None:
    small = Unet(channels=(4, 8, 8))
    file = saved_of(small, tmp_path)
    parameters: dict[str, Any] = {"window": {"patch": [8, 8, 8]}, "architecture": small}
    volume = noise(Grid((8, 8, 8), np.eye(4)))
    predicted(segmenter([file], **parameters), tmp_path, volume)
    with pytest.raises(PipelineError, match=r"cannot take \[8, 8, 8\]: zoomed by 0.5, .*larger patch"):
        predicted(segmenter([file], zoom=[0.5], **parameters), tmp_path, volume)


class InVoxels(Softmax):
    """As if its channels were lengths."""

    lengths_in_voxels: ClassVar[bool] = True


def test_zooming_is_refused_where_channels_depend_on_lengths_in_voxels(tmp_path: Path) -> None:
    network = segmenter([saved(tmp_path)], head=InVoxels())
    network.check(LABELS)
    with pytest.raises(PipelineError, match=r"zoom: .* lengths in voxels"):
        network.model_copy(update={"zoom": (1.5,)}).check(LABELS)


@pytest.mark.parametrize(
    ("zoom", "why"), [([1.5, 1.5], "1.5 is named twice"), ([1.0], "1 is what is shown anyway")]
)
def test_needless_zooming_is_refused(tmp_path: Path, zoom: list[float], why: str) -> None:
    with pytest.raises(PipelineError, match=f"zoom: {why}; leave it out"):
        segmenter([saved(tmp_path)], zoom=zoom).bound(labels=LABELS, folder=tmp_path)


def test_copies_are_as_many_as_voxels_are_shown(tmp_path: Path) -> None:
    """Of a window of 16 x 12 x 8: four mirrored copies, and all of them at 1.5 and half its size."""
    assert segmenter([saved(tmp_path)]).copies == 1
    network = segmenter([saved(tmp_path)], mirror=["left-right", "superior-inferior"], zoom=[1.5, 0.5])
    shown = 4 * (16 * 12 * 8 + 24 * 18 * 12 + 8 * 6 * 4)
    assert network.copies == pytest.approx(shown / (16 * 12 * 8))


def test_windows_need_not_be_as_large_as_training_patches(tmp_path: Path) -> None:
    file, volume = saved(tmp_path), noise(Grid((16, 12, 8), np.eye(4)))
    network = segmenter([file], window={"patch": [16, 12, 8], "training_patch": [8, 8, 8]})
    assert (network.patch_voxels, network.window_voxels) == ((8, 8, 8), (16, 12, 8))
    found = predicted(network, tmp_path, volume)
    assert found.used["windows"] == 1
    assert np.array_equal(found.segmentation.array[0], logits(module(tmp_path), volume.array).argmax(0))
    assert segmenter([file], window={"patch": [16, 12, 8]}).patch_voxels == (16, 12, 8)


def test_a_2d_network_sees_one_slice_at_a_time(tmp_path: Path) -> None:
    file = saved(tmp_path, dims=2)
    volume = noise(Grid((16, 8, 5), np.eye(4)))
    network = segmenter([file], window={"patch": [16, 8]}, mirror=["superior-inferior"])
    found = predicted(network, tmp_path, volume)
    net = module(tmp_path, dims=2)
    for k in range(5):
        expected = logits(net, volume.array[..., k]).argmax(0)
        assert np.array_equal(found.segmentation.array[0, :, :, k], expected)
    assert (found.used["windows"], found.used["passes"]) == (5, 1)  # one voxel mirrored is itself


def test_an_rgb_picture_and_four_channels_run_through(tmp_path: Path) -> None:
    picture = noise(Grid((37, 23, 1), np.eye(4), "px"), channels=3)
    network = segmenter([saved(tmp_path, dims=2, inputs=3)], window={"patch": [16, 16]}, channels=3)
    assert predicted(network, tmp_path, picture).segmentation.array.shape == (1, 37, 23, 1)
    four = noise(channels=4)
    network = segmenter([saved(tmp_path, inputs=4)], channels=4)
    assert predicted(network, tmp_path, four).segmentation.grid == GRID


def test_wrong_channel_counts_are_refused_in_one_line(tmp_path: Path) -> None:
    network = segmenter([saved(tmp_path)])
    with pytest.raises(
        InputError, match=r"has 3 channels \(c0, c1, c2\), and the network takes 1"
    ) as refusal:
        predicted(network, tmp_path, noise(channels=3))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 30), (7, 8, 9), (5, 3, 2), (33, 17, 1)])
def test_any_size_runs_through(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    volume = noise(Grid(shape, np.eye(4)))
    found = predicted(segmenter([saved(tmp_path)]), tmp_path, volume).segmentation
    assert found.array.shape == (1, *shape)


def test_sigmoid_gives_overlapping_layers(tmp_path: Path) -> None:
    labels = LabelTable((Label(1, "whole"), Label(2, "core", layer=1)))
    network = segmenter([saved(tmp_path, outputs=2)], head=Sigmoid(), window={"patch": [16, 12, 8]})
    volume = noise(Grid((16, 12, 8), np.eye(4)))
    found = predicted(network, tmp_path, volume, labels=labels).segmentation
    expected = logits(module(tmp_path, outputs=2), volume.array) > 0
    assert np.array_equal(found.mask("whole"), expected[0])
    assert np.array_equal(found.mask("core"), expected[1])
    assert (expected[0] & expected[1]).any()


def test_scores_are_interpolated_onto_the_native_grid(tmp_path: Path) -> None:
    from scipy.ndimage import map_coordinates

    volume = noise(Grid((16, 12, 8), np.diag([2.0, 2.0, 3.0, 1.0])))
    onto = volume.grid.respaced((1.3, 1.1, 1.7))
    found = predicted(
        segmenter([saved(tmp_path)], window={"patch": [16, 12, 8]}), tmp_path, volume, onto=onto
    )
    index = np.indices(onto.shape).reshape(3, -1).T
    where = volume.grid.to_index(onto.to_world(index)).T
    fields = [
        map_coordinates(one.astype(float), where, order=1, mode="nearest")
        for one in logits(module(tmp_path), volume.array)
    ]
    assert np.array_equal(found.segmentation.array[0].ravel(), np.argmax(fields, axis=0))


def test_softmax_refuses_labels_in_layers(tmp_path: Path) -> None:
    labels = LabelTable((Label(1, "whole"), Label(2, "core", layer=1)))
    with pytest.raises(PipelineError, match="head: softmax gives one label a voxel, and 'core'"):
        segmenter([saved(tmp_path)]).bound(labels=labels, folder=tmp_path)


def test_it_must_be_bound_and_have_a_folder(tmp_path: Path) -> None:
    network = segmenter([saved(tmp_path)])
    with pytest.raises(UsageError, match="bound"):
        network.open(Resources())
    with pytest.raises(PipelineError, match="folder"):
        network.bound(labels=LABELS, folder=None)
    assert list(network.files()) == ["w.safetensors"]


@pytest.mark.parametrize(
    ("resources", "error", "said"),
    [
        (Resources(device="tpu"), UsageError, "'tpu' is none of"),
        (Resources(device="cuda:93"), ResourceError, "--device cpu"),
        (Resources(precision="fp16"), UsageError, "fp32"),
        (Resources(engine="tflite"), UsageError, "openvino"),
    ],
)
def test_resources_it_has_not_are_refused(
    tmp_path: Path, resources: Resources, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        predicted(segmenter([saved(tmp_path)]), tmp_path, noise(), resources=resources)


def test_settings_of_torch_are_put_back(tmp_path: Path) -> None:
    def settings() -> tuple[Any, ...]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_inference_mode_enabled(),
            torch.random.get_rng_state().tolist(),
        )

    before, during = settings(), []
    resources = Resources(threads=1, deterministic=True, progress=lambda *_: during.append(settings()))
    predicted(segmenter([saved(tmp_path)]), tmp_path, noise(), resources=resources)
    assert during[0][:3] == (1, True, True)
    assert settings() == before


def test_what_a_head_imports_is_there_before_anything_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Softmax, "libraries", {"wave": 1 << 20})
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with segmenter([saved(tmp_path)]).bound(labels=LABELS, folder=tmp_path).open(Resources()):
        assert "wave" in sys.modules


def test_the_plan_covers_slab_weights_and_labels(tmp_path: Path) -> None:
    network = segmenter([saved(tmp_path)]).bound(labels=LABELS, folder=tmp_path)
    with network.open(Resources()) as predictor:
        small = predictor.plan(GRID, onto=GRID, wanted=Wanted())
        longer = predictor.plan(Grid((21, 18, 1500), np.eye(4)), onto=GRID, wanted=Wanted())
        wider = predictor.plan(Grid((210, 180, 15), np.eye(4)), onto=GRID, wanted=Wanted())
    assert small.device == "cpu"
    assert "windows of 8 x 8 x 8 voxels" in small.strategy
    assert small.peak_bytes >= (3 + 1) * 9 * 18 * 15 * 4
    assert longer.peak_bytes < small.peak_bytes + 100_000
    assert wider.peak_bytes > small.peak_bytes


def test_parameters_out_of_range_are_refused() -> None:
    with pytest.raises(ValidationError):
        segmenter([{"path": "a.safetensors", "sha256": "XYZ"}])
    with pytest.raises(ValidationError):
        segmenter([{"path": "a.safetensors", "sha256": "0" * 64}], window={"patch": [8, 8], "overlap": 0.95})


def test_without_weights_it_is_to_be_trained_and_not_run(tmp_path: Path) -> None:
    network = segmenter([])
    network.check(LABELS)
    assert network.files() == {}
    assert network.patch_voxels == (8, 8, 8)
    assert segmenter([], window={"patch": [8, 8]}).patch_voxels == (8, 8)
    with pytest.raises(PipelineError, match=r"^weights: there are none; train them with `medseg train`, or"):
        network.bound(labels=LABELS, folder=tmp_path)


def test_what_is_trained_becomes_its_weights(tmp_path: Path) -> None:
    files = [saved(tmp_path, f"fold{n}.safetensors", seed=n) for n in range(2)]
    trained = segmenter([]).trained({file["path"]: file["sha256"] for file in files})
    assert trained == {"weights": files}
    network = segmenter(trained["weights"])
    assert network.files() == {file["path"]: file["sha256"] for file in files}
    assert network.bound(labels=LABELS, folder=tmp_path).window == segmenter([]).window


def test_parameters_that_do_not_fit_are_refused_before_there_are_weights() -> None:
    for wrong, said in (
        ({"window": {"patch": [8, 8, 7]}}, "window.patch: .* does not fit the network"),
        ({"window": {"patch": [8, 8, 8], "training_patch": [8, 7, 8]}}, "window.training_patch: .* not fit"),
        ({"window": {"patch": [8, 8, 8], "training_patch": [8, 8]}}, "window.training_patch: has 2 numbers"),
        ({"mirror": ["left-right", "left-right"]}, "mirror: left-right is named twice"),
    ):
        with pytest.raises(PipelineError, match=said):
            segmenter([], **wrong).check(LABELS)
