"""Names and colours of labels for ITK-SNAP, beside the NIfTI files."""

from collections.abc import Iterable
from pathlib import Path

from medseg.prediction import Result
from medseg.report.label_files import label_tables
from medseg.segmentation import LabelTable
from medseg.steps import Writer

__all__ = ["ItksnapLabels"]

HIGHEST = (1 << 16) - 1  # ITK-SNAP holds a label in 16 bits
COMMENT = (
    "# ITK-SNAP label description, research use only.",
    "# Columns: value, red, green, blue (0 to 255), opacity (0 to 1), visible, mesh visible, name",
)


class ItksnapLabels(Writer):
    """`segmentation-labels.txt`: names and colours of the labels in `segmentation.nii.gz`, for ITK-SNAP.

    Load it there under Segmentation, Import Label Descriptions. For each label of a further layer there is
    `segmentation-LABEL-labels.txt`, as there is a NIfTI file. In layers of objects every object is a label.
    Colours are those of the preview. Values above 65535, which ITK-SNAP cannot hold, are left out.
    """

    def work_bytes(self, volume: object, segmentation: object) -> int:
        """Next to nothing: no voxel is looked at."""
        return 1 << 20

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write one file for each NIfTI file that the writer `nifti` makes."""
        for ending, labels in label_tables(result.segmentation):
            path = folder / f"segmentation{ending}-labels.txt"
            path.write_text("\n".join(_lines(labels)) + "\n", encoding="utf-8", newline="\n")
            yield path


def _lines(labels: LabelTable) -> Iterable[str]:
    yield from COMMENT
    yield _line(0, "#000000", "Clear Label", seen=False)
    for label in labels:
        if label.value <= HIGHEST:
            yield _line(label.value, label.colour or "#ffffff", label.name, seen=True)


def _line(value: int, colour: str, name: str, *, seen: bool) -> str:
    """One row; the name stands in double quotes, which ITK-SNAP cannot read within it."""
    red, green, blue = bytes.fromhex(colour[1:])
    shown = int(seen)
    plain = " ".join(name.replace('"', "'").split())
    return f'{value:5d} {red:5d} {green:4d} {blue:4d} {shown:8d} {shown:2d} {shown:2d}    "{plain}"'
