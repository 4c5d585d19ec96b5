"""Microscope files through RosettaSciIO, an optional package under GPL-3.0 that only this file touches."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxaet.core import InputError
from jaxaet.io.contents import Contents, calibrated_pixel_size, calibrated_tilts

PLUGINS = {".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".emd": "emd", ".hspy": "hspy"}


def read_microscope_file(path: Path) -> Contents:
    """The one image stack of a .dm3, .dm4, .emd or .hspy file; angles only from a tilt axis with a unit.

    Raises `InputError` if RosettaSciIO is missing or the file holds no or several stacks.
    """
    try:
        plugin = importlib.import_module(f"rsciio.{PLUGINS[path.suffix.lower()]}")
    except ImportError as error:
        raise InputError(
            f"Reading {path} needs RosettaSciIO, which is not installed; run pip install jaxaet[em]."
        ) from error
    signals = plugin.file_reader(str(path))
    stacks = [signal for signal in signals if np.ndim(signal["data"]) == 3]
    if len(stacks) != 1:
        shapes = ", ".join(str(np.shape(signal["data"])) for signal in signals) or "none"
        raise InputError(
            f"{path} holds {len(stacks)} image stacks (shapes found: {shapes}); "
            "save the tilt series as the only stack (image, row, column) of a file."
        )
    return _from_stack(path, stacks[0])


def _from_stack(path: Path, signal: dict[str, Any]) -> Contents:
    order = _axis_order(path, [str(axis.get("name")).lower() for axis in signal["axes"]])
    count, *image = [signal["axes"][i] for i in order]
    scales, units = [axis.get("scale") for axis in image], [axis.get("units") for axis in image]
    return Contents(
        images=np.transpose(signal["data"], order),
        pixel_size=None if None in scales else calibrated_pixel_size(scales, units),
        angles=calibrated_tilts(_axis_values(count), count.get("units")),
        metadata=signal.get("metadata", {}),
    )


def _axis_order(path: Path, names: list[str]) -> list[int]:
    """Which axes are (image, row, column); some .emd files arrive as (x, y, image), so there the names decide."""
    if {"x", "y"} <= set(names):
        rows, columns = names.index("y"), names.index("x")
        return [3 - rows - columns, rows, columns]
    if path.suffix.lower() == ".emd":
        raise InputError(f"{path} has axes named {', '.join(names)}; name the rows y and the columns x.")
    return [0, 1, 2]


def _axis_values(axis: dict[str, Any]) -> np.ndarray:
    if "axis" in axis:
        return np.asarray(axis["axis"])
    return axis["offset"] + axis["scale"] * np.arange(axis["size"])
