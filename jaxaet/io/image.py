"""One image from a file of any known format."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxaet.core import InputError
from jaxaet.io.arrays import hdf5_arrays, mat_arrays, npz_arrays
from jaxaet.io.checks import checked_pixel_size
from jaxaet.io.contents import read_by_suffix
from jaxaet.io.nion import read_ndata
from jaxaet.io.rosettasciio import PLUGINS, read_signals
from jaxaet.io.stacks import read_mrc, read_tiff

Named = dict[str, tuple[Any, Any]]  # array and pixel size, Å, or (2,) along y and x, or None
USUAL_NAMES = ("image", "projections", "images", "data")  # where a file holds several
METRES = 1e-7  # no pixel size in any other unit is below this


def load_image(
    path: str | os.PathLike, key: str | None = None, pixel_size: float | None = None
) -> tuple[np.ndarray, float]:
    """The grey image (ny, nx) of a file and its pixel size, Å; `pixel_size` in Å overrides what the file says.

    Reads .npy, .npz, .h5, .hdf5, .mat, .mrc, .tif, .tiff, .png, .ndata, and by RosettaSciIO .dm3, .dm4, .emd, .hspy.
    `key`: name of the array, or title of the signal, where there are several. The file's pixel size is
    pixel_size_A, pixel_size_nm or pixel_size_m in .npz, .h5 and .mat, or the calibration of a microscope's format.
    Raises `InputError` for a file that is missing, damaged or of another format, without such a key, image or pixel
    size, and for a stack or a colour image.
    """
    path = Path(path)
    named: Named = read_by_suffix(path, READERS, "images", "an image")
    image, found = _chosen(path, named, key)
    return image, checked_pixel_size(path, found if pixel_size is None else pixel_size)


def _chosen(path: Path, named: Named, key: str | None) -> tuple[np.ndarray, Any]:
    names = ", ".join(named) or "nothing"
    if key is not None and key not in named:
        raise InputError(f"{path} holds no {key} but {names}; give one of these as the key (data.key).")
    images = {name: _flat(array) for name, (array, _) in named.items() if key in (None, name)}
    grey = [name for name, array in images.items() if array.ndim == 2]
    usual = [name for name in USUAL_NAMES if name in grey]
    if len(grey) > 1 and not usual:
        raise InputError(f"{path} holds several images, {', '.join(grey)}; choose one by its key (data.key).")
    if not grey:
        shapes = ", ".join(str(array.shape) for array in images.values()) or "none"
        colour = any(array.ndim == 3 and array.shape[-1] in (3, 4) for array in images.values())
        what = "a colour image" if colour else "no single image"
        raise InputError(
            f"{path} holds {what} (shapes found: {shapes}); give one grey image with two axes (row, column)."
        )
    name = (usual or grey)[0]
    if images[name].dtype.kind not in "uif":
        raise InputError(f"{path} holds values of type {images[name].dtype}; give an image of real numbers.")
    return images[name], named[name][1]


def _flat(array: Any) -> np.ndarray:
    """The array without leading axes of one element."""
    array = np.asarray(array)
    return array.reshape(array.shape[-2:]) if array.ndim > 2 and array.size == np.prod(array.shape[-2:]) else array


def _from_arrays(path: Path, arrays: dict[str, Any]) -> Named:
    """The arrays with two axes or more, and the pixel size that another entry says."""
    pixel_size = None
    for name, unit in {"pixel_size_A": 1.0, "pixel_size_a": 1.0, "pixel_size_nm": 10.0, "pixel_size_m": 1e10}.items():
        if name in arrays:
            pixel_size = unit * np.asarray(arrays[name], dtype=float)
    if pixel_size is None and "pixel_size" in arrays:
        pixel_size = 1e10 * np.asarray(arrays["pixel_size"], dtype=float)
        if np.any(pixel_size > 1e10 * METRES):
            pixel_size = None  # a number without a unit
    fields = {name: np.asarray(value) for name, value in arrays.items()}
    return {name: (value, pixel_size) for name, value in fields.items() if value.ndim > 1 and value.dtype.kind in "uif"}


def _signals(path: Path) -> Named:
    """Titles of a microscope file's signals of two axes, or of any if there are none, with their pixel sizes."""
    parts = read_signals(path, 2) or read_signals(path, 3)
    titles = [title or "untitled" for title, _ in parts]
    names = [f"{title} {n}" if titles.count(title) > 1 else title for n, title in enumerate(titles, 1)]
    return {name: (part.images, part.pixel_size) for name, (_, part) in zip(names, parts, strict=True)}


def _picture(path: Path) -> Named:
    from skimage.io import imread

    return {"image": (imread(path), None)}


def _of_contents(reader: Callable) -> Callable[[Path], Named]:
    def read(path: Path) -> Named:
        contents = reader(path)
        return {"image": (contents.images, contents.pixel_size)}

    return read


READERS: dict[str, Callable[[Path], Named]] = {
    ".npy": lambda path: {"image": (np.load(path, allow_pickle=False), None)},
    ".npz": lambda path: _from_arrays(path, npz_arrays(path)),
    ".h5": lambda path: _from_arrays(path, hdf5_arrays(path, nested=True)),
    ".hdf5": lambda path: _from_arrays(path, hdf5_arrays(path, nested=True)),
    ".mat": lambda path: _from_arrays(path, mat_arrays(path)),
    ".mrc": _of_contents(read_mrc),
    ".tif": _of_contents(read_tiff),
    ".tiff": _of_contents(read_tiff),
    ".png": _picture,
    ".ndata": _of_contents(read_ndata),
    **dict.fromkeys(PLUGINS, _signals),
}
