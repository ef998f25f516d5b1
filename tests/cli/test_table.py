"""Tables as a person sees them: on a real pseudo-terminal, at several widths."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

ROWS = """
faces = "right, left, anterior, posterior, superior, inferior"
rows = [("subcutaneous fat", "4,405.5 mL", "-99 HU", f"truncated: {faces}"),
        ("body", "17,028.1 mL", "-83 HU", "")]
from medseg.cli.table import print_table
print_table(("label", "size", "mean intensity", "note"), rows, right=(1, 2), wrap=(3,))
"""


def on_a_terminal(columns: int) -> str:
    """What stdout shows on a terminal of so many columns, without its control sequences."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "dumb"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen([sys.executable, "-c", ROWS], stdin=side, stdout=side, env=environment) as process:
        os.close(side)
        shown = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait() == 0
    os.close(main)
    return shown.decode()


@pytest.mark.parametrize("columns", [50, 80, 100, 200])
def test_nothing_is_cut_on_any_terminal(columns: int) -> None:
    shown = on_a_terminal(columns)
    for cell in ("subcutaneous fat", "4,405.5 mL", "17,028.1 mL", "-99 HU", "mean intensity"):
        assert cell in shown
    note = "".join(shown.split())
    for word in ("anterior,", "posterior,", "superior,", "inferior"):
        assert word in note


def test_a_pipe_gets_one_row_a_line() -> None:
    done = subprocess.run([sys.executable, "-c", ROWS], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 3
    assert done.stdout.splitlines()[1].endswith("superior, inferior")
