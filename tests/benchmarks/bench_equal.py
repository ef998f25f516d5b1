"""Are medseg's labels those of the method that holds all scores? Every voxel, in shapes small and large.

    python tests/benchmarks/bench_equal.py [--engine torch|openvino] [--device cpu|cuda] [--quick]

The same window logits (a formula's with PyTorch, else what the engine gives) go through medseg's segmenter
`network` and through `full_volume`, an independent method in NumPy that holds all scores in single precision:
0 labels may differ. "Equal" can honestly mean no
more than that: the same arithmetic, nothing lost on the way. What exact arithmetic would say is told beside
it: labels that differ from double precision's though its best two scores are apart ("wrong", 0 too), and ties
that rounding decides.

Logits are of three kinds: spread; ties, all within two last bits; unanimous, where whole regions agree by
one last bit. Two controls show that the comparison can fail: labels without the slice before each slab, and,
where regions are unanimous, labels of cells decided by their corners. Ends with 1 where a label is wrong or
a control saw nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this runs as a script

from equal_labels import CASES, Case, Outcome, compare
from known_network import KINDS, Kind

LARGE = (
    Case("large, finer", (128, 96, 96), (48, 48, 48), (192, 160, 160), 25),
    Case("large, coarser", (161, 97, 83), (64, 32, 48), (91, 63, 40), 25, codes="LPS"),
    Case("large, 105 classes", (96, 64, 65), (32, 32, 32), (120, 96, 97), 105),
    Case("large, two classes", (200, 130, 117), (64, 64, 64), (250, 170, 150), 2, blend="constant"),
)


def faults(case: Case, kind: Kind, found: Outcome) -> list[str]:
    """What is wrong with an outcome, in words."""
    told = []
    if found.different:
        told.append("labels differ from those of the whole volume")
    if found.wrong:
        told.append("labels differ from exact ones that are no ties")
    if case.shape != case.onto and not found.without_halo:
        told.append("a forgotten slice was not seen")
    if kind == "unanimous" and case.shape != case.onto and not found.by_corners:
        told.append("a decision by corners was not seen")
    return told


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--engine", default="torch", choices=["torch", "auto", "openvino"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small shapes only")
    options = parser.parse_args()
    columns = ("voxels", "different", "wrong", "ties", "no halo", "by corners")
    print(f"{'':<44}" + "".join(f"{name:>11}" for name in columns))  # noqa: T201
    failed = 0
    for case in CASES if options.quick else (*CASES, *LARGE):
        for kind in KINDS:
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                found = compare(case, kind, Path(folder), engine=options.engine, device=options.device)
            counts = (
                found.voxels,
                found.different,
                found.wrong,
                found.ties,
                found.without_halo,
                found.by_corners,
            )
            told = faults(case, kind, found)
            failed += bool(told)
            title = f"{case.name} ({case.classes} classes), {kind}"
            line = f"{title:<44}" + "".join(f"{count:>11}" for count in counts)
            print(f"{line}  {time.perf_counter() - begun:.1f} s  {'; '.join(told)}", flush=True)  # noqa: T201
    print("all labels equal" if not failed else f"{failed} comparisons failed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
