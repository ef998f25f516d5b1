"""The sliding window in the memory of a GPU: kernels run in Triton's interpreter, or there if there is one.

Exact as on a processor; `tests/soak/soak_gpu.py` is what runs on a GPU alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253
from equal_labels import Case
from full_volume import decided, interpolated, mean_scores
from known_network import Kind, image, known_logits

from medseg import Grid, Label, LabelTable, ModelError, PluginError, Volume
from medseg.inference import ArgmaxSink, ThresholdSink, Windows, gpu, stream
from medseg.inference.channel_group import ChannelGroup
from medseg.inference.entropy import EntropySink
from medseg.prediction import Scores, Sink

CASES = (
    Case("finer", (20, 12, 10), (8, 8, 8), (27, 17, 15), 3),
    Case("along k, turned", (9, 12, 22), (8, 8, 8), (13, 10, 31), 4, codes="PIL"),
    Case("coarser, along j", (12, 26, 9), (8, 8, 8), (7, 15, 6), 3),
    Case("smaller than the patch, standing out", (14, 5, 9), (8, 8, 8), (22, 9, 13), 3, beyond=1.3),
    Case("same grid, values beyond 255", (17, 9, 10), (8, 8, 8), (17, 9, 10), 3, codes="LPS"),
)


@pytest.fixture(autouse=True)
def device() -> str:
    """Where tensors lie: without a GPU Triton's interpreter takes those of the processor (conftest.py)."""
    if torch.cuda.is_available():
        return "cuda"
    from medseg.inference import gpu_kernels

    assert "Interpreted" in type(gpu_kernels._decide).__name__
    return "cpu"


def table(case: Case) -> LabelTable:
    """Labels of a case, the last one beyond a byte where its name says so."""
    values = list(range(1, case.classes))
    if "255" in case.name:
        values[-1] = 300
    return LabelTable(tuple(Label(value, f"label {value}") for value in values))


def streamed(
    case: Case, kind: Kind, device: str, sinks: Sequence[Sink], *, copies: int = 1, **more: Any
) -> tuple[Any, ...]:
    """A case through `stream` on the GPU; `copies` lays its channels side by side as often."""

    def forward(images: torch.Tensor) -> torch.Tensor:
        logits = known_logits(kind, case.classes, images.cpu().numpy())
        return torch.from_numpy(logits).to(device).repeat(1, copies, 1, 1, 1)

    windows = Windows(case.shape, case.patch, case.overlap, case.blend)
    volume = Volume(image(case.shape, case.classes)[None], case.grid, ("image",))
    return stream(volume, windows, forward, sinks, gpu=device, **more)


def expected(case: Case, kind: Kind) -> Any:
    """Channels that win by the independent method that holds the whole volume."""
    windows = Windows(case.shape, case.patch, case.overlap, case.blend)
    pixels = image(case.shape, case.classes)
    mean = mean_scores(pixels, windows, lambda images: known_logits(kind, case.classes, images), windows.axis)
    return decided(*interpolated(mean, case.grid, case.native, windows.axis))


def axis_of(case: Case) -> int:
    return Windows(case.shape, case.patch).axis


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_labels_are_those_of_the_whole_volume(case: Case, device: str) -> None:
    kind: Kind = "ties"  # all within two last bits
    labels, wanted = table(case), expected(case, kind)
    values = np.array([0, *(label.value for label in labels)])
    for blocks, batch in ((1, 1), (2, 3)):
        sink = ArgmaxSink(labels, grid=case.grid, axis=axis_of(case), onto=case.native)
        (found,) = streamed(case, kind, device, [sink], blocks=blocks, batch=batch)
        assert found.array.dtype == (np.uint16 if values.max() > 255 else np.uint8)
        assert np.array_equal(found.array[0], values[wanted])


