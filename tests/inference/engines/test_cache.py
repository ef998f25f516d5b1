"""Graphs kept, damaged, replaced and thrown away; no torch."""

import os
from pathlib import Path

import pytest

from medseg.inference.engines.cache import GraphCache, user_cache

KEY, OTHER = "a" * 64, "b" * 64


def test_what_was_put_comes_back_under_its_key_only(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "engines")
    assert cache.get(KEY) is None
    cache.put(KEY, b"graph")
    assert cache.get(KEY) == b"graph"
    assert cache.get(OTHER) is None
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    (file,) = cache.folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("damage", [b"", b"grap", b"grapH", b"graph and more"])
def test_a_damaged_graph_is_removed_and_made_again(tmp_path: Path, damage: bytes) -> None:
    cache = GraphCache(tmp_path / "engines")
    cache.put(KEY, b"graph")
    (file,) = cache.folder.iterdir()
    file.write_bytes(damage)
    assert cache.get(KEY) is None
    assert not file.exists()
    cache.put(KEY, b"graph")
    assert cache.get(KEY) == b"graph"


def test_what_others_can_write_is_not_used(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "engines")
    cache.put(KEY, b"graph")
    cache.folder.chmod(0o777)
    assert cache.get(KEY) is None
    cache.put(OTHER, b"graph")
    assert len(list(cache.folder.iterdir())) == 1
    linked = tmp_path / "linked"
    cache.folder.chmod(0o700)
    linked.symlink_to(cache.folder)
    assert GraphCache(linked).get(KEY) is None


def test_a_link_in_a_graphs_place_is_not_followed(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "engines")
    cache.put(KEY, b"graph")
    (file,) = cache.folder.iterdir()
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert cache.get(KEY) is None


def test_a_folder_that_cannot_be_made_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = GraphCache(tmp_path / "file" / "engines")
    cache.put(KEY, b"graph")
    assert cache.get(KEY) is None


def test_what_was_unused_for_longest_goes_first(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "engines", most_bytes=25)
    keys = [letter * 64 for letter in "abc"]
    for hour, key in enumerate(keys[:2]):
        cache.put(key, key[:10].encode())
        for file in cache.folder.glob(f"{key}*"):
            os.utime(file, (hour, hour))
    assert cache.get(keys[0])  # is used, so the other one is older now
    cache.put(keys[2], b"0123456789")
    assert [cache.get(key) is not None for key in keys] == [True, False, True]
    cache.put(OTHER, b"x" * 26)  # more than the whole cache may have
    assert cache.get(OTHER) is None


def test_what_a_killed_run_left_is_removed_and_foreign_files_stay(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "engines")
    cache.put(KEY, b"graph")
    for name, age in ((".partial-old", 10), (".partial-new", None), ("notes.txt", 10)):
        (cache.folder / name).write_text("x")
        if age is not None:
            os.utime(cache.folder / name, (age, age))
    cache.put(OTHER, b"other")
    left = {path.name for path in cache.folder.iterdir() if path.suffix != ".onnx"}
    assert left == {".partial-new", "notes.txt"}


def test_the_users_cache_is_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = user_cache()
    assert found is not None
    assert found.folder == tmp_path / "medseg" / "engines"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification: to be ignored
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = user_cache()
    assert found is not None
    assert found.folder == tmp_path / "home" / ".cache" / "medseg" / "engines"
