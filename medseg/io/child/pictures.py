"""NRRD, MetaImage, PNG and TIFF files in the decoder process."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from medseg.io.child.reply import MOST_TEXT, RefusedError, Reply, one_line

__all__ = ["itk", "png", "tiff", "tiff_header"]

# what tifffile raises of descriptions by ImageJ, OME or itself that make no sense
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)


def itk(request: dict[str, Any]) -> Iterator[Reply]:
    """Voxels `[k, j, i]` or `[k, j, i, channel]` with LPS geometry, by the image reader that is named."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(request["image_io"])
    reader.SetFileName(request["files"][0])
    try:
        image = reader.Execute()
    except RuntimeError as problem:
        reason = str(problem).strip().splitlines()[-1]
        raise RefusedError(f"cannot be decoded: {reason[:MOST_TEXT]}") from problem
    geometry = {
        "spacing": image.GetSpacing(),
        "origin": image.GetOrigin(),
        "direction": image.GetDirection(),
        "channels": image.GetNumberOfComponentsPerPixel(),
    }
    yield geometry, sitk.GetArrayViewFromImage(image)


def png(request: dict[str, Any]) -> Iterator[Reply]:
    """A picture `[row, column]` or `[row, column, channel]`; palettes become colours, one bit 0 and 1."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = int(request["most_pixels"])
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    try:
        with Image.open(request["files"][0], formats=["PNG"]) as picture:
            picture.load()
            palette = "RGBA" if "transparency" in picture.info else "RGB"
            by_number = picture.mode == "P" and request.get("palette_as_values", False)
            plain = picture.convert(palette) if picture.mode == "P" and not by_number else picture
            mode, values = "L" if by_number else plain.mode, np.asarray(plain)
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError) as problem:
        raise RefusedError(f"cannot be decoded: {one_line(problem)}") from problem
    if mode not in ("1", "L", "LA", "RGB", "RGBA", "I;16"):
        raise RefusedError(f"pictures of kind {mode} are not read")
    yield {}, values


def tiff_header(request: dict[str, Any]) -> Iterator[Reply]:
    """What a TIFF file holds: pages, shape, type, colour model, compression, orientation."""
    import tifffile

    try:
        with tifffile.TiffFile(request["files"][0], _multifile=False) as file:  # no other file that it names
            # a reduced page is a thumbnail of the one before it
            full = [(number, page) for number, page in enumerate(_pages(file)) if not page.is_reduced]
            numbers, pages = [number for number, _ in full] or [0], [page for _, page in full]
            page = pages[0] if pages else file.pages[0].aspage()
            pages = pages or [page]
            orientation = page.tags.get("Orientation")
            yield (
                {
                    "pages": numbers,
                    "alike": len({_kind(each) for each in pages}) == 1,
                    "stacked": _stacked(file, len(pages)),
                    "size": list(page.shape),
                    "axes": page.axes,
                    "kind": "" if page.dtype is None else page.dtype.str,
                    "bits": page.bitspersample,
                    "colours": tifffile.PHOTOMETRIC(page.photometric).name,
                    "compression": tifffile.COMPRESSION(page.compression).name,
                    "orientation": 1 if orientation is None else int(orientation.value),
                    "byte_counts": [
                        sum(int(sum(each.databytecounts)) for each in pages),
                        sum(int(each.nbytes) for each in pages),
                    ],
                    "last_byte": max(
                        (
                            sum(place)
                            for each in pages
                            for place in zip(each.dataoffsets, each.databytecounts, strict=True)
                        ),
                        default=0,
                    ),
                },
                None,
            )
    except tifffile.TiffFileError as problem:
        raise RefusedError(f"damaged TIFF: {one_line(problem)}") from problem


def _kind(page: Any) -> tuple[Any, ...]:
    """What pages of one stack have in common."""
    orientation = page.tags.get("Orientation")
    turned = 1 if orientation is None else orientation.value
    return (tuple(page.shape), str(page.dtype), page.photometric, page.compression, turned)


def _stacked(file: Any, pages: int) -> list[list[Any]]:
    """Name and length of each axis that pages are stacked along, as ImageJ, OME or the writer names it.

    I and Q say that it has no name. Without pages that belong together, or where one page stands for several,
    as in ImageJ's largest files, this is `[["?", how many]]`. A page whose description cannot be read, or
    is of an OME set of files, is a picture.
    """
    try:
        series = file.series[0]
        sizes = dict(zip(series.axes[:-2], series.shape[:-2], strict=True))
        told = series.kind == "ome" or not file.is_ome
    except UNREADABLE:
        sizes, told = {}, False
    if not told:  # nothing says what several pages are
        return [["?", pages]] if pages > 1 else []
    sizes = {axis: int(size) for axis, size in sizes.items() if size > 1 and axis not in "YXS"}
    if math.prod(sizes.values()) != pages:
        return [["?", pages]]
    return [[axis, size] for axis, size in sizes.items()]


def _pages(file: Any) -> Iterator[Any]:
    """Pages, each linked from the one before; links that lead back would have no end."""
    seen = set()
    for page in file.pages:
        if page.offset in seen:
            raise RefusedError("damaged TIFF: its pages form a loop")
        seen.add(page.offset)
        yield page.aspage()


def tiff(request: dict[str, Any]) -> Iterator[Reply]:
    """Pages of a TIFF file, uncompressed or deflated: `[row, column]` or `[row, column, channel]`.

    Of several pages, `[page, row, column]`.
    """
    import tifffile

    pages = [int(number) for number in request["pages"]]
    try:
        yield {}, tifffile.imread(request["files"][0], key=pages if len(pages) > 1 else pages[0])
    except (tifffile.TiffFileError, ValueError) as problem:
        raise RefusedError(f"cannot be decoded: {one_line(problem)}") from problem
