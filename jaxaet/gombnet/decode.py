"""Probabilities to columns of atoms, at sub-pixel positions."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter
from skimage.feature import peak_local_max

from jaxaet.gombnet.predict import Prediction
from jaxaet.gombnet.simulate import Sheet


class Columns(NamedTuple):
    """The columns of one layer: positions (n, 2), x and y in Å from the middle pixel, and (n, c) probabilities.

    `probabilities`: that the column belongs to each class.
    """

    positions: Float[np.ndarray, "n 2"]
    probabilities: Float[np.ndarray, "n c"]


def decode(prediction: Prediction, sheet: Sheet, threshold: float = 0.5) -> list[Columns]:
    """For each layer the columns whose disk has a mean probability above `threshold` in any class.

    Classes that share columns (S and Se) are found together. A position is the centroid of the probability around
    a local maximum.
    """
    pixel, radius = prediction.pixel, float(sheet.radius)
    return [
        _joined([_columns(layer, list(group), pixel, radius, threshold) for group in sites(sheet)], layer.shape[-1])
        for layer in prediction.mean
    ]


def sites(sheet: Sheet) -> list[tuple[int, ...]]:
    """The classes that can be at each kind of site, once for each kind."""
    at_site = np.asarray(sheet.membership).any(axis=1)
    return sorted({tuple(int(c) for c in np.flatnonzero(members)) for members in np.atleast_2d(at_site)})


def _columns(layer: Float[np.ndarray, "ny nx c"], group: list[int], pixel: float, radius: float, threshold: float):
    """Positions and probabilities of the columns of one kind of site."""
    chance = layer[..., group].max(axis=-1)
    smooth = gaussian_filter(chance, 0.5 * radius / pixel)
    half = int(np.ceil(1.3 * radius / pixel))
    peaks = peak_local_max(smooth, min_distance=half, threshold_abs=0.5 * threshold, exclude_border=False)
    padded = np.pad(layer[..., group], ((half, half), (half, half), (0, 0)))
    steps = np.arange(-half, half + 1)
    within = np.hypot(steps[:, None], steps[None]) * pixel
    positions, probabilities = [], []
    for row, column in peaks:
        patch = padded[row : row + 2 * half + 1, column : column + 2 * half + 1]
        weights = patch.max(axis=-1) * (within <= 1.3 * radius)
        shift = np.array([(weights * steps[None]).sum(), (weights * steps[:, None]).sum()]) / weights.sum()
        positions.append(np.array([column, row]) + shift - np.array(chance.shape[::-1]) // 2)
        probabilities.append(patch[within <= 0.7 * radius].mean(axis=0))
    found = np.zeros((len(peaks), layer.shape[-1]))
    found[:, group] = np.reshape(probabilities, (len(peaks), len(group)))
    good = found.max(axis=1, initial=0) > threshold
    return np.reshape(positions, (len(peaks), 2))[good] * pixel, found[good]


def _joined(parts: list[tuple[np.ndarray, np.ndarray]], classes: int) -> Columns:
    positions, probabilities = zip(*parts, strict=True)
    return Columns(np.concatenate(positions).reshape(-1, 2), np.concatenate(probabilities).reshape(-1, classes))
