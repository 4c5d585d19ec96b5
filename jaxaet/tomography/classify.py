"""Which element each atom is, from how brightly it scatters."""

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.vq import kmeans2


def classify(
    weights: Float[np.ndarray, " n"], expected: Float[np.ndarray, " s"], absolute: bool
) -> Int[np.ndarray, " n"]:
    """The species of each atom: an index into `expected`, (n,).

    `weights`: what each atom scatters. `expected`: what one atom of each species should, in the same unit if
    `absolute`, else up to a common factor, which k-means finds along with the departures from the table. Clusters are
    those of log(weight).
    """
    logs, centres = np.log(np.maximum(weights, 1e-6 * np.max(weights))), np.log(np.asarray(expected, dtype=float))
    if not absolute:
        centres = centres + np.median(logs) - np.median(centres)
        ordered = np.sort(centres)
        low, high = np.percentile(logs, [10, 90])
        if len(centres) > 1:
            centres = low + (centres - ordered[0]) * (high - low) / max(ordered[-1] - ordered[0], 1e-6)
        centres = kmeans2(logs[:, None], centres[:, None], minit="matrix", missing="warn")[0][:, 0]
    return np.argmin(np.abs(logs[:, None] - centres), axis=1)
