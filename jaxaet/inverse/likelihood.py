"""How likely the data are, given the mean images.

A likelihood is a sum over pixels; `loss` is its negative logarithm, up to a constant that makes it zero for a
perfect fit, and `information` the expected curvature of one pixel, which Gauss-Newton and Fisher both need.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class Gaussian(eqx.Module):
    """Equal Gaussian noise in every pixel.

    `sigma`: rms noise, in the data's unit.
    """

    sigma: Float[Array, ""]

    def __init__(self, sigma=1.0):
        self.sigma = jnp.asarray(sigma, dtype=float)

    def loss(self, mean: Float[Array, "*p"], data: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Half the squared residual in units of sigma, for each pixel."""
        return 0.5 * ((mean - data) / self.sigma) ** 2

    def information(self, mean: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """1 / sigma² for each pixel."""
        return jnp.broadcast_to(1 / self.sigma**2, mean.shape)


class Poisson(eqx.Module):
    """Electron counting.

    `floor`: the smallest mean taken seriously, counts. Below it the noise is Gaussian with this variance, so that a
    trial step to a negative mean has a finite loss and one step of Gauss-Newton leads back. Negative data (background
    was subtracted) keep the gradient 1 - data / mean, which is zero on average at the true mean.
    """

    floor: Float[Array, ""]

    def __init__(self, floor=1e-2):
        self.floor = jnp.asarray(floor, dtype=float)

    def loss(self, mean: Float[Array, "*p"], data: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """Half the Poisson deviance: mean - data + data log(data / mean), for each pixel."""
        safe = jnp.maximum(mean, self.floor)
        deviance = safe - data - data * jnp.log(safe / jnp.where(data > 0, data, 1.0))
        return deviance + 0.5 * ((mean - data) ** 2 - (safe - data) ** 2) / self.floor

    def information(self, mean: Float[Array, "*p"]) -> Float[Array, "*p"]:
        """1 / mean for each pixel."""
        return 1 / jnp.maximum(mean, self.floor)
