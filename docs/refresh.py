"""Run what the pages print and put what it says into the block behind: `python docs/refresh.py`.

A fenced block of commands or of Python, with a block of text right behind it, is an example and its output.
Examples are run in order, page by page, in one scratch folder with the sample data and the files that the
pages name. `medseg` is run in this process; what it says on stderr is not part of the output. Lists between
`<!-- card: KEY -->` and `<!-- end -->` come from the card of the model that the page is called after.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from medseg.cli import run
from medseg.model import find_model
from medseg.plugin.catalog import discover

__all__ = ["CARD_PAGES", "PAGES", "examples", "from_card", "named_files", "refreshed"]

ROOT = Path(__file__).parents[1]
PAGES = (
    "docs/tutorials/first-segmentation.md",
    "docs/reference/outputs.md",
    "docs/how-to/read-dicom.md",
    "docs/how-to/read-masks.md",
    "docs/how-to/evaluate.md",
    "docs/how-to/write-a-pipeline.md",
    "docs/how-to/use-a-network.md",
    "docs/how-to/limit-memory.md",
    "docs/how-to/use-from-python.md",
    "docs/how-to/write-a-plugin.md",
    "docs/how-to/share-a-model.md",
)
CARD_PAGES = (
    "docs/explanation/ct-tissue.md",
    "docs/explanation/hippocampus.md",
    "docs/explanation/nuclei.md",
    "docs/explanation/phantom-abdomen.md",
)
PREVIEW_OF = PAGES[0]  # its demo/preview.png is the picture of the pages
BODY = r"((?:(?!```).*\n)*)"
EXAMPLE = re.compile(rf"^```(\w*)\n{BODY}```\n(?:\n```text\n{BODY}```\n)?", re.MULTILINE)
FILE = re.compile(r"`([\w./-]+\.\w+)`[^\n]*(?:\n[^\n`]+)*\n\n```\w+\n((?:(?!```).*\n)+)```\n")
NOT_HERE = "medseg-smooth"  # the package of the README, which is built and installed by a test of its own


def named_files(text: str) -> dict[str, str]:
    """Content by name of each file a page shows: a fenced block right behind the paragraph that names it."""
    return {name: content for name, content in FILE.findall(text) if not name.endswith(".md")}


def examples(text: str) -> Iterator[re.Match[str]]:
    """Each example that is followed by its output, and each block of Python before one."""
    for found in EXAMPLE.finditer(text):
        runs = found[1] == "python" or (found[1] == "" and found[3] is not None)
        if runs and NOT_HERE not in found[2]:
            yield found


def refreshed(text: str, names: dict[str, Any]) -> str:
    """The page with the outputs that its examples give in the current folder; `names` is their namespace."""
    for name, content in named_files(text).items():
        if "/" not in name:
            Path(name).write_text(content, encoding="utf-8")
    parts, done = [], 0
    for found in examples(text):
        said = _python(found[2], names) if found[1] else "".join(map(_command, found[2].splitlines()))
        if found[3] is not None:
            start, end = found.span(3)
            parts += [text[done:start], "\n".join(line.rstrip() for line in said.rstrip().splitlines()), "\n"]
            done = end
    return "".join([*parts, text[done:]])


def _python(code: str, names: dict[str, Any]) -> str:
    with redirect_stdout(StringIO()) as out:
        exec(compile(code, "a page", "exec"), names)  # noqa: S102 - our own pages
    return out.getvalue()


def _command(line: str) -> str:
    program, *arguments = shlex.split(line, comments=True)
    program = sys.executable if program == "python" else program
    if program != "medseg":
        return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = run(arguments)
    if code != 0:
        raise SystemExit(f"{line}: exit code {code}: {err.getvalue()}")
    return out.getvalue()


def from_card(text: str, model: str) -> str:
    """The page with the lists that the model's card has; an empty list is left empty."""
    card = find_model(model, discover()).card

    def listed(found: re.Match[str]) -> str:
        items = "\n".join(f"- {' '.join(line.split())}" for line in getattr(card, found[1]))
        return "\n\n".join(filter(None, (f"<!-- card: {found[1]} -->", items, "<!-- end -->")))

    return re.sub(r"<!-- card: (\w+) -->\n(?:.*\n)*?<!-- end -->", listed, text)


def main() -> None:
    """Refresh every page in place."""
    with tempfile.TemporaryDirectory() as scratch, chdir(scratch):
        Path("sample_data").symlink_to(ROOT / "sample_data")
        for page in PAGES:
            path = ROOT / page
            path.write_text(refreshed(path.read_text(encoding="utf-8"), {}), encoding="utf-8")
            if page == PREVIEW_OF:
                (ROOT / "docs/images/preview.png").write_bytes(Path("demo/preview.png").read_bytes())
        for page in CARD_PAGES:
            path = ROOT / page
            path.write_text(from_card(path.read_text(encoding="utf-8"), path.stem), encoding="utf-8")


if __name__ == "__main__":
    main()
