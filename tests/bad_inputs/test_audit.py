"""The whole battery in one process under Python's audit hooks: what reading never does.

No connection, no unpickling, no program but the decoder, in the process that reads or in the decoder itself.
Each case runs twice: by the second time every module is loaded, and then nothing is compiled or executed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bad_inputs.generate import generate, registered

CHILD = "medseg.io.child"
NEEDS_ROOM = {"zip_bomb", "targz_bomb"}  # seconds each, and judged in test_battery.py
NEVER = (
    "socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request",
    "pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn",
)  # fmt: skip
# Loaded by every Python that is started with it on its path, the decoder's too. Lines are written in one go,
# so that two processes do not mix them.
HOOK = """
import os, sys
log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def hook(event, given):
    if event in WATCHED:
        if event == "subprocess.Popen":
            words = given[1]
        elif event.startswith("socket."):
            words = [given[1]]  # the address
        else:
            words = [str(getattr(given[0], "co_filename", given[0]))[:200] if given else ""]
        os.write(log, (event + "\\t" + "\\t".join(map(str, words)) + "\\n").encode("utf-8", "replace"))
sys.addaudithook(hook)
"""
RUN = """
import os, sys, warnings
warnings.simplefilter("ignore")
from medseg.cli import run
out, *paths = sys.argv[1:]
codes = []
for turn in ("first", "second"):
    os.write(int(os.environ["AUDIT_MARK"]), f"MARK\\t{turn}\\n".encode())
    for index, path in enumerate(paths):
        codes.append(run(["convert", path, "-o", f"{out}/{turn}{index}.nii.gz", "-q"]))
print(*codes)
"""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Audit events of all processes: name and words of each, in order, with marks between the two turns."""
    root = tmp_path_factory.mktemp("audit")
    names = [
        name
        for name, case in registered().items()
        if name not in NEEDS_ROOM and "nonroot" not in case.requires
    ]
    cases = {case["id"]: case for case in generate(root / "cases", names)["cases"]}
    watched = {*NEVER, "socket.bind", "subprocess.Popen", "exec", "compile"}
    (root / "hook").mkdir()
    (root / "hook" / "sitecustomize.py").write_text(f"WATCHED = {watched!r}\n{HOOK}")
    (root / "out").mkdir()
    done = _run(root, [str(root / "cases" / case["path"]) for case in cases.values()])
    codes = [int(code) for code in done.split()]
    assert len(codes) == 2 * len(cases)
    assert codes[: len(cases)] == codes[len(cases) :]
    for code, case in zip(codes, cases.values(), strict=False):
        assert code in {0, 2, 5}, case["id"]
    assert codes.count(0) > 100
    return [line.split("\t") for line in (root / "log").read_text().splitlines()]


def _run(root: Path, paths: list[str]) -> str:
    mark = os.open(root / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    environment = {
        **os.environ,
        "PYTHONPATH": str(root / "hook"),
        "AUDIT_LOG": str(root / "log"),
        "AUDIT_MARK": str(mark),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", RUN, str(root / "out"), *paths],
            env=environment,
            pass_fds=[mark],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
    finally:
        os.close(mark)
    return done.stdout


def test_the_hook_was_there(events: list[list[str]]) -> None:
    assert [words[1] for words in events if words[0] == "MARK"] == ["first", "second"]
    assert sum(words[0] == "exec" for words in events) > 100  # modules of the first turn


@pytest.mark.parametrize("event", NEVER)
def test_reading_never_does(events: list[list[str]], event: str) -> None:
    assert not [words for words in events if words[0] == event]


def test_no_port_is_opened(events: list[list[str]]) -> None:
    """urllib3, where something has installed it, asks for IPv6 on the loopback when it is imported."""
    assert {words[1] for words in events if words[0] == "socket.bind"} <= {"('::1', 0)"}


def test_the_decoder_is_the_only_program(events: list[list[str]]) -> None:
    programs = [words[1:] for words in events if words[0] == "subprocess.Popen"]
    assert programs
    assert all(program == [sys.executable, "-P", "-m", CHILD] for program in programs)


def test_nothing_in_a_file_is_compiled_or_executed(events: list[list[str]]) -> None:
    """In the second turn every module is loaded; a decoder that had to be started anew loads its own."""
    second = events[events.index(["MARK", "second"]) :]
    if not any(words[0] == "subprocess.Popen" for words in second):
        assert {words[0] for words in second} == {"MARK"}
    ran = [words[1] for words in second if words[0] in {"exec", "compile"}]
    assert all(Path(name).is_file() or name.startswith("<") for name in ran)
