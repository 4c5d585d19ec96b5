"""The box in which waves are computed."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


class Cell(eqx.Module):
    """A square, periodic box.

    `pixels`: along each side, static. `length`: of each side, Å. `band`: the spatial frequencies kept, as a fraction of
    what the pixels hold; at 2/3 no product of two waves aliases.
    """

    pixels: int = eqx.field(static=True)
    length: Float[Array, ""]
    band: Float[Array, ""]

    def __init__(self, pixels: int, length: ArrayLike, band: ArrayLike = 2 / 3):
        self.pixels = int(pixels)
        self.length, self.band = (jnp.asarray(x, dtype=float) for x in (length, band))

    @property
    def limit(self) -> Float[Array, ""]:
        """The largest spatial frequency that is kept, cycles per Å."""
        return 0.5 * self.band * self.pixels / self.length

    def places(self) -> Float[Array, " n"]:
        """The distance of each pixel from the middle of the cell along one axis, Å."""
        return (jnp.arange(self.pixels) - self.pixels // 2) * (self.length / self.pixels)

    def frequencies(self) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
        """ky and kx of each coefficient of a Fourier transform, cycles per Å."""
        k = jnp.fft.fftfreq(self.pixels, dtype=self.length.dtype) * self.pixels / self.length
        ky, kx = jnp.broadcast_arrays(k[:, None], k[None])
        return ky, kx

    def aperture(self) -> Float[Array, "n n"]:
        """1 where a wave may have Fourier coefficients, 0 elsewhere."""
        ky, kx = self.frequencies()
        return (ky**2 + kx**2 < self.limit**2).astype(self.length.dtype)

    def propagator(self, wavelength: Float[Array, ""], distance: Float[Array, ""]) -> Array:
        """The Fresnel propagator over `distance` Å within the band, (n, n) complex."""
        ky, kx = self.frequencies()
        phase = -jnp.pi * wavelength * distance * (kx**2 + ky**2)
        return self.aperture() * jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
