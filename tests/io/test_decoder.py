import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.errors import InputError
from medseg.io.decoder import Decoder, Part, decode_parts, refuse_oversize

STORED = np.arange(6 * 5 * 4, dtype=np.int16).reshape(6, 5, 4)
SLICE_BYTES = 6 * 5 * 2


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    one = Decoder(timeout_s=20)
    yield one
    one.close()


def status(decoder: Decoder) -> dict[str, Any]:
    replies: list[dict[str, Any]] = []
    decoder.ask({"do": "status"}, files=[], take=lambda fields, _: replies.append(fields))
    return replies[0]


def slices(decoder: Decoder, folder: Path) -> list[NDArray[Any]]:
    arrays: list[NDArray[Any]] = []

    def take(_fields: dict[str, Any], array: NDArray[Any] | None) -> None:
        assert array is not None
        arrays.append(array)

    decoder.ask({"do": "dicom-pixels"}, files=sorted(folder.iterdir()), take=take, most_bytes=SLICE_BYTES)
    return arrays


@pytest.fixture
def series(tmp_path: Path, write_series: Callable[..., Path]) -> Path:
    return write_series(tmp_path / "series", STORED)


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    """A file whose reading never ends: a named pipe that nobody writes to."""
    path = tmp_path / "stuck.dcm"
    os.mkfifo(path)
    return path


def test_gives_the_stored_values_of_each_file_in_order(decoder: Decoder, series: Path) -> None:
    for k, array in enumerate(slices(decoder, series)):
        np.testing.assert_array_equal(array, STORED[:, :, k].T)


def test_one_process_answers_many_requests(decoder: Decoder, series: Path) -> None:
    slices(decoder, series)
    first = decoder.pid
    slices(decoder, series)
    assert decoder.pid == first


def test_the_child_has_neither_torch_nor_results_even_after_work(decoder: Decoder, series: Path) -> None:
    slices(decoder, series)
    modules = set(status(decoder)["modules"])
    assert "pydicom" in modules
    assert not {name.partition(".")[0] for name in modules} & {
        "torch", "matplotlib", "monai", "scipy", "pydantic",
    }  # fmt: skip
    assert not {
        name for name in modules if name.startswith(("medseg.run", "medseg.pipeline", "medseg.plugin"))
    }


def test_the_child_may_use_limited_memory_and_leaves_no_core(decoder: Decoder) -> None:
    assert status(decoder)["memory"] == 8 << 30
    limits = Path(f"/proc/{decoder.pid}/limits").read_text(encoding="ascii")
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4] == "0"


def test_the_child_answers_soon_after_it_is_started(decoder: Decoder) -> None:
    start = time.monotonic()
    status(decoder)
    assert time.monotonic() - start < 3  # 0.1 s on an idle machine


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_costs_one_file_and_the_next_request_works(
    decoder: Decoder, series: Path, stuck: Path, number: signal.Signals
) -> None:
    status(decoder)
    assert decoder.pid is not None
    threading.Timer(0.2, os.kill, (decoder.pid, number)).start()
    with pytest.raises(InputError, match=rf"^stuck\.dcm: the decoder was ended by {number.name}"):
        decoder.ask({"do": "dicom-pixels"}, files=[stuck], take=lambda _f, _a: None)
    assert len(slices(decoder, series)) == 4


def test_the_file_that_was_being_read_is_named(decoder: Decoder, series: Path, stuck: Path) -> None:
    decoder.timeout_s = 2
    files = [*sorted(series.iterdir())[:2], stuck]
    with pytest.raises(InputError, match=r"^stuck\.dcm: not decoded within 2 s"):
        decoder.ask({"do": "dicom-pixels"}, files=files, take=lambda _f, _a: None, most_bytes=SLICE_BYTES)


def test_a_child_that_hangs_is_ended_and_replaced(decoder: Decoder, series: Path, stuck: Path) -> None:
    status(decoder)
    before, decoder.timeout_s = decoder.pid, 0.3
    with pytest.raises(InputError, match="not decoded within"):
        decoder.ask({"do": "dicom-pixels"}, files=[stuck], take=lambda _f, _a: None)
    assert before is not None
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    decoder.timeout_s = 20
    assert len(slices(decoder, series)) == 4


def test_too_little_memory_is_one_line_and_the_next_request_works(tmp_path: Path, series: Path) -> None:
    decoder = Decoder(timeout_s=20, memory_bytes=1 << 30)
    huge = tmp_path / "huge.dcm"
    huge.touch()
    os.truncate(huge, 8 << 30)  # sparse: it takes no room on the disk
    with pytest.raises(InputError, match=r"^huge\.dcm: decoding it needs more than 1 GiB of memory$"):
        decoder.ask({"do": "dicom-pixels"}, files=[huge], take=lambda _f, _a: None)
    assert len(slices(decoder, series)) == 4
    decoder.close()


def test_a_child_that_died_while_idle_is_replaced_without_a_word(decoder: Decoder, series: Path) -> None:
    status(decoder)
    assert decoder.pid is not None
    os.kill(decoder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, decoder.pid, os.WEXITED | os.WNOWAIT)
    assert len(slices(decoder, series)) == 4


