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
_START = 0.3  # Å, amplitude to start from: at none at all the misfit has no slope


def find_vibration(images: Images, reference: Images, width: float = 0.1) -> StageVibration:
    """The vibration with which the reference images look most like the measured ones, each up to gain and offset.

    `reference`: the same places without vibration, such as a fitted model's. `width`: of what is not harmonic, Å; it
    is kept, for images tell of the second moment along the line alone. Raises `InputError` for images that do not fit.
    """
    if images.data.shape != reference.data.shape:
        raise InputError(
            f"Images of shape {images.data.shape} cannot be compared with references of {reference.data.shape}; give "
            "one reference for each image."
        )
    directions = jnp.pi * jnp.arange(_DIRECTIONS) / _DIRECTIONS
    starts = _START * jnp.stack([jnp.cos(directions), jnp.sin(directions)], axis=1)
    found, left = _best_arms(images.data, reference.data, images.grid, starts, jnp.asarray(width))
    arms = found[jnp.arange(len(left)), jnp.argmin(left, axis=1)]
    return StageVibration(jnp.arctan2(arms[:, 1], arms[:, 0]), jnp.linalg.norm(arms, axis=1), width)


@jax.jit
def _best_arms(data, reference, grid: Grid, starts: Float[Array, "s 2"], width: Float[Array, ""]):
    """For each image and start: half the stroke as a vector, (k, s, 2) Å, and the misfit that is left."""
    fy, fx = grid.frequencies()
    qx, qy = (q[None] for q in jnp.broadcast_arrays(fx[None, :], fy[:, None]))

    def residual(arm, pair):
        image, spectrum = pair
        vibration = StageVibration(jnp.arctan2(arm[1], arm[0]), jnp.sqrt(jnp.sum(arm**2) + 1e-12), width)
        seen = jnp.fft.ifft2(spectrum * vibration.transfer(qx, qy)[0]).real
        seen, image = seen - jnp.mean(seen), image - jnp.mean(image)
        gain = jnp.sum(seen * image) / jnp.maximum(jnp.sum(seen**2), jnp.finfo(image.dtype).tiny)
        return (image - gain * seen).ravel()

    def fit(image, spectrum, start):
        solver = optimistix.LevenbergMarquardt(rtol=1e-5, atol=1e-5)
        pair = (image, spectrum)
        arm = optimistix.least_squares(residual, solver, start, args=pair, max_steps=60, throw=False).value
        return arm, jnp.sum(residual(arm, pair) ** 2)

    each = lambda view: jax.lax.map(lambda start: fit(view[0], view[1], start), starts)  # noqa: E731
    return jax.lax.map(each, (data, jnp.fft.fft2(reference)))
