"""The image grid: owner of the pixel and Fourier conventions."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxaet.core.errors import InputError, known


class Grid(eqx.Module):
    """A regular image grid with the object's origin at pixel `n // 2` of each axis.

    `shape`: (ny, nx) pixels, static. `sampling`: pixel size in Å, a leaf.
    An image is indexed `[row = y, column = x]`, row 0 at the smallest y.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    sampling: Float[Array, ""]

    def __init__(self, shape, sampling):
        self.shape = (int(shape[0]), int(shape[1]))
        self.sampling = jnp.asarray(sampling, dtype=float)

    def __check_init__(self):
        if min(self.shape) < 1:
            raise InputError(f"A grid of shape {self.shape} has no pixels; give at least 1 × 1.")
        if known(~(self.sampling > 0)):
            raise InputError(f"A grid has pixels of {float(self.sampling):g} Å; give a positive size.")

    def coordinates(self) -> tuple[Float[Array, " ny"], Float[Array, " nx"]]:
        """The y of each row and the x of each column, in Å."""
        ny, nx = self.shape
        return (jnp.arange(ny) - ny // 2) * self.sampling, (jnp.arange(nx) - nx // 2) * self.sampling

    def frequencies(self) -> tuple[Float[Array, " ny"], Float[Array, " nx"]]:
        """Spatial frequencies of `jnp.fft.fft2` along y and x, in cycles per Å."""
        ny, nx = self.shape
        return jnp.fft.fftfreq(ny) / self.sampling, jnp.fft.fftfreq(nx) / self.sampling

    def pixels(self, points: Float[Array, "*n 2"]) -> Float[Array, "*n 2"]:
        """Pixel coordinates (column, row) of points (x, y) given in Å."""
        ny, nx = self.shape
        origin = jnp.array([nx // 2, ny // 2], dtype=points.dtype)
        return points / self.sampling + jnp.broadcast_to(origin, points.shape)
