"""Image stacks: .mrc and .tif. Rows are taken in the order in which they are stored."""

from pathlib import Path

import numpy as np

from jaxaet.io.arrays import from_arrays
from jaxaet.io.contents import Contents, calibrated_pixel_size


def read_mrc(path: Path) -> Contents:
    """The sections of an MRC file as images; its header has the pixel size in Å, 0 where unknown, and no angles."""
    import mrcfile

    with mrcfile.open(path, mode="r") as file:
        size = np.array([file.voxel_size.y, file.voxel_size.x], dtype=float)
        return Contents(
            images=np.array(file.data),
            pixel_size=size if size.any() else None,
            metadata={"labels": [str(label) for label in file.get_labels()]},
        )


def read_tiff(path: Path) -> Contents:
    """The pages of a TIFF file as images.

    Pixel size and angles come from the description that `tifffile.imwrite(..., metadata=...)` writes, under the
    names in `arrays.py`, or the pixel size from an ImageJ calibration. Resolution tags alone are not believed:
    most programs fill them with the dots per inch of a screen.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        stacks = [series.asarray() for series in file.series]
        described = {name: value for part in file.shaped_metadata or () for name, value in part.items()}
        pixel_size = _imagej_pixel_size(file)
    described.pop("shape", None)
    if pixel_size is not None:
        described.setdefault("pixel_size_A", pixel_size)
    return from_arrays(path, {**described, "projections": stacks[0] if len(stacks) == 1 else stacks})


def _imagej_pixel_size(file) -> np.ndarray | None:
    unit = (file.imagej_metadata or {}).get("unit")
    if unit is None:
        return None
    tags = file.pages[0].tags
    pixels_per_unit = [np.divide(*tags[name].value) for name in ("YResolution", "XResolution")]
    return calibrated_pixel_size(np.reciprocal(pixels_per_unit), (unit, unit))
