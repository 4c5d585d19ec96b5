"""What a reader found in a file, before anything is judged."""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jaxaet.core import InputError
from jaxaet.specimen import Atoms

Found = TypeVar("Found")

# Lengths in Å and angles in rad of the units that instruments write, in Unicode's composed spelling (NFKC).
LENGTHS = {"pm": 0.01, "A": 1.0, "Å": 1.0, "angstrom": 1.0, "nm": 10.0, "um": 1e4, "\u03bcm": 1e4}
ANGLES = {"rad": 1.0, "mrad": 1e-3, **dict.fromkeys(("deg", "degree", "degrees", "°"), np.pi / 180)}


@dataclass(frozen=True)
class Contents:
    """The parts of a tilt series that a file holds; None where it is silent.

    `images`: (k, ny, nx), or a list of images that may differ in size. `pixel_size`: Å, or (2,) along y and x.
    `angles`: (k,) about Y or (k, 3) (Z, Y, X) in rad, as the microscope reported them. `truth_angles`: the same,
    as they were. `atoms`: a model of the specimen, exact only where `atoms_are_truth`. `metadata`: all else.
    """

    images: Any
    pixel_size: Any = None
    angles: np.ndarray | None = None
    truth_angles: np.ndarray | None = None
    atoms: Atoms | None = None
    atoms_are_truth: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


def read_by_suffix(path: Path, readers: Mapping[str, Callable[[Path], Found]], kind: str, one: str) -> Found:
    """What the reader of a file's suffix makes of it; `kind` and `one` name in words what it should hold.

    Raises `InputError` if the file is missing, damaged or of another format.
    """
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise InputError(f"{path} has the suffix '{suffix}'; {kind} are read from {', '.join(readers)}.")
    if not path.is_file():
        raise InputError(f"{path} is not a file; give the path of {one}.")
    try:
        return readers[suffix](path)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # each library reports damage by errors of its own
        raise InputError(
            f"{path} could not be read as {suffix}; it is damaged or of another format, so copy or save it again."
        ) from error


def calibrated_pixel_size(scales, units) -> np.ndarray | None:
    """Pixel size (y, x) in Å from the `scales` of the two image axes and their `units`; None for an unknown unit."""
    names = [_spelled(unit) for unit in units]
    if not set(names) <= LENGTHS.keys():
        return None
    return np.array([float(scale) * LENGTHS[name] for scale, name in zip(scales, names, strict=True)])


def calibrated_tilts(values, unit) -> np.ndarray | None:
    """Tilts about Y in rad from the `values` along the axis that counts images; None unless `unit` is an angle."""
    factor = ANGLES.get(_spelled(unit))
    return None if factor is None else np.asarray(values, dtype=float) * factor


def _spelled(unit: Any) -> str:
    return unicodedata.normalize("NFKC", str(unit))