def test_more_pixels_than_the_header_claimed_are_not_taken(decoder: Decoder, series: Path) -> None:
    with pytest.raises(InputError, match="more pixels than its header claims"):
        decoder.ask(
            {"do": "dicom-pixels"},
            files=sorted(series.iterdir()),
            take=lambda _f, _a: None,
            most_bytes=SLICE_BYTES - 1,
        )
    assert len(slices(decoder, series)) == 4


def test_an_error_of_the_caller_passes_through_and_the_next_request_works(
    decoder: Decoder, series: Path
) -> None:
    def stumble(_fields: dict[str, Any], _array: NDArray[Any] | None) -> None:
        raise KeyError("caller")

    with pytest.raises(KeyError, match="caller"):
        decoder.ask(
            {"do": "dicom-pixels"}, files=sorted(series.iterdir()), take=stumble, most_bytes=SLICE_BYTES
        )
    assert len(slices(decoder, series)) == 4


def test_threads_share_it_without_mixing_replies(decoder: Decoder, series: Path) -> None:
    results: list[bool] = []

    def work() -> None:
        for _ in range(5):
            arrays = slices(decoder, series)
            results.append(all(np.array_equal(a, STORED[:, :, k].T) for k, a in enumerate(arrays)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 20


def test_a_numpy_in_the_current_folder_is_not_imported(
    decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit(3)\n", encoding="ascii")
    monkeypatch.chdir(tmp_path)
    assert "numpy" in status(decoder)["modules"]


SCRIPT = """
import os, signal
from medseg.io import decoder
seen = []
decoder.decode({"do": "status"}, files=[], take=lambda fields, _: seen.append(fields))
print(decoder._decoder.pid, flush=True)
"""


def run(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_it_ends_with_a_parent_that_exits() -> None:
    assert gone(int(run(SCRIPT)[0]))


def test_it_ends_with_a_parent_that_is_killed() -> None:
    assert gone(int(run(SCRIPT + "os.kill(os.getpid(), signal.SIGKILL)")[0]))


def test_a_forked_process_starts_its_own() -> None:
    fork = """
if os.fork() == 0:
    decoder.decode({"do": "status"}, files=[], take=lambda fields, _: seen.append(fields))
    print(decoder._decoder.pid, flush=True)
    decoder._close()
    os._exit(0)
os.wait()
decoder.decode({"do": "status"}, files=[], take=lambda fields, _: seen.append(fields))
print(decoder._decoder.pid, len(seen), flush=True)
"""
    parent, forked, again, answers = run(SCRIPT + fork)
    assert parent == again != forked
    assert answers == "2"


# ------------------------------------------------------------------ frames, and several at once
def test_the_frame_that_was_asked_for_is_named(decoder: Decoder, series: Path, stuck: Path) -> None:
    files = [sorted(series.iterdir())[0], stuck]
    asked, take = {"do": "dicom-pixels", "frames": [None]}, lambda _f, _a: None
    decoder.ask(asked, files=files[:1], take=take, most_bytes=SLICE_BYTES)  # what it loads, it has by now
    decoder.timeout_s = 1
    with pytest.raises(InputError, match=r"^stuck\.dcm, frame 8: not decoded within 1 s"):
        decoder.ask(
            {"do": "dicom-pixels", "frames": [None, [7, 8]]},
            files=files,
            take=lambda _f, _a: None,
            most_bytes=SLICE_BYTES,
        )


def parts_of(files: list[Path], count: int, seen: dict[str, NDArray[Any]]) -> list[Part]:
    def part(some: list[Path]) -> Part:
        names = iter(some)

        def take(_fields: dict[str, Any], array: NDArray[Any] | None) -> None:
            assert array is not None
            seen[next(names).name] = array

        return Part({"do": "dicom-pixels"}, some, take)

    step = len(files) // count
    return [part(files[n * step : (n + 1) * step]) for n in range(count)]


def test_parts_are_answered_side_by_side(series: Path) -> None:
    seen: dict[str, NDArray[Any]] = {}
    decode_parts(parts_of(sorted(series.iterdir()), 2, seen), most_bytes=SLICE_BYTES)
    assert sorted(seen) == [f"IM{k:04d}.dcm" for k in range(4)]
    for k in range(4):
        np.testing.assert_array_equal(seen[f"IM{k:04d}.dcm"], STORED[:, :, k].T)


def test_the_first_part_that_fails_is_told_and_no_process_is_left(series: Path) -> None:
    files = sorted(series.iterdir())
    files[3].write_bytes(files[3].read_bytes()[:-10])
    with pytest.raises(InputError, match=r"^IM0003\.dcm: its pixel data is missing or cut off"):
        decode_parts(parts_of(files, 2, {}), most_bytes=SLICE_BYTES)
    files[0].write_bytes(files[0].read_bytes()[:-10])
    with pytest.raises(InputError, match=r"^IM0000\.dcm"):
        decode_parts(parts_of(files, 4, {}), most_bytes=SLICE_BYTES)
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text(encoding="ascii")
    names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children.split()]
    assert sum(b"medseg.io.child" in name for name in names) <= 1


def test_an_absurd_size_is_refused_before_it_is_allocated() -> None:
    with pytest.raises(InputError, match=r"^big\.nrrd: its header claims 1048576\.0 GiB"):
        refuse_oversize(1 << 50, "big.nrrd")
    refuse_oversize(1 << 20, "small.nrrd")
