"""Peaks of one image: local maxima, and 2D Gaussian fits of each."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Float
from scipy.ndimage import gaussian_filter, maximum_filter


def find_peaks(
    image: Float[np.ndarray, "ny nx"], sampling: float, smoothing: float, background: float, threshold: float = 0.25
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " n"]]:
    """Local maxima of a smoothed image: positions (x, y) in Å from the origin, and heights above the background.

    `smoothing`: rms width, Å. `threshold`: faintest peak kept, relative to the 95th percentile of the peaks.
    """
    smooth = gaussian_filter(np.asarray(image, dtype=float), smoothing / sampling) - background
    rows, columns = np.nonzero((smooth == maximum_filter(smooth, size=3)) & (smooth > 0))
    inside = (rows > 0) & (rows < image.shape[0] - 1) & (columns > 0) & (columns < image.shape[1] - 1)
    rows, columns = rows[inside], columns[inside]
    heights = smooth[rows, columns]
    bright = heights > threshold * np.percentile(heights, 95) if len(heights) else heights > 0
    rows, columns, heights = rows[bright], columns[bright], heights[bright]
    offset = []
    for step in ((0, 1), (1, 0)):
        below, above = smooth[rows - step[0], columns - step[1]], smooth[rows + step[0], columns + step[1]]
        offset.append(0.5 * (below - above) / np.minimum(below - 2 * heights + above, -1e-12))
    points = np.stack([columns + offset[0] - image.shape[1] // 2, rows + offset[1] - image.shape[0] // 2], axis=1)
    return points * sampling, heights


def fit_peaks(
    images: Float[np.ndarray, "k ny nx"], peaks: list[Float[np.ndarray, "n 2"]], sampling: float, width: float
) -> tuple[list[Float[np.ndarray, "n 2"]], list[Float[np.ndarray, "n 2 2"]]]:
    """Positions (x, y) in Å from a least-squares fit of a round Gaussian on a constant to the pixels around each peak.

    And the covariance of each, (n, 2, 2) in Å²: the inverse normal matrix times the variance that the fit leaves.

    `peaks`: for each image (n, 2) starts in Å from the origin. `width`: start of the rms width, Å. The window reaches
    as far as the width, so that neighbours stay outside; a fit that moves by more than a pixel and a half keeps its
    start, and has a covariance of NaN.
    """
    ny, nx = images.shape[1:]
    half = max(2, round(width / sampling))
    middle = np.array([nx // 2, ny // 2])
    view = np.repeat(np.arange(len(peaks)), [len(points) for points in peaks])
    pixels = np.concatenate(peaks) / sampling + middle
    corners = np.clip(np.rint(pixels).astype(int) - half, 0, np.array([nx, ny]) - 2 * half - 1)
    span = np.arange(2 * half + 1)
    patches = images[view[:, None, None], corners[:, 1, None, None] + span[:, None], corners[:, 0, None, None] + span]
    low, high = patches.min(axis=(1, 2)), patches.max(axis=(1, 2))
    start = np.c_[pixels - corners, high - low, np.full(len(pixels), width / sampling), low]
    found, covariances = map(np.asarray, _fit_windows(jnp.asarray(patches, float), jnp.asarray(start, float)))
    fitted = found + corners
    good = np.all(np.abs(fitted - pixels) < 1.5, axis=1)
    points = (np.where(good[:, None], fitted, pixels) - middle) * sampling
    covariances = np.where(good[:, None, None], covariances, np.nan) * sampling**2
    ends = np.cumsum([len(points) for points in peaks])[:-1]
    return np.split(points, ends), np.split(covariances, ends)


@jax.jit
def _fit_windows(
    patches: Float[Array, "n p p"], start: Float[Array, "n 5"]
) -> tuple[Float[Array, "n 2"], Float[Array, "n 2 2"]]:
    """Column and row (pixels) of each window's peak, and their covariance; height, width and background are fitted."""
    pixel = jnp.arange(patches.shape[-1], dtype=patches.dtype)

    def residual(parameters, patch):
        column, row, height, width, background = parameters
        distance = (pixel[None, :] - column) ** 2 + (pixel[:, None] - row) ** 2
        return (height * jnp.exp(-0.5 * distance / width**2) + background - patch).ravel()

    def fit(patch, start):
        solver = optimistix.LevenbergMarquardt(rtol=1e-4, atol=1e-4)
        found = optimistix.least_squares(residual, solver, start, args=patch, max_steps=40, throw=False).value
        slope, left = jax.jacfwd(residual)(found, patch), residual(found, patch)
        variance = jnp.sum(left**2) / max(left.size - found.size, 1)
        return found[:2], variance * jnp.linalg.inv(slope.T @ slope)[:2, :2]

    return jax.vmap(fit)(patches, start)
