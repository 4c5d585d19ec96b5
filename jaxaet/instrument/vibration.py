"""Vibration of the stage or of a free-standing specimen during the exposure."""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

_NODES = 24
_LEAST = 1e-8  # Å², so that no vibration at all has derivatives too


class StageVibration(eqx.Module):
    """A harmonic oscillation within the plane of each of the k images, blurred by what is not harmonic.

    The kernel is the density of A sin(t) along one line, 1 / (pi sqrt(A² - s²)), convolved along it with a Gaussian.
    `direction`: (k,) azimuth of the line from x towards y, rad. `amplitude`: (k,) A, Å. `width`: (k,) rms width of the
    Gaussian, Å. Source: AET paper, supplement, "Vibration correction"; the density is that of a classical oscillator.
    """

    direction: Float[Array, " k"]
    amplitude: Float[Array, " k"]
    width: Float[Array, " k"]

    def __init__(self, direction: ArrayLike | Sequence, amplitude: ArrayLike | Sequence, width: ArrayLike | Sequence):
        values = jnp.broadcast_arrays(
            *(jnp.atleast_1d(jnp.asarray(x, dtype=float)) for x in (direction, amplitude, width))
        )
        self.direction, self.amplitude, self.width = values

    def places(self) -> tuple[Float[Array, "k 3 2"], Float[Array, "k 3"]]:
        """Where a specimen is seen instead of at rest, (x, y) Å, and for which share of the time.

        The middle and two places beside it with all moments of the kernel up to the fifth: Gauss's rule of three
        points. A Gaussian of rms width s is then wrong by some 0.001 (amplitude / s)⁶ + 0.1 (width / s)⁶ of its peak.
        """
        variance = self.width**2 + _LEAST
        second = 0.5 * self.amplitude**2 + variance
        fourth = 0.375 * self.amplitude**4 + 3 * self.amplitude**2 * variance + 3 * variance**2
        away, side = jnp.sqrt(fourth / second), 0.5 * second**2 / fourth
        line = jnp.stack([jnp.cos(self.direction), jnp.sin(self.direction)], axis=-1)
        signs = jnp.array([-1.0, 0.0, 1.0], away.dtype)
        shares = jnp.stack([side, 1 - 2 * side, side], axis=-1)
        return signs[None, :, None] * (away[:, None] * line)[:, None], shares

    def transfer(self, qx: Float[Array, "k *shape"], qy: Float[Array, "k *shape"]) -> Float[Array, "k *shape"]:
        """The Fourier transform of the kernel of each image, J0(2 pi A q) exp(-2 pi² w² q²) along its line.

        `qx`, `qy`: (k, ...) cycles per Å. J0 is the mean of cos(2 pi A q sin t) over one period, taken at 24 points,
        exact to single precision up to A q = 5.
        """
        direction, amplitude, width = (
            x.reshape(-1, *(1,) * (qx.ndim - 1)) for x in (self.direction, self.amplitude, self.width)
        )
        q = 2 * jnp.pi * (qx * jnp.cos(direction) + qy * jnp.sin(direction))
        # Over half a period, for the cosine is even.
        places = jnp.sin(jnp.pi * (jnp.arange(_NODES, dtype=q.dtype) + 0.5) / _NODES)
        bessel = sum(jnp.cos(amplitude * place * q) for place in places) / _NODES
        return bessel * jnp.exp(-0.5 * (width * q) ** 2)
