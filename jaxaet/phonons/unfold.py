"""Modes of a supercell seen from the primitive cell: the spectral function of an almost periodic crystal."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxaet.core import InputError
from jaxaet.phonons.density import gaussian
from jaxaet.phonons.force_constants import ForceConstants
from jaxaet.phonons.modes import mode_energy
from jaxaet.specimen import Crystal


class Sites(eqx.Module):
    """Which site of the primitive crystal each atom of a supercell occupies; species play no part, and a site without
    an atom is a vacancy.

    `cells`: (n, 3) the primitive cell of each atom; `basis`: (n,) its place in it. `multiples`: (3, 3), the supercell's
    vectors in primitive ones, as rows. `basis_size`: the places in one primitive cell.
    Raises `InputError` for two atoms on one site, and for multiples that are no supercell.
    """

    cells: Int[Array, "n 3"]
    basis: Int[Array, " n"]
    multiples: Int[Array, "3 3"]
    basis_size: int = eqx.field(static=True)

    def __init__(self, cells, basis, multiples, basis_size: int):
        self.cells, self.basis = jnp.asarray(cells, dtype=int), jnp.asarray(basis, dtype=int)
        self.multiples = jnp.asarray(multiples, dtype=int)
        self.basis_size = basis_size
        determinant = np.linalg.det(np.asarray(multiples, float))
        if abs(determinant) < 0.5:
            raise InputError(
                f"The multiples {np.asarray(multiples).tolist()} make no supercell; give independent rows."
            )
        inside = np.asarray(cells, float) @ np.linalg.inv(np.asarray(multiples, float))
        home = np.round((inside - np.floor(inside + 1e-6)) * abs(determinant)).astype(int)
        table = np.column_stack([home, np.asarray(basis)])
        unique, counts = np.unique(table, axis=0, return_counts=True)
        if len(unique) < len(table):
            twice = np.flatnonzero((table == unique[counts.argmax()]).all(axis=1))
            raise InputError(f"Atoms {twice.tolist()} lie on one site; allowed one atom each; check the assignment.")

    @property
    def primitive_cells(self) -> int:
        """How many primitive cells the supercell holds."""
        return round(abs(np.linalg.det(np.asarray(self.multiples, float))))


def assign_sites(
    crystal: Crystal, multiples: Int[np.ndarray, "3 3"], basis: Float[np.ndarray, "p 3"], rounds: int = 20
) -> Sites:
    """The nearest site of each atom in the supercell's own ideal lattice, wherever its origin is.

    `multiples`: (3, 3), the supercell's vectors in primitive ones; `basis`: (p, 3), the places in the primitive cell in
    Å, in the frame of the crystal. The origin is refined from that of the first atom of the first place on.
    Raises `InputError` for two atoms on one site.
    """
    positions, basis = np.asarray(crystal.atoms.positions, float), np.asarray(basis, float)
    primitive = np.linalg.inv(multiples) @ np.asarray(crystal.cell, float)
    atoms, flat = np.arange(len(positions)), np.array(crystal.periodic, float)

    def assigned(origin):  # the cell, the place and the misfit of each atom
        offsets = positions[:, None] - origin - basis
        cells = np.round(offsets @ np.linalg.inv(primitive)) * flat
        misfit = offsets - cells @ primitive
        place = np.argmin(np.sum(misfit**2, axis=2), axis=1)
        return cells[atoms, place].astype(int), place, misfit[atoms, place]

    def settled(origin):
        for _ in range(rounds):
            origin = origin + np.median(assigned(origin)[2], axis=0)
        return assigned(origin)

    tried = [settled((start - basis[0]) * flat) for start in positions[: len(basis)]]
    cells, place, _ = min(tried, key=lambda found: float(np.sum(found[2] ** 2)))
    return Sites(cells, place, multiples, len(basis))


@jax.jit
def unfold(
    constants: ForceConstants,
    crystal: Crystal,
    sites: Sites,
    k: Float[Array, "k 3"],
    projector: Float[Array, " n"] | None = None,
) -> tuple[Float[Array, "k j"], Float[Array, "k j"]]:
    """Energies in meV and weights of the supercell's modes at wave vectors of the primitive cell, both (k, 3n).

    w = (1/N) Σ_κα |Σ_l e_lκα exp(-i k·R_l)|² over places κ and axes α, N primitive cells at R_l. `k`: (k, 3) in
    reciprocal vectors of the primitive cell. `projector`: (n,) factors of the atoms' amplitudes, for one element or
    layer. Of one mode the weights at the N wave vectors that fold onto one sum to 1, with vacancies too; over modes at
    one k they sum to 3 × atoms / N. Source: Allen et al., Phys. Rev. B 87, 085322 (2013).
    """
    cells, basis = sites.cells.astype(float), sites.basis
    amplitude = jnp.ones(len(crystal)) if projector is None else projector
    number = jnp.abs(jnp.linalg.det(sites.multiples.astype(float)))

    def at(point):
        matrix = constants.dynamical_matrix(sites.multiples.astype(float) @ point, crystal.masses)
        values, vectors = jnp.linalg.eigh(matrix)
        waves = amplitude * jnp.exp(-2j * jnp.pi * (cells @ point))
        parts = vectors.reshape(len(crystal), 3, -1) * waves[:, None, None]
        summed = jax.ops.segment_sum(parts, basis, num_segments=sites.basis_size)
        return mode_energy(values), jnp.sum(jnp.abs(summed) ** 2, axis=(0, 1)) / number

    return jax.lax.map(at, k)


@jax.jit
def spectral_function(
    energies: Float[Array, "k j"], weights: Float[Array, "k j"], grid: Float[Array, " e"], width: float | Array
) -> Float[Array, "k e"]:
    """The unfolded modes as a picture, (k, e): weights per meV on the energies `grid`, Gaussians of rms `width` meV."""
    return jax.lax.map(
        lambda point: point[1] @ gaussian(grid[None, :] - point[0][:, None], jnp.asarray(width, float)),
        (energies, weights),
    )