def test_large_boxes_are_decided_in_parts(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from medseg.inference import gpu_kernels

    case = CASES[1]
    launched: list[int] = []
    plain = gpu_kernels.decide

    def counted(*arguments: Any, **more: Any) -> None:
        launched.append(len(arguments[1][0][0]))
        plain(*arguments, **more)

    monkeypatch.setattr(gpu_kernels, "decide", counted)
    monkeypatch.setattr(gpu_kernels, "MOST_VOXELS", 700)
    sink = ArgmaxSink(table(case), grid=case.grid, axis=axis_of(case), onto=case.native)
    (found,) = streamed(case, "spread", device, [sink])
    assert len(launched) > 4, "boxes were cut"
    assert np.array_equal(found.array[0], expected(case, "spread"))


def test_labels_that_overlap_lie_in_their_layers(device: str) -> None:
    case = CASES[0]
    labels = LabelTable((Label(1, "a"), Label(2, "b", layer=1), Label(3, "c", layer=1)))

    def sink() -> Sink:
        return ThresholdSink(labels, grid=case.grid, axis=axis_of(case), onto=case.native)

    (there,) = streamed(case, "spread", device, [sink()])
    windows = Windows(case.shape, case.patch)
    volume = Volume(image(case.shape, case.classes)[None], case.grid, ("image",))
    (here,) = stream(volume, windows, lambda images: known_logits("spread", case.classes, images), [sink()])
    assert len(np.unique(here.array[1])) == 3
    assert np.array_equal(there.array, here.array)


def test_members_side_by_side_and_sinks_of_the_processor(device: str) -> None:
    case = CASES[0]
    sinks: list[Sink] = [
        ArgmaxSink(table(case), grid=case.grid, axis=axis_of(case), onto=case.native) for _ in range(2)
    ]
    sinks.append(EntropySink(grid=case.grid, axis=axis_of(case), activation="softmax"))
    grouped = [
        ChannelGroup(sink, first=first * case.classes, count=case.classes)
        for sink, first in zip(sinks, (0, 1, 1), strict=True)
    ]
    first, second, entropy = streamed(case, "spread", device, grouped, copies=2)
    wanted = expected(case, "spread")
    assert np.array_equal(first.array[0], wanted)
    assert np.array_equal(second.array[0], wanted)
    assert 0 < entropy.array.max() <= np.log(3) + 1e-3


class Inverse(ArgmaxSink):
    """Decides in its own way, as a plugin's may."""

    def take(self, slab: Scores, start: int) -> None:
        super().take(Scores(-slab.array, slab.grid, slab.kind), start)


def test_a_sink_that_decides_in_its_own_way_is_let(device: str) -> None:
    case = CASES[0]
    windows = Windows(case.shape, case.patch)
    volume = Volume(image(case.shape, case.classes)[None], case.grid, ("image",))
    sinks = [
        cls(table(case), grid=case.grid, axis=axis_of(case), onto=case.native) for cls in (Inverse, Inverse)
    ]
    assert not gpu.decides(sinks[0])
    (there,) = streamed(case, "spread", device, sinks[:1])
    (here,) = stream(volume, windows, lambda images: known_logits("spread", case.classes, images), sinks[1:])
    assert np.array_equal(there.array, here.array)
    assert not np.array_equal(there.array[0], expected(case, "spread"))


def test_oblique_labels_are_decided_by_the_processor(device: str) -> None:
    case = CASES[0]
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    onto = Grid((20, 18, 12), np.block([[turn, np.ones((3, 1))], [np.zeros((1, 3)), 1.0]]))

    def sink() -> ArgmaxSink:
        return ArgmaxSink(table(case), grid=case.grid, axis=axis_of(case), onto=onto)

    assert sink().placement.lines is None
    (there,) = streamed(case, "spread", device, [sink()])
    windows = Windows(case.shape, case.patch)
    volume = Volume(image(case.shape, case.classes)[None], case.grid, ("image",))
    (here,) = stream(volume, windows, lambda images: known_logits("spread", case.classes, images), [sink()])
    assert len(np.unique(here.array)) == 3
    assert np.array_equal(there.array, here.array)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter computes with NumPy
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_are_refused(wrong: float, device: str) -> None:
    case = CASES[0]
    sink = ArgmaxSink(table(case), grid=case.grid, axis=axis_of(case), onto=case.native)
    calls = 0

    def forward(images: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        logits = torch.zeros((len(images), 3, *case.patch), dtype=torch.float16, device=device)
        if calls == 5:
            logits[0, 2, 3, 4, 5] = wrong
        return logits

    volume = Volume(image(case.shape, 3)[None], case.grid, ("image",))
    with pytest.raises(ModelError, match="not finite"):
        stream(volume, Windows(case.shape, case.patch), forward, [sink], gpu=device)


def test_another_number_of_channels_is_refused(device: str) -> None:
    case = CASES[0]
    sink = ArgmaxSink(table(CASES[1]), grid=case.grid, axis=axis_of(case), onto=case.native)
    with pytest.raises(PluginError, match="gives 3 channels, and these labels are 4"):
        streamed(case, "spread", device, [sink])


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float64, ">i2"])
def test_images_of_any_type_and_order_are_sent(dtype: Any, device: str) -> None:
    case = CASES[0]
    pixels = np.random.default_rng(0).integers(0, 200, case.shape).astype(dtype)[:, ::-1]
    volume = Volume(pixels[None], case.grid, ("image",))
    seen: list[Any] = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.cpu().numpy())
        return images.repeat(1, 3, 1, 1, 1)

    sink = ArgmaxSink(table(case), grid=case.grid, axis=axis_of(case), onto=case.native)
    stream(volume, Windows(case.shape, case.patch), forward, [sink], gpu=device)
    assert all(images.dtype == np.float32 for images in seen)
    assert np.array_equal(seen[0][0, 0], pixels[:8, :8, :8])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_kernels_that_work_have_no_fault(precision: str, device: str) -> None:
    assert gpu.fault(device, precision) is None


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("Failed to find C compiler.\nPlease specify"), "Failed to find C compiler. Please"),
        (ImportError("no Python.h"), "no Python.h"),
        (None, "its kernels compute something else"),
    ],
)
def test_kernels_that_fail_or_do_nothing_are_told_in_one_line(
    raised: Exception | None, said: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medseg.inference import gpu_kernels

    def broken(*_arguments: Any, **_more: Any) -> None:
        if raised is not None:
            raise raised

    monkeypatch.setattr(gpu_kernels, "decide", broken)
    told = gpu.fault(device, "fp32")
    assert told is not None
    assert told.startswith("Triton does not work here: ")
    assert said in told
    assert "\n" not in told


def test_memory_that_runs_out_while_kernels_are_tried_is_no_fault_of_theirs(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medseg.inference import gpu_kernels

    def full(*_arguments: Any, **_more: Any) -> None:
        raise RuntimeError("Triton Error [CUDA]: out of memory")

    monkeypatch.setattr(gpu_kernels, "decide", full)
    with pytest.raises(RuntimeError, match="out of memory"):
        gpu.fault(device, "fp32")


def test_what_is_lacking_is_said() -> None:
    assert gpu.lacking() is None, "Triton is among what is installed for development"
