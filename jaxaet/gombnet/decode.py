"""Probabilities to columns of atoms, at sub-pixel positions."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from skimage.feature import peak_local_max

from jaxaet.gombnet.predict import Prediction
from jaxaet.gombnet.simulate import Sheet


class Columns(NamedTuple):
    """The columns of one layer: positions (n, 2), x and y in Å from the middle pixel, with errors, and probabilities.

    `probabilities` (n, c): that the column belongs to each class. `errors` (n,): rms error of a position along each
    axis, Å.
    """

    positions: Float[np.ndarray, "n 2"]
    probabilities: Float[np.ndarray, "n c"]
    errors: Float[np.ndarray, " n"]


def decode(prediction: Prediction, sheet: Sheet, threshold: float = 0.5, error_factor: float = 1.0) -> list[Columns]:
    """For each layer the columns whose disk has a mean probability above `threshold` in any class.

    Classes that share columns (S and Se) are found together. A position is the centroid of the probability around
    a local maximum. A disk of radius R whose place is known to σ along each axis is seen blurred by σ, and p(1 - p)
    summed over its rim is 2 √π R σ. `error_factor` times that σ is the error: how much too sure of itself a network
    is, `error_factor` of `load_weights`, dimensionless.
    """
    pixel, radius = prediction.pixel, float(sheet.radius)
    # Of the mean of p(1 - p) over the copies, not of their mean, which their mutual shifts blur.
    rims = np.clip(prediction.mean * (1 - prediction.mean) - prediction.spread**2, 0, None)
    unit = error_factor * pixel**2 / (2 * np.sqrt(np.pi) * radius)
    return [
        _joined(
            [_columns(layer, unit * rim, list(group), pixel, radius, threshold) for group in sites(sheet)],
            layer.shape[-1],
        )
        for layer, rim in zip(prediction.mean, rims, strict=True)
    ]


def sites(sheet: Sheet) -> list[tuple[int, ...]]:
    """The classes that can be at each kind of site, once for each kind."""
    at_site = np.asarray(sheet.membership).any(axis=1)
    return sorted({tuple(int(c) for c in np.flatnonzero(members)) for members in np.atleast_2d(at_site)})


def _columns(layer, rim, group: list[int], pixel: float, radius: float, threshold: float):
    """Positions, probabilities and errors of the columns of one kind of site, from (ny, nx, c) of one layer."""
    likeliest = layer[..., group].argmax(axis=-1)[..., None]
    chance, blur = (np.take_along_axis(part[..., group], likeliest, -1)[..., 0] for part in (layer, rim))
    smooth = gaussian_filter(chance, 0.5 * radius / pixel)
    half = int(np.ceil(1.3 * radius / pixel))
    peaks = peak_local_max(smooth, min_distance=half, threshold_abs=0.5 * threshold, exclude_border=False)
    padded = np.pad(layer[..., group], ((half, half), (half, half), (0, 0)))
    blur = np.pad(blur, half)
    steps = np.arange(-half, half + 1)
    within = np.hypot(steps[:, None], steps[None]) * pixel
    positions, probabilities, errors = [], [], []
    for row, column in peaks:
        around = np.s_[row : row + 2 * half + 1, column : column + 2 * half + 1]
        patch, disk = padded[around], within <= 1.3 * radius
        weights = patch.max(axis=-1) * disk
        shift = np.array([(weights * steps[None]).sum(), (weights * steps[:, None]).sum()]) / weights.sum()
        positions.append(np.array([column, row]) + shift - np.array(chance.shape[::-1]) // 2)
        probabilities.append(patch[within <= 0.7 * radius].mean(axis=0))
        errors.append(blur[around][disk].sum())
    found = np.zeros((len(peaks), layer.shape[-1]))
    found[:, group] = np.reshape(probabilities, (len(peaks), len(group)))
    good = found.max(axis=1, initial=0) > threshold
    return np.reshape(positions, (len(peaks), 2))[good] * pixel, found[good], np.reshape(errors, -1)[good]


def _joined(parts: list[tuple[np.ndarray, ...]], classes: int) -> Columns:
    positions, probabilities, errors = map(np.concatenate, zip(*parts, strict=True))
    return Columns(positions.reshape(-1, 2), probabilities.reshape(-1, classes), errors)
