"""The vibration of the stage, from images and what they would be without it.

Source: AET paper, supplement, "Vibration correction".
"""

import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Float

from jaxaet.core import Grid, Images, InputError
from jaxaet.instrument import StageVibration

_DIRECTIONS = 6  # to start from
_PATCH = 160  # pixels across, of the middle that is compared
_EDGE = 10  # pixels of it that are blurred only
_START = 0.3  # Å, amplitude to start from: at none at all the misfit has no slope


def find_vibration(images: Images, reference: Images, width: float = 0.1) -> StageVibration:
    """The vibration with which the middle of the reference images looks most like that of the measured ones.

    Each image is compared up to gain, offset and a round blur, for a reference may be a little too sharp. `reference`:
    the same places without vibration, such as a fitted model's. `width`: of what is not harmonic, Å; it is kept, for
    images tell of the second moment along the line alone. Raises `InputError` for images that do not fit.
    """
    if images.data.shape != reference.data.shape:
        raise InputError(
            f"Images of shape {images.data.shape} cannot be compared with references of {reference.data.shape}; give "
            "one reference for each image."
        )
    rows, columns = (slice(max(n - _PATCH, 0) // 2, max(n - _PATCH, 0) // 2 + _PATCH) for n in images.grid.shape)
    data, still = images.data[:, rows, columns], reference.data[:, rows, columns]
    directions = jnp.pi * jnp.arange(_DIRECTIONS) / _DIRECTIONS
    starts = _START * jnp.stack([jnp.cos(directions), jnp.sin(directions), jnp.zeros(_DIRECTIONS)], axis=1)
    grid = Grid(data.shape[1:], images.grid.sampling)
    found, left = _best_arms(data, still, grid, starts.astype(data.dtype), jnp.asarray(width, data.dtype))
    arms = found[jnp.arange(len(left)), jnp.argmin(left, axis=1)]
    return StageVibration(jnp.arctan2(arms[:, 1], arms[:, 0]), jnp.linalg.norm(arms[:, :2], axis=1), width)


@jax.jit
def _best_arms(data, reference, grid: Grid, starts: Float[Array, "s 3"], width: Float[Array, ""]):
    """For each image and start: half the stroke as a vector, Å, and the variance of a round blur, Å²; the misfit."""
    fy, fx = grid.frequencies()
    qx, qy = (q[None] for q in jnp.broadcast_arrays(fx[None, :], fy[:, None]))
    inner = tuple(slice(min(_EDGE, n // 4), n - min(_EDGE, n // 4)) for n in grid.shape)  # the rest wraps around

    def residual(arm, pair):
        image, spectrum = pair
        vibration = StageVibration(jnp.arctan2(arm[1], arm[0]), jnp.sqrt(jnp.sum(arm[:2] ** 2) + 1e-12), width)
        blur = jnp.exp(-2 * jnp.pi**2 * arm[2] * (qx[0] ** 2 + qy[0] ** 2))
        seen = jnp.fft.ifft2(spectrum * blur * vibration.transfer(qx, qy)[0]).real[inner]
        seen, image = seen - jnp.mean(seen), image[inner] - jnp.mean(image[inner])
        gain = jnp.sum(seen * image) / jnp.maximum(jnp.sum(seen**2), jnp.finfo(image.dtype).tiny)
        return (image - gain * seen).ravel()

    def fit(image, spectrum, start):
        solver = optimistix.LevenbergMarquardt(rtol=1e-4, atol=1e-4)
        pair = (image, spectrum)
        arm = optimistix.least_squares(residual, solver, start, args=pair, max_steps=40, throw=False).value
        return arm, jnp.sum(residual(arm, pair) ** 2)

    each = lambda view: jax.lax.map(lambda start: fit(view[0], view[1], start), starts)  # noqa: E731
    return jax.lax.map(each, (data, jnp.fft.fft2(reference)))
