"""Which element each atom is, from how brightly it scatters."""

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.vq import kmeans2

_NOISE = 0.2  # of the typical brightness: what is fainter is no atom and has no say


def species_weights(
    weights: Float[np.ndarray, " n"], expected: Float[np.ndarray, " s"], absolute: bool
) -> Float[np.ndarray, " s"]:
    """What an atom of each species scatters in this data, (s,).

    `weights`: what each atom scatters. `expected`: what one atom of each species should, in the same unit if
    `absolute`, else up to a common factor, which k-means of log(weight) finds along with the departures from the table.
    """
    expected = np.asarray(expected, dtype=float)
    if absolute:
        return expected
    weights = np.sort(weights[weights > 0])
    total = np.cumsum(np.minimum(weights, np.percentile(weights, 90)))  # an atom at the edge may have any weight
    typical = weights[np.searchsorted(total, 0.5 * total[-1])]  # half of all scattering is by fainter atoms
    logs = np.log(weights[weights > _NOISE * typical * expected.min() / expected.max()])
    if len(expected) == 1:
        return np.exp(np.median(logs, keepdims=True))
    low, high = np.percentile(logs, [10, 90])
    centres = np.log(expected)
    centres = low + (centres - centres.min()) * (high - low) / max(np.ptp(centres), 1e-6)
    return np.exp(kmeans2(logs[:, None], centres[:, None], minit="matrix", missing="warn")[0][:, 0])


def classify(weights: Float[np.ndarray, " n"], typical: Float[np.ndarray, " s"]) -> Int[np.ndarray, " n"]:
    """The species of each atom, (n,): that of the nearest `typical` weight, (s,), in log(weight)."""
    logs = np.log(np.maximum(weights, 1e-6 * np.max(weights)))
    return np.argmin(np.abs(logs[:, None] - np.log(typical)), axis=1)
