import pytest
import torch  # noqa: TID253

from medseg import ResourceError, Resources, UsageError
from medseg.inference.torch_runtime import torch_device, torch_runtime


def test_auto_is_a_gpu_where_there_is_one() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert torch_device(Resources(device="auto")).type == expected
    assert torch_device(Resources(device="cpu")).type == "cpu"


def test_a_device_that_is_none_or_not_there_is_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match="'gpu' is none of auto, cpu"):
        torch_device(Resources(device="gpu"))
    with pytest.raises(ResourceError, match="--device cpu") as refusal:
        torch_device(Resources(device="cuda:93"))
    assert "\n" not in str(refusal.value)


def test_the_seed_decides_what_is_drawn_and_nothing_stays_behind() -> None:
    def drawn(seed: int) -> list[float]:
        with torch_runtime(Resources(seed=seed)):
            return torch.rand(3).tolist()

    before = torch.random.get_rng_state()
    assert drawn(1) == drawn(1) != drawn(2)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_has_no_deterministic_form_is_refused_if_asked() -> None:
    def not_deterministic() -> None:
        torch.zeros(4).put_(torch.tensor([1]), torch.tensor([1.0]))

    with torch_runtime(Resources()):
        not_deterministic()
    refused = pytest.raises(UsageError, match="leave --deterministic out")
    with refused as refusal, torch_runtime(Resources(deterministic=True)):
        not_deterministic()
    assert "\n" not in str(refusal.value)
    assert not torch.are_deterministic_algorithms_enabled()


def test_memory_that_is_not_there_is_a_memory_error() -> None:
    with pytest.raises(MemoryError), torch_runtime(Resources()):
        torch.empty(1 << 50)
    with pytest.raises(RuntimeError, match="size"), torch_runtime(Resources()):
        torch.zeros(2) + torch.zeros(3)


def test_gradients_are_off_and_threads_as_told() -> None:
    before = torch.get_num_threads()
    with torch_runtime(Resources(threads=1)) as device:
        assert device.type == "cpu"
        assert torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
