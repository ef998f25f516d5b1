"""Lay out the pictures and masks that the model is trained on: rare kinds of picture twice.

    python folder.py NUCLEI FOLDER

NUCLEI holds `images/`, `labels/` (PNG, a number for each nucleus) and `index.csv` with the columns id, height
and mode. FOLDER gets links to them: pictures in colour and those that are 512 or 1024 pixels high, 16 of 74,
also under a second name, so that they are seen twice as often.
"""

import csv
import sys
from pathlib import Path

RARE_HEIGHTS = ("512", "1024")


def lay_out(nuclei: Path, folder: Path) -> int:
    """Links to every picture and mask of `nuclei` in `folder`; returns how many pictures there are."""
    with (nuclei / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [
        (row["id"], prefix)
        for row in rows
        for prefix in ("", "again-")
        if not prefix or row["mode"] != "L" or row["height"] in RARE_HEIGHTS
    ]
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, prefix in names:
            (folder / kind / f"{prefix}{name}.png").symlink_to((nuclei / kind / f"{name}.png").resolve())
    return len(names)


if __name__ == "__main__":
    print(lay_out(Path(sys.argv[1]), Path(sys.argv[2])), "pictures")  # noqa: T201 - what a script says
