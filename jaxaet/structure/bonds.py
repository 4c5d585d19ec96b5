"""Bond lengths within one layer, and how wide their distribution is."""

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from jaxaet.core import InputError

BETWEEN = 1.35  # of the median bond; the next shell of a honeycomb is at 1.73 of it


def bond_lengths(positions: Float[np.ndarray, "n 2"], neighbours: int = 3) -> Float[np.ndarray, " m"]:
    """The length of every bond of one layer, once, in Å.

    Two atoms are bonded when each is among the `neighbours` nearest of the other, and not in the next shell, so that
    atoms at edges and beside vacancies have fewer bonds and no false ones. `positions`: Å.
    Raises `InputError` for fewer atoms than that takes.
    """
    distances, nearest = _nearest(positions, neighbours)
    mutual = (nearest[nearest] == np.arange(len(positions))[:, None, None]).any(axis=-1)
    once = nearest > np.arange(len(positions))[:, None]
    return distances[mutual & once & (distances < BETWEEN * np.median(distances))]


def nearest_distances(positions: Float[np.ndarray, "n 2"], neighbours: int = 2) -> Float[np.ndarray, "n k"]:
    """The distances from each atom to its nearest ones, Å, for comparison with published bond lengths.

    The nearest two of three neighbours are below the mean bond wherever an image is distorted: A. C. Houston et al.,
    Nano Lett. 25, 9277 (2025) found 1.39 Å in this way. `positions`: Å.
    Raises `InputError` for fewer atoms than that takes.
    """
    return _nearest(positions, neighbours)[0]


def full_width(lengths: Float[np.ndarray, " m"], bins: int = 100) -> float:
    """Full width at half maximum by the paper's rule, Å: the span of the bins of a histogram above half its maximum.

    `lengths`: Å; the histogram runs from the least to the greatest. Houston et al. (2025) take 100 bins.
    Raises `InputError` without lengths.
    """
    if lengths.size == 0:
        raise InputError("There are no bond lengths; give those of a layer with at least one bond.")
    counts, edges = np.histogram(lengths, bins)
    above = np.flatnonzero(counts >= counts.max() / 2)
    return float(edges[above[-1] + 1] - edges[above[0]])


def _nearest(positions: Float[np.ndarray, "n 2"], neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    if len(positions) <= neighbours:
        raise InputError(f"{len(positions)} atoms were given; {neighbours} neighbours take at least {neighbours + 1}.")
    distances, nearest = KDTree(positions).query(positions, neighbours + 1)
    return np.asarray(distances)[:, 1:], np.asarray(nearest)[:, 1:]
