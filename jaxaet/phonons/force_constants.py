"""Force constants: how the force on one atom changes when another moves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, PRNGKeyArray

from jaxaet.core import InputError
from jaxaet.phonons.energy import Energy, angle_coordinates
from jaxaet.phonons.topology import Topology, assemble
from jaxaet.specimen import Crystal


class ForceConstants(eqx.Module):
    """The second derivatives of the energy, of pairs of atoms.

    `pairs`: (m, 2) atoms i in the first cell and j; `images`: (m, 3) the cell of j; `blocks`: (m, 3, 3) in eV/Å²,
    d²E / dr_i dr_j. A pair may be given more than once; the blocks add.
    """

    pairs: Int[Array, "m 2"]
    images: Int[Array, "m 3"]
    blocks: Float[Array, "m 3 3"]

    def __init__(self, pairs, images, blocks):
        self.pairs, self.images = jnp.asarray(pairs, dtype=int), jnp.asarray(images, dtype=int)
        self.blocks = jnp.asarray(blocks, dtype=float)

    def __check_init__(self):
        m = len(self.blocks)
        if (self.pairs.shape, self.images.shape, self.blocks.shape) != ((m, 2), (m, 3), (m, 3, 3)):
            raise InputError(
                f"Force constants of shape {self.blocks.shape} for pairs {self.pairs.shape} in cells "
                f"{self.images.shape} do not fit; give (m, 3, 3), (m, 2) and (m, 3)."
            )

    def dynamical_matrix(self, q: Float[Array, "3"], masses: Float[Array, " n"]) -> Complex[Array, "j j"]:
        """D(q) = Σ_S Φ(i 0, j S) exp(2πi q·S) / √(M_i M_j), in eV/Å²/amu, Hermitian.

        `q`: in the reciprocal vectors of the cell; `masses`: (n,) amu. The phase is that of the cell, not of the atom
        in it, so eigenvectors are periodic in q.
        """
        n = len(masses)
        i, j = self.pairs.T
        phases = jnp.exp(2j * jnp.pi * (self.images.astype(q.dtype) @ q)) / jnp.sqrt(masses[i] * masses[j])
        summed = jax.ops.segment_sum(self.blocks * phases[:, None, None], i * n + j, num_segments=n * n)
        matrix = summed.reshape(n, n, 3, 3).transpose(0, 2, 1, 3).reshape(3 * n, 3 * n)
        return (matrix + matrix.conj().T) / 2

    def times(self, displacements: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        """What displacements that repeat with the cell do: (n, 3), minus the change of the forces in eV/Å."""
        i, j = self.pairs.T
        products = jnp.einsum("mab,mb->ma", self.blocks, displacements[j])
        return jax.ops.segment_sum(products, i, num_segments=len(displacements))

    def sum_rule(self, atoms: int) -> Float[Array, ""]:
        """The largest force, eV/Å², that moving everything by 1 Å exerts: 0 if the acoustic sum rule holds."""
        return jnp.abs(jax.ops.segment_sum(self.blocks, self.pairs[:, 0], num_segments=atoms)).max()


@eqx.filter_jit
def force_constants(energy: Energy, crystal: Crystal, topology: Topology) -> ForceConstants:
    """The full second derivatives at the crystal's positions, whether or not they are a minimum.

    Where bonds are under tension or pressure the matrix may have negative eigenvalues (imaginary frequencies), which
    is a result. Exact: the Hessians of single bonds and angles, by `vmap`.
    """
    bonds = jax.vmap(jax.hessian(energy.bond_energy, argnums=1))
    angles = jax.vmap(jax.hessian(energy.angle_energy, argnums=1))
    return _of(topology, bonds, angles, crystal)


@eqx.filter_jit
def gauss_newton_constants(energy: Energy, crystal: Crystal, topology: Topology) -> ForceConstants:
    """The second derivatives without what tension and pressure add: J^T H₊ J, never a negative eigenvalue.

    J is the Jacobian of the lengths and cosines, H₊ the positive part of the energy's Hessian in them. At an unstressed
    minimum it equals `force_constants`.
    """

    def bond(kind, vector):
        direction = vector / jnp.linalg.norm(vector)
        return energy.bond_curvature(kind, jnp.linalg.norm(vector)) * direction[:, None] * direction[None, :]

    def angle(kinds, vectors):
        jacobian = jax.jacfwd(angle_coordinates)(vectors).reshape(3, 6)
        curvature = energy.angle_curvature(kinds, angle_coordinates(vectors))
        return (jacobian.T @ curvature @ jacobian).reshape(2, 3, 2, 3)

    return _of(topology, jax.vmap(bond), jax.vmap(angle), crystal)


@eqx.filter_jit
def thermal_constants(
    energy: Energy,
    crystal: Crystal,
    topology: Topology,
    displacement: Float[Array, " n"] | float,
    key: PRNGKeyArray,
    samples: int = 24,
) -> ForceConstants:
    """The mean of the full second derivatives over Gaussian displacements, ± each: what fits to snapshots at a
    temperature estimate.

    `displacement`: rms along one axis of each atom, Å, one number or (n,). `samples`: pairs of displacements.
    """
    shape = (samples, *crystal.atoms.positions.shape)
    widths = jnp.broadcast_to(jnp.asarray(displacement, float), shape[1:2])
    moves = widths[None, :, None] * jax.random.normal(key, shape)

    def blocks(move):
        there, back = (crystal.moved(crystal.atoms.positions + sign * move) for sign in (1, -1))
        return (force_constants(energy, there, topology).blocks + force_constants(energy, back, topology).blocks) / 2

    return ForceConstants(topology.pairs, topology.pair_images, jnp.mean(jax.lax.map(blocks, moves), axis=0))


def _of(topology: Topology, bonds, angles, crystal: Crystal) -> ForceConstants:
    parts = (
        bonds(topology.bond_kinds, topology.bond_vectors(crystal)),
        angles(topology.angle_kinds, topology.angle_vectors(crystal)),
    )
    blocks = assemble(topology, *parts) * jnp.where(topology.valid(crystal), 1.0, jnp.nan)
    return ForceConstants(topology.pairs, topology.pair_images, blocks)


def from_matrix(matrix: Float[np.ndarray, "n m 3 3"]) -> ForceConstants:
    """The force constants of an isolated cell, (n, n, 3, 3) in eV/Å², as pairs without images.

    Raises `InputError` for another shape.
    """
    shape = np.shape(matrix)
    if len(shape) != 4 or shape[0] != shape[1] or shape[2:] != (3, 3):
        raise InputError(f"A matrix of force constants of shape {shape} does not fit; give (n, n, 3, 3).")
    i, j = np.indices(shape[:2]).reshape(2, -1)
    return ForceConstants(np.stack([i, j], axis=1), np.zeros((len(i), 3), int), np.reshape(matrix, (-1, 3, 3)))
