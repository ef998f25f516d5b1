"""A folder that one run at a time can hold."""

import threading
from pathlib import Path

import pytest

from medseg.errors import ResourceError, UsageError
from medseg.io.atomic import held_folder


def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    with (
        held_folder(target),
        pytest.raises(ResourceError, match="another run is writing into it"),
        held_folder(target),
    ):
        pass
    assert not (tmp_path / "deep").exists()  # nothing was put into it
    with held_folder(target) as folder:
        (folder / "a").touch()
    with held_folder(target):
        pass
    assert (target / "a").exists()


def test_only_a_folder_can_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="exists and is not a folder"), held_folder(tmp_path / "file"):
        pass


def test_who_would_rather_wait_gets_it_when_it_is_free(tmp_path: Path) -> None:
    asked, got = threading.Event(), threading.Event()

    def wait() -> None:
        with held_folder(tmp_path / "out", waiting=asked.set):
            got.set()

    other = threading.Thread(target=wait)
    with held_folder(tmp_path / "out") as folder:
        (folder / "a").touch()
        other.start()
        assert asked.wait(60)
        assert not got.is_set()
    assert got.wait(60)
    other.join()


def test_what_is_free_is_not_waited_for(tmp_path: Path) -> None:
    with held_folder(tmp_path / "out", waiting=lambda: pytest.fail("it is free")):
        pass
