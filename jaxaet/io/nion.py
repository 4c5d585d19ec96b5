"""Nion Swift's .ndata: a zip file of data.npy and metadata.json."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from jaxaet.io.contents import Contents, calibrated_pixel_size, calibrated_tilts


def read_ndata(path: Path) -> Contents:
    """The data item of an .ndata file, with the calibrations of its axes."""
    with zipfile.ZipFile(path) as archive:
        images = np.load(io.BytesIO(archive.read("data.npy")), allow_pickle=False)
        metadata = json.loads(archive.read("metadata.json"))
    # Swift names the list differently in a library and in an exported file.
    axes = metadata.get("dimensional_calibrations") or metadata.get("spatial_calibrations") or []
    if images.ndim not in (2, 3) or len(axes) != images.ndim:
        return Contents(images, metadata=metadata)
    *counts, rows, columns = axes
    scales = [axis.get("scale", 1.0) for axis in (rows, columns)]
    angles = None
    if counts:
        tilts = counts[0].get("offset", 0.0) + counts[0].get("scale", 1.0) * np.arange(len(images))
        angles = calibrated_tilts(tilts, counts[0].get("units"))
    return Contents(
        images=images,
        pixel_size=calibrated_pixel_size(scales, [axis.get("units") for axis in (rows, columns)]),
        angles=angles,
        metadata=metadata,
    )
