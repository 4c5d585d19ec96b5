"""Background under a specimen: what is left where its atoms are not.

In a lattice these places are the hollow sites, each a local minimum of the image; between them the background is
interpolated by radial basis functions. Source: AET paper, supplement, "Drift correction, denoising and background
subtraction". The tails of the atoms around a hollow site count as background; a fit of the atoms does not have this
bias, and `smooth_background` takes what it leaves.
"""

import numpy as np
from jaxtyping import Float
from scipy.interpolate import RBFInterpolator, RectBivariateSpline
from scipy.ndimage import gaussian_filter, minimum_filter

from jaxaet.core import InputError

_NEIGHBOURS = 40  # minima that decide about a place
_KNOTS = 8  # pixels from one interpolated place to the next
_FEW = 6  # minima, fewer of which show no background


def hollow_sites(
    image: Float[np.ndarray, "ny nx"], sampling: float, spacing: float, smoothing: float
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Local minima of a smoothed image: (row, column) in pixels, and values.

    `sampling`: pixel, Å. `spacing`: Å, within which a minimum is the lowest place; about half the distance of hollow
    sites. `smoothing`: rms width, Å, against noise.
    """
    smooth = gaussian_filter(np.asarray(image, float), smoothing / sampling)
    lowest = minimum_filter(smooth, size=2 * max(1, round(spacing / sampling)) + 1)
    # Of a plateau no place is a minimum.
    rows, columns = np.nonzero((smooth == lowest) & (smooth < gaussian_filter(smooth, 1.0)))
    return np.stack([rows, columns], axis=1).astype(float), smooth[rows, columns]


def hollow_background(
    image: Float[np.ndarray, "ny nx"],
    sampling: float,
    spacing: float = 1.6,
    smoothing: float = 0.4,
    stiffness: float = 10.0,
) -> Float[np.ndarray, "ny nx"]:
    """The background of the image of a crystal, interpolated between its hollow sites by thin plates.

    `sampling`: pixel, Å. `spacing`, `smoothing`: see `hollow_sites`. `stiffness`: 0 goes through every minimum, more
    is smoother. Raises `InputError` where there are too few minima, as in an image of one brightness.
    """
    sites, values = hollow_sites(image, sampling, spacing, smoothing)
    if len(sites) < _FEW:
        raise InputError(
            f"The image has {len(sites)} local minima, too few to interpolate a background; give a smaller spacing, or "
            "leave the background in."
        )
    plates = RBFInterpolator(sites, values, neighbors=min(_NEIGHBOURS, len(sites)), smoothing=stiffness)
    knots = [np.unique(np.r_[np.arange(0, n, _KNOTS), n - 1]) for n in image.shape]
    places = np.stack(np.meshgrid(*knots, indexing="ij"), axis=-1).reshape(-1, 2).astype(float)
    coarse = plates(places).reshape(len(knots[0]), len(knots[1]))
    spline = RectBivariateSpline(knots[0], knots[1], coarse, kx=min(3, len(knots[0]) - 1), ky=min(3, len(knots[1]) - 1))
    return spline(np.arange(image.shape[0]), np.arange(image.shape[1]))
