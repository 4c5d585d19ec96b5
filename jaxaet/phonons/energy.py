"""Energies that are sums over bonds and angles: what an interatomic potential has to say to have phonons."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxaet.phonons.matrix_functions import positive_part
from jaxaet.phonons.topology import Topology
from jaxaet.specimen import Crystal


class Energy(eqx.Module):
    """The energy of a crystal as a sum over its bonds and angles.

    A subclass says which atoms are bonded (`topology`) and what a bond of a given length and an angle between two bonds
    cost. Forces, strain derivatives and force constants follow by differentiation, exactly and term by term, so no
    supercell is needed and the work grows linearly with the atoms.
    """

    @abstractmethod
    def topology(self, crystal: Crystal) -> Topology:
        """The bonds and angles of a crystal, found on the host. Raises `InputError` for a species it does not know."""

    @abstractmethod
    def bond(self, kind: Array, length: Array) -> Array:
        """The energy of one bond, eV, from its kind and its length in Å."""

    @abstractmethod
    def angle(self, kinds: Array, first: Array, second: Array, cosine: Array) -> Array:
        """The energy of one angle, eV, from the kinds of its two bonds and its own, (3,), both lengths in Å, and its
        cosine."""

    def bond_curvature(self, kind: Array, length: Array) -> Array:
        """The second derivative of a bond's energy in its length, eV/Å², without prestress: never negative."""
        return jnp.maximum(jax.grad(jax.grad(self.bond, argnums=1), argnums=1)(kind, length), 0.0)

    def angle_curvature(self, kinds: Array, coordinates: Float[Array, "3"]) -> Float[Array, "3 3"]:
        """The second derivatives of an angle's energy in both lengths (Å) and the cosine, eV, their positive part."""
        return positive_part(jax.hessian(lambda c: self.angle(kinds, *c))(coordinates))

    def __call__(self, crystal: Crystal, topology: Topology) -> Float[Array, ""]:
        """The energy of one cell, eV. It is not a number if an atom has left the reach of `topology`."""
        bonds = jax.vmap(self.bond_energy)(topology.bond_kinds, topology.bond_vectors(crystal))
        angles = jax.vmap(self.angle_energy)(topology.angle_kinds, topology.angle_vectors(crystal))
        return (jnp.sum(bonds) + jnp.sum(angles)) * jnp.where(topology.valid(crystal), 1.0, jnp.nan)

    def bond_energy(self, kind: Array, vector: Float[Array, "3"]) -> Array:
        """The energy of one bond, eV, from its vector in Å."""
        return self.bond(kind, jnp.linalg.norm(vector))

    def angle_energy(self, kinds: Array, vectors: Float[Array, "2 3"]) -> Array:
        """The energy of one angle, eV, from the vectors of its two bonds in Å."""
        return self.angle(kinds, *angle_coordinates(vectors))


def angle_coordinates(vectors: Float[Array, "2 3"]) -> Float[Array, "3"]:
    """Both lengths, Å, and the cosine of the angle between two bonds."""
    lengths = jnp.linalg.norm(vectors, axis=1)
    return jnp.array([*lengths, vectors[0] @ vectors[1] / (lengths[0] * lengths[1])])


def forces(energy: Energy, crystal: Crystal, topology: Topology) -> Float[Array, "n 3"]:
    """Minus the gradient of the energy, (n, 3) in eV/Å."""
    return -jax.grad(lambda positions: energy(crystal.moved(positions), topology))(crystal.atoms.positions)
