"""What makes a tilt series unusable, each in one sentence that names the file, the finding and the remedy."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxaet.core import Images, InputError

SMALLEST, LARGEST = 0.001, 100.0  # Å, pixel sizes of any microscope
BRIGHTEST = 1e15  # in a pixel, whose square single precision still holds
SPIKE = 1e3  # times what all but a thousandth of the pixels, and those beside it, stay below


def checked_images(path: Path, images: Any, frames: int = 1) -> Float[np.ndarray, "k ny nx"]:
    """The images as one real array; raises `InputError` unless they are alike, finite and not constant.

    `frames`: so many after each other are named as those of one image.
    """
    if isinstance(images, list) or getattr(images, "dtype", np.dtype(float)).hasobject:
        images = _stacked(path, [np.asarray(image) for image in images])
    images = np.asarray(images)
    if images.ndim != 3:
        raise InputError(
            f"{path} holds an array of shape {images.shape} where images are expected; "
            "store them with three axes (image, row, column), or read several frames of each image by load_frames "
            "(the recipe raw_frames)."
        )
    if images.size == 0:
        raise InputError(f"{path} holds an empty array of shape {images.shape}; give at least one image.")
    if images.dtype.kind not in "uif":
        raise InputError(f"{path} holds images of type {images.dtype}; store them as integers or real numbers.")
    bad = ~(np.abs(images) < BRIGHTEST).all(axis=(1, 2))
    if bad.any():
        raise InputError(
            f"{path} has NaN or infinite pixels, or beyond {BRIGHTEST:g}, in {_named(bad, frames)}; "
            "remove them or mend the pixels."
        )
    _refuse_spikes(path, images, frames)
    constant = images.max(axis=(1, 2)) == images.min(axis=(1, 2))
    if constant.any():
        raise InputError(f"{path} has the same value in every pixel of {_named(constant, frames)}; remove them.")
    return images


def checked_pixel_size(path: Path, value: Any) -> float:
    """The pixel size in Å; raises `InputError` if there is none, or if pixels are not square to 0.1 %."""
    if value is None:
        raise InputError(
            f"{path} has no pixel size; pass pixel_size in Å (data.pixel_size_a), "
            "or store it in the file as pixel_size_A."
        )
    sizes = np.ravel(np.asarray(value, dtype=float))
    if sizes.size == 0 or not ((sizes > SMALLEST) & (sizes <= LARGEST)).all():
        raise InputError(
            f"{path} has the pixel size {sizes.tolist()} Å; allowed a positive one, {SMALLEST:g} to {LARGEST:g} Å; "
            "pass pixel_size in Å (data.pixel_size_a)."
        )
    if np.ptp(sizes) > 1e-3 * sizes[0]:
        raise InputError(f"{path} has pixels of {sizes.tolist()} Å; resample the images to square pixels.")
    return float(sizes.mean())


def checked_angles(path: Path, angles: Any, count: int) -> Float[np.ndarray, "k 3"]:
    """Angles (k, 3) in rad, from (k, 3) or from (k,) tilts about Y; raises `InputError` for any other number."""
    if angles is None:
        raise InputError(
            f"{path} has no tilt angles; pass angles of its {count} images (data.angles_deg), "
            "or store them in the file as angles_deg."
        )
    angles = np.asarray(angles, dtype=float)
    if angles.shape != (count, 3):
        if angles.size != count:
            raise InputError(
                f"{path} has {count} images but angles of shape {angles.shape}; "
                f"pass {count} tilts about Y or an array ({count}, 3) of angles about (Z, Y, X)."
            )
        angles = np.stack([np.zeros(count), np.ravel(angles), np.zeros(count)], axis=1)
    if not np.isfinite(angles).all():
        raise InputError(f"{path} has NaN or infinite angles; pass angles of all {count} images.")
    return angles


def checked_new_file(path: Path, overwrite: bool = False) -> Path:
    """The path itself; raises `InputError` if its folder is missing, or if it exists and `overwrite` is false."""
    if not path.parent.is_dir():
        raise InputError(f"{path} lies in a folder that does not exist; make the folder first.")
    if path.exists() and not overwrite:
        raise InputError(f"{path} already exists; give the path of a new file.")
    return path


def check_counts(images: Images) -> None:
    """Raises `InputError` if an image has negative values, which no Poisson likelihood can explain."""
    lowest = np.asarray(images.data).min(axis=(1, 2))
    if (lowest < 0).any():
        raise InputError(
            f"Values down to {lowest.min():.4g} in {_named(lowest < 0)} cannot be electron counts; "
            "choose a gaussian likelihood, or add the subtracted background again."
        )


def _refuse_spikes(path: Path, images: np.ndarray, frames: int) -> None:
    """Raises `InputError` for a single pixel that no specimen makes, such as a defect of the detector."""
    bright = np.quantile(images, 0.999, method="lower")
    spikes = np.array([bright > 0 and image.max() > SPIKE * max(bright, _beside_brightest(image)) for image in images])
    if spikes.any():
        raise InputError(
            f"{path} has a pixel of {images[spikes].max():.3g} in {_named(spikes, frames)}, where 999 of 1000 stay "
            f"below {bright:.3g}; replace such pixels by the mean of those beside them."
        )


def _beside_brightest(image: np.ndarray) -> float:
    """The brightest of the pixels around the brightest one: an atom's image is wider than a pixel."""
    row, column = np.unravel_index(image.argmax(), image.shape)
    around = image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    return float(np.sort(around, axis=None)[:-1].max(initial=0))


def _stacked(path: Path, images: list[np.ndarray]) -> np.ndarray:
    shapes = dict.fromkeys(image.shape for image in images)
    if len(shapes) > 1:
        found = ", ".join(str(shape) for shape in shapes)
        raise InputError(f"{path} holds images of different sizes ({found}); crop or pad them to one size.")
    return np.array(images)


def _named(which: np.ndarray, frames: int = 1) -> str:
    """The images or frames that a mask selects, by their index from 0: the first three and how many more."""
    index = np.flatnonzero(which)
    named = [str(i) if frames == 1 else f"{i % frames} of image {i // frames}" for i in index[:3]]
    more = f" and {len(index) - 3} more" if len(index) > 3 else ""
    kind = "image" if frames == 1 else "frame"
    return f"{kind}{'s' if len(index) > 1 else ''} {', '.join(named)}{more} (counted from 0)"
