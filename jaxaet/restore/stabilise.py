"""Noise of counts and read-out: its parameters from the frames, and values in which it is the same everywhere.

A pixel is gain × Poisson(λ) + normal(0, readout²). The generalised Anscombe transform gives it unit variance; its exact
unbiased inverse undoes what the transform does to the mean. Source: Mäkitalo & Foi, IEEE Trans. Image Process. 22
(2013) 91, equations 2 and 6.
"""

import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Float

from jaxaet.core import Frames, InputError
from jaxaet.restore.drift import Drift, undrifted

_LARGEST = 100.0  # electrons, above which the inverse is its own expansion to 1e-4
_BINS = 24
_MOST_ELECTRONS = 1e6  # in a pixel of a frame; where noise is less than theirs there is none


def stabilised(
    data: Float[Array, "*p"], readout: Float[Array, ""] | float = 0.0, gain: Float[Array, ""] | float = 1.0
) -> Float[Array, "*p"]:
    """The generalised Anscombe transform: noise of unit variance, to 7 % from 3 electrons on.

    `data`: in the detector's unit. `readout`: rms read-out noise in that unit. `gain`: of it for one electron.
    """
    return 2 * jnp.sqrt(jnp.maximum(data / gain + 0.375 + (readout / gain) ** 2, 0.0))


def destabilised(values: Float[Array, "*p"], readout: float = 0.0, gain: float = 1.0) -> Float[Array, "*p"]:
    """The mean whose transform has the mean `values`: the exact unbiased inverse, in the detector's unit.

    Values below the transform of nothing at all are nothing.
    """
    sigma = float(readout) / float(gain)
    means = np.concatenate([[0.0], np.geomspace(1e-3, _LARGEST, 300)])
    table = _expected(means, sigma)
    beyond = 0.25 * values**2 - 0.125 - sigma**2
    # The expansion meets the table where that ends.
    beyond = beyond + (_LARGEST - (0.25 * table[-1] ** 2 - 0.125 - sigma**2))
    dtype = values.dtype
    inside = jnp.interp(values, jnp.asarray(table, dtype), jnp.asarray(means, dtype))
    return gain * jnp.where(values > table[-1], beyond, inside)


def _expected(means: Float[np.ndarray, " m"], sigma: float) -> Float[np.ndarray, " m"]:
    """The mean of the transform of Poisson(mean) + normal(0, sigma²), for each mean."""
    counts = np.arange(int(_LARGEST + 12 * np.sqrt(_LARGEST)))
    node, weight = np.polynomial.hermite_e.hermegauss(20)
    noisy = counts[:, None] + sigma * node[None]
    each = 2 * np.sqrt(np.maximum(noisy + 0.375 + sigma**2, 0.0)) @ (weight / weight.sum())
    return scipy.stats.poisson.pmf(counts[None], means[:, None]) @ each


def frame_noise(frames: Frames, drift: Drift) -> tuple[float, float]:
    """Gain, in the detector's unit for one electron, and rms read-out noise of a pixel of a frame, in that unit.

    The variance between frames, which are read back along the drift, is a straight line over their mean. Raises
    `InputError` for fewer than three frames, images of one brightness, and noise that does not grow with it.
    """
    count = int(frames.data.shape[1])
    if count < 3:
        raise InputError(
            f"Noise shows between at least 3 frames of each image, and here are {count}; give more of them, "
            "or the rms read-out noise (readout_counts)."
        )
    alone = np.eye(count, dtype=bool)
    each = [
        np.asarray(
            undrifted(frames, Drift(drift.velocity, drift.residual, drift.kept & jnp.asarray(one)[None])).data, float
        )
        for one in alone
    ]
    kept = np.asarray(drift.kept).T
    data = np.ma.array(each, mask=np.broadcast_to(~kept[..., None, None], np.shape(each)))
    mean, variance = data.mean(axis=0).compressed(), data.var(axis=0, ddof=1).compressed()
    order = np.argsort(mean)
    # Many pixels in each bin: the mean of a few frames is noisy too, which would flatten the line.
    bins = np.array([[mean[some].mean(), variance[some].mean()] for some in np.array_split(order, _BINS)])
    if np.ptp(bins[:, 0]) < 8 * np.sqrt(bins[:, 1].mean() / count):  # noise alone makes half of it
        raise InputError(
            "All pixels are of one brightness, which does not show how noise grows; give the rms read-out noise "
            "(readout_counts)."
        )
    start, slope = np.polynomial.polynomial.polyfit(bins[:, 0], bins[:, 1], 1)
    if not slope > np.ptp(bins[:, 0]) / _MOST_ELECTRONS:
        raise InputError(
            "The frames of an image do not differ more where they are brighter, as counted ones do; give all frames as "
            "they were recorded, or the rms read-out noise (readout_counts)."
        )
    return float(slope), float(np.sqrt(max(start, 0.0)))
