"""How the multislice model treats the thermal motion of the atoms."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxaet.core import InputError

# The corners of a tetrahedron and of an octahedron: means of polynomials of degree 2 and 3 over them are those over
# the sphere.
_CORNERS = {
    4: np.array([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]]),
    6: np.sqrt(3.0) * np.concatenate([np.eye(3), -np.eye(3)]),
}


class Blurred(eqx.Module):
    """The mean potential of the moving atoms: right for elastic scattering, without thermal diffuse scattering."""

    def snapshots(
        self, positions: Float[Array, "n 3"], u2: Float[Array, " n"]
    ) -> tuple[Float[Array, "c n 3"], Float[Array, " n"]]:
        """Where the atoms are in each snapshot, and the mean-square displacement left to blur their potentials."""
        return positions[None], u2

    def take(self, some: Int[np.ndarray, " m"]) -> "Blurred":
        """The same for some of the atoms."""
        return self


class FrozenPhonons(eqx.Module):
    """The mean intensity of snapshots of atoms that move independently (Einstein's model), each by its own `u2`.

    `directions`: (c, n, 3), displacement of each atom in each of the c snapshots, dimensionless: in units of its
    rms displacement along one axis. Source: Loane, Xu & Silcox, Acta Cryst. A47 (1991) 267.
    """

    directions: Float[Array, "c n 3"]

    @classmethod
    def draw(cls, key: PRNGKeyArray, atoms: int, snapshots: Literal[4, 6] | int = 4) -> "FrozenPhonons":
        """Random displacements for so many atoms.

        4 and 6 snapshots put each atom on the corners of its own randomly turned tetrahedron or octahedron, so
        that mean and covariance are exact and few snapshots do; other numbers draw from a normal distribution.
        Raises `InputError` for none.
        """
        if snapshots < 1:
            raise InputError(f"{snapshots} snapshots are no motion; draw at least 1, or use Blurred().")
        if snapshots not in _CORNERS:
            return cls(jax.random.normal(key, (snapshots, atoms, 3)))
        turns = jax.random.orthogonal(key, 3, (atoms,))
        return cls(jnp.einsum("cj,nij->cni", jnp.asarray(_CORNERS[snapshots]), turns))

    def snapshots(
        self, positions: Float[Array, "n 3"], u2: Float[Array, " n"]
    ) -> tuple[Float[Array, "c n 3"], Float[Array, " n"]]:
        """Where the atoms are in each snapshot; nothing is left to blur their potentials."""
        _check_atoms(self.directions, positions)
        rms = jnp.sqrt(jnp.maximum(u2, jnp.finfo(u2.dtype).tiny))
        return positions[None] + self.directions.astype(u2.dtype) * rms[None, :, None], jnp.zeros_like(u2)

    def take(self, some: Int[np.ndarray, " m"]) -> "FrozenPhonons":
        """The same for some of the atoms."""
        return FrozenPhonons(self.directions[:, some])


class Snapshots(eqx.Module):
    """The mean intensity of given snapshots, such as displacements drawn from phonon modes; `u2` is not used.

    `displacements`: (c, n, 3), of each atom in each snapshot, Å, in the object frame.
    """

    displacements: Float[Array, "c n 3"]

    def snapshots(
        self, positions: Float[Array, "n 3"], u2: Float[Array, " n"]
    ) -> tuple[Float[Array, "c n 3"], Float[Array, " n"]]:
        """Where the atoms are in each snapshot; nothing is left to blur their potentials."""
        _check_atoms(self.displacements, positions)
        return positions[None] + self.displacements.astype(u2.dtype), jnp.zeros_like(u2)

    def take(self, some: Int[np.ndarray, " m"]) -> "Snapshots":
        """The same for some of the atoms."""
        return Snapshots(self.displacements[:, some])


def _check_atoms(moved: Float[Array, "c m 3"], positions: Float[Array, "n 3"]) -> None:
    if moved.shape[1:] != positions.shape:
        raise InputError(
            f"The snapshots move {moved.shape[1]} atoms but the specimen has {len(positions)}; "
            "make them for as many atoms as there are."
        )
