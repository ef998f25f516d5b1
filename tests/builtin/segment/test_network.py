"""Small networks with known weights through the whole segmenter."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import save_file, save_model
from strategies import ORIENTATIONS

import medseg
from medseg import (
    Grid,
    InputError,
    Label,
    LabelTable,
    ModelError,
    PipelineError,
    Prediction,
    ResourceError,
    Resources,
    UsageError,
    Volume,
    Wanted,
)
from medseg.builtin.head.sigmoid import Sigmoid
from medseg.builtin.head.softmax import Softmax
from medseg.builtin.network.dynunet import DynUnet
from medseg.builtin.network.unet import Unet
from medseg.builtin.segment.network import NetworkSegmenter
from medseg.pipeline import walk
from medseg.run.case import prepare

LABELS = LabelTable((Label(1, "liver"), Label(2, "spleen")))
SMALL = Unet(channels=(4, 8))
ONE_THREAD = Resources(threads=1)  # small networks wait for each other
GRID = Grid((21, 18, 15), np.diag([1.0, 1.0, 2.0, 1.0]))


def saved(folder: Path, name: str = "w.safetensors", *, seed: int = 0, half: bool = False, **how: Any) -> Any:
    """Random weights of SMALL as `weights:` names them."""
    how = {"dims": 3, "inputs": 1, "outputs": 3, **how}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = SMALL.build(**how).state_dict()
    save_file({key: value.half() if half else value for key, value in state.items()}, folder / name)
    return {"path": name, "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest()}


def module(folder: Path, name: str = "w.safetensors", **how: Any) -> torch.nn.Module:
    """What was saved, without medseg."""
    from safetensors.torch import load_file

    net = SMALL.build(**{"dims": 3, "inputs": 1, "outputs": 3, **how})
    net.load_state_dict({key: value.float() for key, value in load_file(folder / name).items()})
    return net.eval()


def segmenter(weights: Sequence[Any], **parameters: Any) -> NetworkSegmenter:
    full = {
        "architecture": SMALL,
        "head": Softmax(),
        "weights": list(weights),
        "window": {"patch": [8, 8, 8]},
        **parameters,
    }
    return NetworkSegmenter.model_validate(full)


def predicted(
    network: NetworkSegmenter,
    folder: Path,
    volume: Volume,
    *,
    labels: LabelTable = LABELS,
    onto: Grid | None = None,
    resources: Resources | None = None,
) -> Prediction:
    with network.bound(labels=labels, folder=folder).open(resources or ONE_THREAD) as predictor:
        return predictor(volume, onto=onto or volume.grid, wanted=Wanted())


def noise(grid: Grid = GRID, channels: int = 1, seed: int = 3) -> Volume:
    array = np.random.default_rng(seed).normal(size=(channels, *grid.shape)).astype(np.float32)
    return Volume(array, grid, tuple(f"c{n}" for n in range(channels)))


def logits(net: torch.nn.Module, image: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(net(torch.from_numpy(np.array(image))[None])[0].numpy())


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


def pipeline(folder: Path, *, patch: str = "[8, 8, 8]", head: str = "softmax", more: str = "") -> Path:
    file = saved(folder)
    path = folder / "pipeline.yaml"
    path.write_text(
        "labels: {1: {name: liver}, 2: {name: spleen}}\n"
        "preprocess: [{reorient: {to: RAS}}, {resample: {spacing: [1.5, 1.5, 1.5]}}, z-score]\n"
        "segment:\n  network:\n    architecture: {unet: {channels: [4, 8]}}\n"
        f"    head: {head}\n    weights: [{{path: w.safetensors, sha256: {file['sha256']}}}]\n"
        f"    window: {{patch: {patch}}}\n{more}"
    )
    return path


def test_48_orientations_give_the_same_physical_mask(tmp_path: Path) -> None:
    _, assembled = prepare(pipeline(tmp_path, patch="[8, 16, 8]"))
    volume = noise(Grid((11, 13, 9), np.diag([0.9, 1.3, 2.2, 1.0])))
    masks = []
    with assembled.segment.step.open(ONE_THREAD) as predictor:
        for codes in ORIENTATIONS:
            _, found, _ = walk(assembled, volume.reorient(codes), predictor)
            masks.append(found.onto(volume.grid).array)
    assert len(np.unique(masks[0])) == 3
    assert all(np.array_equal(masks[0], mask) for mask in masks)


def test_a_pipeline_file_runs_and_says_what_it_used(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    resources = Resources(progress=lambda *said: heard.append(said), seed=5, threads=1)
    result = medseg.segment(noise(), model=pipeline(tmp_path), resources=resources)
    used = result.prediction.used
    assert heard[-1] == ("segment", used["windows"], used["windows"])
    assert result.provenance["seed"] == 5
    written = result.provenance["pipeline"]["segment"]["medseg/network"]
    assert written["architecture"]["medseg/unet"]["channels"] == [4, 8]
    assert written["window"] == {
        "patch": [8, 8, 8],
        "overlap": 0.5,
        "blend": "gaussian",
        "skip_empty": False,
    }


def test_a_picture_in_colour_from_its_file_to_its_mask(tmp_path: Path) -> None:
    from PIL import Image

    values = np.random.default_rng(2).integers(0, 256, (19, 33, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "cells.png")
    file = saved(tmp_path, dims=2, inputs=3)
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        "labels: {1: {name: nucleus}, 2: {name: membrane}}\n"
        "segment:\n  network:\n    architecture: {unet: {channels: [4, 8]}}\n    head: softmax\n"
        f"    weights: [{{path: w.safetensors, sha256: {file['sha256']}}}]\n"
        "    window: {patch: [16, 16]}\n    channels: 3\n"
    )
    result = medseg.segment(tmp_path / "cells.png", model=path, out=tmp_path / "out", resources=ONE_THREAD)
    assert result.segmentation.grid.unit == "px"
    assert result.segmentation.grid.shape == (33, 19, 1)
    assert {1, 2} <= set(np.unique(result.segmentation.array))
    Image.fromarray(values[..., 0]).save(tmp_path / "grey.png")
    with pytest.raises(InputError, match=r"has 1 channel \(\w+\), and the network takes 3") as refusal:
        medseg.segment(tmp_path / "grey.png", model=path, out=tmp_path / "out2", resources=ONE_THREAD)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out2").exists()


def test_four_images_become_four_channels(tmp_path: Path) -> None:
    file = saved(tmp_path, inputs=4)
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        "inputs: [{name: t1}, {name: t1c}, {name: t2}, {name: flair}]\n"
        "labels: {1: {name: oedema}, 2: {name: core}}\npreprocess: [{z-score: {}}]\n"
        "segment:\n  network:\n    architecture: {unet: {channels: [4, 8]}}\n    head: softmax\n"
        f"    weights: [{{path: w.safetensors, sha256: {file['sha256']}}}]\n"
        "    window: {patch: [8, 8, 8]}\n    channels: 4\n"
    )
    images = [noise(seed=n) for n in range(4)]
    found = medseg.segment(*images, model=path, resources=ONE_THREAD).segmentation
    assert {1, 2} <= set(np.unique(found.array))
    swapped = medseg.segment(*images[::-1], model=path, resources=ONE_THREAD).segmentation
    assert not np.array_equal(found.array, swapped.array)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"patch": "[9, 8, 8]"}, r"segment\.network: window\.patch: \[9, 8, 8\] does not fit"),
        ({"patch": "[8]"}, r"segment\.network\.window\.patch"),
        ({"patch": "[2, 2, 2]"}, r"cannot take \[2, 2, 2\]"),
        ({"head": "softmaxx"}, r"segment\.network\.head: .*did you mean 'softmax'"),
        ({"more": "    mirror: [left]\n"}, r"segment\.network\.mirror\[0\]"),
        ({"more": "    mirror: [left-right, left-right]\n"}, "named twice"),
    ],
)
def test_a_wrong_pipeline_is_refused_in_one_line(tmp_path: Path, wrong: dict[str, str], said: str) -> None:
    with pytest.raises(PipelineError, match=said) as refusal:
        medseg.segment(noise(), model=pipeline(tmp_path, **wrong))
    assert "\n" not in str(refusal.value)


def test_softmax_refuses_labels_in_layers(tmp_path: Path) -> None:
    labels = LabelTable((Label(1, "whole"), Label(2, "core", layer=1)))
    with pytest.raises(PipelineError, match="head: softmax gives one label a voxel, and 'core'"):
        segmenter([saved(tmp_path)]).bound(labels=labels, folder=tmp_path)


def test_weights_that_do_not_fit_are_refused_by_the_first_tensor(tmp_path: Path) -> None:
    file = saved(tmp_path)
    with pytest.raises(ModelError, match=r"w\.safetensors: has no tensor '.*'") as refusal:
        predicted(
            segmenter([file], architecture=Unet(channels=(4, 8, 16)), window={"patch": [8, 8, 8]}),
            tmp_path,
            noise(),
        )
    assert "\n" not in str(refusal.value)
    with pytest.raises(ModelError, match=r"tensor '.*' is \[4, 1, 3, 3, 3\], and the network's is \[4, 2,"):
        predicted(segmenter([file], channels=2), tmp_path, noise(channels=2))
    state = {**module(tmp_path).state_dict(), "head.bias": torch.zeros(3)}
    save_file(state, tmp_path / "w.safetensors")
    file = {**file, "sha256": hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()}
    with pytest.raises(ModelError, match=r"has a tensor 'head\.bias' that the network has no place for"):
        predicted(segmenter([file]), tmp_path, noise())


def test_tensors_that_a_network_shares_are_stored_once(tmp_path: Path) -> None:
    net = DynUnet(channels=(4, 4, 8))
    built = net.build(dims=3, inputs=1, outputs=3).eval()
    save_model(built, str(tmp_path / "once.safetensors"))
    cloned = {name: value.clone() for name, value in built.state_dict().items()}
    save_file(cloned, tmp_path / "twice.safetensors")
    size = {"once": 0, "twice": 0}
    volume = noise(Grid((8, 12, 8), np.eye(4)))
    expected = logits(built, volume.array).argmax(0)
    for name in size:
        path = tmp_path / f"{name}.safetensors"
        size[name] = path.stat().st_size
        file = {"path": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        network = segmenter([file], architecture=net, window={"patch": [8, 12, 8]})
        assert np.array_equal(predicted(network, tmp_path, volume).segmentation.array[0], expected)
    assert size["once"] < 0.7 * size["twice"]
    lacking = {name: value for name, value in cloned.items() if "input_block.conv1" not in name}
    lacking = {name: value for name, value in lacking.items() if "skip_layers.downsample.conv1" not in name}
    save_file(lacking, tmp_path / "w.safetensors")
    file = {
        "path": "w.safetensors",
        "sha256": hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest(),
    }
    with pytest.raises(ModelError, match="has no tensor 'input_block"):
        predicted(segmenter([file], architecture=net, window={"patch": [8, 12, 8]}), tmp_path, volume)


def test_missing_and_altered_weights_are_refused_before_torch_has_work(tmp_path: Path) -> None:
    file = saved(tmp_path)
    absent = {**file, "path": "fold7.safetensors"}
    with pytest.raises(ModelError, match=r"fold7\.safetensors"):
        segmenter([absent]).bound(labels=LABELS, folder=tmp_path)
    with pytest.raises(ModelError, match="sha256"):
        segmenter([{**file, "sha256": "0" * 64}]).bound(labels=LABELS, folder=tmp_path)
    bound = segmenter([file]).bound(labels=LABELS, folder=tmp_path)
    saved(tmp_path, seed=9)
    with pytest.raises(ModelError, match="altered"), bound.open(Resources()):
        pass


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    file = saved(tmp_path)
    state = module(tmp_path).state_dict()
    next(iter(state.values())).fill_(float("nan"))
    save_file(state, tmp_path / "w.safetensors")
    file = {**file, "sha256": hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()}
    with pytest.raises(ModelError, match="not finite"):
        predicted(segmenter([file]), tmp_path, noise())


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
        ({"mirror": ["left-right", "left-right"]}, "mirror: left-right is named twice"),
    ):
        with pytest.raises(PipelineError, match=said):
            segmenter([], **wrong).check(LABELS)
