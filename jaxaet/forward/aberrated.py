"""Incoherent images through an aberrated probe."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from jaxaet.core import Grid, Images, project
from jaxaet.forward.profile import object_transfer
from jaxaet.instrument import Beam, Microscope
from jaxaet.specimen import Atoms

_LEAST = 0.3  # rms width of an atom in pixels, below which a grid cannot hold it


class Aberrated(eqx.Module):
    """ADF-STEM in the incoherent approximation, with the probe of any lens.

    Each atom is a point, blurred by source and `u2` and as bright as its species' cross-section; all of them are
    convolved with the intensity of the probe. Nothing vibrates. `pad`: pixels beside the image in which atoms count
    and over which the probe reaches. Good while the band of the image, 2 semi-angle / wavelength, is below 1 / (2
    sampling). Unlike `Linear` it knows `Beam.aberrations`; it costs a matrix product and two Fourier transforms an
    image. Source: Nellist & Pennycook, Adv. Imaging Electron Phys. 113 (2000) 147, section IV.
    """

    pad: int = eqx.field(static=True, default=24)

    def __call__(self, atoms: Atoms, microscope: Microscope) -> Images:
        """The mean images: `atoms` seen by `microscope`, (k, ny, nx) counts."""
        beam, grid, tilts = microscope.beam, microscope.grid, microscope.tilts
        wide = Grid((grid.shape[0] + 2 * self.pad, grid.shape[1] + 2 * self.pad), grid.sampling)
        seen = grid.pixels(project(atoms.positions, tilts.angles) + tilts.shifts[:, None]) + self.pad
        cross_section = object_transfer(atoms.species, beam, microscope.annular, jnp.zeros(1))[:, 0]
        response = jnp.broadcast_to(microscope.annular.response, atoms.composition.shape)
        weights = beam.dose * (atoms.composition * response) @ cross_section
        width = jnp.sqrt(jnp.maximum((beam.source_size**2 + atoms.total_u2) / grid.sampling**2, _LEAST**2))
        transfer = probe_transfer(beam, wide)

        def view(points):
            image = jnp.fft.fft2(_gaussians(points, weights, width, wide.shape)) * transfer
            return jnp.fft.ifft2(image).real[self.pad : -self.pad or None, self.pad : -self.pad or None]

        data = microscope.scale[:, None, None] * jax.lax.map(view, seen) + microscope.pedestal
        return Images(data, tilts.angles, grid)


def probe_transfer(beam: Beam, grid: Grid) -> Complex[Array, "ny nx"]:
    """The Fourier transform of the probe's intensity on a grid, 1 (dimensionless) at the origin; the source apart."""
    ky, kx = (k.astype(float) for k in grid.frequencies())
    ky, kx = jnp.broadcast_arrays(ky[:, None], kx[None, :])
    edge, step = beam.semi_angle / beam.wavelength, 1 / (min(grid.shape) * grid.sampling)
    aperture = jax.nn.sigmoid((edge - jnp.sqrt(kx**2 + ky**2 + 1e-12)) / (0.2 * step))
    wave = aperture * jnp.exp(-1j * beam.aberrations.phase(kx, ky, beam.wavelength))
    transfer = jnp.fft.fft2(jnp.abs(jnp.fft.ifft2(wave)) ** 2)
    return transfer / transfer[0, 0].real


def _gaussians(
    points: Float[Array, "n 2"], weights: Float[Array, " n"], width: Float[Array, " n"], shape: tuple[int, int]
) -> Float[Array, "ny nx"]:
    """A sum of Gaussians of given sums and rms widths in pixels."""
    across, down = (
        jnp.exp(-0.5 * ((jnp.arange(n)[None] - points[:, axis, None]) / width[:, None]) ** 2)
        for axis, n in ((0, shape[1]), (1, shape[0]))
    )
    return ((weights / (2 * jnp.pi * width**2))[:, None] * down).T @ across
