"""Volume → atoms: local maxima, refined below the voxel, kept apart."""

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import KDTree

from jaxaet.core import Volume


def trace(
    volume: Volume, min_distance: float, smoothing: float, threshold: float = 0.1
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """Positions in Å and heights of the atoms in a volume, brightest first.

    `min_distance`: two atoms are never closer, Å: the brighter one stays. `smoothing`: rms width in Å of the Gaussian
    that gathers the voxels of one atom. `threshold`: the faintest peak kept, relative to the 99th percentile of peaks.
    The position is the maximum of the parabola through the three voxels along each axis.
    """
    sampling = float(volume.sampling)
    density = gaussian_filter(np.asarray(volume.data, dtype=np.float32), smoothing / sampling)
    peaks = np.argwhere((density == maximum_filter(density, size=3, mode="constant")) & (density > 0))
    if len(peaks) == 0:
        return np.zeros((0, 3)), np.zeros(0)
    heights = density[tuple(peaks.T)]
    peaks = peaks[heights > threshold * np.percentile(heights, 99)]
    positions, heights = _vertices(density, peaks)
    order = np.argsort(-heights)
    positions = np.asarray(volume.origin) + sampling * positions[order]
    kept = keep_apart(positions, min_distance)
    return positions[kept], heights[order][kept]


def keep_apart(positions: Float[np.ndarray, "n 3"], min_distance: float) -> np.ndarray:
    """Indices of the points that stay when each, in the order given, removes later ones closer than `min_distance`."""
    removed = np.zeros(len(positions), bool)
    neighbours = KDTree(positions).query_ball_point(positions, min_distance)
    for index, near in enumerate(neighbours):
        if not removed[index]:
            later = np.asarray(near)
            removed[later[later > index]] = True
    return np.flatnonzero(~removed)


def merge_close(
    positions: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"], min_distance: float
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Points no closer than `min_distance`, brightest first: each gathers the fainter ones that are too near to it.

    A point stands at the weighted mean of those it gathered, with the sum of their `weights`. Returns positions,
    weights and how many points each stands for.
    """
    order = np.argsort(-weights)
    positions, weights = positions[order], weights[order]
    kept = keep_apart(positions, min_distance)
    owner = KDTree(positions[kept]).query(positions)[1]
    total = np.bincount(owner, weights, len(kept))
    moments = np.stack([np.bincount(owner, weights * axis, len(kept)) for axis in positions.T], axis=1)
    return moments / total[:, None], total, np.bincount(owner)


def _vertices(density, peaks):
    """Sub-voxel maxima and their heights by a parabola along each axis."""
    inside = np.all((peaks > 0) & (peaks < np.array(density.shape) - 1), axis=1)
    peaks = peaks[inside]
    centre = density[tuple(peaks.T)]
    offsets, rise = np.zeros(peaks.shape), np.zeros(len(peaks))
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        below, above = density[tuple((peaks - step).T)], density[tuple((peaks + step).T)]
        curvature = np.minimum(below - 2 * centre + above, -1e-12)
        offsets[:, axis] = np.clip(0.5 * (below - above) / curvature, -0.5, 0.5)
        rise += -0.125 * (above - below) ** 2 / curvature
    return peaks + offsets, centre + rise
