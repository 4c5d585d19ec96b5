"""The probe before the specimen, and the detector behind it, in the Fourier space of a cell."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxaet.forward.cell import Cell
from jaxaet.instrument import AnnularDetector, Beam, SegmentedDetector


class Lens(eqx.Module):
    """How the probe is sampled.

    A probe has tails: at 60 keV and 38 mrad, 2 % of it lies farther than 6 Å out. Fourier coefficients taken from the
    aperture itself (`oversampling` 1) fold them back into the cell, where they interfere; the error of an image
    falls only with the inverse of the cell's length. With more, the probe is computed in a cell that many times as
    long, cut out by a smooth window, and its tails are added to the image without interference (`tail`). `pixels`:
    Fourier coefficients kept along each side of the cell. Both are static.
    """

    pixels: int = eqx.field(static=True)
    oversampling: int = eqx.field(static=True, default=4)

    def wave(self, cell: Cell, beam: Beam, height: Float[Array, ""], defocus: Float[Array, ""]) -> Array:
        """The Fourier coefficients of the probe at the middle of the cell, `height` Å above focus, (n, n) complex.

        Of a whole probe their squares sum to 1. `defocus` (Å) adds to the aberrations.
        """
        n, times = self.pixels, self.oversampling
        wide = Cell(n * times, cell.length * times)
        ky, kx = wide.frequencies()
        # A lens whose c10 is smaller by the height focuses that much higher.
        chi = beam.aberrations.phase(kx, ky, beam.wavelength)
        chi = chi + jnp.pi * beam.wavelength * (defocus - height) * (kx**2 + ky**2)
        wave = aperture(wide, beam) * jax.lax.complex(jnp.cos(chi), -jnp.sin(chi))
        if times > 1:
            first = n * times // 2 - n // 2
            near = jnp.fft.fftshift(jnp.fft.ifft2(wave))[first : first + n, first : first + n]
            wave = times * jnp.fft.fft2(jnp.fft.ifftshift(near * self.window(cell, n)))
        first = cell.pixels // 2 - n // 2
        canvas = jnp.zeros((cell.pixels, cell.pixels), wave.dtype)
        canvas = canvas.at[first : first + n, first : first + n].set(jnp.fft.fftshift(wave))
        return jnp.fft.ifftshift(canvas)

    def window(self, cell: Cell, pixels: int) -> Float[Array, "n n"]:
        """What is kept of the probe: all near its middle, nothing from half the cell's length on."""
        place = Cell(pixels, cell.length).places()
        radius = jnp.sqrt(place[:, None] ** 2 + place[None] ** 2 + 1e-12)
        out = jnp.clip((0.5 * cell.length - radius) / (0.3 * cell.length), 0.0, 1.0)
        return 0.5 - 0.5 * jnp.cos(jnp.pi * out)

    def tail(self, cell: Cell, beam: Beam, y: Float[Array, "m 1"], x: Float[Array, "1 n"]) -> Float[Array, "m n"]:
        """The part of the probe's intensity that was cut off, on points `y`, `x` Å from its middle.

        Behind a round aperture it falls off as the inverse cube of the distance; over an image smaller than the cell
        it is even.
        """
        cut = 1 - jnp.sum(jnp.abs(self.wave(cell, beam, jnp.zeros(()), jnp.zeros(()))) ** 2)
        radius = jnp.sqrt(x**2 + y**2 + 1e-12) / cell.length
        density = jnp.clip((radius - 0.2) / 0.3, 0.0, 1.0) / jnp.maximum(radius, 0.1) ** 3
        small = jnp.minimum(jnp.max(y), jnp.max(x)) < 0.5 * cell.length
        density = jnp.where(small, 1.0, density)
        return cut * density / jnp.sum(density)


def aperture(cell: Cell, beam: Beam) -> Float[Array, "n n"]:
    """The real amplitudes of the illuminated Fourier coefficients, normalised to one electron, (n, n).

    The rim covers a pixel in part.
    """
    ky, kx = cell.frequencies()
    radius = jnp.sqrt(kx**2 + ky**2 + 1e-12)
    amplitude = jnp.clip((beam.semi_angle / beam.wavelength - radius) * cell.length + 0.5, 0.0, 1.0)
    return amplitude / jnp.sqrt(jnp.sum(amplitude**2))


def probes(cell: Cell, amplitudes: Array, positions: Float[Array, "p 2"]) -> Array:
    """The waves (p, n, n) on the pixels of a cell of probes at `positions` (x, y), Å from its middle."""
    order = jnp.fft.fftfreq(cell.pixels, dtype=positions.dtype) * cell.pixels
    turns = -2 * jnp.pi * (positions - cell.places()[0]) / cell.length
    shift = jnp.exp(1j * (turns[..., None] * order[None, None]))
    return jnp.fft.ifft2(amplitudes[None] * shift[:, 1, :, None] * shift[:, 0, None])


def sensitivity(cell: Cell, beam: Beam, detector: AnnularDetector | SegmentedDetector) -> Float[Array, "n n"]:
    """What an electron in each Fourier coefficient counts on the detector, (n, n)."""
    ky, kx = cell.frequencies()
    return detector.sensitivity(kx * beam.wavelength, ky * beam.wavelength, beam.wavelength / cell.length)
