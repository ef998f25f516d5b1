"""Safetensors files as their library writes them, and as nobody should."""

import hashlib
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from safetensors_files import safetensors, tensor

from medseg.errors import ModelError
from medseg.io.weights import BITS, MAX_HEADER_BYTES, check_weights, read_header, weights_file


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file as the library writes it."""
    path = tmp_path / "weights.safetensors"
    save_file(
        {
            "kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
            "bias": np.zeros(3, np.float16),
            "steps": np.array(7, np.int64),
            "none": np.zeros((0, 5), np.float32),
        },
        path,
        metadata={"format": "np"},
    )
    return path


def refused(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read_header(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_the_header_of_the_librarys_file_is_read(path: Path) -> None:
    header = read_header(path)
    assert header["__metadata__"] == {"format": "np"}
    assert header["kernel"]["shape"] == [2, 3, 4]
    assert header["bias"]["dtype"] == "F16"
    assert set(header) == {"__metadata__", "kernel", "bias", "steps", "none"}


def test_a_sound_file_passes_with_its_checksum_and_no_other(path: Path) -> None:
    good = digest(path)
    check_weights(path, good)
    other = ("0" if good[0] != "0" else "1") + good[1:]
    with pytest.raises(ModelError, match=f"its sha256 is {good}, not {other}"):
        check_weights(path, other)


@pytest.mark.parametrize("sha256", ["", "abc", "0" * 63, "0" * 65, "g" * 64, "A" * 64, "0" * 64 + "\n"])
def test_a_checksum_of_another_form_is_refused(path: Path, sha256: str) -> None:
    with pytest.raises(ModelError, match="is not 64 digits"):
        check_weights(path, sha256)


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    good, content = digest(path), path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ModelError):
            check_weights(path, good)


def test_every_truncation_is_noticed_by_the_header_alone(path: Path) -> None:
    content = path.read_bytes()
    for size in range(len(content)):
        assert str(path) in refused(path, content[:size])


def test_no_file_that_the_library_refuses_passes(path: Path) -> None:
    """Random damage to the header: whatever passes here loads there, into the same names and shapes."""
    from safetensors.numpy import load

    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    random, passed = np.random.default_rng(0), 0
    for _ in range(1000):
        changed = bytearray(content)
        for place in random.integers(0, end, size=random.integers(1, 3)):
            changed[place] = random.choice(bytearray(b'0123456789[]{},:" aF'))
        path.write_bytes(changed)
        try:
            header = read_header(path)
        except ModelError:
            continue
        passed += 1
        shapes = {name: list(array.shape) for name, array in load(bytes(changed)).items()}
        assert shapes == {name: part["shape"] for name, part in header.items() if name != "__metadata__"}
    assert passed > 30


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_the_library_knows_these_dtypes_by_these_sizes(path: Path, dtype: str) -> None:
    from safetensors import safe_open

    size = 6 * BITS[dtype] // 8
    path.write_bytes(safetensors({"x": tensor(0, size, dtype=dtype, shape=[2, 3])}, bytes(size)))
    read_header(path)
    with safe_open(path, "np") as file:
        assert file.get_slice("x").get_shape() == [2, 3]
        assert file.get_slice("x").get_dtype() == dtype


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is cut short: 0 bytes"),
        (bytes(8), "its header is not a JSON object"),
        (safetensors({}, length=10 * 10**9), "claims a header of 10000000000 bytes"),
        (safetensors({}, length=2**64 - 1), "claims a header of 18446744073709551615 bytes"),
        (safetensors({}, length=500), "is cut short"),
        (safetensors(b"[]"), "its header is not a JSON object"),
        (safetensors(b"{"), "its header is not valid JSON"),
        (safetensors(b'{"\xff": 1}'), "its header is not valid JSON"),
        (safetensors(b'{"x":' + b"[" * 500_000), "its header is not valid JSON"),
        (safetensors(b'{"x":' + b"9" * 5000 + b"}"), "is not a sound safetensors file"),
        (safetensors(b'{"x": NaN}'), "its header holds NaN"),
        (safetensors(b'{"x": {}, "x": {}}'), "its header names something twice"),
        (safetensors({"__metadata__": {"x": 1}}), "__metadata__ is not a table of texts"),
        (safetensors({"__metadata__": [1]}), "__metadata__ is not a table of texts"),
        (safetensors({"x": 1}), "'x' is not described by dtype, shape and data_offsets"),
        (safetensors({"x": {**tensor(0, 4), "code": "y"}}, bytes(4)), "'x' is not described by"),
        (safetensors({"x": tensor(0, 4, dtype="PYOBJECT")}, bytes(4)), "has the unknown dtype 'PYOBJECT'"),
        (safetensors({"x": {**tensor(0, 4), "dtype": ["U8"]}}, bytes(4)), "has the unknown dtype"),
        (safetensors({"x": tensor(0, 4, shape=[-2, -2])}, bytes(4)), "not a list of whole numbers"),
        (safetensors({"x": {**tensor(0, 1), "shape": [True]}}, b"1"), "not a list of whole numbers"),
        (safetensors({"x": tensor(0, 4, shape=[4] + [1] * 40)}, bytes(4)), "not a list of whole numbers"),
        (safetensors({"x": tensor(0, 4, shape=[2**62, 2**62])}, bytes(4)), "which its shape and dtype do"),
        (safetensors({"x": tensor(0, 4, dtype="F32", shape=[4])}, bytes(4)), "'x' has 4 bytes"),
        (safetensors({"x": tensor(4, 0, shape=[4])}, bytes(4)), "are not a start and an end"),
        (safetensors({"x": {**tensor(0, 4), "data_offsets": [-4, 0]}}, bytes(4)), "are not a start and an"),
        (safetensors({"x": {**tensor(0, 4), "data_offsets": [0]}}, bytes(4)), "are not a start and an end"),
        (safetensors({"x": tensor(0, 8)}, bytes(4)), "'x' ends at byte 8 of 4: the file is cut short"),
        (safetensors({"x": tensor(0, 4), "y": tensor(2, 6)}, bytes(6)), "'y' overlaps the one before it"),
        (safetensors({"x": tensor(0, 4), "y": tensor(0, 4)}, bytes(4)), "'y' overlaps the one before it"),
        (safetensors({"x": tensor(0, 2), "y": tensor(4, 6)}, bytes(6)), "2 bytes before tensor 'y' belong"),
        (safetensors({"x": tensor(0, 2)}, bytes(6)), "4 bytes at its end belong to no tensor"),
        (safetensors({}, b"PK\x03\x04"), "4 bytes at its end belong to no tensor"),
        (safetensors({f"t{i}": tensor(0, 0) for i in range(10_001)}), "has 10001 tensors, more than"),
        (safetensors({f"t{i}": tensor(0, 0) for i in range(100_000)}), "claims a header of"),
        (safetensors({"a\n\x1b[31m": 1}), r"'a\n\x1b[31m' is not described"),
    ],
)
def test_an_unsound_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refused(tmp_path / "weights.safetensors", content)


def test_a_header_of_200_mb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with path.open("wb") as file:
        file.write((200 * 10**6).to_bytes(8, "little") + b'{"x":"')
        file.truncate(300 * 10**6)  # a hole: it takes no room, and reading it would take time
    assert f"header of 200000000 bytes, and {MAX_HEADER_BYTES} are allowed" in refused(path)


def test_what_torch_and_others_write_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    for protocol in range(2, 6):
        assert "is a pickle under another name" in refused(path, pickle.dumps({"a": 1}, protocol))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert "is a zip archive, as torch.save writes, under another name" in refused(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    assert "is not there" in refused(tmp_path / "absent.safetensors")
    assert "is not a file that can be read" in refused(tmp_path / f"{'a' * 500}.safetensors")
    os.mkfifo(tmp_path / "fifo.safetensors")
    assert "is not a file that can be read" in refused(tmp_path / "fifo.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert "is not a file that can be read" in refused(tmp_path / "folder.safetensors")


@pytest.mark.parametrize("name", ["a.safetensors", "sub/b.safetensors", "inner.safetensors"])
def test_a_path_in_the_folder_is_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "inner.safetensors").symlink_to(tmp_path / "a.safetensors")
    found = weights_file(tmp_path, name)
    assert found == (tmp_path / ("a.safetensors" if name.startswith("inner") else name)).resolve()


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../a.safetensors", "x/../a.safetensors", "x/../../a.safetensors"),
        *("/etc/a.safetensors", "./a.safetensors", "x//a.safetensors", "x\\a.safetensors", "a\0.safetensors"),
        *("a\n.safetensors", "a.pth", "a.safetensors.pkl"),
        *("leaving/a.safetensors", "loop/a.safetensors", "out.safetensors"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "a.safetensors").write_bytes(safetensors({}))
    (folder / "leaving").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "out.safetensors").symlink_to(tmp_path / "a.safetensors")
    with pytest.raises(ModelError) as caught:
        weights_file(folder, name)
    assert str(caught.value).isprintable()


def test_names_of_tensors_may_be_anything(path: Path) -> None:
    names: dict[str, Any] = {name: tensor(0, 0) for name in ("", "a/b", "é", "__proto__", "x" * 5000)}
    path.write_bytes(safetensors(names))
    assert list(read_header(path)) == list(names)
