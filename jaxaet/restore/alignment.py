"""Alignment of a tilt series of a specimen that ends inside every image, without any lattice."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from jaxaet.core import Images, rotation_matrix

_FINE = 4  # bins of a profile in each pixel


@jax.jit
def centre_of_mass(images: Images, background: ArrayLike | Array = 0.0) -> Float[Array, "k 2"]:
    """Where the centre of mass of each image lies from the grid's origin, (k, 2) x and y in Å.

    These are the shifts of `Tilts` of an object whose origin is its centre of mass. `background`: counts of each image,
    one number or (k,), which are taken off; what is below it does not count.
    """
    weights = _weights(images, background)
    y, x = images.grid.coordinates()
    total = jnp.sum(weights, axis=(1, 2))
    return jnp.stack([jnp.sum(weights, axis=1) @ x, jnp.sum(weights, axis=2) @ y], axis=1) / total[:, None]


@jax.jit
def common_line(images: Images, background: ArrayLike | Array = 0.0) -> Float[Array, "k 2"]:
    """Shifts of each image by its common line with the least tilted one, and across it by the centre of mass.

    Two projections have the same sum over all lines along the beam of both: their profiles along the axis between
    the two beams are the same but for a shift, (k, 2) Å. `background`: as in `centre_of_mass`. Source: Liu et al.,
    Ultramicroscopy 58 (1995) 393.
    """
    weights, centres = _weights(images, background), centre_of_mass(images, background)
    rotations = rotation_matrix(images.angles)
    first = jnp.argmax(rotations[:, 2, 2])
    axes = jnp.cross(rotations[:, 2], rotations[first, 2][None])
    length = jnp.linalg.norm(axes, axis=1, keepdims=True)
    axes = jnp.where(length > 1e-6, axes / jnp.maximum(length, 1e-12), rotations[first, 1][None])
    along = jnp.einsum("kij,kj->ki", rotations[:, :2], axes)
    there = axes @ rotations[first, :2].T
    profile = jax.vmap(_profile, in_axes=(0, 0, None))
    moved, still = (
        profile(weights, along, images.grid),
        profile(jnp.broadcast_to(weights[first], weights.shape), there, images.grid),
    )
    found = jax.vmap(_shift)(moved, still) * images.grid.sampling / _FINE + there @ centres[first]
    return centres + (found - jnp.sum(along * centres, axis=1))[:, None] * along


def _weights(images: Images, background) -> Float[Array, "k ny nx"]:
    background = jnp.broadcast_to(jnp.asarray(background, dtype=images.data.dtype), images.data.shape[:1])
    return jnp.maximum(images.data - background[:, None, None], 0)


def _profile(weights: Float[Array, "ny nx"], along: Float[Array, "2"], grid) -> Float[Array, " p"]:
    """What an image weighs at each place along a direction, relative to all of it; bins are `_FINE` a pixel."""
    y, x = grid.coordinates()
    length = 2 * _FINE * (grid.shape[0] + grid.shape[1])
    place = (along[0] * x[None, :] + along[1] * y[:, None]) * _FINE / grid.sampling + length // 2
    below = jnp.floor(place)
    part, index = place - below, below.astype(int)
    empty = jnp.zeros(length, weights.dtype)
    profile = empty.at[index].add(weights * (1 - part)).at[index + 1].add(weights * part)
    # A pixel is as wide as `_FINE` bins; the gaps between its bins are filled alike in both profiles.
    frequencies = jnp.fft.rfftfreq(length)
    smooth = jnp.exp(-2 * (jnp.pi * frequencies * _FINE) ** 2)
    return jnp.fft.irfft(jnp.fft.rfft(profile) * smooth, length) / jnp.sum(weights)


def _shift(moved: Float[Array, " p"], still: Float[Array, " p"]) -> Float[Array, ""]:
    """By how many bins the first profile lies after the second."""
    correlation = jnp.fft.irfft(jnp.fft.rfft(moved) * jnp.conj(jnp.fft.rfft(still)), len(moved))
    best = jnp.argmax(correlation)
    left, middle, right = (correlation[(best + step) % len(moved)] for step in (-1, 0, 1))
    bend = jnp.minimum(left - 2 * middle + right, -1e-30)
    return (best + len(moved) // 2) % len(moved) - len(moved) // 2 + 0.5 * (left - right) / bend
