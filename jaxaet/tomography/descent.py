"""Projected gradient descent on a quadratic whose matrix is a convolution."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Descent(NamedTuple):
    """Where a descent stands: the volume, the one before it, and the momentum of the extrapolation."""

    volume: Float[Array, "nx ny nz"]
    previous: Float[Array, "nx ny nz"]
    momentum: Float[Array, ""]

    @classmethod
    def empty(cls, like: Float[Array, "nx ny nz"]) -> "Descent":
        """The start: nothing."""
        return cls(jnp.zeros_like(like), jnp.zeros_like(like), jnp.ones((), like.dtype))


def transfer_function(kernel: Float[Array, "px py pz"]) -> Float[Array, "hz py px"]:
    """The real transform of an even kernel on the padded grid, with its axes in the order of `convolved`."""
    return jnp.fft.rfftn(kernel).real.T


def convolved(
    volume: Float[Array, "nx ny nz"], transfer: Float[Array, "hz py px"], padded: tuple[int, ...]
) -> Float[Array, "nx ny nz"]:
    """The volume convolved with the kernel of a `transfer_function` on the padded grid.

    One axis is padded after the other, so that no transform runs over lines that are empty or thrown away.
    """
    nx, ny, nz = volume.shape
    px, py, pz = padded
    along_z = jnp.fft.rfft(volume, n=pz).transpose(2, 0, 1)
    along_y = jnp.fft.fft(along_z, n=py).transpose(0, 2, 1)
    along_y = jnp.fft.ifft(jnp.fft.fft(along_y, n=px) * transfer)[..., :nx]
    along_z = jnp.fft.ifft(along_y.transpose(0, 2, 1))[..., :ny]
    return jnp.fft.irfft(along_z.transpose(1, 2, 0), n=pz)[..., :nz]


def descended(
    state: Descent,
    transfer: Float[Array, "hz py px"],
    target: Float[Array, "nx ny nz"],
    padded: tuple[int, ...],
    accelerated: bool,
) -> Descent:
    """One step V ← max(0, V + c - K * V), from an extrapolated point if `accelerated`.

    The step length is in K and c; it does not diverge while the largest value of the transfer function is at most 2,
    or 1 if accelerated. Extrapolation starts anew where it leads uphill. Source: Beck & Teboulle, SIAM J. Imaging Sci.
    2 (2009) 183; O'Donoghue & Candès, Found. Comput. Math. 15 (2015) 715.
    """
    volume, previous, momentum = state
    if not accelerated:
        return Descent(jnp.maximum(volume + target - convolved(volume, transfer, padded), 0.0), volume, momentum)
    following = 0.5 * (1 + jnp.sqrt(1 + 4 * momentum**2))
    point = volume + (momentum - 1) / following * (volume - previous)
    new = jnp.maximum(point + target - convolved(point, transfer, padded), 0.0)
    uphill = jnp.sum((point - new) * (new - volume)) > 0
    return Descent(new, volume, jnp.where(uphill, 1.0, following))
