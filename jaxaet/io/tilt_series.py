"""A tilt series from a file of any known format."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import Frames, Grid, Images, InputError
from jaxaet.io.arrays import read_hdf5, read_mat, read_npz
from jaxaet.io.checks import checked_angles, checked_images, checked_pixel_size
from jaxaet.io.contents import Contents, read_by_suffix
from jaxaet.io.nion import read_ndata
from jaxaet.io.rosettasciio import PLUGINS, read_microscope_file
from jaxaet.io.stacks import read_mrc, read_tiff
from jaxaet.specimen import Atoms

READERS: dict[str, Callable[[Path], Contents]] = {
    ".npz": read_npz,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".mat": read_mat,
    ".mrc": read_mrc,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".ndata": read_ndata,
    **dict.fromkeys(PLUGINS, read_microscope_file),
}


@dataclass(frozen=True)
class TiltSeries:
    """A measured tilt series and what its file says about the answer.

    `images`: the data with the angles that the microscope reported. `truth`: the atoms where the file says that
    they are exact, and `truth_angles`: (k, 3) rad where it knows better ones than the microscope; both for a score
    only. `reference`: somebody's model of the specimen, not the truth. `metadata`: everything else in the file.
    """

    images: Images
    truth: Atoms | None
    truth_angles: Float[Array, "k 3"] | None
    reference: Atoms | None
    metadata: dict[str, Any]


def load_tilt_series(
    path: str | os.PathLike,
    pixel_size: float | None = None,
    angles: Float[np.ndarray, "k *zyx"] | Float[Array, "k *zyx"] | None = None,
) -> TiltSeries:
    """Reads .npz, .h5, .hdf5, .mat, .mrc, .tif, .tiff, .ndata, and by RosettaSciIO .dm3, .dm4, .emd, .hspy.

    `pixel_size`: Å; `angles`: rad, (k,) tilts about Y or (k, 3) in the order (Z, Y, X); both override the file.
    Images are (image, row = y, column = x) with row 0 at the smallest y. `arrays.py` lists the names that are read.
    Raises `InputError` if the file is missing, damaged or of another format, if it lacks a pixel size or angles that
    are not passed, and for images that are not alike, not finite or constant.
    """
    path = Path(path)
    contents = _read(path)
    images = checked_images(path, contents.images)
    sampling = checked_pixel_size(path, contents.pixel_size if pixel_size is None else pixel_size)
    reported = checked_angles(path, contents.angles if angles is None else angles, len(images))
    known = None if contents.truth_angles is None else checked_angles(path, contents.truth_angles, len(images))
    return TiltSeries(
        images=Images(images, reported, Grid(images.shape[1:], sampling)),
        truth=contents.atoms if contents.atoms_are_truth else None,
        truth_angles=None if known is None else jnp.asarray(known, dtype=float),
        reference=None if contents.atoms_are_truth else contents.atoms,
        metadata=contents.metadata,
    )


def load_frames(
    path: str | os.PathLike,
    pixel_size: float | None = None,
    angles: Float[np.ndarray, "k *zyx"] | Float[Array, "k *zyx"] | None = None,
) -> Frames:
    """Reads the raw frames of a tilt series, (image, frame, row, column), from any file that holds such an array.

    `pixel_size`, `angles` and what is refused: as for `load_tilt_series`; `frames` is one more name of the array.
    """
    path = Path(path)
    contents = _read(path)
    frames = np.asarray(contents.images)
    if frames.ndim != 4:
        raise InputError(
            f"{path} holds an array of shape {frames.shape} where frames are expected; "
            "store them with four axes (image, frame, row, column), or read single images by load_tilt_series "
            "(the recipe tilt_series)."
        )
    checked_images(path, frames.reshape(-1, *frames.shape[2:]), frames.shape[1])
    sampling = checked_pixel_size(path, contents.pixel_size if pixel_size is None else pixel_size)
    reported = checked_angles(path, contents.angles if angles is None else angles, len(frames))
    return Frames(frames, reported, Grid(frames.shape[2:], sampling))


def _read(path: Path) -> Contents:
    return read_by_suffix(path, READERS, "tilt series", "a tilt series")
