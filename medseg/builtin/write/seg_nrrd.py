"""The segmentation as 3D Slicer has it: one file with names, colours, codes and layers."""

import gzip
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom_results.terms import ANATOMY, term_of
from medseg.io.masks.slicer import OBJECT_OF
from medseg.prediction import Result
from medseg.report.label_files import layer_table
from medseg.segmentation import Label, Segmentation
from medseg.steps import Writer
from medseg.volume import LPS_TO_RAS, Grid, Volume

__all__ = ["SegNrrd"]

NRRD_TYPES = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long int"}
LEVEL = 4  # of gzip: masks of 1 mm take 2 % more room than at 9 and a fifth of the time
CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
ANATOMICAL = "SCT^123037004^Anatomical Structure"  # another code for it than DICOM's
NO_TAGS = "|"
EMPTY = "0 -1 0 -1 0 -1"
HIGHEST_SEARCHED = 1 << 20  # find_objects keeps a slot for every value up to the highest


class SegNrrd(Writer):
    """`segmentation.seg.nrrd`: all labels in one file for 3D Slicer, with names, colours, codes and layers.

    Drop it into Slicer and it loads as a segmentation. It is also a plain NRRD label map: other programs read
    the values. Labels of one layer share a volume and keep their values; further layers stand in a list
    axis, as Slicer writes overlapping segments. Each object of a layer of objects is a segment, called by
    its label and id, with a tag that says whose object it is. A label's code goes into Slicer's terminology
    entry, with the label's name as its meaning.

    It lies on the original image's voxels, also oblique and sheared ones, in LPS as the format asks. Where
    slices of the original are missing or unevenly spaced it lies on the even grid that was segmented.
    """

    def needs(self, volume: Volume) -> str | None:
        """A scale: Slicer takes every length for millimetres."""
        return None if volume.grid.unit == "mm" else "a scale (--pixel-size), as Slicer counts in mm"

    def __call__(self, result: Result, folder: Path) -> Iterable[Path]:
        """Write the file, a slice at a time."""
        native = result.volume.source.native if result.volume.source is not None else None
        segmentation = result.segmentation
        if isinstance(native, Grid):
            segmentation = segmentation.onto(native)
        path = folder / "segmentation.seg.nrrd"
        with path.open("wb") as file:
            file.write("\n".join([*_header(segmentation), "", ""]).encode())
            # no name and no time within, so that equal masks make equal files
            with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed:
                for plane in np.moveaxis(segmentation.array, 3, 0):
                    packed.write(_little(plane).tobytes(order="F"))
        yield path


def _header(segmentation: Segmentation) -> Iterator[str]:
    """The lines of an NRRD header: layers run fastest, then i, j, k."""
    array, grid = segmentation.array, segmentation.grid
    affine = LPS_TO_RAS @ grid.affine
    several = len(array) > 1
    columns = [_vector(affine[:3, axis]) for axis in range(3)]
    yield "NRRD0004"
    yield f"type: {NRRD_TYPES[array.dtype.itemsize]}"
    yield f"dimension: {3 + several}"
    yield "space: left-posterior-superior"
    yield f"sizes: {' '.join(str(n) for n in (array.shape if several else grid.shape))}"
    yield f"space directions: {' '.join(['none'] * several + columns)}"
    yield f"kinds: {'list ' * several}domain domain domain"
    yield "endian: little"
    yield "encoding: gzip"
    yield f"space origin: {_vector(affine[:3, 3])}"
    yield "Segmentation_ContainedRepresentationNames:=Binary labelmap|"
    yield "Segmentation_MasterRepresentation:=Binary labelmap"  # until Slicer 5.2; the next one since
    yield "Segmentation_SourceRepresentation:=Binary labelmap"
    yield "Segmentation_ReferenceImageExtentOffset:=0 0 0"
    yield "Medseg_Notice:=research use only"
    number = 0
    for layer in range(len(array)):
        table = layer_table(segmentation, layer)
        extents = _extents(array[layer], [label.value for label in table])
        owners = _owners(segmentation, layer)
        for label in table:
            fields = _segment(number, layer, label, extents)
            if label.value in owners:
                tag = f"{OBJECT_OF}{_line(owners[label.value]).replace('|', ' ')}|"
                fields["Tags"] = tag if fields["Tags"] == NO_TAGS else fields["Tags"] + tag
            for key, text in fields.items():
                yield f"Segment{number}_{key}:={text}"
            number += 1


def _segment(number: int, layer: int, label: Label, extents: Mapping[int, str]) -> dict[str, str]:
    """What Slicer knows of one segment."""
    red, green, blue = (part / 255 for part in bytes.fromhex((label.colour or "#ffffff")[1:]))
    fields = {
        "ID": f"Segment_{number + 1}",
        "Name": _line(label.name),
        "NameAutoGenerated": "0",
        "Color": f"{red:.6g} {green:.6g} {blue:.6g}",
        "ColorAutoGenerated": "0",
        "Extent": extents[label.value],
        "LabelValue": str(label.value),
        "Layer": str(layer),
        "Tags": NO_TAGS,
    }
    if label.code is not None and ":" in label.code:
        fields["Tags"] = _terminology(label.code, label)
    return fields


def _owners(segmentation: Segmentation, layer: int) -> dict[int, str]:
    """The label of each object of a layer by id; nothing of a layer of labels."""
    if segmentation.kinds[layer] == "labels":
        return {}
    return {
        thing.id: thing.label
        for thing in segmentation.objects
        if segmentation.labels[thing.label].layer == layer
    }


def _terminology(code: str, label: Label) -> str:
    """Slicer's entry: context, category, type, modifier, and the same of a region, `scheme^value^meaning`."""
    term = term_of(label)
    category = ANATOMICAL if term.category == ANATOMY else "^".join((*term.category[1::-1], term.category[2]))
    scheme, _, value = code.partition(":")
    kind = f"{scheme}^{value}^{_line(label.name).translate(str.maketrans('~^|', '   '))}"
    return f"TerminologyEntry:{CONTEXT}~{category}~{kind}~^^~Anatomic codes - DICOM master list~^^~^^|"


def _extents(layer: NDArray[Any], values: list[int]) -> dict[int, str]:
    """First and last voxel of each value along i, j, k, as text; the whole layer where ids are huge."""
    from scipy.ndimage import find_objects

    highest = max(values, default=0)
    if highest > HIGHEST_SEARCHED:
        return dict.fromkeys(values, " ".join(f"0 {size - 1}" for size in layer.shape))
    found = find_objects(layer, max_label=highest) if highest else []
    boxes = {value: found[value - 1] for value in values}
    return {
        value: EMPTY if box is None else " ".join(f"{side.start} {side.stop - 1}" for side in box)
        for value, box in boxes.items()
    }


def _vector(numbers: NDArray[np.float64]) -> str:
    """A vector with all its digits."""
    return "(" + ",".join(repr(float(number) + 0.0) for number in numbers) + ")"


def _line(text: str) -> str:
    """The text on one line: a header's fields end where a line does."""
    return " ".join(text.split())


def _little(plane: NDArray[Any]) -> NDArray[Any]:
    return plane.astype(plane.dtype.newbyteorder("<"), copy=False)
