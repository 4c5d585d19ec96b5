"""How well layers were separated: pixels and atoms, in one order of the layers for all numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from jaxaet.gombnet.losses import best_orders


class PixelScores(NamedTuple):
    """Shares of one image, each in (b,) from 0 to 1, after the order of the layers with the best overlap."""

    accuracy: Float[np.ndarray, " b"]
    dice: Float[np.ndarray, " b"]
    iou: Float[np.ndarray, " b"]


def pixel_scores(masks: Array | np.ndarray, labels: Array | np.ndarray) -> PixelScores:
    """Accuracy, Dice and intersection over union of masks (b, l, ny, nx, c) with labels, over all layers jointly."""
    both, total, pixels = (np.asarray(value) for value in _overlaps(jnp.asarray(masks), jnp.asarray(labels)))
    orders = best_orders(both)
    layers = np.arange(both.shape[-1])
    shared = np.array([both[image, order, layers].sum() for image, order in enumerate(map(list, orders))])
    sums = total.sum(axis=1)
    return PixelScores(1 - (sums - 2 * shared) / pixels, 2 * shared / sums, shared / (sums - shared))


@jax.jit
def _overlaps(masks: Array, labels: Array):
    masks, labels = masks.astype(jnp.float32), labels.astype(jnp.float32)
    both = jnp.einsum("blyxc,bmyxc->blm", masks, labels)
    total = masks.sum(axis=(2, 3, 4)) + labels.sum(axis=(2, 3, 4))
    return both, total, float(np.prod(masks.shape[1:]))


class AtomScores(NamedTuple):
    """Found columns beside the true ones: counts, and distances of the matched pairs in the unit of the positions.

    `pairs`: number of the found and of the true column of each.
    """

    found: int
    true: int
    distances: Float[np.ndarray, " m"]
    pairs: Int[np.ndarray, "m 2"]

    @property
    def precision(self) -> float:
        """Share of the found columns that are true."""
        return len(self.distances) / max(self.found, 1)

    @property
    def recall(self) -> float:
        """Share of the true columns that were found."""
        return len(self.distances) / max(self.true, 1)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * len(self.distances) / max(self.found + self.true, 1)


def atom_scores(found: Float[np.ndarray, "n 2"], true: Float[np.ndarray, "m 2"], tolerance: float) -> AtomScores:
    """Pairs of mutually nearest found and true columns that are not further apart than `tolerance`."""
    if len(found) == 0 or len(true) == 0:
        return AtomScores(len(found), len(true), np.zeros(0), np.zeros((0, 2), int))
    distance, nearest = map(np.atleast_1d, KDTree(true).query(found))
    back = np.atleast_1d(KDTree(found).query(true)[1])
    matched = (back[nearest] == np.arange(len(found))) & (distance <= tolerance)
    pairs = np.stack([np.flatnonzero(matched), nearest[matched]], axis=1)
    return AtomScores(len(found), len(true), distance[matched], pairs)
