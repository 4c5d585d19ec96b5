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
    signals = _read(path)
    stacks = [signal for signal in signals if np.ndim(signal["data"]) == 3]
    if len(stacks) != 1:
        shapes = ", ".join(str(np.shape(signal["data"])) for signal in signals) or "none"
        raise InputError(
            f"{path} holds {len(stacks)} image stacks (shapes found: {shapes}); "
            "save the tilt series as the only stack (image, row, column) of a file."
        )
    return _from_signal(path, stacks[0])


def read_signals(path: Path, axes: int) -> list[tuple[str, Contents]]:
    """All signals with so many axes, two or three, each with its title."""
    signals = [signal for signal in _read(path) if np.ndim(signal["data"]) == axes]
    titles = [str(signal.get("metadata", {}).get("General", {}).get("title", "")) for signal in signals]
    return [(title, _from_signal(path, signal)) for title, signal in zip(titles, signals, strict=True)]


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        plugin = importlib.import_module(f"rsciio.{PLUGINS[path.suffix.lower()]}")
    except ImportError as error:
        raise InputError(
            f"Reading {path} needs RosettaSciIO, which is not installed; run pip install jaxaet[em]."
        ) from error
    return plugin.file_reader(str(path))


def _from_signal(path: Path, signal: dict[str, Any]) -> Contents:
    order = _axis_order(path, [str(axis.get("name")).lower() for axis in signal["axes"]])
    *counts, rows, columns = [signal["axes"][i] for i in order]
    scales, units = ([axis.get(what) for axis in (rows, columns)] for what in ("scale", "units"))
    return Contents(
        images=np.transpose(signal["data"], order),
        pixel_size=None if None in scales else calibrated_pixel_size(scales, units),
        angles=calibrated_tilts(_axis_values(counts[0]), counts[0].get("units")) if counts else None,
        metadata=signal.get("metadata", {}),
    )


def _axis_order(path: Path, names: list[str]) -> list[int]:
    """Which axes are (image, row, column); some .emd files arrive as (x, y, image), so there the names decide."""
    if {"x", "y"} <= set(names):
        rows, columns = names.index("y"), names.index("x")
        return [i for i in range(len(names)) if i not in (rows, columns)] + [rows, columns]
    if path.suffix.lower() == ".emd":
        raise InputError(f"{path} has axes named {', '.join(names)}; name the rows y and the columns x.")
    return list(range(len(names)))


def _axis_values(axis: dict[str, Any]) -> np.ndarray:
    if "axis" in axis:
        return np.asarray(axis["axis"])
    return axis["offset"] + axis["scale"] * np.arange(axis["size"])
