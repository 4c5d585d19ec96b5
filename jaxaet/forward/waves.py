"""Single waves through a specimen: exit waves and diffraction patterns."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxaet.core import InputError, known
from jaxaet.forward.cell import Cell
from jaxaet.forward.methods import through
from jaxaet.forward.potential import AtomPlanes, Slabs, species_gaussians, transmissions
from jaxaet.forward.probe import Lens, probes
from jaxaet.forward.scattering import Table
from jaxaet.instrument import Beam
from jaxaet.specimen import Atoms


def exit_waves(
    atoms: Atoms,
    beam: Beam,
    cell: Cell,
    positions: Float[Array, "p 2"] | Float[np.ndarray, "p 2"] | None = None,
    slicing: AtomPlanes | Slabs | None = None,
    lens: Lens | None = None,
    table: Table = "lobato",
) -> Array:
    """The waves (p, n, n) behind the atoms, on the pixels of the cell, at the height of the last plane.

    `atoms`: turned as the beam sees them, with x and y from the middle of the cell. `positions`: (x, y) of the probes,
    Å from the middle; without them one plane wave of amplitude 1. Of a probe the squared Fourier coefficients sum to 1.
    `slicing`: 16 `AtomPlanes` by default. `lens`: by default the aperture's own Fourier coefficients.
    Raises `InputError` for atoms outside the cell and for a cell that cannot hold the aperture.
    """
    slicing = AtomPlanes(16) if slicing is None else slicing
    lens = Lens(cell.pixels, 1) if lens is None else lens
    if known(jnp.abs(atoms.positions[:, :2]) > 0.5 * cell.length):
        raise InputError(
            f"An atom lies {float(jnp.max(jnp.abs(atoms.positions[:, :2]))):.3g} Å from the middle of a cell of "
            f"{float(cell.length):.3g} Å; give a larger cell or fewer atoms."
        )
    if known(beam.semi_angle / beam.wavelength > cell.limit):
        raise InputError(
            f"The aperture reaches {1e3 * float(beam.semi_angle):.0f} mrad; this sampling holds "
            f"{1e3 * float(cell.limit * beam.wavelength):.0f} mrad; give more pixels or a shorter cell."
        )
    found = species_gaussians(atoms, beam, table)
    heights = slicing.heights(found, jnp.ones(len(atoms), atoms.positions.dtype))
    slices = transmissions(cell, slicing, found, heights, max(1, len(atoms)))
    if positions is None:
        start = jnp.ones((1, cell.pixels, cell.pixels), slices.dtype)
    else:
        start = probes(cell, lens.wave(cell, beam, heights[0], jnp.zeros(())), jnp.asarray(positions, heights.dtype))
    return jnp.fft.ifft2(through(cell, beam, start, slices, heights))


def diffraction_patterns(
    waves: Array,
) -> Float[Array, "p n n"]:
    """The intensity of each Fourier coefficient of `waves` (p, n, n), zero frequency first."""
    return jnp.abs(jnp.fft.fft2(waves)) ** 2
